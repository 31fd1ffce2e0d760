//! A message that a client of the API asks for, from its objects to the queue: made, signed and committed here, on the core that keeps it. All
//! recipients get it by the queue, also those with accounts here. A copy for the sender is part of the same commit.
//! RFC 6409 in spirit: the author must be the account's.
//! Not here: HTTP, who asks.

use std::rc::Rc;
use std::sync::Arc;

use message::compose::{Greeting, WithProtocol};
use message::{Header, MessageDate, Received, ReceivedFrom};
use shards::rt;
use webapi::compose::{Addressed, compose};
use webapi::{ApiError, Code, Composed, Maker, SendRequest, SendResult, Submission, Time, Upload};

use super::copies;
use super::once::{Mark, from_id, submit_once};
use super::{
    FanOut, Finished, HEAD_MAX, Recipient, SigningError, Spool, remove_unused, signatures,
    unique_mail_from,
};
use crate::calls::{Submit, Submitted, UploadedFile};
use crate::directory::MaySend;
use crate::live::Live;
use crate::percore::PerCore;
use crate::queue::QueueId;
use crate::queue::rows::{MessageRow, Recipient as Queued, UniqueMailFrom};
use crate::queue::sending::Wanted;
use crate::queue::unsubscribe::{self, Link};
use crate::settings::AccountName;
use crate::store::{SENT_COPY, StoreError, thread_row};

/// Takes responsibility for the message: it is durable when this answers, or not accepted at all.
pub async fn submit(core: &Rc<PerCore>, submit: Submit) -> Result<Submitted<SendResult>, ApiError> {
    match submit.once {
        Some(once) => submit_once(core, submit, once).await,
        None => make(core, submit, None).await.map(Submitted::Now),
    }
}

