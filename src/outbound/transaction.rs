//! One message to some of its recipients over a connection: what is asked of the server, and what came of each recipient.
//! RFC 5321 3.3, 4.1.1 and 4.5.3.1.10 (too many recipients), RFC 1870 (SIZE), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8), RFC 3030
//! (CHUNKING, BINARYMIME). Not here: connecting, what becomes of a recipient then.

use std::rc::Rc;

use smtp::client::{Envelope, Event, Extensions, Transfer};
use smtp::{Address, BodyKind, Notify, Reply, Return, ReversePath};

use super::carry::NoContent;
use super::lack::{lack, needs_smtputf8, size};
use super::link::{Link, Lost, clean};
use super::octets::Octets;
use crate::queue::recipe::InFile;
use crate::queue::retry::Verdict;
use crate::queue::rows::{self, Ret};
use crate::queue::{Content, Message};
use crate::settings::ReplyStage;
use crate::settings::names::with_a_labels;

/// What came of a recipient: the words are the server's, or ours with code 0 where it said nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecipientResult {
    pub index: u32,
    pub verdict: Verdict,
    pub code: u16,
    pub enhanced: Option<(u8, u16, u16)>,
    pub text: String,
    /// To what it was said.
    pub stage: ReplyStage,
}

impl RecipientResult {
    /// What the server said of it.
    pub fn of(index: u32, stage: ReplyStage, reply: &Reply) -> RecipientResult {
        let number = reply.code.number();
        RecipientResult {
            index,
            verdict: match number {
                200..300 => Verdict::Delivered,
                500.. => Verdict::Permanent,
                _ => Verdict::Temporary,
            },
            code: number,
            enhanced: reply.enhanced.map(|e| (e.class, e.subject, e.detail)),
            text: clean(&reply.text),
            stage,
        }
    }

    /// What we say of it.
    pub fn ours(
        index: u32,
        verdict: Verdict,
        enhanced: (u8, u16, u16),
        text: impl Into<String>,
    ) -> RecipientResult {
        RecipientResult {
            index,
            verdict,
            code: 0,
            enhanced: Some(enhanced),
            text: text.into(),
            stage: ReplyStage::Data,
        }
    }
}

/// What came of a transaction.
pub(super) struct Transacted {
    /// Of those that something came of; the others were not tried.
    pub results: Vec<RecipientResult>,
    /// These were too many for one transaction.
    pub left: Vec<u32>,
    /// Why the connection cannot be used any more.
    pub lost: Option<Lost>,
    /// The server said that there is too much for it.
    pub overload: bool,
    /// The connection broke before the server said anything about it: it is as if nothing had been tried.
    pub untouched: bool,
}

/// What a transaction begins with.
pub(super) struct Terms {
    /// Without brackets; empty for the null path.
    pub mail_from: String,
    /// Whether TLS is a must, or does not matter. RFC 8689.
    pub require_tls: Option<bool>,
}

