//! The next hop of `localserve`: the sender's own INBOX, whatever the address; with the failures that addresses ask for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use message::Header;
use shards::rt;

use super::ROOM;
use super::carry::{self, NoContent};
use super::copy;
use super::crowded::Crowded;
use super::outcome::{self, Outcome};
use super::own;
use crate::calls::{Call, Deliver, Transaction};
use crate::directory::{Failure, Stage, simulated};
use crate::percore::{PerCore, monotonic};
use crate::queue::retry::Verdict;
use crate::queue::rows::Attempt;
use crate::queue::{Content, Message, Work};
use crate::settings::AccountName;
use crate::store::{INBOX, NewMessage, StoreError, thread_row};

/// Delivers to each recipient of a work; answers what came of it, and what is to be forgotten once that is recorded.
pub(super) async fn attempt(
    core: &Rc<PerCore>,
    work: &mut Work,
    crowded: &RefCell<Crowded>,
) -> (Vec<Outcome>, Vec<(AccountName, Transaction)>) {
    let mut outcomes = Vec::new();
    let mut delivered = Vec::new();
    let mut stalled = Vec::new();
    let is_batch = work.message.row.batch.is_some();
    let common = match is_batch {
        true => None,
        false => Some(work.message.content().await),
    };
    for index in work.recipients.clone() {
        let (at, began) = (core.wall_clock(), monotonic());
        let content = match (&common, is_batch) {
            (Some(Ok(content)), _) => Ok(content.clone()),
            (_, true) => match carry::made(core, &work.message, index).await {
                Ok(content) => Ok(content),
                // It stands in line again.
                Err(NoContent::Busy) => continue,
                Err(NoContent::Crowded) => {
                    let account = &work.message.row.account;
                    work.later = crowded.borrow_mut().later(account, at);
                    continue;
                }
                Err(NoContent::Over(verdict, enhanced, text)) => Err((verdict, enhanced, text)),
            },
            (other, _) => {
                let text = other.as_ref().and_then(|c| c.as_ref().err());
                let text = text.map_or_else(String::new, ToString::to_string);
                Err((Verdict::Temporary, (4, 3, 0), text))
            }
        };
        let own = match &content {
            Ok(content) => own::deliver(core, &work.message, content, index).await,
            Err(_) => None,
        };
        let mut remote = "localhost";
        let (code, enhanced, text, verdict) = match (own, &content) {
            (Some(own), _) => {
                delivered.extend(own.delivered);
                // No other server took part.
                remote = "";
                (own.code, Some(own.enhanced), own.text, own.verdict)
            }
            (None, Ok(_)) if core.live().settings.everything_to.is_none() => {
                remote = "";
                let text = "the domain is not served here any more";
                (451, Some((4, 3, 5)), text.to_owned(), Verdict::Temporary)
            }
            (None, Ok(_)) if failure(&work.message, index) == Some(Failure::Timeout) => {
                stalled.push(index);
                continue;
            }
            (None, Ok(content)) => {
                let (code, text, transaction) = deliver(core, &work.message, content, index).await;
                delivered.extend(transaction);
                let verdict = match code {
                    200..300 => Verdict::Delivered,
                    500.. => Verdict::Permanent,
                    _ => Verdict::Temporary,
                };
                (code, None, text, verdict)
            }
            (None, Err((verdict, enhanced, text))) => {
                let code = match verdict {
                    Verdict::Permanent => 554,
                    _ => 451,
                };
                (code, Some(*enhanced), text.clone(), *verdict)
            }
        };
        outcomes.push(Outcome {
            index,
            verdict,
            attempt: Attempt {
                at,
                took_ms: u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX),
                remote: remote.into(),
                code,
                enhanced,
                text,
                stage: None,
            },
        });
    }
    if let Some(stalled) = work.take_out(|index| stalled.contains(&index)) {
        stall(core, stalled);
    }
    (outcomes, delivered)
}

/// What an address asks to fail with in the queue.
fn failure(message: &Message, index: u32) -> Option<Failure> {
    let address = message.row.recipients[index as usize].address.as_str();
    let localpart = address.rsplit_once('@').map_or(address, |(l, _)| l);
    match simulated(localpart) {
        // A sender's, whoever it is sent to.
        Some((Stage::Mail, _)) | None => None,
        // What a door plays at a command has not come this far, but by the API, which has none.
        Some((_, failure)) => Some(failure),
    }
}