/// The same; with a mark, in the shard that it names and together with it.
pub(super) async fn make(
    core: &Rc<PerCore>,
    submit: Submit,
    mut mark: Option<Mark>,
) -> Result<SendResult, ApiError> {
    let Submit {
        account,
        login,
        id,
        mut request,
        uploads,
        unsubscribe,
        once: _,
    } = submit;
    let live = core.live();
    let now = core.wall_clock();
    let most = live.settings.server.limits.smtp.recipients_max as usize;
    let named = request.to.len() + request.cc.len() + request.bcc.len() + request.reply_to.len();
    if named > most {
        let message = format!("To, CC, BCC and ReplyTo: more than {most} addresses");
        return Err(ApiError::new(Code::User, message));
    }
    let hostname = live.settings.server.hostname().to_string();
    let mut random = [0; 16];
    crate::login::random(&mut random).map_err(ours)?;
    let message_id = message::compose::message_id(random, &hostname);
    if unsubscribe {
        let url = live.settings.server.public_url();
        offer_unsubscribing(core, account, (&message_id, &url), &mut request).await?;
    }
    let request = Arc::new(request);
    let addressed = Addressed::of(&request, &login)?;
    let from = addressed.from.to_string();
    let (localpart, domain) = from.rsplit_once('@').unwrap_or((&from, ""));
    let (localpart, domain) = (localpart.to_string(), domain.to_string());
    must_be_own(&live, account, (&localpart, &domain))?;
    if addressed.recipients.is_empty() {
        return Err(ApiError::new(
            Code::NoRecipients,
            "To, CC and BCC are empty",
        ));
    }
    let not_before = match request.future_release {
        None => 0,
        Some(time) if time.unix() > now + HELD_MAX => {
            let message = "FutureRelease: more than 60 days ahead";
            return Err(ApiError::new(Code::User, message));
        }
        Some(time) => time.unix(),
    };
    if let Err(error) = super::extra::check(&request.extra) {
        return Err(ApiError::new(Code::User, format!("Extra: {error}")));
    }
    let full_name = live.settings.accounts.get(&account);
    let job = Job {
        author: (
            full_name.map_or(String::new(), |a| a.full_name.clone()),
            login.clone(),
        ),
        message_id,
        now: Time::of_unix(now).ok_or_else(|| ours("the clock is wrong"))?,
        request: request.clone(),
        uploads,
    };
    let composed = if job.octets() > ON_CORE_MAX {
        let made = core.composing.run(account.as_str(), move || job.run());
        made.await
            .map_err(|e| ours(format!("{e}; nothing was sent, try again later")))??
    } else {
        job.run()?
    };
    // It is in the message now, and may be most of the memory that the request takes.
    let mut request = Arc::unwrap_or_clone(request);
    request.attached_files.clear();
    request.inline_files.clear();
    request.alternative_files.clear();
    (request.text, request.html) = (String::new(), String::new());
    let most = live
        .settings
        .server
        .limits
        .smtp
        .message_size_max_bytes
        .get();
    if composed.octets.len() as u64 > most {
        let message = format!(
            "the message has {} octets, and {most} is the most",
            composed.octets.len()
        );
        return Err(ApiError::new(Code::MessageTooLarge, message));
    }
    let copies = request.save_sent.then(|| Recipient {
        account: account.to_string(),
        mailbox: SENT_COPY.to_string(),
        address: String::new(),
    });
    let octets = composed.octets.len() as u64;
    if copies.is_some() && !core.any_has_room([(account, octets)].into_iter()).await {
        let message = "there is no room for the copy in Sent: nothing was sent";
        return Err(ApiError::new(Code::SentOverQuota, message));
    }
    let mut spool = Spool::new(core, octets);
    if let Some(hasher) = live.signers.hasher() {
        spool.hash_with(hasher);
    }
    for piece in composed.octets.chunks(PIECE) {
        spool.push(piece);
        if spool.needs_settling() {
            spool.settle().await.map_err(|e| ours(e.to_string()))?;
        }
        rt::yield_if_needed().await;
    }
    drop(composed.octets);
    let head = &spool.head()[..spool.head().len().min(HEAD_MAX)];
    let thread = thread_row(Header::of_message(head));
    let Finished {
        content,
        file,
        memory,
        hasher,
        is_eight_bit,
    } = spool.finish().await.map_err(|e| ours(e.to_string()))?;
    let lifetime = live.settings.server.queue.give_up_after_secs.duration();
    let expires = now
        .max(not_before)
        .saturating_add_unsigned(lifetime.as_secs());
    let (numbers, different) =
        copies::number(addressed.recipients.iter().map(|(_, address)| address));
    let recipients: Vec<String> = different.iter().map(ToString::to_string).collect();
    let wanted = Wanted::of(live.sending(account), recipients.iter());
    let reserved = match core.reserve(account, wanted).await {
        Ok(reserved) => reserved,
        Err(why) => {
            if let Some(external) = file {
                remove_unused(core, external);
            }
            return Err(why.into());
        }
    };
    let signed = signatures(
        core,
        (&localpart, &domain),
        (&content, hasher),
        ("", addressed.smtputf8, expires),
    );
    let signed = match signed.await {
        Ok(signed) => signed,
        Err(error) => {
            core.give_back(reserved);
            if let Some(external) = file {
                remove_unused(core, external);
            }
            return Err(match error {
                SigningError::Message(error) => ApiError::new(Code::User, format!("DKIM: {error}")),
                error => {
                    tracing::error!(connection = id, domain, %error, "a message could not be signed and was put off");
                    ours("the message could not be signed, try again later")
                }
            });
        }
    };
    let single = match recipients.as_slice() {
        [address] => Some(address.clone()),
        _ => None,
    };
    let prefix = signed
        + &received_field(
            &hostname,
            (&id, now),
            request.require_tls == Some(true),
            single.as_deref(),
        );
    let address = (localpart.as_str(), domain.as_str());
    let unique_mail_from = unique_mail_from(&live, (account, &login), address);
    let has_from_ids = matches!(unique_mail_from, Some(UniqueMailFrom::FromId { .. }));
    if let Some(mark) = &mut mark {
        mark.has_from_ids = has_from_ids;
    }
    let row = MessageRow {
        size: 0,
        prefix_length: 0,
        account: account.to_string(),
        reverse_path: from.clone(),
        message_id: composed.message_id.clone(),
        smtputf8: addressed.smtputf8,
        eight_bit: is_eight_bit || !prefix.is_ascii(),
        binary: false,
        accepted: now,
        not_before,
        expires,
        require_tls: request.require_tls,
        ret: None,
        envid: None,
        recipients: recipients.into_iter().map(Queued::new).collect(),
        held_for: None,
        unique_mail_from,
        extra: request.extra.clone(),
        batch: None,
    };
    let targets = copies.iter().map(|_| vec![account]).collect();
    let fan_out = FanOut {
        recipients: copies.into_iter().collect(),
        targets,
        remote: Some(row),
        // Only the sender's copy names them.
        prefix: bcc_field(&request).into_bytes(),
        queue_prefix: prefix.into_bytes(),
        content,
        memory,
        reverse_path: from.clone(),
        received: now,
        thread,
        is_report: false,
        mark,
    };
    let accepted = fan_out.accept(core).await;
    if let Some(external) = file {
        remove_unused(core, external);
    }
    let first = accepted.map_err(|error| {
        tracing::info!(connection = id, %error, "a message was not stored");
        core.not_accepted(reserved, &error);
        refused(&error)
    })?;
    let recipients = different.len();
    tracing::info!(
        connection = id,
        from,
        recipients,
        octets,
        "message accepted"
    );
    let first = first.map_or(0, QueueId::get);
    Ok(SendResult {
        message_id: composed.message_id,
        submissions: submissions(core, &addressed, (first, &numbers), has_from_ids),
    })
}