/// Sends a message to these of its recipients.
pub(super) async fn transact(
    link: &mut Link,
    message: &Rc<Message>,
    octets: &Octets<'_>,
    recipients: &[u32],
    terms: Terms,
) -> Transacted {
    let mut transacted = Transacted {
        results: Vec::new(),
        left: Vec::new(),
        lost: None,
        overload: false,
        untouched: false,
    };
    let at_hand = octets.at_hand();
    let content = at_hand.as_deref();
    let offers = link.session.extensions();
    // RFC 3461 5.2.1 and 5.2.2: who reports from here on.
    let taken = match offers.dsn {
        true => Verdict::HandedOver,
        false => Verdict::Relayed,
    };
    let must = terms.require_tls == Some(true);
    if let Some(lack) = lack(message, content, offers, recipients, must).await {
        for &index in recipients {
            let (status, text) = (lack.status, lack.text.clone());
            let result = RecipientResult::ours(index, Verdict::Permanent, status, text);
            transacted.results.push(result);
        }
        return transacted;
    }
    let envelope = envelope(message, content, offers, recipients, &mut transacted);
    let Some(mut envelope) = envelope else {
        return transacted;
    };
    envelope.0.require_tls = terms.require_tls == Some(true);
    envelope.0.reverse_path = reverse_path(&terms.mail_from, envelope.0.smtputf8);
    let is_smarthost = link.is_smarthost;
    let recipients: Vec<u32> = envelope.1;
    let mut run = Run {
        link,
        message,
        octets,
        results: vec![None; recipients.len()],
        has_answered: false,
        overload: false,
        stage: ReplyStage::Mail,
        is_broken_off: false,
    };
    let ended = run.run(&envelope.0).await;
    let Run {
        results,
        has_answered,
        overload,
        stage,
        is_broken_off,
        ..
    } = run;
    transacted.overload = overload;
    // A smarthost that wants a login, or another: that is not the message's fault.
    let wants_login =
        |reply: &Reply| is_smarthost && matches!(reply.code.number(), 530 | 534 | 535 | 538);
    let (whole, lost) = match ended {
        Ok(reply) => (reply, None),
        Err(lost) => (None, Some(lost)),
    };
    let any_accepted = whole.as_ref().is_some_and(Reply::is_positive)
        || results.iter().flatten().any(Reply::is_positive);
    for (index, reply) in recipients.iter().zip(results) {
        match (reply, &whole, &lost) {
            // RFC 5321 4.5.3.1.10: 452, and 552 of old, too many recipients.
            (Some(reply), ..) if is_too_many(&reply) && any_accepted => {
                transacted.left.push(*index)
            }
            (Some(reply), ..) if wants_login(&reply) => {
                transacted.results.push(not_logged_in(*index, &reply));
            }
            (Some(reply), ..) if !reply.is_positive() => {
                transacted
                    .results
                    .push(RecipientResult::of(*index, ReplyStage::Recipient, &reply));
            }
            (_, Some(whole), _) => {
                let mut result = RecipientResult::of(*index, stage, whole);
                if result.verdict.is_success() {
                    result.verdict = taken;
                }
                if wants_login(whole) {
                    result = not_logged_in(*index, whole);
                }
                transacted.results.push(result);
            }
            (_, None, Some(Lost::Closing(reply))) => {
                let mut result = RecipientResult::of(*index, stage, reply);
                result.verdict = Verdict::Temporary;
                transacted.results.push(result);
            }
            (_, None, Some(Lost::Unsendable(what))) => {
                let text = format!("the message can't be sent: {what}");
                let result = RecipientResult::ours(*index, Verdict::Permanent, (5, 6, 0), text);
                transacted.results.push(result);
            }
            (_, None, Some(lost)) => {
                let status = match lost {
                    Lost::Unreadable(_) => (4, 3, 0),
                    _ => (4, 4, 2),
                };
                let result =
                    RecipientResult::ours(*index, Verdict::Temporary, status, lost.words());
                transacted.results.push(result);
            }
            // A server that takes the recipient and says no more of it.
            (_, None, None) => {
                let text = "the server ended the transaction without a reason";
                let result = RecipientResult::ours(*index, Verdict::Temporary, (4, 5, 0), text);
                transacted.results.push(result);
            }
        }
    }
    if let Some(why) = &link.without_tls {
        for result in &mut transacted.results {
            wants_tls(result, why);
        }
    }
    transacted.untouched = lost.is_some() && !has_answered;
    transacted.overload |= lost.as_ref().is_some_and(Lost::is_overload);
    let broken_off = || Lost::Protocol("refuses a message before its end".into());
    transacted.lost = lost.or_else(|| is_broken_off.then(broken_off));
    transacted
}

/// In the form that a server takes.
fn reverse_path(mail_from: &str, smtputf8: bool) -> ReversePath {
    match format!("<{mail_from}>").parse() {
        Ok(ReversePath::Address(address)) if !smtputf8 => {
            ReversePath::Address(with_a_labels(&address).unwrap_or(address))
        }
        path => path.unwrap_or(ReversePath::Null),
    }
}

/// What a smarthost says to whom it does not know is for the operator: the mail waits.
fn not_logged_in(index: u32, reply: &Reply) -> RecipientResult {
    let text = format!(
        "the smarthost does not take mail from us without a login: {}",
        super::link::said(reply)
    );
    RecipientResult::ours(index, Verdict::Temporary, (4, 3, 5), text)
}

