//! Input to the session; message data passes it on to the transaction.

use std::rc::Rc;

use smtp::HelloKind;
use smtp::server::{Event, Session};

use crate::percore::PerCore;
use crate::smtp_server::transaction::Transaction;

/// The command behind an event, as a label; `DATA` and `BDAT` end as `(message)`.
pub(super) fn command_word(event: &Event<'_>) -> Option<&'static str> {
    match event {
        Event::Hello {
            kind: HelloKind::Extended,
            ..
        } => Some("EHLO"),
        Event::Hello { .. } => Some("HELO"),
        Event::Auth { .. }
        | Event::AuthResponse(_)
        | Event::AuthAborted(_)
        | Event::AuthMalformed { .. } => Some("AUTH"),
        Event::StartTls => Some("STARTTLS"),
        Event::Mail { .. } => Some("MAIL"),
        Event::Recipient { .. } => Some("RCPT"),
        Event::DataStart => Some("DATA"),
        Event::EndOfMessage { .. } => Some("(message)"),
        Event::Body(_) | Event::Reset | Event::Closed(_) => None,
    }
}

/// Gives input to the session; message data goes straight to the transaction. Answers what was used, and the next other event.
pub(super) fn feed(
    core: &Rc<PerCore>,
    session: &mut Session,
    transaction: &mut Option<Box<Transaction>>,
    input: &[u8],
) -> (usize, Option<Event<'static>>) {
    let mut at = 0;
    loop {
        let (used, event) = session.receive(&input[at..]);
        at += used;
        match event {
            Some(Event::Body(piece)) => {
                if let Some(transaction) = transaction {
                    transaction.push(core, piece);
                }
            }
            Some(event) => return (at, Some(owned(event))),
            None => return (at, None),
        }
    }
}

/// An event without its borrow: only `Body` has one, and it does not come here.
fn owned(event: Event<'_>) -> Event<'static> {
    match event {
        Event::Hello { kind, name } => Event::Hello { kind, name },
        Event::Auth { mechanism, initial } => Event::Auth { mechanism, initial },
        Event::AuthResponse(response) => Event::AuthResponse(response),
        Event::AuthAborted(why) => Event::AuthAborted(why),
        Event::AuthMalformed { mechanism } => Event::AuthMalformed { mechanism },
        Event::StartTls => Event::StartTls,
        Event::Mail {
            reverse_path,
            parameters,
        } => Event::Mail {
            reverse_path,
            parameters,
        },
        Event::Recipient {
            forward_path,
            parameters,
        } => Event::Recipient {
            forward_path,
            parameters,
        },
        Event::DataStart => Event::DataStart,
        Event::Body(_) => Event::Body(&[]),
        Event::EndOfMessage { octets, defect } => Event::EndOfMessage { octets, defect },
        Event::Reset => Event::Reset,
        Event::Closed(reason) => Event::Closed(reason),
    }
}
