//! A batch that a client of the API asks for: looked at, written as a recipe, and committed here, on the core that keeps it, as one message of the queue. So
//! one commit decides about all of it. What each recipient gets is made when it is due (`recipes`).
//! RFC 6409 in spirit: the author must be the account's.
//! Not here: HTTP and JSON, who asks.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shards::faults::point;
use shards::rt;
use shards::storage::Batch;
use webapi::batch::BatchRequest;
use webapi::compose::{FileKinds, compose, split_files};
use webapi::template::Problem;
use webapi::{ApiError, Code, SendRequest, Upload};

use super::once::{Mark, submit_batch_once};
use super::submit::{HELD_MAX, must_be_own, ours, received_field, refused};
use super::{Finished, Spool, remove_unused, unique_mail_from};
use crate::calls::{AcceptedBatch, BatchError, SubmitBatch, Submitted, UploadedFile};
use crate::percore::PerCore;
use crate::queue;
use crate::queue::batch::BatchInfo;
use crate::queue::id::QueueId;
use crate::queue::recipe::{self, COMMON_MAX, Common, Files, RECIPIENTS_MAX};
use crate::queue::rows::{MessageRow, Recipient as Queued};
use crate::queue::sending::Wanted;
use crate::queue::unsubscribe;
use crate::recipes::Job;
use crate::settings::Sending;
use crate::store::StoreError;

/// Takes responsibility for a batch: it is durable when this answers, or not accepted at all.
pub async fn submit_batch(
    core: &Rc<PerCore>,
    submit: SubmitBatch,
) -> Result<Submitted<AcceptedBatch>, BatchError> {
    match submit.once {
        Some(once) => submit_batch_once(core, submit, once).await,
        None => make(core, submit, None).await.map(Submitted::Now),
    }
}