/// A server that had offered TLS refuses what comes without: it may take that once TLS comes about again. RFC 3207 4 (530), RFC 5248 (X.7.10, X.7.11); of
/// other words about security (relaying, spam) those that name it.
fn wants_tls(result: &mut RecipientResult, why: &str) {
    let names_it = || {
        let text = result.text.to_ascii_lowercase();
        ["tls", "encrypt", "ssl"]
            .iter()
            .any(|word| text.contains(word))
    };
    let is_for_want = match (result.code, result.enhanced) {
        (523 | 530 | 538, _) | (500.., Some((_, 7, 10 | 11))) => true,
        (500.., Some((_, 7, _))) => names_it(),
        _ => false,
    };
    if is_for_want && result.verdict == Verdict::Permanent {
        result.verdict = Verdict::Temporary;
        result.text = format!("{} (said without TLS, which failed: {why})", result.text);
    }
}

/// RFC 3463 3.6: X.5.3; a bare 452 to RCPT says the same.
fn is_too_many(reply: &Reply) -> bool {
    let number = reply.code.number();
    let subject = reply.enhanced.map(|e| (e.subject, e.detail));
    matches!(number, 452 | 552) && matches!(subject, None | Some((5, 3)))
}

/// MAIL and RCPT; recipients that cannot be written are told to be wrong.
fn envelope(
    message: &Message,
    content: Option<&Content>,
    offers: &Extensions,
    recipients: &[u32],
    transacted: &mut Transacted,
) -> Option<(Envelope, Vec<u32>)> {
    let row = &message.row;
    let smtputf8 = row.smtputf8 && needs_smtputf8(message, content, recipients);
    // RFC 6531 3.2: where nothing else needs the extension, domains go in A-labels and it is not asked for.
    let form = |address: Address| match smtputf8 {
        true => address,
        false => with_a_labels(&address).unwrap_or(address),
    };
    let most = offers
        .recipients_max
        .map_or(usize::MAX, |m| m as usize)
        .max(1);
    // RFC 9422: RCPTDOMAINMAX; only a smarthost gets several domains at once.
    let domains_max = offers
        .recipient_domains_max
        .map_or(usize::MAX, |m| m as usize)
        .max(1);
    let mut domains = std::collections::HashSet::new();
    let mut addresses = Vec::new();
    let mut indexes = Vec::new();
    for &index in recipients {
        match row.recipients[index as usize].address.parse::<Address>() {
            Ok(_) if addresses.len() >= most => transacted.left.push(index),
            Ok(_)
                if domains.len() >= domains_max
                    && !domains.contains(&row.recipients[index as usize].domain()) =>
            {
                transacted.left.push(index)
            }
            Ok(address) => {
                let recipient = &row.recipients[index as usize];
                domains.insert(recipient.domain());
                addresses.push(smtp::client::Recipient {
                    address: form(address),
                    notify: recipient.notify.map(notify),
                    orcpt: recipient.orcpt.as_deref().and_then(|o| o.parse().ok()),
                });
                indexes.push(index);
            }
            Err(_) => {
                let text = "the address cannot be written in SMTP";
                let result = RecipientResult::ours(index, Verdict::Permanent, (5, 1, 3), text);
                transacted.results.push(result);
            }
        }
    }
    if addresses.is_empty() {
        return None;
    }
    let body = if row.binary {
        Some(BodyKind::BinaryMime)
    } else {
        row.eight_bit.then_some(BodyKind::EightBitMime)
    };
    Some((
        Envelope {
            reverse_path: ReversePath::Null,
            recipients: addresses,
            size: Some(size(message, content)),
            body,
            smtputf8: smtputf8 && offers.smtputf8,
            ret: row.ret.map(|ret| match ret {
                Ret::Full => Return::Full,
                Ret::Headers => Return::Headers,
            }),
            envid: row.envid.as_deref().and_then(|e| e.parse().ok()),
            require_tls: false,
        },
        indexes,
    ))
}

fn notify(notify: rows::Notify) -> Notify {
    let rows::Notify {
        success,
        failure,
        delay,
    } = notify;
    match success || failure || delay {
        false => Notify::Never,
        true => Notify::On {
            success,
            failure,
            delay,
        },
    }
}

