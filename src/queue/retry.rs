//! When a recipient is tried again, and when the sender hears of it. Pure: times are arguments. RFC 5321 4.5.4.1.

use std::collections::HashMap;

use message::MessageDate;

use super::rows::{Attempt, AttemptStage, MessageRow, Notice, Notify, Owed, RecipientRow, State};

/// How long to wait after each attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Seconds after the first attempt, the second and so on; the last one repeats. At least one.
    pub waits: Vec<u64>,
    /// Seconds after which the sender is told of a delay.
    pub delay_notice: u64,
}

impl Schedule {
    /// Seconds until the next attempt, of which `attempts` were made: a tenth more or less, so that what failed together does not come back
    /// together. The same for the same `id`.
    pub fn wait(&self, attempts: u32, id: u64) -> i64 {
        spread(&self.waits, attempts, id)
    }

    /// The same of a recipient, of whom an operator may have said something else.
    fn wait_of(&self, row: &RecipientRow, id: u64) -> i64 {
        let said = row.retries.waits.as_ref();
        let said = said.map(|waits| waits.iter().copied().map(u64::from).collect::<Vec<_>>());
        spread(said.as_ref().unwrap_or(&self.waits), row.attempts, id)
    }
}

fn spread(waits: &[u64], attempts: u32, id: u64) -> i64 {
    let position = (attempts.max(1) as usize - 1).min(waits.len().saturating_sub(1));
    let wait = waits.get(position).copied().unwrap_or(300).max(1);
    // SplitMix64, one step: spreads neighbouring numbers.
    let mut mixed = id
        .wrapping_add(u64::from(attempts))
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let spread = wait / 5;
    let jitter = (mixed >> 32) % (spread + 1);
    (wait - spread / 2 + jitter) as i64
}

/// What an attempt came to for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the recipient's mailbox.
    Delivered,
    /// It is in the mailboxes of an alias's members.
    Expanded,
    /// The next hop has taken it, and it offers DSN: what the sender wants to hear was handed on, it reports. RFC 3461 5.2.1.
    HandedOver,
    /// The next hop has taken it, and does not know of reports. RFC 3461 5.2.2.
    Relayed,
    /// Perhaps later.
    Temporary,
    /// Never.
    Permanent,
}

impl Verdict {
    /// Whether nothing has to be tried any more, for it is where it should be.
    pub fn is_success(self) -> bool {
        self.success().is_some()
    }

    /// Of a success: what is reported to who wants to hear of it, unless somebody else does so.
    fn success(self) -> Option<Option<Notice>> {
        match self {
            Verdict::Delivered => Some(Some(Notice::Delivered)),
            Verdict::Expanded => Some(Some(Notice::Expanded)),
            Verdict::Relayed => Some(Some(Notice::Relayed)),
            Verdict::HandedOver => Some(None),
            Verdict::Temporary | Verdict::Permanent => None,
        }
    }
}

/// What becomes of a recipient after an attempt. `id` is the recipient's number.
pub fn after(
    message: &MessageRow,
    index: u32,
    mut row: RecipientRow,
    attempt: Attempt,
    verdict: Verdict,
    (schedule, id, now): (&Schedule, u64, i64),
) -> RecipientRow {
    // Dropped or given up by hand meanwhile: that stays, unless it was too late.
    if row.state.is_over() && !verdict.is_success() {
        return row;
    }
    row.attempts += 1;
    row.waited += u32::from(attempt.stage == Some(AttemptStage::Line));
    row.record(attempt);
    match verdict {
        Verdict::Delivered | Verdict::Expanded | Verdict::Relayed | Verdict::HandedOver => {
            row.state = State::Delivered;
            // It was given up by hand meanwhile, and nobody has been told: that was too late.
            // And a delay that was not told yet is none any more.
            row.owes = row
                .owes
                .filter(|owed| !matches!(owed.notice, Notice::Failed | Notice::Delayed));
            row.given_up = None;
            let notice = verdict.success().flatten();
            let owed = notice.and_then(|notice| owed(message, index, notice));
            row.owes = owed.or(row.owes);
        }
        Verdict::Permanent => return give_up(message, index, row),
        Verdict::Temporary if is_the_last(message, &row, now) => {
            return give_up(message, index, row);
        }
        Verdict::Temporary => {
            // A last attempt just before it is given up, not one too few.
            let next = now + schedule.wait_of(&row, id);
            row.next = next.min(row.expires(message).max(now + 1));
            let since = message.accepted.max(message.not_before);
            if now - since >= schedule.delay_notice as i64 && !row.delay_told {
                row.delay_told = true;
                row.owes = owed(message, index, Notice::Delayed);
            }
        }
    }
    row
}

