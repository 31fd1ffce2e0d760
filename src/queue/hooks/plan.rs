//! Events become hooks, in the commit that takes the event: one for each endpoint that is told of it.

use webapi::Time;
use webapi::hook::{HookEvent, Outgoing, to_json};

use super::{
    Book, HookRow, count_key, is_shared, payload_key, readable_hook, recipient_key, sharing_key,
    what,
};
use crate::queue::events::{Event, EventKind, Interest, Question, Reads, Writing};
use crate::queue::retired::RetiredRow;
use crate::queue::unsubscribe::Link;
use crate::store::{StoreError, rows};

/// What receivers are to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingHook {
    /// What.
    pub event: HookEvent,
    /// The number of the recipient it is about; 0: of none.
    pub recipient: u64,
    /// What made the recipient's MAIL FROM unique; may be empty.
    pub from_id: String,
    /// With its angle brackets; may be empty.
    pub message_id: String,
    /// Of the message.
    pub subject: String,
    /// JSON.
    pub payload: String,
}

/// The word for what became of a recipient. A next hop that has taken the message and does not know of reports has taken it: that it goes
/// on without them, only a report can say.
pub fn hook_event(kind: EventKind, by_report: bool) -> HookEvent {
    match kind {
        EventKind::Delivered => HookEvent::Delivered,
        EventKind::Relayed if by_report => HookEvent::Relayed,
        EventKind::Relayed => HookEvent::Delivered,
        EventKind::Deferred => HookEvent::Delayed,
        EventKind::Failed => HookEvent::Failed,
        EventKind::Dropped => HookEvent::Canceled,
        EventKind::Suppressed => HookEvent::Suppressed,
        EventKind::Expanded => HookEvent::Expanded,
        EventKind::Complaint => HookEvent::Complaint,
        EventKind::Unrecognized => HookEvent::Unrecognized,
    }
}

/// Whether anybody is told.
pub(in crate::queue) fn wants(question: &Question<'_>) -> bool {
    question.may_be_hooked
}

/// What [`take`] will read: which hooks the events make needless.
pub(in crate::queue) async fn reads(
    events: &[Event],
    writing: &mut Writing<'_>,
    reads: &mut Reads,
) -> Result<(), StoreError> {
    let account = writing.account;
    let book = Book::open(writing).await?;
    for event in events {
        let word = hook_event(event.id.kind, event.by_report.is_some());
        let told = book.endpoints.iter().filter(|e| e.is_told(word));
        if word.supersedes() && event.id.id != 0 {
            let keys = told.map(|endpoint| recipient_key(account, event.id.id, endpoint.id));
            reads.keys.extend(keys);
        }
    }
    book.close(writing);
    Ok(())
}

/// Makes the hooks of an event. What the event did to the suppression list was written before.
pub(in crate::queue) async fn take(
    event: &Event,
    interest: Interest,
    writing: &mut Writing<'_>,
) -> Result<(), StoreError> {
    let by_report = event.by_report.is_some();
    let word = hook_event(event.id.kind, by_report);
    let book = Book::open(writing).await?;
    let is_told = book.told().1.has(word);
    book.close(writing);
    if !is_told {
        return Ok(());
    }
    let is_success = matches!(event.id.kind, EventKind::Delivered | EventKind::Relayed);
    let code = match (event.code, is_success) {
        // A mailbox of ours gives no reply; it has taken it all the same.
        (0, true) => 250,
        (code, _) => code,
    };
    let payload = Outgoing {
        version: 0,
        event: word.word().to_string(),
        dsn: by_report,
        suppressing: writing.suppressing == Some(event.id),
        queue_msg_id: i64::try_from(event.id.id).unwrap_or(i64::MAX),
        from_id: event.from_id.clone(),
        message_id: event.message_id.clone(),
        subject: event.subject.clone(),
        webhook_queued: Time::of_unix(writing.now),
        smtp_code: code.into(),
        smtp_enhanced_code: event
            .enhanced
            .map_or_else(String::new, |(a, b, c)| format!("{a}.{b}.{c}")),
        error: match is_success {
            true => String::new(),
            false => event.text.clone(),
        },
        extra: event.extra.clone(),
    };
    let hook = OutgoingHook {
        event: word,
        recipient: event.id.id,
        from_id: event.from_id.clone(),
        message_id: event.message_id.clone(),
        subject: event.subject.clone(),
        payload: to_json(&payload).map_err(|_| StoreError::Row(what()))?,
    };
    plan(writing, interest, &hook).await
}

