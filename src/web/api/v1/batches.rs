//! Batches: accepted on a shard core, in turn; asked for where they are.

use hyper::StatusCode;
use hyper::body::Bytes;
use shards::CoreId;
use webapi::batch::BatchRequest;
use webapi::v1::batch::{BatchAccepted, BatchCancelled, BatchState, Batches, NewBatch};
use webapi::v1::message::limit_problem;
use webapi::v1::suppression::Page;
use webapi::v1::{Fault, Kind, Problem, read};
use webapi::{Code, Time};

use super::auth::may_write_as;
use super::messages::{
    hash_of, hash_with_uploads, idempotency_key, mark_repeat, once_of, told_once,
};
use super::paging::Cursors;
use super::recipients::first_queued;
use super::{
    Asked, Said, other_answer, paging, reply, senders, templates, unanswered, unavailable,
};
use crate::calls::{
    Answer, BatchError, Call, ControlAnswer, ControlCall, SubmitBatch, UploadedFile,
};
use crate::queue::QueueId;
use crate::queue::batch::{BatchRow, Cancelled, merge};

/// Durable when it is answered.
pub(super) async fn post(mut asked: Asked) -> Said {
    let (body, uploads) = (
        std::mem::take(&mut asked.body),
        std::mem::take(&mut asked.uploads),
    );
    let asked = &asked;
    let login = asked.login()?;
    let core = &asked.core;
    let key = idempotency_key(asked)?;
    let has_key = key.is_some();
    // Megabytes, perhaps. The octets come back: who took the memory gives it back at once.
    let job = move || (take(&body, uploads, has_key), body);
    let parsed = core.composing.run(login.account.as_str(), job);
    let (mut request, uploads, name, fingerprint) = parsed.await.map_err(unavailable)?.0?;
    let is_stored = name.is_some();
    // A repeat is answered whatever has become of its template; without one nothing else is accepted.
    let mut no_template = None;
    if let Some(name) = name {
        match templates::parts(asked, name).await {
            Ok(parts) => request.template = parts,
            Err(problem) if key.is_some() => no_template = Some(problem),
            Err(problem) => return Err(problem),
        }
    }
    let address = match &login.address {
        Some(address) => Some(address.clone()),
        None => {
            let live = core.live();
            let account = live.settings.accounts.get(&login.account);
            account.and_then(|a| a.addresses.first().map(|a| a.address.to_string()))
        }
    };
    let no_address = || Problem::new(Kind::SenderNotAllowed, "the account has no address");
    let address = address.ok_or_else(no_address)?;
    let author = request.from.as_ref().map_or(&address, |from| &from.address);
    let own = login.key.as_ref().map_or(&[][..], |key| &key.from);
    if !may_write_as(own, author) {
        let detail = format!("the key may not write as {author}");
        return Err(Problem::new(Kind::SenderNotAllowed, detail));
    }
    let names = request
        .template
        .headers
        .iter()
        .map(|(name, _)| name.as_str());
    senders::check_template(own, names, |at| match is_stored {
        true => "/template_name".into(),
        false => format!("/template/headers/{at}/name"),
    })?;
    let once = key.zip(fingerprint);
    let once = once.map(|(key, fingerprint)| once_of(core, login.account, &key, fingerprint));
    let to = match &once {
        Some(once) => core.owner_of_shard(once.shard),
        None => core.next_core(),
    };
    let submit = SubmitBatch {
        account: login.account,
        login: address,
        id: asked.request_id.clone(),
        request,
        uploads,
        once,
    };
    let call = Call::SubmitBatch(Box::new(submit));
    match core.call(to, call).await {
        Ok(Answer::SubmittedBatch(Ok(submitted))) => {
            let (accepted, is_repeat) = told_once(submitted)?;
            let accepted = BatchAccepted {
                id: accepted.id,
                recipients: accepted.recipients,
            };
            let mut response = reply::json(StatusCode::CREATED, &accepted)?;
            mark_repeat(&mut response, is_repeat);
            Ok(response)
        }
        Ok(Answer::SubmittedBatch(Err(error))) => {
            Err(no_template.unwrap_or_else(|| refused(error)))
        }
        Ok(_) => Err(other_answer()),
        Err(error) => Err(unanswered(error)),
    }
}

/// A batch, the files beside it, the template that it names, and its fingerprint if it is wanted.
type Taken = (
    BatchRequest,
    Vec<UploadedFile>,
    Option<String>,
    Option<[u8; 32]>,
);

fn take(body: &Bytes, uploads: Vec<UploadedFile>, has_key: bool) -> Result<Taken, Problem> {
    let mut batch: NewBatch = read::body(body)?;
    let faults = batch.check();
    if !faults.is_empty() {
        return Err(Problem::of_faults(Kind::Invalid, faults));
    }
    // Not the octets as they came: the order of fields says nothing.
    let fingerprint = match has_key {
        true => Some(with_uploads(hash_of(&batch)?, &uploads)),
        false => None,
    };
    let name = batch.template_name.take();
    if name.is_some() == batch.template.is_some() {
        let detail = "either template or template_name must be there";
        return Err(Problem::from(Fault::at("/template", detail)));
    }
    Ok((batch.into_request(), uploads, name, fingerprint))
}

