//! Errors and refusals as SMTP replies; the only file of this door with numbers of its own.

use shards::storage::StorageError;
use smtp::Reply;

use crate::login::limiter::Refused;
use crate::percore::MayNotSend;
use crate::store::StoreError;

/// Why a message was not taken.
pub fn not_stored(error: &StoreError) -> Reply {
    match error {
        // RFC 3463 X.2.2
        StoreError::OverQuota => Reply::mailbox_full(),
        // RFC 5321 4.2.2: 452 insufficient system storage
        StoreError::Storage(StorageError::DiskFull) => Reply::system_full(),
        StoreError::Limit(_) | StoreError::QueueFull => {
            Reply::system_full().with_text(format!("{error}, try again later"))
        }
        // The account vanished between RCPT and the end of data.
        StoreError::AccountGone => Reply::recipient_disabled(),
        _ => Reply::local_error(),
    }
}

/// Why one of our users may not send a message.
pub fn may_not_send(why: &MayNotSend) -> Reply {
    match why {
        // RFC 5321 4.2.1: what can't succeed when it is repeated is no 4yz.
        MayNotSend::Limit(refusal) if refusal.room_at.is_none() => {
            Reply::new(550, (5, 7, 1), refusal.to_string())
        }
        MayNotSend::Limit(refusal) => Reply::sending_limit().with_text(refusal.to_string()),
        MayNotSend::Unknown(_) => Reply::local_error(),
    }
}

/// Why a connection is turned away.
pub fn turned_away(refused: Refused) -> Reply {
    Reply::new(
        421,
        (4, 7, 0),
        match refused {
            Refused::Rate => "too many connections from your network; please slow down",
            Refused::Open => "too many open connections from your network",
            Refused::Failures => "too many failed logins from your network; try again later",
        },
    )
}

/// A reply code as a label: the table bounds how many there can be.
pub fn code_word(code: u16) -> &'static str {
    match code {
        220 => "220",
        221 => "221",
        235 => "235",
        250 => "250",
        252 => "252",
        334 => "334",
        354 => "354",
        421 => "421",
        432 => "432",
        450 => "450",
        451 => "451",
        452 => "452",
        454 => "454",
        455 => "455",
        500 => "500",
        501 => "501",
        502 => "502",
        503 => "503",
        504 => "504",
        521 => "521",
        523 => "523",
        524 => "524",
        530 => "530",
        534 => "534",
        535 => "535",
        538 => "538",
        550 => "550",
        551 => "551",
        552 => "552",
        553 => "553",
        554 => "554",
        555 => "555",
        556 => "556",
        _ => "other",
    }
}