/// Makes the hooks of a reader who wants no more; `row`: what is kept of the recipient of the message whose link it was.
pub(in crate::queue) async fn unsubscribed(
    writing: &mut Writing<'_>,
    interest: Interest,
    link: &Link,
    row: Option<&RetiredRow>,
) -> Result<(), StoreError> {
    let id = row.map_or(0, |row| row.id);
    let text = |of: fn(&RetiredRow) -> &String| row.map_or_else(String::new, |row| of(row).clone());
    let (subject, from_id) = (text(|row| &row.subject), text(|row| &row.from_id));
    let payload = Outgoing {
        version: 0,
        event: HookEvent::Unsubscribed.word().to_string(),
        dsn: false,
        suppressing: true,
        queue_msg_id: i64::try_from(id).unwrap_or(i64::MAX),
        from_id: from_id.clone(),
        message_id: link.message_id.clone(),
        subject: subject.clone(),
        webhook_queued: Time::of_unix(writing.now),
        smtp_code: 0,
        smtp_enhanced_code: String::new(),
        error: format!("{} unsubscribed", link.address),
        extra: row.map_or_else(Default::default, |row| row.extra.clone()),
    };
    let hook = OutgoingHook {
        event: HookEvent::Unsubscribed,
        recipient: id,
        from_id,
        message_id: link.message_id.clone(),
        subject,
        payload: to_json(&payload).map_err(|_| StoreError::Row(what()))?,
    };
    plan(writing, interest, &hook).await
}

/// Makes a hook for each endpoint that is told of such. Where too many wait already, none is made, and that is counted.
pub(super) async fn plan(
    writing: &mut Writing<'_>,
    interest: Interest,
    hook: &OutgoingHook,
) -> Result<(), StoreError> {
    let mut book = Book::open(writing).await?;
    let endpoints: Vec<u32> = book
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.is_told(hook.event))
        .map(|endpoint| endpoint.id)
        .collect();
    let mut sharing = Sharing::default();
    for endpoint in endpoints {
        // What takes the place of another needs no room: what is stale would be told in its place.
        let before = before(writing, hook, endpoint).await?;
        let no_room = match before {
            Some(_) => None,
            None => book.no_room(interest, endpoint, hook.payload.len() as u64),
        };
        if let Some(why) = no_room {
            if book.row.dropped.is_power_of_two() || book.row.dropped == 0 {
                tracing::warn!(
                    account = writing.account,
                    endpoint,
                    %why,
                    "too many webhooks wait: new ones are not made"
                );
            }
            book.row.dropped += 1;
            continue;
        }
        let id = enter(writing, &mut book, interest, hook, (endpoint, before)).await?;
        sharing.add(writing, id, &hook.payload);
    }
    book.close(writing);
    Ok(())
}

/// The hook that waits about the same recipient, if this one makes it needless.
async fn before(
    writing: &mut Writing<'_>,
    hook: &OutgoingHook,
    endpoint: u32,
) -> Result<Option<HookRow>, StoreError> {
    if !hook.event.supersedes() || hook.recipient == 0 {
        return Ok(None);
    }
    let key = recipient_key(writing.account, hook.recipient, endpoint);
    match writing.get(&key).await? {
        Some(before) => readable_hook(writing, rows::decode(&before, what)?).await,
        None => Ok(None),
    }
}

async fn enter(
    writing: &mut Writing<'_>,
    book: &mut Book,
    interest: Interest,
    hook: &OutgoingHook,
    (endpoint, before): (u32, Option<HookRow>),
) -> Result<u64, StoreError> {
    let (account, now) = (writing.account, writing.now);
    let row = HookRow {
        id: book.next_hook(now),
        endpoint,
        event: hook.event.word().to_string(),
        recipient: hook.recipient,
        from_id: hook.from_id.clone(),
        message_id: hook.message_id.clone(),
        subject: hook.subject.clone(),
        size: u32::try_from(hook.payload.len()).unwrap_or(u32::MAX),
        created: now,
        attempts: 0,
        due: now,
        results: Vec::new(),
    };
    if hook.event.supersedes() && hook.recipient != 0 {
        if let Some(before) = before {
            let end = (false, Some(row.id));
            let kept = interest.keeps_webhooks_secs;
            book.retire(writing, before, kept, end).await?;
        }
        let key = recipient_key(account, hook.recipient, endpoint);
        writing.put(key, rows::encode(&row.id));
    }
    book.enter(writing, &row);
    writing.hooked(endpoint);
    Ok(row.id)
}

/// Who has the payload of an event that several endpoints are told.
#[derive(Default)]
struct Sharing {
    holder: Option<u64>,
    count: u32,
}

impl Sharing {
    /// A hook has this payload, too.
    fn add(&mut self, writing: &mut Writing<'_>, id: u64, payload: &str) {
        let account = writing.account;
        let holder = *self.holder.get_or_insert(id);
        self.count += 1;
        if holder == id || !is_shared(payload.len()) {
            writing.put(payload_key(account, id), payload.as_bytes().to_vec());
            return;
        }
        if self.count == 2 {
            writing.put(sharing_key(account, holder), rows::encode(&holder));
        }
        writing.put(sharing_key(account, id), rows::encode(&holder));
        writing.put(count_key(account, holder), rows::encode(&self.count));
    }
}

/// Octets that the payloads of a hook's event take until they are written, if so many endpoints are told.
pub fn payload_octets(payload: usize, endpoints: usize) -> usize {
    match is_shared(payload) {
        true => payload,
        false => payload * endpoints,
    }
}
