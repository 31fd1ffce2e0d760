//! Logins with SASL, over IMAP or submission: right ones, each on a connection of its own, or wrong ones without a pause.
//! RFC 4422. Every answer is checked: a right login must end in OK (for SCRAM with the server's proof), a wrong one in a refusal of its
//! credentials. SCRAM's keys are derived once for an account and kept, so that the tester's own work is not what is measured.
//! Not here: the words of the protocols (`imap.rs`, `smtp.rs`), what a run is (`scenarios/`).

mod imap;
mod smtp;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use hdrhistogram::Histogram;
use sasl::client::{Action, Client, ClientError, Context};
use sasl::{ChannelBindings, ClientKeys, Credentials, Mechanism, Secret};

use crate::engine::{Opening, Traffic, Turn};
use crate::error::Failure;
use crate::link::Link;
use crate::report::latencies;
use crate::target::{Security, Target};

/// Over which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// IMAP's AUTHENTICATE.
    Imap,
    /// SMTP's AUTH.
    Submission,
}

/// What the server said, in words of neither protocol.
enum Heard {
    /// A login may begin.
    Greeted,
    /// TLS may begin.
    StartTls,
    /// SASL's challenge.
    Challenge(Vec<u8>),
    /// The login succeeded.
    Accepted,
    /// Name or password is wrong.
    Refused,
    /// Logins can't be checked now.
    Unavailable,
    /// Too many failures: the server closes.
    TurnedAway,
    /// The connection is over as it should be.
    Goodbye,
}

/// The words of one protocol.
trait Wire {
    /// Reads up to the next thing that matters; how much was used.
    fn receive(&mut self, input: &[u8]) -> Result<(usize, Option<Heard>), String>;
    /// TLS has begun.
    fn secured(&mut self);
    /// Begins a login.
    fn authenticate(&mut self, mechanism: Mechanism, initial: Option<&[u8]>);
    /// Answers a challenge.
    fn respond(&mut self, response: &[u8]);
    /// Says goodbye.
    fn leave(&mut self);
    /// What is to be sent.
    fn transmit(&mut self, output: &mut Vec<u8>);
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// The right password, once on each connection.
    Right,
    /// Wrong ones, so many on each connection.
    Wrong(u32),
}

/// What a run of logins is.
pub struct Plan<'a> {
    /// The server.
    pub target: &'a Target,
    /// Over what.
    pub door: Door,
    /// Mechanisms, in turn over the slots.
    pub mechanisms: Vec<Mechanism>,
    /// Who logs in, in turn over the connections.
    pub logins: Vec<(String, String)>,
    /// The number of the first login.
    pub first: u64,
    /// Network to connect from.
    pub source: Option<Ipv4Addr>,
    /// What is tried.
    pub attempts: Attempts,
    /// How many in all.
    pub count: u64,
}

/// Keys by login and mechanism.
pub type Keys = HashMap<(usize, Mechanism), ClientKeys>;

/// State over all connections.
pub struct LoginTraffic<'a> {
    plan: Plan<'a>,
    begun: u64,
    opened: u64,
    random: [u8; 32],
    /// Derived so far.
    pub keys: Keys,
    /// Logins that ended as they should.
    pub done: u64,
    /// That were not checked, as the server was busy.
    pub unavailable: u64,
    /// Connections the server closed for too many failures.
    pub turned_away: u64,
    /// From the first octet of AUTH or AUTHENTICATE to its end.
    pub latency: Histogram<u64>,
}

/// One connection.
pub struct LoginDialog {
    wire: Box<dyn Wire>,
    mechanism: Mechanism,
    login: usize,
    bindings: ChannelBindings,
    client: Option<Client>,
    begun: Instant,
    left: u32,
    waits_for: &'static str,
}

