//! One mail transaction: from MAIL to the answer at the end of the message. RFC 5321 3.3, RFC 6409 for our own users.

use std::collections::BTreeMap;
use std::rc::Rc;

use dkim::MessageHasher;
use message::compose::{Greeting, TlsNames, WithProtocol};
use message::{FromAddress, Header, MessageDate, Received, ReceivedFrom};
use shards::faults::point;
use shards::net::TlsFacts;
use smtp::server::Defect;
use smtp::{
    Address, ForwardPath, HelloKind, Hold, Host, MailParameters, RecipientParameters, Reply,
    ReversePath,
};

use super::recipients::{self, Target};
use super::{replies, simulated};
use crate::directory::Failure;
use crate::inbound::{
    Arrived, ExtraFields, FanOut, Finished, HEAD_MAX, Known, Lookout, Recipient, SigningError,
    Spool, SpoolError, signatures,
};
use crate::live::Live;
use crate::percore::{PerCore, Reserved};
use crate::queue::rows::{MessageRow, Notify, Recipient as Queued, Ret, UniqueMailFrom};
use crate::queue::sending::Wanted;
use crate::settings::AccountName;
use crate::settings::names::with_a_labels;
use crate::store::{NewContent, thread_row};

/// What is known of the connection when a message ends.
pub struct Facts<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// The connection's number.
    pub id: &'a str,
    /// Who said hello, and how.
    pub hello: (HelloKind, &'a str),
    /// The peer.
    pub peer: std::net::SocketAddr,
    /// Our end.
    pub local: std::net::SocketAddr,
    /// TLS.
    pub tls: Option<TlsFacts>,
    /// The account that is logged in, on submission.
    pub submitter: Option<AccountName>,
    /// The address with which it logged in.
    pub login: &'a str,
}

/// What is known of a message of our own user.
#[derive(Default)]
struct Submission {
    /// Header fields that it lacked.
    added: String,
    /// Localpart and domain of its author.
    author: Option<(String, String)>,
    /// What its submitter says of it for himself.
    extra: BTreeMap<String, String>,
}

/// A transaction under way.
pub struct Transaction {
    reverse_path: ReversePath,
    parameters: MailParameters,
    recipients: Vec<Recipient>,
    /// The accounts of each address.
    targets: Vec<Vec<AccountName>>,
    /// Aliases only members may post to.
    closed_aliases: Vec<String>,
    /// All that were named, in this order; those elsewhere by the first of each.
    named: Vec<Named>,
    spool: Option<Spool>,
    /// On submission: takes fields that are the submitter's own out of the header.
    extra: Option<ExtraFields>,
    failed: Option<SpoolError>,
    /// What is played at the end.
    played: Option<Failure>,
}

/// A recipient, as the client named it.
struct Named {
    queued: Queued,
    is_remote: bool,
}

impl Transaction {
    /// Begins with an accepted MAIL.
    pub fn new(
        reverse_path: ReversePath,
        parameters: MailParameters,
        is_submission: bool,
    ) -> Transaction {
        Transaction {
            reverse_path,
            parameters,
            recipients: Vec::new(),
            targets: Vec::new(),
            closed_aliases: Vec::new(),
            named: Vec::new(),
            spool: None,
            extra: is_submission.then(ExtraFields::default),
            failed: None,
            played: None,
        }
    }

    /// Whether a further recipient may be named: a notification (null path) has one. Spec 1.8.
    pub fn has_room(&self, submission: bool) -> bool {
        submission || self.reverse_path != ReversePath::Null || self.named.is_empty()
    }

    /// Whether the accounts of a RCPT, or one of an alias's members, have room for the declared size, or for anything. Those without a
    /// quota are not asked.
    pub async fn has_place(&self, core: &Rc<PerCore>, target: &Target) -> bool {
        let Target::Local(recipients, _) = target else {
            return true;
        };
        let octets = self.parameters.size.unwrap_or(1).max(1);
        let accounts = recipients.iter().filter_map(|r| r.account.parse().ok());
        core.any_has_room(accounts.map(|a| (a, octets))).await
    }

