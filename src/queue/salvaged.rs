//! What `ringmail salvage` makes of messages in the queue of whom no index tells what became of them: they may have been sent long ago, and their octets not been
//! removed yet. An operator decides. Called by `cli`.

use shards::index::Row;
use shards::segments::BodyId;

use super::rows::{HeldBy, RecipientRow, State, decode_message, encode_recipient, recipient_key};

/// Rows that hold all recipients of a message, of which this is the row, and how many they are. None of them is given up soon, for its sender would hear of
/// it. A row that can't be read has none: they wait, as the check says.
pub fn hold(body: BodyId, row: &[u8], now: i64) -> (Vec<Row>, u64) {
    let Ok(message) = decode_message(row, String::new) else {
        return (Vec::new(), 0);
    };
    let mut held = RecipientRow::fresh(&message);
    held.state = State::Held;
    held.held_by = Some(HeldBy {
        rule: None,
        words: "by salvage: its index was lost, and it may have been sent before".to_owned(),
    });
    held.retries.expires = Some(message.expires.max(now + KEPT_SECS));
    let value = encode_recipient(&held);
    let rows: Vec<Row> = (0u32..)
        .zip(&message.recipients)
        .map(|(index, _)| (recipient_key(body, index), value.clone()))
        .collect();
    let count = rows.len() as u64;
    (rows, count)
}

/// How long an operator has.
const KEPT_SECS: i64 = 30 * 86_400;