/// What is told of each recipient that was named: the number of its copy.
pub(super) fn submissions(
    core: &PerCore,
    addressed: &Addressed,
    (first, numbers): (u64, &[u64]),
    has_from_ids: bool,
) -> Vec<Submission> {
    let named = addressed.recipients.iter().zip(numbers);
    let told = named.map(|((address, _), number)| Submission {
        address: address.clone(),
        queue_msg_id: (first + number) as i64,
        from_id: from_id(core, first + number, has_from_ids),
    });
    told.collect()
}

/// RFC 6409 in spirit: whether the account may write as an author.
pub(super) fn must_be_own(
    live: &Live,
    account: AccountName,
    (localpart, domain): (&str, &str),
) -> Result<(), ApiError> {
    match live.directory.may_send_as(account, localpart, domain) {
        MaySend::Yes => Ok(()),
        MaySend::No => {
            let message = format!("the account may not write as {localpart}@{domain}");
            Err(ApiError::new(Code::BadFrom, message))
        }
        MaySend::Disabled => {
            let message = format!("the domain {domain} is disabled here");
            Err(ApiError::new(Code::DomainDisabled, message))
        }
    }
}

/// Our Received field: the client's machine is told nobody.
pub(super) fn received_field(
    hostname: &str,
    (id, now): (&str, i64),
    require_tls: bool,
    for_recipient: Option<&str>,
) -> String {
    let received = Received {
        source: ReceivedFrom::Submission,
        by_host: hostname,
        by_address: None,
        with: WithProtocol {
            greeting: Greeting::Http,
            tls: false,
            authenticated: true,
        },
        require_tls,
        id,
        tls: None,
        for_recipient,
        date: MessageDate::utc(now),
    };
    received.to_field()
}

/// A message that is to be made.
struct Job {
    author: (String, String),
    message_id: String,
    now: Time,
    request: Arc<SendRequest>,
    uploads: Vec<UploadedFile>,
}