    /// Adds what a RCPT led to; an account gets one copy for each mailbox.
    pub fn add(
        &mut self,
        target: Target,
        forward_path: &ForwardPath,
        parameters: RecipientParameters,
        hostname: &str,
    ) {
        let address = match (&target, forward_path) {
            (Target::Remote(address), _) => address.clone(),
            (Target::Local(..), ForwardPath::Address(address)) => address.to_string(),
            (Target::Local(..), ForwardPath::Postmaster) => format!("postmaster@{hostname}"),
        };
        let is_remote = matches!(target, Target::Remote(_));
        if !self.named.iter().any(|n| n.queued.address == address) {
            self.named.push(Named {
                queued: Queued {
                    address,
                    notify: parameters.notify.map(notify),
                    orcpt: parameters.orcpt.map(|orcpt| orcpt.to_parameter()),
                },
                is_remote,
            });
        }
        match target {
            Target::Local(recipients, closed) => {
                let accounts = recipients.iter().filter_map(|r| r.account.parse().ok());
                self.targets.push(accounts.collect());
                for recipient in recipients {
                    let known = self.recipients.iter().any(|r| {
                        (&r.account, &r.mailbox) == (&recipient.account, &recipient.mailbox)
                    });
                    if !known {
                        self.recipients.push(recipient);
                    }
                }
                self.closed_aliases.extend(closed);
            }
            Target::Remote(_) => (),
        }
    }

    fn goes_elsewhere(&self) -> bool {
        self.named.iter().any(|n| n.is_remote)
    }

    /// Whether accounts of ours get it through the queue too: it is to be held (RFC 4865), or its sender wants to hear that they have it (RFC
    /// 3461 5.2.3), which is durable there.
    fn goes_through_queue(&self) -> bool {
        let wants = |n: &Named| n.queued.notify.is_some_and(|notify| notify.success);
        let hears = self.reverse_path != ReversePath::Null;
        self.parameters.hold.is_some() || hears && self.named.iter().any(wants)
    }

    /// Has a failure played at the end, if one is asked for. Only `localserve` does.
    pub fn play(&mut self, failure: Option<Failure>) {
        self.played = self.played.or(failure);
    }

    /// Takes a piece of the message.
    pub fn push(&mut self, core: &Rc<PerCore>, piece: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        let expected = self.parameters.size.unwrap_or(0);
        let goes_elsewhere = self.goes_elsewhere();
        let spool = self.spool.get_or_insert_with(|| {
            let mut spool = Spool::new(core, expected);
            // Mail for elsewhere is our users', and may have to be signed.
            if goes_elsewhere && let Some(hasher) = core.live().signers.hasher() {
                spool.hash_with(hasher);
            }
            spool
        });
        match &mut self.extra {
            Some(extra) => extra.push(piece, |octets| spool.push(octets)),
            None => spool.push(piece),
        }
    }

    /// Whether octets of the message have come.
    pub fn is_receiving(&self) -> bool {
        self.spool.is_some() || self.failed.is_some()
    }

    /// Whether [`Transaction::settle`] must be called before more is read.
    pub fn needs_settling(&self) -> bool {
        self.spool.as_ref().is_some_and(Spool::needs_settling)
    }

    /// Moves what is too much for memory to a file. A failure is told at the end of the message, and the rest is not kept.
    pub async fn settle(&mut self) {
        if let Some(spool) = &mut self.spool
            && let Err(error) = spool.settle().await
        {
            self.failed = Some(error);
            self.spool = None;
        }
    }

