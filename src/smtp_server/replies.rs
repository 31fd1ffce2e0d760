//! Errors and refusals as SMTP replies; the only file of this door with numbers of its own.

use shards::storage::StorageError;
use smtp::Reply;

use crate::login::limiter::Refused;
use crate::store::StoreError;

/// Why a message was not taken.
pub fn not_stored(error: &StoreError) -> Reply {
    match error {
        // RFC 3463 X.2.2
        StoreError::OverQuota => Reply::mailbox_full(),
        // RFC 5321 4.2.2: 452 insufficient system storage
        StoreError::Storage(StorageError::DiskFull) => Reply::system_full(),
        // The account vanished between RCPT and the end of data.
        StoreError::AccountGone => Reply::recipient_disabled(),
        _ => Reply::local_error(),
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