impl<'a> LoginTraffic<'a> {
    /// Nothing begun yet. `keys` are from an earlier run with the same logins.
    pub fn new(plan: Plan<'a>, keys: Keys) -> Result<Self, Failure> {
        let mut random = [0; 32];
        let source = std::fs::File::open(RANDOM);
        source
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut random))
            .map_err(Failure::io(RANDOM))?;
        Ok(Self {
            begun: plan.first,
            opened: plan.first,
            plan,
            random,
            keys,
            done: 0,
            unavailable: 0,
            turned_away: 0,
            latency: latencies(),
        })
    }

    /// No more begin; those under way end.
    pub fn stop(&mut self) {
        self.plan.count = 0;
    }

    fn is_over(&self) -> bool {
        self.begun - self.plan.first >= self.plan.count
    }

    fn begin(&mut self, dialog: &mut LoginDialog, now: Instant) -> Result<(), String> {
        let number = self.begun;
        self.begun += 1;
        let (name, password) = &self.plan.logins[dialog.login];
        let password = match self.plan.attempts {
            Attempts::Right => password.clone(),
            // One for all attempts, as each would cost us a derivation.
            Attempts::Wrong(_) if dialog.mechanism.scram_hash().is_some() => "wrong".to_owned(),
            // Each another: servers may check equal ones once.
            Attempts::Wrong(_) => format!("wrong{number}"),
        };
        let credentials = Credentials {
            authzid: String::new(),
            authcid: name.clone(),
            password: Secret::new(password.into_bytes()),
        };
        // Nonces must differ; nobody is to be kept from guessing them.
        let mut random = self.random;
        random[..8].copy_from_slice(&number.to_le_bytes());
        let context = Context {
            bindings: match dialog.mechanism.needs_channel_binding() {
                true => dialog.bindings.clone(),
                false => ChannelBindings::default(),
            },
            random,
            ..Context::default()
        };
        let client = Client::new(dialog.mechanism, credentials, context);
        let mut client = client.map_err(|error| format!("{}: {error}", dialog.mechanism))?;
        if let Some(keys) = self.keys.get(&(dialog.login, dialog.mechanism)) {
            client = client.with_keys(keys.clone());
        }
        let initial = client.initial();
        dialog.begun = now;
        dialog.waits_for = "an answer to the login";
        dialog
            .wire
            .authenticate(dialog.mechanism, initial.as_deref());
        dialog.client = Some(client);
        Ok(())
    }

    fn challenge(&mut self, dialog: &mut LoginDialog, challenge: &[u8]) -> Result<(), String> {
        let client = dialog.client.as_mut().ok_or("a challenge too many")?;
        let response = match client.respond(challenge) {
            Ok(Action::Respond(response)) => response,
            Ok(Action::Derive(derivation)) => {
                let keys = derivation.run();
                let response = client.derived(&keys);
                self.keys.insert((dialog.login, dialog.mechanism), keys);
                response.map_err(|error| error.to_string())?
            }
            // RFC 5802 5.1, `e=`: SCRAM's own refusal. The protocol's follows.
            Err(ClientError::Refused(_)) if self.plan.attempts != Attempts::Right => {
                Secret::default()
            }
            Err(error) => return Err(format!("{}: {error}", dialog.mechanism)),
        };
        dialog.wire.respond(&response);
        Ok(())
    }

    fn heard(
        &mut self,
        dialog: &mut LoginDialog,
        heard: Heard,
        now: Instant,
    ) -> Result<Turn, String> {
        let right = self.plan.attempts == Attempts::Right;
        match heard {
            Heard::Greeted => return self.next(dialog, now),
            Heard::StartTls => return Ok(Turn::StartTls),
            Heard::Challenge(challenge) => self.challenge(dialog, &challenge)?,
            Heard::Accepted if right => {
                let client = dialog.client.take().ok_or("an answer too many")?;
                client.finish().map_err(|error| error.to_string())?;
                self.record(dialog, now);
                dialog.wire.leave();
                dialog.waits_for = "the goodbye";
            }
            Heard::Accepted => return Err("a wrong password was accepted".into()),
            Heard::Refused if !right => {
                self.record(dialog, now);
                return self.next(dialog, now);
            }
            Heard::Unavailable if !right => {
                self.unavailable += 1;
                return self.next(dialog, now);
            }
            Heard::TurnedAway if !right => {
                self.turned_away += 1;
                return Ok(Turn::Close);
            }
            Heard::Refused => return Err("the login was refused".into()),
            Heard::Unavailable => return Err("the server is too busy to check the login".into()),
            Heard::TurnedAway => return Err("turned away: the server's limits are too low".into()),
            Heard::Goodbye => return Ok(Turn::Close),
        }
        Ok(Turn::Stay)
    }

    /// Who guesses passwords says no goodbye.
    fn next(&mut self, dialog: &mut LoginDialog, now: Instant) -> Result<Turn, String> {
        if dialog.left == 0 || self.is_over() {
            return Ok(Turn::Close);
        }
        dialog.left -= 1;
        self.begin(dialog, now)?;
        Ok(Turn::Stay)
    }

    fn record(&mut self, dialog: &LoginDialog, now: Instant) {
        let micros = now.duration_since(dialog.begun).as_micros() as u64;
        self.latency.saturating_record(micros.max(1));
        self.done += 1;
    }
}