    /// The message is whole: takes responsibility for it or says why not.
    pub async fn finish(
        mut self,
        core: &Rc<PerCore>,
        facts: Facts<'_>,
        defect: Option<Defect>,
    ) -> Reply {
        if let Some(defect) = defect {
            return defect.reply();
        }
        if let Some(failure) = self.played {
            return simulated::play(failure).await;
        }
        if shards::faults::point("smtp.message").is_err() {
            return Reply::local_error();
        }
        let mut spool = match (self.failed.take(), self.spool.take()) {
            (Some(error), _) => {
                tracing::warn!(connection = facts.id, %error, "a message could not be written to the spool");
                return spool_reply(&error);
            }
            (None, Some(spool)) => spool,
            (None, None) => Spool::new(core, 0),
        };
        let extra = self.extra.take().unwrap_or_default();
        let extra = match extra.finish(|octets| spool.push(octets)) {
            Ok(extra) => extra,
            Err(error) => return Reply::bad_message(format!("Ringmail-Extra: {error}")),
        };
        let live = core.live();
        match self.check(&live, &facts, spool.head()) {
            Ok(submission) => {
                let submission = Submission {
                    extra,
                    ..submission
                };
                self.accept(core, &facts, spool, submission).await
            }
            Err(reply) => reply,
        }
    }

    /// Checks the header; on submission answers who wrote it, and the fields to add.
    fn check(&self, live: &Live, facts: &Facts<'_>, head: &[u8]) -> Result<Submission, Reply> {
        // What is not looked at could name another author, or tell of a loop. The same for a message in memory, of which all is there:
        // what is refused must not hang on how much else the server holds.
        let looked_at = &head[..head.len().min(HEAD_MAX)];
        if looked_at.len() == HEAD_MAX && !message::header::has_separator(looked_at) {
            return Err(Reply::bad_message(format!(
                "the header is longer than {HEAD_MAX} octets"
            )));
        }
        // RFC 5322 2.2.3: it would continue the field that we write above it.
        if matches!(head.first(), Some(b' ' | b'\t')) {
            return Err(Reply::bad_message(
                "the first line of the message continues no field",
            ));
        }
        let header = Header::of_message(head);
        // RFC 5321 6.3: loops are found by counting Received fields.
        if message::compose::received_count(header)
            > live.settings.server.limits.smtp.received_fields_max as usize
        {
            return Err(Reply::loop_detected());
        }
        if self
            .recipients
            .iter()
            .any(|r| message::compose::has_delivered_to(header, &r.address))
        {
            return Err(Reply::loop_detected()
                .with_text("this message was delivered to the same address before"));
        }
        let submission = match facts.submitter {
            Some(account) => self.check_submission(live, account, facts, head)?,
            None => Submission::default(),
        };
        // Of our own users too: an account here is no member yet.
        self.check_aliases(live, header)?;
        Ok(submission)
    }

    fn check_aliases(&self, live: &Live, header: Header<'_>) -> Result<(), Reply> {
        if self.closed_aliases.is_empty() {
            return Ok(());
        }
        let author = message::single_from_address(header).ok();
        let may = |alias: &String| {
            author
                .as_ref()
                .is_some_and(|a| recipients::may_post(live, alias, &a.localpart, &a.domain))
        };
        // Spec 1.8: 550 5.7.2
        if self.closed_aliases.iter().all(may) {
            Ok(())
        } else {
            Err(Reply::new(
                550,
                (5, 7, 2),
                "only members may post to this address",
            ))
        }
    }

    /// RFC 6409 6.1 and 8: the author must be the account's; missing Date and Message-ID are added.
    fn check_submission(
        &self,
        live: &Live,
        account: AccountName,
        facts: &Facts<'_>,
        head: &[u8],
    ) -> Result<Submission, Reply> {
        if !message::header::has_separator(head) {
            return Err(Reply::bad_message(
                "the message has no line between header and body",
            ));
        }
        let header = Header::of_message(head);
        let FromAddress {
            localpart, domain, ..
        } = message::single_from_address(header)
            .map_err(|error| Reply::bad_message(format!("From field: {error}")))?;
        recipients::check_sender(live, account, &localpart, &domain)?;
        let mut added = String::new();
        if header.first("Message-ID").is_none() {
            let mut random = [0; 16];
            // Without randomness a name of the connection and time is still unlike any other.
            if crate::login::random(&mut random).is_err() {
                random[..8].copy_from_slice(&(crate::percore::wall_clock() as u64).to_be_bytes());
            }
            added += &message::compose::message_id_field(&message::compose::message_id(
                random,
                facts.hostname,
            ));
        }
        if header.first("Date").is_none() {
            added += &message::compose::date_field(MessageDate::utc(crate::percore::wall_clock()));
        }
        Ok(Submission {
            added,
            author: Some((localpart, domain)),
            ..Submission::default()
        })
    }