/// A page of the account's, the latest first.
pub(super) async fn list(asked: &Asked) -> Said {
    let page: Page = read::query(&asked.query)?;
    let limit = paging::bounds(asked, page.limit)?.entries;
    let cursors = Cursors::of(asked, "batches")?;
    let after = cursors.place(page.cursor.as_deref())?;
    let core = &asked.core;
    let mut pages = Vec::new();
    for shard in 0..core.shard_count {
        let call = ControlCall::Batches {
            shard,
            account: asked.login()?.account,
            after,
            limit,
        };
        match asked.ask(core.owner_of_shard(shard), call).await? {
            ControlAnswer::Batches(page) => pages.push(page),
            _ => return Err(other_answer()),
        }
    }
    let (found, next) = merge(pages, limit);
    let page = Batches {
        batches: found.iter().map(|(id, row)| describe(*id, row)).collect(),
        next_cursor: next.map(|place| cursors.written(&place)),
    };
    reply::long(asked, found.len() * paging::ENTRY, page).await
}

/// One of them.
pub(super) async fn get(asked: &Asked) -> Said {
    let (_, place) = place(asked)?;
    let row = find(asked).await?;
    reply::json(StatusCode::OK, &describe(place.get(), &row))
}

async fn find(asked: &Asked) -> Result<BatchRow, Problem> {
    let (core, place) = place(asked)?;
    let call = ControlCall::Batch {
        shard: place.shard(),
        account: asked.login()?.account,
        number: place.number(),
    };
    match asked.ask(core, call).await? {
        ControlAnswer::Batch(Some(row)) => Ok(row),
        ControlAnswer::Batch(None) => Err(not_there()),
        _ => Err(other_answer()),
    }
}

/// What still waits of it goes.
pub(super) async fn cancel(asked: &Asked) -> Said {
    let (core, place) = place(asked)?;
    if !asked.login()?.may_write_as_all() {
        let row = find(asked).await?;
        let ids = (place.get()..).take(row.recipients as usize).collect();
        // What has left the queue is not cancelled, whoever wrote it.
        if let Some(left) = first_queued(asked, place.shard(), ids).await? {
            asked.login()?.must_be_of(Some(&left.sender))?;
        }
    }
    let call = ControlCall::CancelBatch {
        shard: place.shard(),
        account: asked.login()?.account,
        number: place.number(),
    };
    match asked.ask(core, call).await? {
        ControlAnswer::BatchCancelled(Some(Cancelled { dropped, under_way })) => {
            reply::json(StatusCode::OK, &BatchCancelled { dropped, under_way })
        }
        ControlAnswer::BatchCancelled(None) => Err(not_there()),
        _ => Err(other_answer()),
    }
}

/// Where the batch of the path is.
fn place(asked: &Asked) -> Result<(CoreId, QueueId), Problem> {
    let text = asked.parameter();
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let place = text.parse::<QueueId>().ok().filter(|_| is_number);
    let core = &asked.core;
    match place {
        Some(place) if place.shard() < core.shard_count => {
            Ok((core.owner_of_shard(place.shard()), place))
        }
        _ => Err(not_there()),
    }
}

/// The fingerprint of a request with files beside it; without any it is that of its JSON alone.
fn with_uploads(said: [u8; 32], uploads: &[UploadedFile]) -> [u8; 32] {
    match uploads {
        [] => said,
        uploads => hash_with_uploads(&said, uploads),
    }
}

fn not_there() -> Problem {
    Problem::new(Kind::NotFound, "the account has no such batch")
}

fn refused(error: BatchError) -> Problem {
    let error = match error {
        BatchError::Wrong(problems) => {
            let fault = |problem: webapi::template::Problem| {
                let detail = match problem.line {
                    Some(line) => format!("line {line}: {}", problem.reason),
                    None => problem.reason,
                };
                Fault::at(problem.pointer, detail)
            };
            let faults = problems.into_iter().map(fault).collect();
            return Problem::of_faults(Kind::Invalid, faults);
        }
        BatchError::Api(error) => error,
    };
    let kind = match error.code {
        Code::MessageLimitReached | Code::RecipientLimitReached => return limit_problem(&error),
        Code::BadFrom | Code::DomainDisabled => Kind::SenderNotAllowed,
        Code::MessageTooLarge => Kind::TooLarge,
        Code::QueueFull => Kind::QueueFull,
        Code::Server => Kind::Unavailable,
        Code::OutcomeUnknown => Kind::OutcomeUnknown,
        _ => Kind::Invalid,
    };
    Problem::new(kind, error.message)
}

fn describe(id: u64, row: &BatchRow) -> BatchState {
    BatchState {
        id,
        name: row.name.clone(),
        accepted: Time::of_unix(row.accepted),
        send_at: (row.not_before > row.accepted)
            .then(|| Time::of_unix(row.not_before))
            .flatten(),
        recipients: row.recipients,
        waiting: row.waiting(),
        delivered: row.delivered,
        failed: row.failed,
        suppressed: row.suppressed,
        dropped: row.dropped,
        cancelled: row.cancelled.and_then(Time::of_unix),
        ended: row.ended.and_then(Time::of_unix),
    }
}