struct Run<'a> {
    link: &'a mut Link,
    message: &'a Rc<Message>,
    octets: &'a Octets<'a>,
    /// Replies to RCPT.
    results: Vec<Option<Reply>>,
    /// The server has said something.
    has_answered: bool,
    overload: bool,
    /// To what the next reply is.
    stage: ReplyStage,
    /// The server has refused the message before its end: nothing else can be said on this connection.
    is_broken_off: bool,
}

impl Run<'_> {
    /// The reply that decided about all whose RCPT was accepted, if there is one.
    async fn run(&mut self, envelope: &Envelope) -> Result<Option<Reply>, Lost> {
        let transfer = match self.message.row.binary {
            true => Transfer::Chunks,
            false => Transfer::Data,
        };
        match self.link.said_unasked().await? {
            None => (),
            Some(reply) if reply.code.number() == 421 => return Err(Lost::Closing(reply)),
            Some(reply) => return Err(unasked(&reply)),
        }
        let phase = &self.octets.phase;
        phase.comes_to("waits for the reply to MAIL of", &self.link.remote());
        self.link.session.begin(envelope, transfer);
        let mut refused_sender = None;
        loop {
            let event = self.link.next().await?;
            self.has_answered = true;
            match event {
                Event::Sender(reply) => {
                    self.stage = ReplyStage::Recipient;
                    phase.goes_on("waits for the reply to RCPT of");
                    if !reply.is_positive() {
                        self.overload |= reply.code.is_transient();
                        refused_sender = Some(reply);
                    }
                }
                // What follows from it says nothing, also if the server leaves before all is said.
                Event::Recipient { .. } if refused_sender.is_some() => (),
                Event::Recipient { index, reply } => {
                    if let Some(place) = self.results.get_mut(index) {
                        *place = Some(reply);
                    }
                    if self.results.iter().all(Option::is_some) {
                        self.stage = ReplyStage::Data;
                        phase.goes_on("waits for the reply to DATA of");
                    }
                }
                Event::Ready => return self.send(transfer).await.map(Some),
                Event::Refused(reply) => {
                    let all_refused = || self.results.iter().flatten().all(|r| !r.is_positive());
                    if let Some(sender) = refused_sender {
                        self.stage = ReplyStage::Mail;
                        return Ok(Some(sender));
                    }
                    if self.results.iter().all(Option::is_some) && all_refused() {
                        self.overload |= self.results.iter().flatten().all(is_slow_down);
                        return Ok(None);
                    }
                    self.overload |= reply.code.is_transient();
                    return Ok(Some(reply));
                }
                other => return Err(Lost::Protocol(format!("out of turn: {other:?}"))),
            }
        }
    }

    /// Sends the message; answers what the server said to it.
    async fn send(&mut self, transfer: Transfer) -> Result<Reply, Lost> {
        // Not before: whoever keeps us waiting for a reply keeps no memory from others.
        let content = self.octets.read().await.map_err(|why| match why {
            NoContent::Busy | NoContent::Crowded => {
                Lost::Unreadable("too much is being read now".to_owned())
            }
            NoContent::Over(_, _, text) => Lost::Unreadable(text),
        })?;
        self.octets.phase.goes_on("sends the message to");
        let bytes = content.bytes.clone();
        let in_file = self.message.in_file(&content).await.map_err(cannot_read)?;
        let is_last = |at: usize, length: usize| at + length >= bytes.len() && in_file.is_none();
        let mut at = 0;
        while at < bytes.len() || (at == 0 && in_file.is_none()) {
            let piece = &bytes[at..bytes.len().min(at + PIECE)];
            if let Some(early) = self
                .piece(transfer, piece, is_last(at, piece.len()))
                .await?
            {
                return Ok(early);
            }
            at += piece.len().max(1);
        }
        if let Some(InFile { place, location }) = in_file {
            let mut at = place.start;
            while at < place.end {
                let now = (place.end - at).min(PIECE as u64) as usize;
                let shard = self.message.shard();
                let read = shard
                    .read_external(self.message.body, location, at, now)
                    .await;
                let piece = read.map_err(cannot_read)?;
                at += piece.len() as u64;
                if let Some(early) = self.piece(transfer, &piece, at >= place.end).await? {
                    return Ok(early);
                }
            }
        }
        if transfer == Transfer::Data {
            if let Some(early) = self.early().await? {
                return Ok(early);
            }
            let ended = self.link.session.finish();
            ended.map_err(|e| Lost::Unsendable(e.to_string()))?;
            self.link.flush().await?;
        }
        let phase = &self.octets.phase;
        phase.goes_on("waits for the reply to the message of");
        match self.link.final_reply().await? {
            Event::Done(reply) => {
                self.overload |= reply.code.is_transient();
                Ok(reply)
            }
            other => Err(Lost::Protocol(format!("out of turn: {other:?}"))),
        }
    }

    /// Before the message ends: what the server has said against it already. Anything but a refusal would look like the answer to the whole.
    async fn early(&mut self) -> Result<Option<Reply>, Lost> {
        match self.link.said_unasked().await? {
            None => Ok(None),
            Some(reply) if reply.code.number() == 421 => Err(Lost::Closing(reply)),
            Some(reply) if reply.code.number() >= 400 => {
                self.is_broken_off = true;
                self.overload |= reply.code.is_transient();
                Ok(Some(reply))
            }
            Some(reply) => Err(unasked(&reply)),
        }
    }

    /// A part of the message; a reply if the server does not want the rest.
    async fn piece(
        &mut self,
        transfer: Transfer,
        piece: &[u8],
        last: bool,
    ) -> Result<Option<Reply>, Lost> {
        match transfer {
            Transfer::Data => {
                // A bare CR or LF would be a line's end to some servers and not to others.
                let stuffed = self.link.session.body(piece);
                stuffed.map_err(|e| Lost::Unsendable(e.to_string()))?;
                if !last {
                    self.link.flush().await?;
                }
            }
            Transfer::Chunks => {
                if last && let Some(early) = self.early().await? {
                    return Ok(Some(early));
                }
                self.link.session.chunk(piece, last);
                self.link.flush().await?;
                if !last {
                    match self.link.next().await? {
                        Event::Chunk(reply) if reply.is_positive() => (),
                        Event::Chunk(reply) => {
                            self.link.session.reset();
                            let _ = self.link.next().await?;
                            return Ok(Some(reply));
                        }
                        other => return Err(Lost::Protocol(format!("out of turn: {other:?}"))),
                    }
                }
            }
        }
        Ok(None)
    }
}