    /// The DKIM-Signature fields of a message for elsewhere: none if nobody signs for its author's domain.
    async fn signatures(
        &self,
        core: &Rc<PerCore>,
        facts: &Facts<'_>,
        submission: &Submission,
        (content, hasher): (&NewContent, Option<Box<MessageHasher>>),
        until: i64,
    ) -> Result<String, Reply> {
        let Some((localpart, domain)) =
            submission.author.as_ref().filter(|_| self.goes_elsewhere())
        else {
            return Ok(String::new());
        };
        let added = (submission.added.as_str(), self.parameters.smtputf8, until);
        let signed = signatures(core, (localpart, domain), (content, hasher), added);
        signed.await.map_err(|error| match error {
            SigningError::Message(error) => Reply::bad_message(format!("DKIM: {error}")),
            error => {
                tracing::error!(connection = facts.id, domain, %error, "a message could not be signed and was put off");
                Reply::local_error().with_text("the message could not be signed, try again later")
            }
        })
    }

    async fn accept(
        mut self,
        core: &Rc<PerCore>,
        facts: &Facts<'_>,
        spool: Spool,
        submission: Submission,
    ) -> Reply {
        let header = Header::of_message(spool.head());
        let thread = thread_row(header);
        let message_id = message_id(header, &submission.added);
        let require_tls = require_tls(self.parameters.require_tls, header);
        let lookout = self.lookout(core, facts, spool.head());
        let Finished {
            content,
            file,
            memory,
            hasher,
            is_eight_bit,
        } = match spool.finish().await {
            Ok(finished) => finished,
            Err(error) => return spool_reply(&error),
        };
        let accepted = core.wall_clock();
        let not_before = match self.parameters.hold {
            None => 0,
            Some(Hold::For(seconds)) => accepted.saturating_add(seconds.into()),
            Some(Hold::Until(time)) => time,
        };
        let lifetime = core
            .live()
            .settings
            .server
            .queue
            .give_up_after_secs
            .duration();
        // The time it is held is no time it was tried.
        let expires = accepted
            .max(not_before)
            .saturating_add_unsigned(lifetime.as_secs());
        let reserved = match self.reserve(core, facts).await {
            Ok(reserved) => reserved,
            Err(reply) => {
                if let Some(external) = file {
                    crate::inbound::remove_unused(core, external);
                }
                return reply;
            }
        };
        let signed = (&content, hasher);
        let signatures = self.signatures(core, facts, &submission, signed, expires);
        let signatures = match signatures.await {
            Ok(signatures) => signatures,
            Err(reply) => {
                core.give_back(reserved);
                if let Some(external) = file {
                    crate::inbound::remove_unused(core, external);
                }
                return reply;
            }
        };
        // What a report says is durable before the report is: its sender comes again until both are.
        let mut is_report = false;
        if let Some(lookout) = lookout {
            is_report = match lookout.take(core, &content).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::info!(connection = facts.id, %error, "what a report says was not taken: it is to come again");
                    if let Some(external) = file {
                        crate::inbound::remove_unused(core, external);
                    }
                    return Reply::local_error();
                }
            };
            let _ = point("inbound.returned");
        }
        // RFC 6376 5.6: signatures come first.
        let received = signatures + &self.received(facts) + &submission.added;
        let reverse_path = self
            .reverse_path
            .to_string()
            .trim_start_matches('<')
            .trim_end_matches('>')
            .to_string();
        let unique_mail_from = unique_mail_from(&core.live(), facts, &self.reverse_path);
        let eight_bit = is_eight_bit || !received.is_ascii();
        if self.goes_through_queue() {
            self.recipients.clear();
            self.targets.clear();
            self.named.iter_mut().for_each(|n| n.is_remote = true);
        }
        let queued = self.named.into_iter().filter(|n| n.is_remote);
        let queued: Vec<Queued> = queued.map(|n| n.queued).collect();
        let remote = (!queued.is_empty()).then(|| MessageRow {
            size: 0,
            prefix_length: 0,
            account: facts
                .submitter
                .map(|a| a.as_str().to_string())
                .unwrap_or_default(),
            reverse_path: reverse_path.clone(),
            message_id,
            smtputf8: self.parameters.smtputf8,
            eight_bit,
            binary: self.parameters.body == Some(smtp::BodyKind::BinaryMime),
            accepted,
            not_before,
            expires,
            require_tls,
            ret: self.parameters.ret.map(|ret| match ret {
                smtp::Return::Full => Ret::Full,
                smtp::Return::Headers => Ret::Headers,
            }),
            envid: self.parameters.envid.map(|envid| envid.to_string()),
            recipients: queued,
            held_for: match self.parameters.hold {
                Some(Hold::For(seconds)) => Some(seconds),
                Some(Hold::Until(_)) | None => None,
            },
            unique_mail_from,
            extra: submission.extra,
            batch: None,
        });
        let (from, octets) = (reverse_path.clone(), content.length());
        let recipients = self.recipients.len() + remote.as_ref().map_or(0, |r| r.recipients.len());
        let fan_out = FanOut {
            recipients: self.recipients,
            targets: self.targets,
            remote,
            prefix: (message::compose::return_path_field(&reverse_path) + &received).into_bytes(),
            queue_prefix: received.into_bytes(),
            content,
            memory,
            reverse_path,
            received: core.wall_clock(),
            thread,
            is_report,
            mark: None,
        };
        let result = fan_out.accept(core).await;
        if let Some(external) = file {
            crate::inbound::remove_unused(core, external);
        }
        match result {
            Ok(_) => {
                // What an operator asks for first: did it arrive?
                tracing::info!(
                    connection = facts.id,
                    from,
                    recipients,
                    octets,
                    "message accepted"
                );
                Reply::message_accepted()
            }
            Err(error) => {
                tracing::info!(connection = facts.id, %error, "a message was not stored");
                core.not_accepted(reserved, &error);
                replies::not_stored(&error)
            }
        }
    }

    /// Counts a message of our own user against the limits of the account.
    async fn reserve(&self, core: &Rc<PerCore>, facts: &Facts<'_>) -> Result<Reserved, Reply> {
        let Some(account) = facts.submitter else {
            return Ok(Reserved::default());
        };
        let named = self.named.iter().map(|n| n.queued.address.as_str());
        let wanted = Wanted::of(core.live().sending(account), named);
        let reserved = core.reserve(account, wanted).await;
        reserved.map_err(|why| replies::may_not_send(&why))
    }

    /// Of a stranger's mail: whether it may be about mail that went out.
    fn lookout(&self, core: &PerCore, facts: &Facts<'_>, head: &[u8]) -> Option<Lookout> {
        if facts.submitter.is_some() {
            return None;
        }
        let named = self.named.iter().map(|n| n.queued.address.as_str());
        let arrived = Arrived {
            is_null: self.reverse_path == ReversePath::Null,
            named: named.collect(),
            recipients: &self.recipients,
            head,
        };
        let live = core.live();
        let known = Known {
            directory: &live.directory,
            settings: &live.settings,
            from_ids: &core.from_ids,
        };
        Lookout::of(known, &arrived)
    }

    fn received(&self, facts: &Facts<'_>) -> String {
        let (kind, name) = facts.hello;
        let greeting = match (kind, self.parameters.smtputf8) {
            (HelloKind::Extended, true) => Greeting::Utf8Smtp,
            (HelloKind::Extended, false) => Greeting::Esmtp,
            (HelloKind::Plain, _) => Greeting::Smtp,
        };
        let single = match (self.named.as_slice(), self.recipients.len()) {
            // An alias's members are not named.
            ([named], 0 | 1) => Some(named.queued.address.as_str()),
            _ => None,
        };
        // RFC 6531 3.7.3: what may go on without SMTPUTF8 has nothing beyond ASCII in its trace, not for the sake of a domain.
        let ascii = single
            .filter(|address| !address.is_ascii())
            .and_then(|address| {
                let address = with_a_labels(&address.parse().ok()?)?;
                Some(address.to_string())
            });
        let single = ascii.as_deref().or(single);
        let source = match facts.submitter {
            Some(_) => ReceivedFrom::Submission,
            None => ReceivedFrom::Peer {
                ehlo_name: name,
                reverse_name: None,
                address: facts.peer.ip().to_canonical(),
            },
        };
        Received {
            source,
            by_host: facts.hostname,
            by_address: facts
                .submitter
                .is_none()
                .then(|| facts.local.ip().to_canonical()),
            with: WithProtocol {
                greeting,
                tls: facts.tls.is_some(),
                authenticated: facts.submitter.is_some(),
            },
            require_tls: self.parameters.require_tls,
            id: facts.id,
            tls: facts.tls.as_ref().map(|t| TlsNames {
                version: t.version,
                cipher: &t.cipher,
            }),
            for_recipient: single,
            date: MessageDate::utc(crate::percore::wall_clock()),
        }
        .to_field()
    }
}

