//! What happened to a message at one of its recipients, as a list that grows at its end alone: its acceptance, its attempts, its end, what came back. Made of what is
//! kept of the recipient (`recipients`). Not here: what endpoints of webhooks are told.

use serde::{Deserialize, Serialize};
use webapi::Time;
use webapi::v1::read;
use webapi::v1::recipient::{Happening, Happenings, Recipient, State};
use webapi::v1::suppression::Page;

use super::paging::{self, Cursors};
use super::recipients::{Found, find};
use super::{Asked, Said, reply};

/// A place in the list: kind, and which of that kind. It stays the same when what is before it is forgotten, and whatever the clock says. In front is
/// nothing; cursors of before have a time there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place(i64, u8, u32);

impl Place {
    const ACCEPTED: Place = Place(0, 1, 0);
    const END: Place = Place(0, 3, 0);

    /// From 1 on.
    fn of_attempt(number: u32) -> Place {
        Place(0, 2, number)
    }

    /// From 1 on; in cursors from 0 on.
    fn of_report(number: u32) -> Place {
        Place(0, 4, number.saturating_sub(1))
    }

    /// How many of its kind are between it and a place before it.
    fn missing_since(self, before: Place) -> u32 {
        let first = match before {
            Place(_, kind, number) if kind == self.1 => number.saturating_add(1),
            _ if self.1 == Place::of_attempt(1).1 => 1,
            _ => 0,
        };
        self.2.saturating_sub(first)
    }
}

/// A page.
pub(super) async fn list(asked: &Asked) -> Said {
    let page: Page = read::query(&asked.query)?;
    let limit = paging::bounds(asked, page.limit)?.entries;
    let Found { recipient, is_over } = find(asked).await?;
    let list = format!("events of {}", recipient.id);
    let cursors = Cursors::of(asked, &list)?;
    let after: Option<Place> = cursors.place(page.cursor.as_deref())?;
    let after = after.map_or_else(Place::default, |place| Place(0, place.1, place.2));
    let (events, last) = page_of(&recipient, is_over, after, limit);
    let happenings = Happenings {
        events,
        next_cursor: cursors.written(&last),
        is_over: is_over && last >= Place::END,
    };
    reply::json(hyper::StatusCode::OK, &happenings)
}

/// So many of what is behind a place, and where they end.
fn page_of(
    recipient: &Recipient,
    is_over: bool,
    after: Place,
    limit: usize,
) -> (Vec<Happening>, Place) {
    let all = happenings(recipient, is_over).into_iter();
    let mut last = after;
    let page = all.filter(|(place, _)| *place > after).take(limit);
    let page = page.map(|(place, happening)| {
        let not_kept = place.missing_since(last);
        last = place;
        Happening {
            not_kept,
            ..happening
        }
    });
    (page.collect(), last)
}

