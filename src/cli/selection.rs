//! What a command line says of recipients in the queue: the filter, and times in it.

use std::time::Duration;

use message::MessageDate;

use super::Failure;
use super::arguments::Arguments;
use super::options::Opt;
use crate::percore::wall_clock;
use crate::queue::Filter;
use crate::queue::id::QueueId;
use crate::queue::rows::State;
use crate::settings::Secs;

/// The filter of a command line; `ids` are those of its arguments that name recipients.
pub(super) fn filter(arguments: &Arguments, ids: &[String]) -> Result<Filter, Failure> {
    let text = |option: Opt| arguments.text(option).map(str::to_string);
    let now = wall_clock();
    let time = |option: Opt| {
        let moment = arguments.text(option).map(|text| {
            moment(text, now).ok_or_else(|| wrong(option, text, "no time; write now, -2h, 30m, 2026-01-31T08:00:00Z, or a date as ringmail queue list shows it"))
        });
        moment.transpose()
    };
    let number = |option: Opt| {
        let number = arguments.text(option).map(|text| {
            let number = text.parse::<u32>();
            number.map_err(|_| wrong(option, text, "no number"))
        });
        number.transpose()
    };
    let state = arguments.text(Opt::State).map(|text| {
        let states = [
            State::Waiting,
            State::Held,
            State::Delivered,
            State::Failed,
            State::Dropped,
        ];
        let found = states.into_iter().find(|state| state.word() == text);
        found.ok_or_else(|| {
            let words = states.map(State::word).join(", ");
            wrong(Opt::State, text, &format!("none of {words}"))
        })
    });
    let ids = ids.iter().map(|id| Ok(id.parse::<QueueId>()?.get()));
    Ok(Filter {
        ids: ids.collect::<Result<_, String>>().map_err(Failure::Usage)?,
        account: text(Opt::Account),
        from: text(Opt::From),
        to: text(Opt::To),
        domain: text(Opt::Domain),
        state: state.transpose()?,
        rule: number(Opt::Rule)?,
        accepted_before: time(Opt::AcceptedBefore)?,
        accepted_after: time(Opt::AcceptedAfter)?,
        next_before: time(Opt::NextBefore)?,
        next_after: time(Opt::NextAfter)?,
        attempts_min: number(Opt::AttemptsMin)?,
        attempts_max: number(Opt::AttemptsMax)?,
        // Options have no empty values.
        transport: text(Opt::Transport).map(|name| match name.as_str() {
            "-" => String::new(),
            _ => name,
        }),
    })
}

/// The filter of a command that changes something: everything is meant only by whoever says so.
pub(super) fn filter_or_all(arguments: &Arguments, ids: &[String]) -> Result<Filter, Failure> {
    let filter = filter(arguments, ids)?;
    match (filter.is_empty(), arguments.all) {
        (true, false) => Err(Failure::Usage(
            "say which recipients: their numbers, a filter, or --all".into(),
        )),
        (false, true) => Err(Failure::Usage(
            "--all means every recipient, and a filter or a number fewer; give one of them".into(),
        )),
        _ => Ok(filter),
    }
}

fn wrong(option: Opt, text: &str, what: &str) -> Failure {
    Failure::Usage(format!("{}: {text:?} is {what}", option.written()))
}

/// A moment as an operator writes it, in seconds since 1970.
pub(super) fn moment(text: &str, now: i64) -> Option<i64> {
    if text == "now" {
        return Some(now);
    }
    if let Some(secs) = text.strip_prefix('@') {
        return secs.parse().ok();
    }
    if let Some(by) = signed(text) {
        return now.checked_add(by);
    }
    rfc3339(text).or_else(|| {
        let date = MessageDate::parse(text.as_bytes())?;
        // Dates that are cut off read as their first second.
        (text.split(' ').count() >= 5).then_some(date.unix_secs)
    })
}

/// A duration with a sign or without, in seconds.
pub(super) fn signed(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let duration: Duration = rest.parse::<Secs>().ok()?.duration();
    Some(sign * i64::try_from(duration.as_secs()).ok()?)
}

/// A duration in seconds.
pub(super) fn span(text: &str) -> Option<u32> {
    let duration: Duration = text.parse::<Secs>().ok()?.duration();
    u32::try_from(duration.as_secs()).ok()
}

// RFC 3339 5.6: date-time = full-date "T" full-time, by way of RFC 5322's, whose parts are the same.
fn rfc3339(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (date, time) = text.split_once(['T', 't'])?;
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    let (time, zone) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, "+0000".to_string()),
        None => {
            let at = time.rfind(['+', '-'])?;
            (&time[..at], time[at..].replace(':', ""))
        }
    };
    let date = MessageDate::parse(format!("{day} {month} {year} {time} {zone}").as_bytes())?;
    Some(date.unix_secs)
}

#[cfg(test)]
mod tests {
    use super::super::arguments::{Parsed, parse};
    use super::*;

    /// The log shows what an operator did in these words.
    #[test]
    fn a_filter_that_is_shown_reads_as_itself() {
        let shown = "17 18 --account anna --from ben@ --to @b\u{fc}cher.example --domain c.example \
            --state held --transport - --accepted-before @1 --accepted-after @2 --next-before @3 \
            --next-after @-4 --rule 5 --attempts-min 6 --attempts-max 7";
        let words = format!("ringmail queue list --dir d {shown}");
        let words = words.split_whitespace().map(std::ffi::OsString::from);
        let Ok(Parsed::Run(_, arguments)) = parse(words) else {
            panic!("{shown}");
        };
        let filter = filter(&arguments, &arguments.rest).unwrap();
        assert_eq!(filter.to_string(), shown);
    }

    #[test]
    fn moments_read_as_documented() {
        let now = 1_000_000;
        for (text, expected) in [
            ("now", 1_000_000),
            ("-2h", 992_800),
            ("1h30m", 1_005_400),
            ("+90s", 1_000_090),
            ("@12", 12),
            ("1970-01-02T00:00:10Z", 86_410),
            ("1970-01-02T00:00:10+01:00", 82_810),
            ("Fri, 02 Jan 1970 00:00:10 +0000", 86_410),
        ] {
            assert_eq!(moment(text, now), Some(expected), "{text}");
        }
        for text in [
            "",
            "soon",
            "-",
            "h",
            "1970-13-02T00:00:10Z",
            "1970-01-02",
            "Friday",
        ] {
            assert_eq!(moment(text, now), None, "{text}");
        }
        assert_eq!(moment(&MessageDate::utc(now).to_string(), 0), Some(now));
    }
}