/// Whether each recipient gets a reverse-path of its own.
fn unique_mail_from(
    live: &Live,
    facts: &Facts<'_>,
    reverse_path: &ReversePath,
) -> Option<UniqueMailFrom> {
    match reverse_path {
        ReversePath::Address(Address {
            localpart,
            host: Host::Domain(domain),
        }) => {
            let address = (localpart.as_str(), domain.as_str());
            crate::inbound::unique_mail_from(live, (facts.submitter?, facts.login), address)
        }
        _ => None,
    }
}

/// RFC 8689 4.1: REQUIRETLS; without it, what the header says. Section 3: one field, which says No; any other counts for nothing.
fn require_tls(parameter: bool, header: Header<'_>) -> Option<bool> {
    if parameter {
        return Some(true);
    }
    let mut fields = header.all("TLS-Required");
    let field = fields.next()?;
    let says_no = field.unfolded().trim_ascii().eq_ignore_ascii_case(b"No");
    (says_no && fields.next().is_none()).then_some(false)
}

/// RFC 3461 4.1.
fn notify(notify: smtp::Notify) -> Notify {
    match notify {
        smtp::Notify::Never => Notify::default(),
        smtp::Notify::On {
            success,
            failure,
            delay,
        } => Notify {
            success,
            failure,
            delay,
        },
    }
}

