//! The methods about stored messages. The account's owner is asked; octets come from there slice by slice, as the client takes them.

use std::rc::Rc;

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use message::{Decoder, TransferEncoding};
use webapi::{ApiError, Empty, MsgFlags, MsgId, MsgMove, MsgPart};

use super::body::{BodyFault, Held};
use super::form::Form;
use super::methods::{OTHER_ANSWER, asked, said};
use super::{Caller, Said, ours};
use crate::calls::{Answer, Call, MessageAsk, MessageCall, MessageSaid, OCTETS_MAX};
use crate::percore::PerCore;
use crate::settings::AccountName;
use crate::store::MessagePlace;
use crate::web::payload::{Payload, Source};

/// Those methods.
pub(super) const NAMES: [&str; 7] = [
    "MessageGet",
    "MessageRawGet",
    "MessagePartGet",
    "MessageDelete",
    "MessageFlagsAdd",
    "MessageFlagsRemove",
    "MessageMove",
];

/// Answers one.
pub(super) async fn run(
    core: &Rc<PerCore>,
    name: &str,
    form: &Form,
    caller: &Caller,
) -> Result<Said, ApiError> {
    let message = |number: i64| Asked {
        core: core.clone(),
        account: caller.account,
        number,
        place: None,
    };
    match name {
        "MessageGet" => get(message(asked::<MsgId>(form)?.msg_id)).await,
        "MessageRawGet" => raw(message(asked::<MsgId>(form)?.msg_id)).await,
        "MessagePartGet" => {
            let asked: MsgPart = asked(form)?;
            part(message(asked.msg_id), asked.part_path).await
        }
        "MessageDelete" => {
            let asked: MsgId = asked(form)?;
            said(message(asked.msg_id).change(MessageAsk::Delete).await)
        }
        "MessageMove" => {
            let asked: MsgMove = asked(form)?;
            let to = MessageAsk::Move(asked.dest_mailbox_name);
            said(message(asked.msg_id).change(to).await)
        }
        name => {
            let asked: MsgFlags = asked(form)?;
            let flags = MessageAsk::Flags {
                add: name == "MessageFlagsAdd",
                flags: asked.flags,
            };
            said(message(asked.msg_id).change(flags).await)
        }
    }
}

/// A message that is asked for.
struct Asked {
    core: Rc<PerCore>,
    account: AccountName,
    number: i64,
    place: Option<MessagePlace>,
}

impl Asked {
    async fn ask(&self, ask: MessageAsk, lost: &str) -> Result<MessageSaid, ApiError> {
        let owner = self.core.owner_of(self.account.as_str());
        let call = MessageCall {
            account: self.account,
            number: self.number,
            hint: self.place,
            ask,
        };
        match self.core.call(owner, Call::Message(Box::new(call))).await {
            Ok(Answer::Message(said)) => said,
            Ok(_) => Err(ours(OTHER_ANSWER)),
            Err(error) => Err(ours(format!("{error}; {lost}"))),
        }
    }

    async fn change(&self, ask: MessageAsk) -> Result<Empty, ApiError> {
        match self.ask(ask, "whether it was done is not known").await? {
            MessageSaid::Done => Ok(Empty {}),
            _ => Err(ours(OTHER_ANSWER)),
        }
    }

    /// Answers its octets.
    async fn find(&mut self) -> Result<u64, ApiError> {
        match self.ask(MessageAsk::Find, AGAIN).await? {
            MessageSaid::Found(place, octets) => {
                self.place = Some(place);
                Ok(octets)
            }
            _ => Err(ours(OTHER_ANSWER)),
        }
    }

    /// Memory for what is answered.
    fn hold(&self, octets: u64) -> Result<Held, ApiError> {
        let mut held = Held::new(&self.core, self.account);
        held.add(octets as usize).map_err(no_memory)?;
        Ok(held)
    }
}

fn no_memory(fault: BodyFault) -> ApiError {
    match fault {
        BodyFault::Busy(words) => ours(words),
        _ => ours("there is too little memory for the answer"),
    }
}

async fn get(mut message: Asked) -> Result<Said, ApiError> {
    let octets = message.find().await?;
    let mut held = message.hold((2 * octets).clamp(GOT_MIN, GOT_MAX))?;
    let MessageSaid::Got(mut json) = message.ask(MessageAsk::Get, AGAIN).await? else {
        return Err(ours(OTHER_ANSWER));
    };
    json.push(b'\n');
    // Many small parts, or control characters: it is longer than the message.
    held.answer(json.len(), false).map_err(no_memory)?;
    let payload = Payload::from(json).counted(held);
    Ok(Said::Raw(
        Box::new(payload),
        HeaderValue::from_static(super::JSON),
    ))
}

async fn raw(mut message: Asked) -> Result<Said, ApiError> {
    let octets = message.find().await?;
    let payload = slices(message, 0..octets, (TransferEncoding::Identity, octets)).await?;
    Ok(Said::Raw(
        Box::new(payload),
        HeaderValue::from_static("text/plain"),
    ))
}

async fn part(mut message: Asked, path: Vec<i64>) -> Result<Said, ApiError> {
    message.find().await?;
    let MessageSaid::Part(place) = message.ask(MessageAsk::Part(path), AGAIN).await? else {
        return Err(ours(OTHER_ANSWER));
    };
    let payload = slices(message, place.range, (place.encoding, place.size)).await?;
    // Whatever it is, no browser is to show it as a page of ours.
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(Said::Raw(Box::new(payload), kind))
}

/// Some of a message's octets, decoded on their way.
async fn slices(
    message: Asked,
    range: std::ops::Range<u64>,
    (encoding, size): (TransferEncoding, u64),
) -> Result<Payload, ApiError> {
    let window = (range.end - range.start).min(OCTETS_MAX);
    // What was read and what it is decoded to.
    let held = message.hold(2 * window)?;
    let reading = Reading {
        message,
        range,
        decoder: Some(Decoder::new(encoding)),
    };
    let pieces = reading.pieces().await?;
    Ok(Payload::of_pieces(Some(size), pieces).counted(held))
}

struct Reading {
    message: Asked,
    /// What was not read yet.
    range: std::ops::Range<u64>,
    /// None: it is at its end.
    decoder: Option<Decoder>,
}

impl Source for Reading {
    type Error = ApiError;

    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(mut decoder) = self.decoder.take() {
            let mut content = Vec::new();
            let mut sink = |octets: &[u8]| content.extend_from_slice(octets);
            if self.range.is_empty() {
                decoder.finish(&mut sink);
            } else {
                let end = self.range.end.min(self.range.start + OCTETS_MAX);
                let ask = MessageAsk::Octets(self.range.start..end);
                let MessageSaid::Octets(octets) = self.message.ask(ask, AGAIN).await? else {
                    return Err(ours(OTHER_ANSWER));
                };
                if octets.is_empty() {
                    return Err(ours("the message ends before its end"));
                }
                self.range.start += octets.len() as u64;
                decoder.push(&octets, &mut sink);
                self.decoder = Some(decoder);
            }
            if !content.is_empty() {
                return Ok(Some(content.into()));
            }
        }
        Ok(None)
    }
}

const AGAIN: &str = "try again later";
/// Octets that the answer to `MessageGet` may take: text and HTML, what else is said, as JSON.
const GOT_MAX: u64 = 16 << 20;
/// The same of a message that says next to nothing.
const GOT_MIN: u64 = 4 << 10;
