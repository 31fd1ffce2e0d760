//! Failures that `localserve` plays at its doors, when an address asks for them: `directory/simulated.rs` says how.

use std::time::Duration;

use shards::rt;
use smtp::{ForwardPath, Reply, ReversePath};

use crate::directory::{Failure, Reason, Resolution, Stage, simulated};
use crate::live::Live;

/// What is played at MAIL.
pub fn at_mail(live: &Live, path: &ReversePath) -> Option<Failure> {
    let address = path.address()?;
    asked(live, address.localpart.as_str(), Stage::Mail)
}

/// What is played at RCPT.
pub fn at_recipient(live: &Live, path: &ForwardPath) -> Option<Failure> {
    of_nobody(live, path, Stage::Recipient)
}

/// What is played at the end of a message to this recipient.
pub fn at_message(live: &Live, path: &ForwardPath) -> Option<Failure> {
    of_nobody(live, path, Stage::Message)
}

/// Addresses that somebody has are in earnest.
fn of_nobody(live: &Live, path: &ForwardPath, at: Stage) -> Option<Failure> {
    let ForwardPath::Address(address) = path else {
        return None;
    };
    let localpart = address.localpart.as_str();
    let failure = asked(live, localpart, at)?;
    let domain = address.domain().map_or("", |domain| domain.as_str());
    match live.directory.resolve(localpart, domain) {
        Resolution::Account(found) if found.reason == Reason::Everything => Some(failure),
        _ => None,
    }
}

fn asked(live: &Live, localpart: &str, at: Stage) -> Option<Failure> {
    // Only localserve has such an account.
    live.settings.everything_to?;
    simulated(localpart)
        .filter(|(stage, _)| *stage == at)
        .map(|(_, failure)| failure)
}

/// Plays it; answers the reply.
pub async fn play(failure: Failure) -> Reply {
    let code = match failure {
        Failure::Code(code) => code,
        Failure::Timeout => {
            rt::sleep(TIMEOUT).await;
            451
        }
    };
    let class = if code < 500 { 4 } else { 5 };
    Reply::new(code, (class, 0, 0), "simulated failure")
}

const TIMEOUT: Duration = Duration::from_secs(3600);