/// The Message-ID of a message, or that of the fields we add to it.
fn message_id(header: Header<'_>, added: &str) -> String {
    let added = Header::of_message(added.as_bytes());
    let found = header.first("Message-ID").or(added.first("Message-ID"));
    let text = found.map(|field| {
        String::from_utf8_lossy(&field.unfolded())
            .trim()
            .to_string()
    });
    text.filter(|t| t.len() <= MESSAGE_ID_MAX)
        .unwrap_or_default()
}

/// Octets of a Message-ID that is kept with a queued message. RFC 5322 2.1.1.
const MESSAGE_ID_MAX: usize = 998;

/// What the sender is told of a message that can't be taken now.
pub fn spool_reply(error: &SpoolError) -> Reply {
    match error {
        SpoolError::Io(e) if e.kind() == std::io::ErrorKind::StorageFull => Reply::system_full(),
        SpoolError::Memory => {
            Reply::system_full().with_text("too many messages wait for the disk, try again later")
        }
        _ => Reply::local_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_tls_is_required() {
        let says = |parameter, header: &str| {
            let message = format!("Subject: x\r\n{header}\r\nTLS-Required: No\r\n");
            require_tls(parameter, Header::of_message(message.as_bytes()))
        };
        assert_eq!(says(false, ""), None);
        assert_eq!(says(false, "TLS-Required: No\r\n"), Some(false));
        assert_eq!(says(false, "tls-required:\r\n no \r\n"), Some(false));
        for other in [
            "TLS-Required: Yes\r\n",
            "TLS-Required:\r\n",
            "TLS-Required: No\r\nTLS-Required: No\r\n",
        ] {
            assert_eq!(says(false, other), None, "{other}");
        }
        assert_eq!(says(true, "TLS-Required: No\r\n"), Some(true));
    }
}
