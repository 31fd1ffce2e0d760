//! The login at a smarthost. RFC 4954 4, RFC 5802, RFC 7677. Called by `connect.rs`. Not here: the mechanisms (`sasl::client`), TLS.

use std::rc::Rc;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use sasl::client::{Action, Client, Context};
use sasl::{ChannelBindings, Credentials, Mechanism, Secret, base64};
use smtp::Reply;
use smtp::client::Event;

use super::link::{Link, Lost, said};
use crate::client_tls::{Files, bindings};
use crate::metrics::NONE;
use crate::percore::PerCore;
use crate::settings::Transport;

/// Why there is no login.
pub(super) enum Refused {
    /// The connection is gone.
    Lost(Lost),
    /// The server refuses it, or we do; in words.
    No(String),
}

impl From<Lost> for Refused {
    fn from(lost: Lost) -> Refused {
        Refused::Lost(lost)
    }
}

/// Logs in by the first mechanism that both sides know; nothing is done without a password and a key.
pub(super) async fn log_in(
    core: &Rc<PerCore>,
    link: &mut Link,
    transport: &Transport,
    files: &Arc<Files>,
    is_verified: bool,
) -> Result<(), Refused> {
    let bindings = link
        .connection
        .client_tls()
        .map_or_else(ChannelBindings::default, bindings);
    let offered = link.session.extensions().auth.clone();
    let offers = |mechanism: Mechanism| offered.iter().any(|name| name == mechanism.name());
    // A password in clear goes to whom it is meant for, or stays on this machine.
    let shows = is_verified || transport.is_on_this_machine() && files.tls.is_none();
    let is_usable = |mechanism: Mechanism| {
        let has = match mechanism {
            Mechanism::External => {
                transport.client_key.is_some() && link.connection.client_tls().is_some()
            }
            _ => files.password.is_some(),
        };
        has && offers(mechanism)
            && (shows || !mechanism.reveals_password())
            && (!bindings.is_empty() || !mechanism.needs_channel_binding())
    };
    let mechanisms: Vec<Mechanism> = transport.mechanisms.iter().map(|m| m.0).collect();
    let mechanisms: Vec<Mechanism> = mechanisms.into_iter().filter(|m| is_usable(*m)).collect();
    // Who has no password is known by the key alone, or by the address.
    if mechanisms.is_empty() && files.password.is_none() {
        return Ok(());
    }
    let mut last = None;
    for mechanism in mechanisms {
        let plus = [Mechanism::ScramSha256Plus, Mechanism::ScramSha1Plus];
        let offers_plus = plus
            .into_iter()
            .any(|p| p.scram_hash() == mechanism.scram_hash() && offers(p));
        // What was said of our secrets, also if the server says it back.
        let mut sent = Vec::new();
        let reply = exchange(
            core,
            link,
            transport,
            files,
            (mechanism, offers_plus, bindings.clone()),
            &mut sent,
        )
        .await?;
        if reply.is_positive() {
            return Ok(());
        }
        let text = format!(
            "refuses the login by {mechanism}: {reply}",
            reply = said_but(&reply, &sent)
        );
        // RFC 4954 6: 504, not this mechanism after all. A key that is not known leaves the password.
        let another = reply.code.number() == 504 || mechanism == Mechanism::External;
        if !another || reply.code.is_transient() {
            return Err(Refused::No(text));
        }
        last = Some(text);
    }
    Err(Refused::No(last.unwrap_or_else(|| {
        format!(
            "offers no mechanism that the transport allows{}; it offers: {}",
            if shows {
                ""
            } else {
                " (without verified TLS, PLAIN and LOGIN are not used)"
            },
            offered.join(", ")
        )
    })))
}

async fn exchange(
    core: &Rc<PerCore>,
    link: &mut Link,
    transport: &Transport,
    files: &Arc<Files>,
    (mechanism, server_offers_plus, bindings): (Mechanism, bool, ChannelBindings),
    sent: &mut Vec<Secret>,
) -> Result<smtp::Reply, Refused> {
    // RFC 5802 5.1: a nonce of its own for each exchange.
    let mut random = [0; 32];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| Refused::No("no randomness for a login".to_owned()))?;
    let context = Context {
        bindings,
        server_offers_plus,
        random,
        ..Context::default()
    };
    let credentials = Credentials {
        authzid: match mechanism {
            Mechanism::External => transport.user().to_owned(),
            _ => String::new(),
        },
        authcid: transport.user().to_owned(),
        password: files.password.clone().unwrap_or_default(),
    };
    let broken =
        |error: sasl::client::ClientError| Refused::No(format!("login by {mechanism}: {error}"));
    let mut client = Client::new(mechanism, credentials, context).map_err(broken)?;
    let hash = mechanism.scram_hash();
    if let Some(keys) = hash.and_then(|hash| core.smarthost_keys(files, hash)) {
        client = client.with_keys(keys);
    }
    let initial = client.initial();
    sent.extend(initial.iter().cloned());
    link.session.auth(mechanism.name(), initial.as_deref());
    loop {
        match link.next().await? {
            Event::Challenge(challenge) => {
                let response = match client.respond(&challenge) {
                    Ok(Action::Respond(response)) => Ok(response),
                    Ok(Action::Derive(derivation)) => {
                        // Thousands of rounds: not on a core, and not for each connection.
                        let keys = core.verifier.derive(move || derivation.run()).await;
                        let keys = keys.ok_or_else(|| {
                            Refused::No("too busy to derive the keys for a login".to_owned())
                        })?;
                        core.metrics.count(DERIVED, NONE);
                        let response = client.derived(&keys);
                        if let Some(hash) = hash {
                            core.remember_smarthost_keys(files, hash, keys);
                        }
                        response
                    }
                    Err(error) => Err(error),
                };
                match response {
                    Ok(response) => {
                        link.session.auth_response(Some(&response));
                        sent.push(response);
                    }
                    Err(error) => {
                        link.session.auth_response(None);
                        // How the server takes that does not matter any more.
                        let _ = link.next().await;
                        return Err(broken(error));
                    }
                }
            }
            Event::Authenticated(reply) if reply.is_positive() => {
                return match client.finish() {
                    Ok(()) => Ok(reply),
                    Err(error) => Err(broken(error)),
                };
            }
            Event::Authenticated(reply) => return Ok(reply),
            other => {
                return Err(Refused::Lost(Lost::Protocol(format!(
                    "out of turn: {other:?}"
                ))));
            }
        }
    }
}

/// A reply in words, without what we have sent: a server that says it back must not have it written into logs, lists and reports.
fn said_but(reply: &Reply, sent: &[Secret]) -> String {
    let mut text = said(reply);
    for secret in sent {
        let mut encoded = Vec::new();
        base64::encode_to(secret, &mut encoded);
        let encoded = String::from_utf8_lossy(&encoded).into_owned();
        // Also a part of it, and what it stands for.
        let parts = secret
            .split(|octet| *octet == 0)
            .map(String::from_utf8_lossy);
        let parts = parts.map(|part| part.into_owned());
        for part in parts.chain([encoded.trim_end_matches('=').to_owned()]) {
            if part.len() >= SAID_BACK_MIN {
                text = text.replace(&part, "...");
            }
        }
    }
    text
}

/// Derivations of keys. One that goes up with each connection: the server has another salt each time.
const DERIVED: &str = "ringmail_outbound_login_keys_derived_total";
/// Shorter ones are in any text.
const SAID_BACK_MIN: usize = 4;
