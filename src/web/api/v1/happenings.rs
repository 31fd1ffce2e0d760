//! What happened to a message at one of its recipients, as a list that grows: its acceptance, its attempts, its end, what came back. Made of what is
//! kept of the recipient (`recipients`). Not here: what endpoints of webhooks are told.

use serde::{Deserialize, Serialize};
use webapi::Time;
use webapi::v1::read;
use webapi::v1::recipient::{Happening, Happenings, Recipient, State};
use webapi::v1::suppression::Page;

use super::paging::{self, Cursors};
use super::recipients::{Found, find};
use super::{Asked, Said, reply};

/// A place in the list: time, kind, and which of that kind. It stays the same when what is older is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place(i64, u8, u32);

/// A page.
pub(super) async fn list(asked: &Asked) -> Said {
    let page: Page = read::query(&asked.query)?;
    let limit = paging::limit(page.limit)?;
    let Found { recipient, is_over } = find(asked).await?;
    let list = format!("events of {}", recipient.id);
    let cursors = Cursors::of(asked, &list)?;
    let after: Place = cursors.place(page.cursor.as_deref())?.unwrap_or_default();
    let mut all = happenings(&recipient, is_over);
    all.retain(|(place, _)| *place > after);
    all.truncate(limit);
    let last = all.last().map_or(after, |(place, _)| *place);
    let happenings = Happenings {
        events: all.into_iter().map(|(_, happening)| happening).collect(),
        next_cursor: cursors.written(&last),
        is_over,
    };
    reply::json(hyper::StatusCode::OK, &happenings)
}

fn happenings(recipient: &Recipient, is_over: bool) -> Vec<(Place, Happening)> {
    let mut all = Vec::new();
    let unix = |at: &Option<Time>| at.as_ref().map_or(0, |at| at.unix());
    let nothing = |at: &Option<Time>, event: &str| Happening {
        at: *at,
        event: event.to_string(),
        attempt: None,
        report: None,
        remote: None,
        code: None,
        enhanced: None,
        text: String::new(),
    };
    let accepted = &recipient.accepted;
    all.push((Place(unix(accepted), 1, 0), nothing(accepted, "accepted")));
    // The latest end with the last one; what is before them is the first.
    let kept = recipient.history.len() as u32;
    for (at, attempt) in (0u32..).zip(&recipient.history) {
        let number = match at {
            0 if is_over => 1,
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
        all.push((Place(unix(&attempt.at), 2, number), happening));
    }
    if is_over {
        // Its place is behind the last attempt, whenever that is put on record: it is told once.
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
        all.push((Place(unix(last), 3, 0), happening));
    }
    for (number, report) in (0u32..).zip(&recipient.reports) {
        let happening = Happening {
            report: Some(report.kind.clone()),
            code: report.code,
            enhanced: report.enhanced.clone(),
            text: report.text.clone(),
            ..nothing(&report.at, "report")
        };
        all.push((Place(unix(&report.at), 4, number), happening));
    }
    all.sort_by_key(|(place, _)| *place);
    all
}