impl Job {
    /// What it is made of, about.
    fn octets(&self) -> usize {
        let request = &self.request;
        let files = [
            &request.alternative_files,
            &request.inline_files,
            &request.attached_files,
        ];
        let files = files.into_iter().flatten().map(|file| file.data.length());
        let uploads = self.uploads.iter().map(|file| file.content.len());
        let texts = request.text.len() + request.html.len() + request.subject.len();
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| name.len() + value.len());
        let references = request.references.iter().map(|id| id.len() + 1);
        let lists = [&request.to, &request.cc, &request.bcc, &request.reply_to];
        let named = lists
            .into_iter()
            .flatten()
            .map(|n| n.name.len() + n.address.len());
        texts
            + files
                .chain(uploads)
                .chain(headers)
                .chain(references)
                .chain(named)
                .sum::<usize>()
    }

    fn run(self) -> Result<Composed, ApiError> {
        let (name, address) = &self.author;
        let maker = Maker {
            author: (name, address),
            message_id: self.message_id.trim_matches(['<', '>']),
            now: self.now,
            product: concat!("ringmail/", env!("CARGO_PKG_VERSION")),
            boundary: None,
        };
        let uploads: Vec<Upload<'_>> = self.uploads.iter().map(UploadedFile::as_upload).collect();
        compose(&self.request, &uploads, &maker)
    }
}

/// Adds the fields by which the one recipient can unsubscribe. RFC 8058 3.1.
async fn offer_unsubscribing(
    core: &PerCore,
    account: AccountName,
    (made, public_url): (&str, &str),
    request: &mut SendRequest,
) -> Result<(), ApiError> {
    let named = request.to.iter().chain(&request.cc).chain(&request.bcc);
    let addresses: Vec<&str> = named.map(|named| named.address.as_str()).collect();
    let [address] = addresses[..] else {
        let message = "Unsubscribe: a link is one recipient's: send to each of them by itself";
        return Err(ApiError::new(Code::User, message));
    };
    let mut fields = request.headers.iter();
    if fields.any(|(name, _)| unsubscribe::is_field(name)) {
        let message = "Headers: List-Unsubscribe is ours when a link to unsubscribe is asked for";
        return Err(ApiError::new(Code::User, message));
    }
    let life = core.life_of(account).await;
    let life = life.map_err(|e| ours(format!("{e}; nothing was sent, try again later")))?;
    let link = Link {
        account: account.to_string(),
        address: address.to_string(),
        message_id: match request.message_id.as_str() {
            "" => made.to_string(),
            own => own.to_string(),
        },
        life: Some(life),
    };
    let fields = unsubscribe_fields(core, public_url, &link).ok_or_else(|| {
        ApiError::new(
            Code::User,
            "Unsubscribe: the address or MessageID is too long for a link",
        )
    })?;
    for (name, value) in fields {
        request.headers.push((name.into(), value));
    }
    Ok(())
}

/// The header fields by which a recipient can unsubscribe; none: the link would be too long.
pub fn unsubscribe_fields(
    core: &PerCore,
    public_url: &str,
    link: &Link,
) -> Option<[(&'static str, String); 2]> {
    let token = core.from_ids.links()?.token(link)?;
    Some(unsubscribe::fields(public_url, &token))
}

fn bcc_field(request: &SendRequest) -> String {
    if request.bcc.is_empty() {
        return String::new();
    }
    let all: Vec<&str> = request
        .bcc
        .iter()
        .map(|named| named.address.as_str())
        .collect();
    format!("Bcc: <{}>\r\n", all.join(">,\r\n <"))
}

pub(super) fn refused(error: &StoreError) -> ApiError {
    match error {
        StoreError::OverQuota => {
            let message = "there is no room for the copy in Sent: nothing was sent";
            ApiError::new(Code::SentOverQuota, message)
        }
        StoreError::QueueFull => {
            let message = format!("{error}; nothing was sent, try again later");
            ApiError::new(Code::QueueFull, message)
        }
        error if error.is_certain() => ours(format!("{error}; nothing was sent, try again later")),
        error => {
            let message = format!("{error}; whether it was accepted is not known");
            ApiError::new(Code::OutcomeUnknown, message)
        }
    }
}

pub(super) fn ours(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::Server, message)
}

/// How long a message may be held, in seconds.
pub(super) const HELD_MAX: i64 = 60 * 86_400;
/// Octets that are made into a message on the core; more are the pool's that takes long messages apart.
const ON_CORE_MAX: usize = 64 << 10;
/// Octets that are given to the spool at a time.
const PIECE: usize = 1 << 20;