/// The batch; `mark`: notes in its commit that its request was answered.
pub(super) async fn make(
    core: &Rc<PerCore>,
    submit: SubmitBatch,
    mark: Option<Mark>,
) -> Result<AcceptedBatch, BatchError> {
    let SubmitBatch {
        account,
        login,
        id,
        mut request,
        uploads,
        once: _,
    } = submit;
    let live = core.live();
    let now = core.wall_clock();
    let most = live.settings.server.limits.http.batch_recipients_max as usize;
    let most = most.min(RECIPIENTS_MAX);
    let count = request.recipients.len();
    if count > most {
        return Err(wrong("/recipients", format!("more than {most}")));
    }
    let from = request.from.as_ref().map_or(&login, |from| &from.address);
    let from: smtp::Address = from
        .parse()
        .map_err(|_| wrong("/from/address", format!("{from:?} is no address")))?;
    let from = from.to_string();
    let (localpart, domain) = from.rsplit_once('@').unwrap_or((&from, ""));
    must_be_own(&live, account, (localpart, domain))?;
    let not_before = request.not_before.unwrap_or(0);
    if not_before > now + HELD_MAX {
        return Err(wrong("/send_at", "more than 60 days ahead".into()));
    }
    if let Err(error) = super::extra::check(&request.extra) {
        return Err(wrong("/metadata", error.to_string()));
    }
    let mut fields = request.template.headers.iter();
    if request.unsubscribe && fields.any(|(name, _)| unsubscribe::is_field(name)) {
        let words = "List-Unsubscribe is ours when links to unsubscribe are asked for";
        return Err(wrong("/template/headers", words.into()));
    }
    let hostname = live.settings.server.hostname().to_string();
    let mut random = [[0; 16]; 2];
    for octets in &mut random {
        crate::login::random(octets).map_err(ours)?;
    }
    let require_tls = request.require_tls == Some(true);
    let received = received_field(&hostname, (&id, now), require_tls, None);
    let life = match request.unsubscribe {
        true => {
            let life = core.life_of(account).await;
            Some(life.map_err(|e| ours(format!("{e}; nothing was sent, try again later")))?)
        }
        false => None,
    };
    let full_name = live.settings.accounts.get(&account);
    let common = Common {
        from: match &request.from {
            Some(from) => (from.name.clone(), from.address.clone()),
            None => (
                full_name.map_or(String::new(), |a| a.full_name.clone()),
                login.clone(),
            ),
        },
        reply_to: (request.reply_to.iter())
            .map(|named| (named.name.clone(), named.address.clone()))
            .collect(),
        parts: request.template.clone(),
        defaults: request.defaults.clone(),
        received,
        date: now,
        unsubscribe: match request.unsubscribe {
            true => live.settings.server.public_url(),
            false => String::new(),
        },
        life,
        boundary: random[1]
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect(),
    };
    let address = (localpart, domain);
    let mut row = MessageRow {
        size: 0,
        prefix_length: 0,
        account: account.to_string(),
        reverse_path: from.clone(),
        message_id: message::compose::message_id(random[0], &hostname),
        smtputf8: false,
        eight_bit: false,
        binary: false,
        accepted: now,
        not_before,
        expires: {
            let lifetime = live.settings.server.queue.give_up_after_secs.duration();
            let begin = now.max(not_before);
            begin.saturating_add_unsigned(lifetime.as_secs())
        },
        require_tls: request.require_tls,
        ret: None,
        envid: None,
        recipients: Vec::new(),
        held_for: None,
        unique_mail_from: unique_mail_from(&live, (account, &login), address),
        extra: request.extra.clone(),
        batch: Some(BatchInfo {
            name: request.name.clone(),
        }),
    };
    let message_id = row.message_id_of(0);
    let limits = live.sending(account);
    let inline_files = std::mem::take(&mut request.inline_files);
    let attached_files = std::mem::take(&mut request.attached_files);
    let files = SendRequest {
        inline_files,
        attached_files,
        ..SendRequest::default()
    };
    let prepare = move || {
        prepare(
            request,
            (files, uploads),
            common,
            (message_id, limits),
            &login,
        )
    };
    let prepared = core.rendering.run(account.as_str(), prepare);
    let prepared = prepared
        .await
        .map_err(|e| ours(format!("{e}; nothing was sent, try again later")))??;
    let most = live
        .settings
        .server
        .limits
        .smtp
        .message_size_max_bytes
        .get();
    if prepared.first > most {
        let first = prepared.first;
        let message = format!("the first message has {first} octets, and {most} is the most");
        return Err(ApiError::new(Code::MessageTooLarge, message).into());
    }
    row.size = prepared.first;
    row.smtputf8 = prepared.smtputf8;
    row.eight_bit = prepared.smtputf8 || !prepared.files.is_ascii();
    row.recipients = prepared.recipients;
    let reserved = core.reserve(account, prepared.wanted).await;
    let reserved = reserved.map_err(ApiError::from)?;
    let finished = match spool(core, [prepared.recipe, prepared.files]).await {
        Ok(finished) => finished,
        Err(error) => {
            core.give_back(reserved);
            return Err(error.into());
        }
    };
    let file = finished.file.clone();
    let accepted = commit(core, row, finished, mark).await;
    if let Some(external) = file {
        remove_unused(core, external);
    }
    let accepted = accepted.map_err(|error| {
        tracing::info!(connection = id, %error, "a batch was not stored");
        core.not_accepted(reserved, &error);
        refused(&error)
    })?;
    tracing::info!(
        connection = id,
        batch = accepted.id,
        from,
        recipients = accepted.recipients,
        "batch accepted"
    );
    Ok(accepted)
}

/// A batch that holds.
struct Prepared {
    recipients: Vec<Queued>,
    recipe: Vec<u8>,
    /// What ends each message.
    files: Vec<u8>,
    smtputf8: bool,
    /// Octets of what the first recipient gets.
    first: u64,
    /// What it counts, if its account has limits.
    wanted: Option<Wanted>,
}

/// What takes long: tens of milliseconds for ten thousand recipients.
fn prepare(
    request: BatchRequest,
    (mut files, uploads): (SendRequest, Vec<UploadedFile>),
    common: Common,
    (message_id, limits): (String, Sending),
    login: &str,
) -> Result<Prepared, BatchError> {
    let checked = request.check(login).map_err(BatchError::Wrong)?;
    let common = Arc::new(common);
    let first = request.recipients.first();
    let first = first.ok_or_else(|| wrong("/recipients", "there are none".into()))?;
    let job = Job {
        template: Arc::new(checked.template),
        defaults: Arc::new(checked.defaults),
        common: common.clone(),
        extra_fields: Vec::new(),
        to: (first.address.clone(), first.name.clone()),
        json: String::new(),
        message_id,
        boundary: common.boundary.clone(),
        files: FileKinds::NONE,
    };
    let uploads: Vec<Upload<'_>> = uploads.iter().map(UploadedFile::as_upload).collect();
    let kinds = FileKinds::of(&files, &uploads);
    let first = SendRequest {
        inline_files: std::mem::take(&mut files.inline_files),
        attached_files: std::mem::take(&mut files.attached_files),
        ..job.request(checked.first)
    };
    let maker = job.maker()?;
    let made = compose(&first, &uploads, &maker).map_err(|error| {
        let is_of_file = ["file", "upload", "more than"];
        let is_of_file = is_of_file
            .iter()
            .any(|word| error.message.starts_with(word));
        let pointer = if is_of_file {
            "/attachments"
        } else {
            "/template"
        };
        wrong(pointer, error.message)
    })?;
    let mut made = made.octets;
    let octets = made.len();
    let files = split_files(&mut made, kinds, &maker);
    let described = Files {
        kinds,
        length: files.len() as u64,
    };
    let data = request.recipients.iter();
    let data = data.map(|r| (r.name.as_str(), r.data.as_str()));
    let recipe =
        recipe::encode(&common, described, data).filter(|_| common_octets(&common) <= COMMON_MAX);
    let recipe = recipe.ok_or_else(|| wrong("/template", "it is too large".into()))?;
    let wanted = Wanted::of(limits, checked.addresses.iter());
    Ok(Prepared {
        wanted,
        recipients: checked.addresses.into_iter().map(Queued::new).collect(),
        recipe,
        files,
        smtputf8: checked.smtputf8,
        first: (octets + common.received.len()) as u64,
    })
}