/// Whether no other attempt follows the one that was made.
fn is_the_last(message: &MessageRow, row: &RecipientRow, now: i64) -> bool {
    let most = row.retries.attempts_max;
    now >= row.expires(message) || most.is_some_and(|most| row.tried() >= most)
}

/// Gives up a recipient: refused for good, or its time is over, whatever held it.
pub fn give_up(message: &MessageRow, index: u32, mut row: RecipientRow) -> RecipientRow {
    row.state = State::Failed;
    row.owes = owed(message, index, Notice::Failed);
    row
}

/// Why nothing is sent for a recipient, though something is to be done about it: it is held, or it is not yet the time its sender asked for (RFC 4865), and
/// it was taken since its own time is over. None: it may be sent.
pub fn kept_back(message: &MessageRow, row: &RecipientRow, now: i64) -> Option<String> {
    let why = match row.state {
        State::Held => {
            let by = row.held_by.as_ref().map_or("by hand", |by| &by.words);
            format!("it was held {by}")
        }
        State::Waiting if message.not_before > now && row.next > now => {
            let at = MessageDate::utc(message.not_before);
            format!("its sender asked that it not be sent before {at}")
        }
        _ => return None,
    };
    Some(format!("{TOO_LATE}: {why}"))
}

/// How words begin that say why somebody was given up who was kept back.
pub const TOO_LATE: &str = "when its time was over";

/// Whether the sender wants to hear it. RFC 3461 4.1: who did not say so hears of failures, and may hear of delays; nobody hears anything at
/// the null path.
pub fn wants(message: &MessageRow, index: u32, notice: Notice) -> bool {
    if message.reverse_path.is_empty() {
        return false;
    }
    let recipient = message.recipients.get(index as usize);
    let notify = recipient.and_then(|r| r.notify).unwrap_or(Notify {
        success: false,
        failure: true,
        delay: true,
    });
    match notice {
        Notice::Delayed => notify.delay,
        Notice::Failed => notify.failure,
        Notice::Relayed | Notice::Delivered | Notice::Expanded => notify.success,
    }
}

/// Has those that come to owe the same by one change told in one report. Who owed it `before` is left out: his report may be on its way, under
/// a number that is taken once. One about a batch is about one recipient, for it returns what that one was sent.
pub fn group(
    message: &MessageRow,
    before: impl Fn(u32) -> RecipientRow,
    rows: &mut [(u32, RecipientRow)],
) {
    if message.batch.is_some() {
        return;
    }
    let mut first: HashMap<Notice, u32> = HashMap::new();
    for (index, row) in rows {
        let owed_before = row.owes.and_then(|_| before(*index).owes);
        if let Some(owed) = &mut row.owes
            && owed_before != Some(*owed)
        {
            owed.group = *first.entry(owed.notice).or_insert(*index);
        }
    }
}

