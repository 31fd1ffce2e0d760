//! Messages: sent, and what became of them.

use std::io::Write;

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use ring::digest::{Context, SHA256};
use serde::Serialize;
use shards::shard_of;
use webapi::v1::message::{NewMessage, SentMessage, SentTo, problem};
use webapi::v1::{Fault, Kind, Problem, read};

use super::auth::{Login, may_write_as};
use super::{Asked, Said, other_answer, reply, senders, unanswered, unavailable};
use crate::calls::{Answer, Call, Once, Submit, Submitted, UploadedFile};
use crate::percore::PerCore;
use crate::settings::AccountName;
use crate::web::api::form::ON_CORE_MAX;

/// Sends one: it is on disk when this is answered.
pub(super) async fn send(mut asked: Asked) -> Said {
    let core = asked.core.clone();
    let key = idempotency_key(&asked)?;
    let (octets, uploads) = (
        std::mem::take(&mut asked.body),
        std::mem::take(&mut asked.uploads),
    );
    let has_key = key.is_some();
    let (message, uploads, fingerprint) = if octets.len() > ON_CORE_MAX {
        let account = asked.login()?.account;
        // The octets come back: who took the memory gives it back at once.
        let job = move || (take(&octets, uploads, has_key), octets);
        let taken = core.composing.run(account.as_str(), job);
        taken.await.map_err(unavailable)?.0?
    } else {
        take(&octets, uploads, has_key)?
    };
    let login = asked.login()?;
    let author = author(&message, login)?;
    let account = login.account;
    let once = key.zip(fingerprint);
    let once = once.map(|(key, fingerprint)| once_of(&core, account, &key, fingerprint));
    // The message goes round the cores, so that one account's bulk uses all of them; one with a key goes where its repeat comes to.
    let to = match &once {
        Some(once) => core.owner_of_shard(once.shard),
        None => core.next_core(),
    };
    let submit = Submit {
        account,
        login: login.address.clone().unwrap_or(author),
        id: asked.request_id.clone(),
        unsubscribe: message.unsubscribe,
        request: message.into_request(),
        uploads,
        once,
    };
    let submitted = match core.call(to, Call::Submit(Box::new(submit))).await {
        Ok(Answer::Submitted(submitted)) => submitted.map_err(|error| problem(&error))?,
        Ok(_) => return Err(other_answer()),
        Err(error) => return Err(unanswered(error)),
    };
    let (sent, is_repeat) = told_once(submitted)?;
    let sent = SentMessage {
        message_id: sent.message_id,
        recipients: sent
            .submissions
            .into_iter()
            .map(|to| SentTo {
                address: to.address,
                id: to.queue_msg_id,
                from_id: Some(to.from_id).filter(|id| !id.is_empty()),
            })
            .collect(),
    };
    let mut response = reply::json(StatusCode::OK, &sent)?;
    mark_repeat(&mut response, is_repeat);
    Ok(response)
}

/// What a request with a key of its own is known by, and where it goes.
pub(super) fn once_of(
    core: &PerCore,
    account: AccountName,
    key: &str,
    fingerprint: [u8; 32],
) -> Once {
    let named = [account.as_str().as_bytes(), b"\0", key.as_bytes()].concat();
    Once {
        hash: hash(&[&named]),
        fingerprint,
        shard: shard_of(&named, core.shard_count).0,
    }
}

/// What was done, and whether that was before.
pub(super) fn told_once<T>(submitted: Submitted<T>) -> Result<(T, bool), Problem> {
    match submitted {
        Submitted::Now(done) => Ok((done, false)),
        Submitted::Before(done) => Ok((done, true)),
        Submitted::OtherRequest => {
            let detail = "the key was used for a request that said something else";
            Err(Problem::new(Kind::IdempotencyConflict, detail))
        }
    }
}

pub(super) fn mark_repeat(response: &mut Response<Bytes>, is_repeat: bool) {
    if is_repeat {
        let headers = response.headers_mut();
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
}

/// A request, the files beside it, and its fingerprint if it is wanted.
type Taken = (NewMessage, Vec<UploadedFile>, Option<[u8; 32]>);

/// What the request says, and if it is wanted a fingerprint of all of it.
fn take(
    octets: &Bytes,
    uploads: Vec<UploadedFile>,
    wants_fingerprint: bool,
) -> Result<Taken, Problem> {
    let message: NewMessage = read::body(octets)?;
    let faults = message.check();
    if !faults.is_empty() {
        return Err(Problem::of_faults(Kind::Invalid, faults));
    }
    let fingerprint = match wants_fingerprint {
        false => None,
        true => {
            // Not the octets as they came: boundaries of forms and the order of fields say nothing.
            let json = serde_json::to_vec(&message).map_err(unavailable)?;
            Some(hash_with_uploads(&json, &uploads))
        }
    };
    Ok((message, uploads, fingerprint))
}

/// SHA-256 of what is said, and of the files beside it.
pub(super) fn hash_with_uploads(said: &[u8], uploads: &[UploadedFile]) -> [u8; 32] {
    let mut parts: Vec<&[u8]> = vec![said];
    for file in uploads {
        let kind: &[u8] = match file.kind {
            webapi::UploadKind::Inline => b"inline",
            _ => b"attachment",
        };
        parts.extend([
            kind,
            file.name.as_bytes(),
            file.content_type.as_bytes(),
            file.content_id.as_bytes(),
            &file.content,
        ]);
    }
    hash(&parts)
}

/// SHA-256, with the length of each part before it.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// SHA-256 of what is said, as JSON that is nowhere written as a whole: it may be long.
pub(super) fn hash_of(said: &impl Serialize) -> Result<[u8; 32], Problem> {
    let mut writer = HashWriter(Context::new(&SHA256));
    serde_json::to_writer(&mut writer, said).map_err(unavailable)?;
    let mut hash = [0; 32];
    hash.copy_from_slice(writer.0.finish().as_ref());
    Ok(hash)
}

struct HashWriter(Context);

impl Write for HashWriter {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.update(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The message's, if the key allows it, and whoever its header names besides.
fn author(message: &NewMessage, login: &Login) -> Result<String, Problem> {
    let address = &message.from.address;
    let own = login.key.as_ref().map_or(&[][..], |key| &key.from);
    match may_write_as(own, address) {
        true => {
            let fields = message.headers.iter();
            senders::check(own, fields.map(|f| (f.name.as_str(), f.value.as_str())))?;
            Ok(address.clone())
        }
        false => {
            let detail = format!("the key may not write as {address}");
            let fault = Fault::at("/from/address", detail);
            Err(Problem::of_faults(Kind::SenderNotAllowed, vec![fault]))
        }
    }
}

pub(super) fn idempotency_key(asked: &Asked) -> Result<Option<String>, Problem> {
    let mut values = asked.headers.get_all("idempotency-key").iter();
    let (Some(value), other) = (values.next(), values.next()) else {
        return Ok(None);
    };
    let is_key = |octet: &u8| octet.is_ascii_graphic() || *octet == b' ';
    let octets = value.as_bytes();
    let fits = !octets.is_empty() && octets.len() <= KEY_MAX && octets.iter().all(is_key);
    match value.to_str() {
        Ok(key) if fits && other.is_none() => Ok(Some(key.to_string())),
        _ => {
            let detail = format!("one, of 1 to {KEY_MAX} characters of ASCII");
            Err(Fault::of_parameter("Idempotency-Key", detail).into())
        }
    }
}

/// Octets of a request's key.
const KEY_MAX: usize = 255;