fn common_octets(common: &Common) -> usize {
    let parts = &common.parts;
    let headers = parts.headers.iter().map(|(n, v)| n.len() + v.len() + 8);
    let texts = [&parts.subject, &parts.text, &parts.html, &common.defaults];
    let reply_to = common.reply_to.iter().map(|(n, a)| n.len() + a.len() + 8);
    let texts = texts.iter().map(|t| t.len()).sum::<usize>();
    texts + headers.sum::<usize>() + reply_to.sum::<usize>() + 4096
}

async fn spool(core: &Rc<PerCore>, parts: [Vec<u8>; 2]) -> Result<Finished, ApiError> {
    super::may_begin(core).map_err(|e| ours(e.to_string()))?;
    let octets: usize = parts.iter().map(Vec::len).sum();
    let mut spool = Spool::new(core, octets as u64);
    for part in parts {
        for piece in part.chunks(PIECE) {
            spool.push(piece);
            if spool.needs_settling() {
                spool.settle().await.map_err(|e| ours(e.to_string()))?;
            }
            rt::yield_if_needed().await;
        }
    }
    spool.finish().await.map_err(|e| ours(e.to_string()))
}

async fn commit(
    core: &Rc<PerCore>,
    mut row: MessageRow,
    finished: Finished,
    mark: Option<Mark>,
) -> Result<AcceptedBatch, StoreError> {
    let Finished {
        content, memory, ..
    } = finished;
    let count = row.recipients.len();
    let shard = match &mark {
        Some(mark) => Some(mark.shard.clone()),
        None => core.next_shard(),
    };
    let shard = shard.ok_or(StoreError::NotAllowed("this core has no shard"))?;
    let octets = 2 * content.bytes.len() + count * RECIPIENT_BYTES + 4096;
    let permit = shard.permit(octets, true, PATIENCE).await?;
    // Others may have come in line while this waited.
    let bounds = core.live().settings.server.queue.bounds();
    core.queue
        .has_room(&row.account, (count, content.length()), bounds)?;
    let mut batch = Batch::default();
    let body = queue::next_id(&shard, count);
    queue::plan(&mut batch, body, &mut row, Vec::new(), &content);
    let first = queue::first_of(body, count);
    let first = QueueId::new(shard.id().0, first);
    let id = first.map_or(0, QueueId::get);
    let accepted = AcceptedBatch {
        id,
        recipients: u32::try_from(count).unwrap_or(u32::MAX),
    };
    let message_id = row.message_id.clone();
    let now = row.accepted;
    let message = core.queue.coming(&shard, &mut batch, body, row);
    if let Some(mark) = mark {
        mark.note(&mut batch, &message_id, first, now);
    }
    point("batch.commit").map_err(|_| StoreError::Limit("a test says so"))?;
    shard.commit(permit, batch).await?;
    let _ = point("batch.committed");
    // The commit has linked its file: nobody needs the spool's name of it any more.
    drop((content, memory));
    core.queue.accepted_batch(&message).await;
    Ok(accepted)
}

fn wrong(pointer: &str, reason: String) -> BatchError {
    BatchError::Wrong(vec![Problem {
        pointer: pointer.to_owned(),
        line: None,
        reason,
    }])
}

/// Octets that are given to the spool at a time.
const PIECE: usize = 1 << 20;
/// Octets of rows for a recipient, about.
const RECIPIENT_BYTES: usize = 96;
const PATIENCE: Duration = Duration::from_secs(30);