fn owed(message: &MessageRow, index: u32, notice: Notice) -> Option<Owed> {
    wants(message, index, notice).then_some(Owed {
        notice,
        group: index,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::rows::{Recipient, Retries};

    fn schedule() -> Schedule {
        Schedule {
            waits: vec![300, 600, 1_200, 14_400],
            delay_notice: 14_400,
        }
    }

    fn message(notify: Option<Notify>) -> MessageRow {
        MessageRow {
            size: 1,
            prefix_length: 0,
            account: "anna".into(),
            reverse_path: "anna@example.org".into(),
            message_id: String::new(),
            smtputf8: false,
            eight_bit: false,
            binary: false,
            accepted: 0,
            not_before: 0,
            expires: 5 * 86_400,
            require_tls: None,
            ret: None,
            envid: None,
            recipients: vec![Recipient {
                notify,
                ..Recipient::new("a@one.example")
            }],
            held_for: None,
            unique_mail_from: None,
            extra: Default::default(),
            batch: None,
        }
    }

    fn attempt(at: i64) -> Attempt {
        Attempt {
            at,
            took_ms: 1,
            remote: "mx.one.example".into(),
            code: 451,
            enhanced: None,
            text: "later".into(),
            stage: None,
        }
    }

    #[test]
    fn waits_grow_and_are_spread_by_a_tenth() {
        let schedule = schedule();
        for (attempts, wait) in [(0, 300), (1, 300), (2, 600), (4, 14_400), (1_000, 14_400)] {
            let all: Vec<i64> = (0..1_000).map(|id| schedule.wait(attempts, id)).collect();
            let (least, most) = (*all.iter().min().unwrap(), *all.iter().max().unwrap());
            assert!(
                least >= wait - wait / 10 && least < wait - wait / 12,
                "{attempts}: {least}"
            );
            assert!(
                most <= wait + wait / 10 && most > wait + wait / 12,
                "{attempts}: {most}"
            );
            let mean = all.iter().sum::<i64>() / 1_000;
            assert!((mean - wait).abs() <= wait / 50, "{attempts}: {mean}");
        }
        assert_eq!(schedule.wait(3, 7), schedule.wait(3, 7));
    }

    /// All of a recipient's life that is only ever put off: (attempts, delays told, failures told, end).
    fn life(message: &MessageRow) -> (u32, u32, u32, i64) {
        let mut row = RecipientRow::fresh(message);
        let (mut delays, mut failures) = (0, 0);
        loop {
            let now = row.next;
            let parts = (&schedule(), 7, now);
            row = after(message, 0, row, attempt(now), Verdict::Temporary, parts);
            match row.owes.take().map(|owed| owed.notice) {
                Some(Notice::Delayed) => delays += 1,
                Some(_) => failures += 1,
                None => (),
            }
            if row.state.is_over() {
                return (row.attempts, delays, failures, now);
            }
            assert!(row.next > now);
        }
    }

    #[test]
    fn a_recipient_is_tried_until_its_time_is_over_and_the_sender_hears_once_of_each() {
        let (attempts, delays, failures, end) = life(&message(None));
        assert_eq!((delays, failures), (1, 1));
        // The last attempt is made when the time is over, not hours before.
        assert_eq!(end, 5 * 86_400);
        assert!((32..36).contains(&attempts), "{attempts}");
        let never = life(&message(Some(Notify::default())));
        assert_eq!((never.1, never.2), (0, 0));
        let null = MessageRow {
            reverse_path: String::new(),
            ..message(None)
        };
        assert_eq!((life(&null).1, life(&null).2), (0, 0));
        let only_delay = Notify {
            delay: true,
            ..Notify::default()
        };
        let (_, delays, failures, _) = life(&message(Some(only_delay)));
        assert_eq!((delays, failures), (1, 0));
    }

    #[test]
    fn what_an_operator_said_of_attempts_holds_in_place_of_settings_and_message() {
        let message = message(None);
        let said = |attempts_max, expires, waits: Option<&[u32]>| Retries {
            attempts_max,
            expires,
            waits: waits.map(<[u32]>::to_vec),
        };
        // Attempts, and when the last one is made.
        let life = |retries: Retries| {
            let mut row = RecipientRow {
                retries,
                ..RecipientRow::fresh(&message)
            };
            loop {
                let now = row.next;
                let parts = (&schedule(), 7, now);
                row = after(&message, 0, row, attempt(now), Verdict::Temporary, parts);
                if row.state.is_over() {
                    assert_eq!(row.owes.map(|owed| owed.notice), Some(Notice::Failed));
                    return (row.attempts, now);
                }
            }
        };
        assert_eq!(life(said(Some(1), None, None)), (1, 0));
        let (attempts, end) = life(said(Some(3), None, Some(&[10, 1_000])));
        assert_eq!(attempts, 3);
        assert!((909..=1_111).contains(&end), "{end}");
        assert_eq!(life(said(None, Some(200), None)), (2, 200));
        let longer = life(said(None, Some(10 * 86_400), None));
        assert_eq!(longer.1, 10 * 86_400);
        // The last wait repeats.
        let (attempts, end) = life(said(None, None, Some(&[86_400])));
        assert!((6..=7).contains(&attempts), "{attempts}");
        assert_eq!(end, 5 * 86_400);
    }

    #[test]
    fn who_may_not_go_yet_is_not_sent_at_the_end_of_its_time_either() {
        let message = MessageRow {
            not_before: 4_000,
            ..message(None)
        };
        let mut row = RecipientRow {
            next: 4_001,
            ..RecipientRow::fresh(&message)
        };
        row.retries.expires = Some(1_000);
        let why = |row: &RecipientRow, now| kept_back(&message, row, now);
        let asked = "when its time was over: its sender asked that it not be sent before Thu, 1 Jan 1970 01:06:40 +0000";
        assert_eq!(why(&row, 1_000).as_deref(), Some(asked));
        assert_eq!(why(&row, 4_001), None);
        // An operator has it sent now.
        row.next = 1_000;
        assert_eq!(why(&row, 1_000), None);
        row.state = State::Held;
        let held = "when its time was over: it was held by hand";
        assert_eq!(why(&row, 1_000).as_deref(), Some(held));
    }

    #[test]
    fn who_only_stood_in_line_has_all_the_attempts_that_an_operator_said() {
        let message = message(None);
        let mut row = RecipientRow {
            retries: Retries {
                attempts_max: Some(2),
                ..Retries::default()
            },
            ..RecipientRow::fresh(&message)
        };
        // More often than is kept.
        for now in 1..=40 {
            let is_over = now == 40;
            let tried = Attempt {
                stage: (now != 25 && now != 40).then_some(AttemptStage::Line),
                ..attempt(now)
            };
            row = after(
                &message,
                0,
                row,
                tried,
                Verdict::Temporary,
                (&schedule(), 7, now),
            );
            assert_eq!(row.state.is_over(), is_over, "{now}");
        }
        assert_eq!(row.attempts, 40);
    }

    #[test]
    fn a_delivery_and_a_refusal_are_the_end() {
        let message = message(None);
        let fresh = RecipientRow::fresh(&message);
        let parts = (&schedule(), 7, 10);
        let row = after(
            &message,
            0,
            fresh.clone(),
            attempt(10),
            Verdict::Delivered,
            parts,
        );
        assert_eq!((row.state, row.owes), (State::Delivered, None));
        assert!(row.is_done());
        for verdict in [Verdict::Relayed, Verdict::HandedOver] {
            let row = after(&message, 0, fresh.clone(), attempt(10), verdict, parts);
            assert_eq!((row.state, row.owes), (State::Delivered, None));
        }
        let row = after(&message, 0, fresh, attempt(10), Verdict::Permanent, parts);
        assert_eq!(row.owes.map(|owed| owed.notice), Some(Notice::Failed));
        assert_eq!(row.state, State::Failed);
        assert!(row.state.is_over() && !row.is_done());
        assert_eq!((row.attempts, row.history.len()), (1, 1));
        // Given up by hand while it was being sent.
        let parts = (&schedule(), 7, 10);
        let twice = after(
            &message,
            0,
            row.clone(),
            attempt(10),
            Verdict::Temporary,
            parts,
        );
        assert_eq!(twice, row);
        let parts = (&schedule(), 7, 10);
        let row = after(&message, 0, row, attempt(10), Verdict::Delivered, parts);
        assert_eq!((row.state, row.owes), (State::Delivered, None));
    }

    #[test]
    fn who_is_held_stays_so_when_an_attempt_fails() {
        let message = message(None);
        let held = RecipientRow {
            state: State::Held,
            ..RecipientRow::fresh(&message)
        };
        let parts = (&schedule(), 7, 10);
        let row = after(
            &message,
            0,
            held.clone(),
            attempt(10),
            Verdict::Temporary,
            parts,
        );
        assert_eq!((row.state, row.attempts), (State::Held, 1));
        let late = (&schedule(), 7, message.expires);
        let row = after(&message, 0, held, attempt(10), Verdict::Temporary, late);
        assert_eq!(row.state, State::Failed);
    }

    #[test]
    fn a_success_is_reported_to_who_asked_unless_the_next_hop_does() {
        let asked = message(Some(Notify {
            success: true,
            ..Notify::default()
        }));
        let null = MessageRow {
            reverse_path: String::new(),
            ..asked.clone()
        };
        let parts = (&schedule(), 7, 10);
        for (verdict, notice) in [
            (Verdict::Delivered, Some(Notice::Delivered)),
            (Verdict::Expanded, Some(Notice::Expanded)),
            (Verdict::Relayed, Some(Notice::Relayed)),
            (Verdict::HandedOver, None),
        ] {
            let owes = |message: &MessageRow| {
                let fresh = RecipientRow::fresh(message);
                let row = after(message, 0, fresh, attempt(10), verdict, parts);
                row.owes.map(|owed| owed.notice)
            };
            assert_eq!(owes(&asked), notice);
            assert_eq!(owes(&null), None);
            assert_eq!(owes(&message(Some(Notify::default()))), None);
        }
    }
}