impl Traffic for LoginTraffic<'_> {
    type Dialog = LoginDialog;

    fn open(&mut self, slot: usize, now: Instant) -> Option<Opening<LoginDialog>> {
        let plan = &self.plan;
        let all_opened = plan.attempts == Attempts::Right && self.opened - plan.first >= plan.count;
        if self.is_over() || all_opened {
            return None;
        }
        let security = plan.target.security;
        let wire: Box<dyn Wire> = match plan.door {
            Door::Imap => Box::new(imap::ImapWire::new()),
            Door::Submission => Box::new(smtp::SmtpWire::new(security == Security::StartTls)),
        };
        // Addresses .1 to .254 of the network in turn.
        let source = plan.source.map(|network| {
            let [a, b, c, _] = network.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, (slot % 254) as u8 + 1))
        });
        // Counted here: connections under way at a time are of different accounts, or servers might check their logins as one.
        let login = (self.opened % plan.logins.len() as u64) as usize;
        self.opened += 1;
        Some(Opening {
            dialog: LoginDialog {
                wire,
                mechanism: plan.mechanisms[slot % plan.mechanisms.len()],
                login,
                bindings: ChannelBindings::default(),
                client: None,
                begun: now,
                left: match plan.attempts {
                    Attempts::Right => 1,
                    Attempts::Wrong(each) => each,
                },
                waits_for: "the greeting",
            },
            to: plan.target.address,
            source,
            tls: security == Security::Tls,
        })
    }

    fn receive(
        &mut self,
        dialog: &mut LoginDialog,
        mut input: &[u8],
        output: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Turn, String> {
        loop {
            let (used, heard) = dialog.wire.receive(input)?;
            input = &input[used..];
            let Some(heard) = heard else {
                dialog.wire.transmit(output);
                return Ok(Turn::Stay);
            };
            let turn = self.heard(dialog, heard, now)?;
            dialog.wire.transmit(output);
            if turn != Turn::Stay {
                return Ok(turn);
            }
        }
    }

    fn secured(&mut self, dialog: &mut LoginDialog, output: &mut Vec<u8>) {
        dialog.wire.secured();
        dialog.wire.transmit(output);
    }

    fn bound(&mut self, dialog: &mut LoginDialog, link: &Link) {
        if dialog.mechanism.needs_channel_binding() {
            dialog.bindings = link.bindings();
        }
    }

    fn waits_for(&self, dialog: &LoginDialog) -> String {
        dialog.waits_for.to_owned()
    }
}

const RANDOM: &str = "/dev/urandom";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_under_way_at_a_time_are_of_different_accounts() {
        let target = Target::parse("127.0.0.1:1", "target", false).unwrap();
        let logins = ["a", "b", "c"].map(|name| (name.to_owned(), "secret".to_owned()));
        let plan = Plan {
            target: &target,
            door: Door::Imap,
            mechanisms: vec![Mechanism::Plain],
            logins: logins.to_vec(),
            first: 4,
            source: None,
            attempts: Attempts::Right,
            count: 3,
        };
        let mut traffic = LoginTraffic::new(plan, Keys::new()).unwrap();
        let opened: Vec<_> = (0..4)
            .map(|slot| traffic.open(slot, Instant::now()))
            .map(|opening| opening.map(|it| it.dialog.login))
            .collect();
        assert_eq!(opened, [Some(1), Some(2), Some(0), None]);
    }
}