/// A reply to nothing.
fn unasked(reply: &Reply) -> Lost {
    Lost::Protocol(format!("speaks out of turn: {}", super::link::said(reply)))
}

/// Whether a refusal of a recipient is about us and the time, not about the mailbox. RFC 3463 3.3: X.2.Y.
fn is_slow_down(reply: &Reply) -> bool {
    reply.code.is_transient() && reply.enhanced.is_none_or(|e| e.subject != 2)
}

fn cannot_read(error: shards::storage::StorageError) -> Lost {
    Lost::Unreadable(error.to_string())
}

/// Octets of a message that are written at once.
pub(super) const PIECE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_for_want_of_tls_may_be_taken_with_it() {
        let verdict = |code, enhanced, text: &str| {
            let mut result = RecipientResult {
                code,
                ..RecipientResult::ours(0, Verdict::Permanent, enhanced, text)
            };
            wants_tls(&mut result, "a broken handshake");
            result.verdict
        };
        for (code, enhanced, text, is_for_want) in [
            (530, (5, 7, 0), "Must issue a STARTTLS command first", true),
            (550, (5, 7, 10), "no", true),
            (554, (5, 7, 1), "Session encryption is required", true),
            (550, (5, 7, 1), "Relaying denied", false),
            (550, (5, 7, 1), "blocked using a list", false),
            (550, (5, 1, 1), "no such user, or TLS", false),
        ] {
            let expected = match is_for_want {
                true => Verdict::Temporary,
                false => Verdict::Permanent,
            };
            assert_eq!(verdict(code, enhanced, text), expected, "{code} {text}");
        }
    }
}
