//! The sending API, version 0 here and version 1 in [`v1`]: what clients say and hear, as JSON, the message that a `Send` asks for, templates of
//! messages for many, what webhooks say, and stored messages as it shows them. Called by the HTTP door (types, errors), where messages are made
//! ([`compose`]) and where they are read ([`TakenApart`]). Requests are untrusted; whoever reads them bounds their octets. No clock, no disk, no
//! network.
//! RFC 5322, 2045-2049, 2183 (the message), 7578 (uploads), 3339 (times).
//! Not here: HTTP, whom a client may send as, the queue.
//!
//! ```
//! use ringmail_webapi::{SendRequest, read};
//! let request: SendRequest = read(br#"{"To": [{"Address": "ann@example.net"}], "text": "Hi", "CC": null}"#).unwrap();
//! assert_eq!(request.to[0].address, "ann@example.net");
//! ```

mod base64;
pub mod batch;
mod code;
pub mod compose;
pub mod hook;
mod json;
mod structure;
pub mod template;
mod time;
mod types;
pub mod v1;

pub use base64::Base64;
pub use code::{ApiError, Code};
pub use compose::{Composed, Maker, Upload, UploadKind, Uploads};
pub use json::read;
pub use structure::{PartPlace, TEXT_MAX, TakenApart};
pub use time::Time;
pub use types::{
    Empty, File, Message, MessageMeta, MsgFlags, MsgGetResult, MsgId, MsgMove, MsgPart,
    NameAddress, Present, SendRequest, SendResult, Structure, Submission, Suppression,
    SuppressionAdd, SuppressionAddress, Suppressions,
};