/// All that is kept, in its order.
fn happenings(recipient: &Recipient, is_over: bool) -> Vec<(Place, Happening)> {
    let mut all = Vec::new();
    let nothing = |at: &Option<Time>, event: &str| Happening {
        at: *at,
        event: event.to_string(),
        attempt: None,
        not_kept: 0,
        report: None,
        remote: None,
        code: None,
        enhanced: None,
        text: String::new(),
    };
    let accepted = &recipient.accepted;
    all.push((Place::ACCEPTED, nothing(accepted, "accepted")));
    // The first, and the latest, which end with the last one.
    let kept = recipient.history.len() as u32;
    for (at, attempt) in (0u32..).zip(&recipient.history) {
        let number = match at {
            0 => 1,
            at => (recipient.attempts + at + 1).saturating_sub(kept),
        };
        let happening = Happening {
            attempt: Some(number),
            remote: attempt.remote.clone(),
            code: attempt.code,
            enhanced: attempt.enhanced.clone(),
            text: attempt.text.clone(),
            ..nothing(&attempt.at, "attempt")
        };
        all.push((Place::of_attempt(number), happening));
    }
    if is_over {
        let last = recipient.history.last().map_or(accepted, |last| &last.at);
        let ended = recipient.ended.or(*last);
        let event = match recipient.state {
            State::Delivered => "delivered",
            State::Relayed => "relayed",
            State::Dropped => "dropped",
            State::Suppressed => "suppressed",
            _ => "failed",
        };
        let happening = Happening {
            text: recipient.reason.clone(),
            ..nothing(&ended, event)
        };
        all.push((Place::END, happening));
    }
    for report in &recipient.reports {
        let happening = Happening {
            report: Some(report.kind.clone()),
            code: report.code,
            enhanced: report.enhanced.clone(),
            text: report.text.clone(),
            ..nothing(&report.at, "report")
        };
        all.push((Place::of_report(report.number), happening));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use webapi::v1::recipient::{Attempt, Report};

    use super::*;

    /// One that was accepted at 1,000; the numbers of its attempts that are kept are the times of these.
    fn recipient(state: State, attempts: u32, kept: &[i64]) -> Recipient {
        let attempt = |at: &i64| Attempt {
            at: Time::of_unix(*at),
            took_ms: 0,
            remote: None,
            code: Some(451),
            enhanced: None,
            text: String::new(),
            stage: None,
        };
        Recipient {
            id: 7,
            address: "a@a.example".into(),
            message_id: String::new(),
            sender: "s@s.example".into(),
            state,
            reason: String::new(),
            accepted: Time::of_unix(1_000),
            next_attempt: None,
            expires: None,
            ended: None,
            size: 1,
            attempts,
            history: kept.iter().map(attempt).collect(),
            class: None,
            reports: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// What is told behind a place: the event, its number, and how many are missing before it.
    fn told(recipient: &Recipient, after: Place) -> (Vec<(String, u32, u32)>, Place) {
        let is_over = !matches!(recipient.state, State::Waiting);
        let (page, last) = page_of(recipient, is_over, after, 100);
        let brief = |h: Happening| (h.event, h.attempt.unwrap_or(0), h.not_kept);
        (page.into_iter().map(brief).collect(), last)
    }

    fn attempts(numbers: &[(u32, u32)]) -> Vec<(String, u32, u32)> {
        let attempt = |(number, missing): &(u32, u32)| ("attempt".to_owned(), *number, *missing);
        numbers.iter().map(attempt).collect()
    }

    #[test]
    fn attempts_have_their_numbers_and_those_that_are_not_kept_are_counted() {
        let start = Place::default();
        let (first, at_first) = told(&recipient(State::Waiting, 1, &[1]), start);
        assert_eq!(first[1..], attempts(&[(1, 0)]));
        let (_, at_fourth) = told(&recipient(State::Waiting, 4, &[1, 2, 3, 4]), start);
        let kept: Vec<i64> = [1].into_iter().chain(7..=17).collect();
        let latest: Vec<(u32, u32)> = (8..=17).map(|number| (number, 0)).collect();
        for state in [State::Waiting, State::Failed] {
            let many = recipient(state, 17, &kept);
            let since = |after| {
                let mut told = told(&many, after).0;
                told.retain(|(event, ..)| event == "attempt");
                told
            };
            let with = |before: &[(u32, u32)]| attempts(&[before, &latest].concat());
            assert_eq!(since(start), with(&[(1, 0), (7, 5)]));
            assert_eq!(since(at_first), with(&[(7, 5)]));
            assert_eq!(since(at_fourth), with(&[(7, 2)]));
            assert_eq!(since(Place::of_attempt(6)), with(&[(7, 0)]));
            assert_eq!(since(Place::of_attempt(17)), []);
        }
    }

    #[test]
    fn reports_that_come_in_one_second_are_told_though_others_are_not_kept_any_more() {
        let with = |numbers: &[u32]| {
            let report = |number: &u32| Report {
                number: *number,
                at: Time::of_unix(2_000),
                kind: "failed".into(),
                code: None,
                enhanced: None,
                text: String::new(),
                class: None,
            };
            Recipient {
                reports: numbers.iter().map(report).collect(),
                ..recipient(State::Delivered, 1, &[1_500])
            }
        };
        let (_, eighth) = told(&with(&[1, 2, 3, 4, 5, 6, 7, 8]), Place::default());
        let (next, _) = told(&with(&[1, 3, 4, 5, 6, 7, 8, 9]), eighth);
        assert_eq!(next, [("report".to_owned(), 0, 0)]);
        let later = with(&[1, 14, 15, 16, 17, 18, 19, 20]);
        let missing = |after| told(&later, after).0[0].2;
        assert_eq!(missing(eighth), 5);
        assert_eq!(missing(Place::of_report(1)), 12);
        assert_eq!(missing(Place::END), 0);
    }

    #[test]
    fn a_clock_that_goes_back_hides_nothing() {
        let (_, accepted) = told(&recipient(State::Waiting, 0, &[]), Place::default());
        let (first, at_first) = told(&recipient(State::Waiting, 1, &[900]), accepted);
        assert_eq!(first, attempts(&[(1, 0)]));
        let over = recipient(State::Delivered, 2, &[900, 800]);
        let (rest, end) = told(&over, at_first);
        assert_eq!(rest[..1], attempts(&[(2, 0)]));
        assert_eq!(rest[1..], [("delivered".to_owned(), 0, 0)]);
        assert_eq!(told(&over, end), (Vec::new(), end));
    }
}
