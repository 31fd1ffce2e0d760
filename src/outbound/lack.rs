//! Why a server cannot take a message as it is: what it does not offer. RFC 1870 (SIZE), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8), RFC 3030 (BINARYMIME),
//! RFC 8689 (REQUIRETLS). Nothing is converted: signatures would break. Another host of a domain may offer it. Called by `connect` and `transaction`.

use std::rc::Rc;

use smtp::Address;
use smtp::client::Extensions;

use super::octets::Octets;
use super::transaction::PIECE;
use crate::queue::recipe::InFile;
use crate::queue::{Content, Message};
use crate::settings::names::with_a_labels;

/// What a server lacks.
pub(super) struct Lack {
    /// RFC 3463, of class 5.
    pub status: (u8, u16, u16),
    pub text: String,
}

/// What is to be sent, and to whom.
pub(super) struct Wanted<'a> {
    pub message: &'a Rc<Message>,
    pub octets: &'a Octets<'a>,
    pub recipients: &'a [u32],
    /// TLS is a must all the way.
    pub require_tls: bool,
}

impl Wanted<'_> {
    /// What a server lacks for it, if that can be said now.
    pub async fn lack(&self, offers: &Extensions) -> Option<Lack> {
        if self.octets.are_wanted_first(offers) && self.octets.read().await.is_err() {
            return None;
        }
        let at_hand = self.octets.at_hand();
        let content = at_hand.as_deref();
        let must = self.require_tls;
        lack(self.message, content, offers, self.recipients, must).await
    }
}

/// What a server that offers this lacks for a message.
pub(super) async fn lack(
    message: &Rc<Message>,
    content: Option<&Content>,
    offers: &Extensions,
    recipients: &[u32],
    require_tls: bool,
) -> Option<Lack> {
    let row = &message.row;
    let lack = |status, text: &str| {
        let text = text.to_owned();
        Some(Lack { status, text })
    };
    // RFC 8689 5: a bounce goes on all the same.
    if require_tls && !offers.require_tls && !row.reverse_path.is_empty() {
        let text = "the message must not go without TLS all the way, which the server does not promise (REQUIRETLS)";
        return lack((5, 7, 30), text);
    }
    let size = size(message, content);
    if let Some(most) = offers.size.filter(|most| *most > 0 && size > *most) {
        let text = format!("the message has {size} octets, the server takes {most}");
        return lack((5, 3, 4), &text);
    }
    if row.binary && !(offers.binarymime && offers.chunking) {
        let text = "the message has binary parts, and the server takes none (BINARYMIME)";
        return lack((5, 6, 1), text);
    }
    if row.smtputf8 && !offers.smtputf8 && needs_smtputf8(message, content, recipients) {
        let text = "addresses or header fields beyond ASCII, and the server takes none (SMTPUTF8)";
        return lack((5, 6, 7), text);
    }
    let may_be_eight_bit = !offers.eight_bit_mime && row.eight_bit && !row.binary;
    if may_be_eight_bit && is_eight_bit(message, content).await {
        let text = "the message has octets beyond ASCII, and the server takes none (8BITMIME)";
        return lack((5, 6, 3), text);
    }
    None
}

/// Octets of what is sent. Of a batch the row says only about how many that is.
pub(super) fn size(message: &Message, content: Option<&Content>) -> u64 {
    match (&message.row.batch, content) {
        (Some(_), Some(content)) => content.length(),
        _ => message.row.size,
    }
}

/// Whether it is so: of large messages it was not known when they were accepted.
async fn is_eight_bit(message: &Rc<Message>, content: Option<&Content>) -> bool {
    let Some(content) = content else { return true };
    if !content.bytes.is_ascii() {
        return true;
    }
    let InFile { place, location } = match message.in_file(content).await {
        Ok(Some(in_file)) => in_file,
        Ok(None) => return false,
        Err(_) => return true,
    };
    let shard = message.shard();
    let mut at = place.start;
    while at < place.end {
        let now = (place.end - at).min(PIECE as u64) as usize;
        let piece = shard.read_external(message.body, location, at, now).await;
        match piece {
            Ok(piece) if piece.is_ascii() => at += piece.len() as u64,
            _ => return true,
        }
        shards::rt::yield_if_needed().await;
    }
    false
}

/// Whether SMTPUTF8 was not only asked for but is needed for these recipients. RFC 6531 3.2: what is ASCII can go without, and a domain in
/// A-labels is.
pub(super) fn needs_smtputf8(
    message: &Message,
    content: Option<&Content>,
    recipients: &[u32],
) -> bool {
    let Some(content) = content else { return true };
    let header = message::Header::of_message(&content.bytes);
    let addresses = recipients
        .iter()
        .filter_map(|index| message.row.recipients.get(*index as usize))
        .map(|recipient| &recipient.address);
    let mut addresses = addresses.chain([&message.row.reverse_path]);
    !header.octets().is_ascii() || addresses.any(|address| is_beyond_ascii(address))
}

/// Whether an address has no form in ASCII: its domain has one, its local part may not.
pub(super) fn is_beyond_ascii(address: &str) -> bool {
    let parsed = || address.parse::<Address>().ok();
    !address.is_ascii() && parsed().as_ref().and_then(with_a_labels).is_none()
}