/// Recipients whose server says nothing for an hour, and then is given up. They wait beside the line's tasks, which others need.
fn stall(core: &Rc<PerCore>, work: Work) {
    let stalled = Stalled::new();
    let wait = match stalled {
        Some(_) => TIMEOUT,
        None => Duration::ZERO,
    };
    let at = core.wall_clock();
    let outcome = |index: &u32| Outcome {
        index: *index,
        verdict: Verdict::Temporary,
        attempt: Attempt {
            at,
            took_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            remote: "localhost".into(),
            code: 451,
            enhanced: None,
            text: "simulated timeout".into(),
            stage: None,
        },
    };
    let outcomes: Vec<Outcome> = work.recipients.iter().map(outcome).collect();
    work.phase
        .comes_to_ours("waits for a simulated server that says nothing");
    let core = core.clone();
    rt::spawn(&ROOM, async move {
        let _stalled = stalled;
        let over = async {
            rt::sleep(wait).await;
            true
        };
        let stopped = async {
            core.drained().await;
            false
        };
        // After a stop it is tried anew.
        if or(over, stopped).await {
            outcome::record(&core, work, outcomes).await;
        }
    });
}

/// A message that waits so.
struct Stalled;

impl Stalled {
    /// None: there are as many as there may be.
    fn new() -> Option<Stalled> {
        let count = STALLED.get();
        (count < STALLED_MAX).then(|| {
            STALLED.set(count + 1);
            Stalled
        })
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        STALLED.set(STALLED.get() - 1);
    }
}

thread_local! {
    /// How many there are on this core.
    static STALLED: Cell<usize> = const { Cell::new(0) };
}

async fn deliver(
    core: &Rc<PerCore>,
    message: &Message,
    content: &Content,
    index: u32,
) -> (u16, String, Option<(AccountName, Transaction)>) {
    let address = message.row.recipients[index as usize].address.as_str();
    if let Some(Failure::Code(code)) = failure(message, index) {
        return (code, "simulated failure".into(), None);
    }
    let Ok(account) = message.row.account.parse::<AccountName>() else {
        return (550, "the account is gone".into(), None);
    };
    let transaction = Transaction {
        shard: message.shard().id().0,
        entry: message.body.0,
        recipient: index,
    };
    let copy = match copy::of(core, message, content).await {
        Ok(copy) => copy,
        Err(error) => return (451, error.to_string(), None),
    };
    let now = core.wall_clock();
    let mail_from = message.mail_from(&core.from_ids, index);
    let prefix = message::compose::return_path_field(&mail_from)
        + &message::compose::delivered_to_field(address);
    let deliver = Deliver {
        account,
        mailbox: INBOX.to_string(),
        message: NewMessage {
            prefix: prefix.into_bytes(),
            thread: thread_row(Header::of_message(&content.bytes)),
            content: copy.content.clone(),
            flags: 0,
            keywords: Vec::new(),
            received: now,
            saved: now,
            reverse_path: mail_from,
            recipient: address.to_string(),
            is_incoming: true,
        },
        transaction: Some(transaction),
    };
    match core.deliver(deliver).await {
        Ok(_) => (250, "delivered".into(), Some((account, transaction))),
        Err(StoreError::AccountGone) => (550, "the account is gone".into(), None),
        Err(error) => (451, error.to_string(), None),
    }
}

/// What was delivered is recorded: its numbers are needed no more.
pub(super) async fn forget(core: &Rc<PerCore>, delivered: Vec<(AccountName, Transaction)>) {
    for of_one in delivered.chunk_by(|(a, _), (b, _)| a == b) {
        let account = of_one[0].0;
        let call = Call::ForgetDelivered {
            account,
            transactions: of_one.iter().map(|(_, t)| *t).collect(),
        };
        let _ = core.call(core.owner_of(account.as_str()), call).await;
    }
}

const TIMEOUT: Duration = Duration::from_secs(3600);
/// Messages of a core that wait for that; those beyond fail at once.
const STALLED_MAX: usize = 1_000;
