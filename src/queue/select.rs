//! Which recipients an operator means: a filter whose fields must all fit, and pages of those that fit. The filter is pure; a page reads rows,
//! whole or in part what a message has, and never more than its bounds say.

use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use shards::rt;
use shards::segments::BodyId;
use shards::storage::Shard;

use super::id::{QueueId, first_of};
use super::load;
use super::messages::Queue;
use super::most::Most;
use super::rows::{MessageRow, Recipient, RecipientRow, State, Stored};
use crate::settings::names::canonical_domain;
use crate::store::StoreError;

/// What recipients must have in common. A field that is not there fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Numbers of recipients; none: all.
    pub ids: Vec<u64>,
    /// Who submitted it.
    pub account: Option<String>,
    /// A part of the reverse-path, in any case; `@` and a domain: that domain; `<>`: the null path.
    pub from: Option<String>,
    /// A part of the recipient's address, in any case; `@` and a domain: that domain.
    pub to: Option<String>,
    /// The recipient's domain.
    pub domain: Option<String>,
    /// Where it stands.
    pub state: Option<State>,
    /// The hold rule that holds it.
    pub rule: Option<u32>,
    /// Accepted before this, seconds since 1970.
    pub accepted_before: Option<i64>,
    /// Accepted then or later.
    pub accepted_after: Option<i64>,
    /// Due before this.
    pub next_before: Option<i64>,
    /// Due then or later.
    pub next_after: Option<i64>,
    /// At least so many attempts.
    pub attempts_min: Option<u32>,
    /// At most so many.
    pub attempts_max: Option<u32>,
    /// The transport it was given by hand; empty: none.
    pub transport: Option<String>,
}

impl Filter {
    /// Whether it fits all.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether a recipient fits, whatever its number.
    pub fn fits(&self, message: &MessageRow, recipient: &Recipient, row: &RecipientRow) -> bool {
        let is = |wanted: Option<&str>, fits: &dyn Fn(&str) -> bool| wanted.is_none_or(fits);
        let before = |limit: Option<i64>, time: i64| limit.is_none_or(|limit| time < limit);
        let after = |limit: Option<i64>, time: i64| limit.is_none_or(|limit| time >= limit);
        let rule = row.held_by.as_ref().and_then(|by| by.rule);
        self.state.is_none_or(|state| state == row.state)
            && before(self.accepted_before, message.accepted)
            && after(self.accepted_after, message.accepted)
            && before(self.next_before, row.next)
            && after(self.next_after, row.next)
            && self.attempts_min.is_none_or(|least| row.attempts >= least)
            && self.attempts_max.is_none_or(|most| row.attempts <= most)
            && (self.rule.is_none() || row.state == State::Held && self.rule == rule)
            && is(self.account.as_deref(), &|name| name == message.account)
            && is(self.transport.as_deref(), &|name| {
                name == row.transport.as_deref().unwrap_or_default()
            })
            && is(self.domain.as_deref(), &|domain| {
                same_domain(domain, domain_of(&recipient.address))
            })
            && is(self.from.as_deref(), &|text| {
                has(&message.reverse_path, text)
            })
            && is(self.to.as_deref(), &|text| has(&recipient.address, text))
    }
}

/// As an operator writes it on a command line; times in seconds since 1970.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "--all");
        }
        let mut words: Vec<String> = self.ids.iter().map(u64::to_string).collect();
        let text = |option: &str, text: &str| {
            let is_plain = |c: char| c.is_alphanumeric() || "@.+-_=".contains(c);
            match text.chars().all(is_plain) {
                true => format!("--{option} {text}"),
                // No line of the log is broken by it.
                false => format!("--{option} {text:?}"),
            }
        };
        let state = self.state.map(State::word);
        let transport = self.transport.as_deref().map(|name| match name {
            "" => "-",
            name => name,
        });
        for (option, value) in [
            ("account", self.account.as_deref()),
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
            ("domain", self.domain.as_deref()),
            ("state", state),
            ("transport", transport),
        ] {
            words.extend(value.map(|value| text(option, value)));
        }
        for (option, time) in [
            ("accepted-before", self.accepted_before),
            ("accepted-after", self.accepted_after),
            ("next-before", self.next_before),
            ("next-after", self.next_after),
        ] {
            words.extend(time.map(|time| format!("--{option} @{time}")));
        }
        for (option, number) in [
            ("rule", self.rule),
            ("attempts-min", self.attempts_min),
            ("attempts-max", self.attempts_max),
        ] {
            words.extend(number.map(|number| format!("--{option} {number}")));
        }
        write!(f, "{}", words.join(" "))
    }
}

/// Whether an address has a part, or the domain, that an operator named.
pub(super) fn has(address: &str, text: &str) -> bool {
    match text.strip_prefix('@') {
        _ if text == "<>" => address.is_empty(),
        Some(domain) => same_domain(domain, domain_of(address)),
        None => address.to_lowercase().contains(&text.to_lowercase()),
    }
}

/// The domain of an address as it was written; empty for the null path.
pub fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// Whether two texts are one domain: any case, U-labels or A-labels. Address literals too.
pub fn same_domain(one: &str, other: &str) -> bool {
    match (canonical_domain(one), canonical_domain(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// A place between two pages of a shard: all up to this recipient was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The message's body. Where a filter names numbers, the number of a recipient.
    pub body: u64,
    /// The recipient's position; the largest: all of them.
    pub index: u32,
}

/// A page of a selection.
#[derive(Debug, Default)]
pub struct Page {
    /// Messages, each with those of its recipients that fit.
    pub found: Vec<(Stored, Vec<u32>)>,
    /// Recipients that were looked at.
    pub looked_at: u64,
    /// Where to go on; none: this was the last page of the shard.
    pub next: Option<Place>,
}

/// Recipients of a shard that fit, after a place, up to the bounds of a page. It may be short, and even empty, before the last. Where the filter names an account
/// nothing of others is looked at, but at the start, before the queue knows whose messages are whose.
pub async fn select(
    queue: Option<&Queue>,
    shard: &Rc<Shard>,
    filter: &Filter,
    after: Option<Place>,
    most: Most,
) -> Result<Page, StoreError> {
    match filter.ids.is_empty() {
        true => by_row(queue, shard, filter, after, most).await,
        false => by_number(shard, filter, after, most).await,
    }
}

async fn by_row(
    queue: Option<&Queue>,
    shard: &Rc<Shard>,
    filter: &Filter,
    after: Option<Place>,
    mut most: Most,
) -> Result<Page, StoreError> {
    let mut page = Page::default();
    // The message of the place may have recipients left.
    let mut from = after.and_then(|place| Some(BodyId(place.body.checked_sub(1)?)));
    let mut seen = 0;
    // More and more at once: a message has one recipient or a thousand.
    let mut slice = SLICE_MIN;
    loop {
        let Some((messages, last, more)) = read(queue, shard, filter, from, slice).await? else {
            return Ok(page);
        };
        seen += slice;
        for stored in messages {
            let body = stored.body;
            if (filter.account.as_ref()).is_some_and(|name| *name != stored.message.account) {
                continue;
            }
            let mut fitting = Vec::new();
            for (index, recipient) in (0u32..).zip(&stored.message.recipients) {
                let place = Place {
                    body: body.0,
                    index,
                };
                if after.is_some_and(|after| place <= after) {
                    continue;
                }
                page.looked_at += 1;
                if filter.fits(&stored.message, recipient, &stored.recipient(index)) {
                    fitting.push(index);
                    most.take(stored.octets_of(index));
                }
                if most.is_used_up() {
                    page.next = Some(place);
                    break;
                }
            }
            if !fitting.is_empty() {
                page.found.push((stored, fitting));
            }
            if page.next.is_some() {
                return Ok(page);
            }
            rt::yield_if_needed().await;
        }
        if !more {
            return Ok(page);
        }
        if seen >= MESSAGES_MAX {
            page.next = Some(Place {
                body: last.0,
                index: u32::MAX,
            });
            return Ok(page);
        }
        from = Some(last);
        slice = (slice * 2).min(MESSAGES_MAX - seen);
    }
}

/// The next messages after one, the last one that was looked at, and whether there may be more. None: there are none.
async fn read(
    queue: Option<&Queue>,
    shard: &Rc<Shard>,
    filter: &Filter,
    after: Option<BodyId>,
    most: usize,
) -> Result<Option<(Vec<Stored>, BodyId, bool)>, StoreError> {
    let from = BodyId(after.map_or(0, |body| body.0.saturating_add(1)));
    let account = filter.account.as_ref();
    let Some(own) = account.and_then(|name| queue?.of_account(name, shard.id().0, from, most))
    else {
        let (messages, more) = load::page(shard, after, most).await?;
        let last = messages.last().map(|m| m.body);
        return Ok(last.map(|last| (messages, last, more)));
    };
    let (mut messages, mut octets, mut looked_at) = (Vec::new(), 0, 0);
    while looked_at < own.len() && octets < load::OCTETS_MAX {
        let (some, more) = load::find_first(shard, &own[looked_at..]).await?;
        octets += more;
        looked_at += some.len();
        // One that ended just now is not there any more.
        messages.extend(some.into_iter().flatten());
    }
    let is_all = own.len() < most && looked_at == own.len();
    let last = looked_at.checked_sub(1).map(|at| own[at]);
    Ok(last.map(|last| (messages, last, !is_all)))
}

async fn by_number(
    shard: &Rc<Shard>,
    filter: &Filter,
    after: Option<Place>,
    mut most: Most,
) -> Result<Page, StoreError> {
    let mut page = Page::default();
    let ids = filter.ids.iter().filter_map(|id| QueueId::from_u64(*id));
    let mut numbers: Vec<u64> = ids
        .filter(|id| id.shard() == shard.id().0)
        .map(QueueId::number)
        .filter(|number| after.is_none_or(|after| *number > after.body))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    for (count, number) in numbers.iter().copied().enumerate() {
        if most.is_used_up() || count >= MESSAGES_MAX {
            page.next = Some(Place {
                body: numbers[count - 1],
                index: u32::MAX,
            });
            break;
        }
        page.looked_at += 1;
        most.entries -= 1;
        let Some((stored, index)) = load::find_recipient(shard, number).await? else {
            continue;
        };
        most.octets = most.octets.saturating_sub(stored.octets_of(index));
        let fits = stored
            .message
            .recipients
            .get(index as usize)
            .is_some_and(|recipient| {
                filter.fits(&stored.message, recipient, &stored.recipient(index))
            });
        match page.found.last_mut() {
            _ if !fits => (),
            Some((last, indexes)) if last.body == stored.body => {
                last.changed.extend(stored.changed);
                indexes.push(index);
            }
            _ => page.found.push((stored, vec![index])),
        }
    }
    Ok(page)
}

/// Which recipient of a message has a number.
pub(super) fn index_of(stored: &Stored, number: u64) -> Option<u32> {
    let first = first_of(stored.body, stored.message.recipients.len());
    let index = u32::try_from(number.checked_sub(first)?).ok()?;
    (number <= stored.body.0).then_some(index)
}

/// Messages that are read at once, at first.
const SLICE_MIN: usize = 8;
/// Messages that one page looks at, at most.
const MESSAGES_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::rows::HeldBy;

    fn message() -> MessageRow {
        MessageRow {
            size: 1,
            prefix_length: 0,
            account: "anna".into(),
            reverse_path: "Anna.B@Example.org".into(),
            message_id: String::new(),
            smtputf8: false,
            eight_bit: false,
            binary: false,
            accepted: 1_000,
            not_before: 0,
            expires: 5 * 86_400,
            require_tls: None,
            ret: None,
            envid: None,
            recipients: vec![Recipient::new("Carl@Sub.One.example")],
            held_for: None,
            unique_mail_from: None,
            extra: Default::default(),
            batch: None,
        }
    }

    fn row() -> RecipientRow {
        RecipientRow {
            attempts: 3,
            next: 2_000,
            transport: Some("backup".into()),
            ..RecipientRow::fresh(&message())
        }
    }

    fn fits(filter: &Filter) -> bool {
        let message = message();
        filter.fits(&message, &message.recipients[0], &row())
    }

    /// A filter with one more field.
    fn with(change: impl FnOnce(&mut Filter)) -> Filter {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    }

    type Case = (fn(&mut Filter), bool);

    #[test]
    fn each_field_fits_by_itself() {
        let cases: &[Case] = &[
            (|_| (), true),
            (|f| f.account = Some("anna".into()), true),
            (|f| f.account = Some("ann".into()), false),
            (|f| f.from = Some("na.b@ex".into()), true),
            (|f| f.from = Some("@example.ORG".into()), true),
            (|f| f.from = Some("@ample.org".into()), false),
            (|f| f.from = Some("<>".into()), false),
            (|f| f.to = Some("carl@".into()), true),
            (|f| f.to = Some("@one.example".into()), false),
            (|f| f.to = Some("one.example".into()), true),
            (|f| f.to = Some("@sub.one.example".into()), true),
            (|f| f.domain = Some("sub.one.example.".into()), true),
            (|f| f.domain = Some("one.example".into()), false),
            (|f| f.state = Some(State::Waiting), true),
            (|f| f.state = Some(State::Held), false),
            (|f| f.accepted_before = Some(1_000), false),
            (|f| f.accepted_before = Some(1_001), true),
            (|f| f.accepted_after = Some(1_000), true),
            (|f| f.accepted_after = Some(1_001), false),
            (|f| f.next_before = Some(2_000), false),
            (|f| f.next_before = Some(2_001), true),
            (|f| f.next_after = Some(2_000), true),
            (|f| f.next_after = Some(2_001), false),
            (|f| f.attempts_min = Some(3), true),
            (|f| f.attempts_min = Some(4), false),
            (|f| f.attempts_max = Some(3), true),
            (|f| f.attempts_max = Some(2), false),
            (|f| f.transport = Some("backup".into()), true),
            (|f| f.transport = Some(String::new()), false),
            (|f| f.rule = Some(3), false),
        ];
        for (number, (change, expected)) in cases.iter().enumerate() {
            let filter = with(change);
            assert_eq!(fits(&filter), *expected, "{number}: {filter:?}");
            assert_eq!(filter.is_empty(), number == 0);
        }
    }

    #[test]
    fn all_fields_must_fit() {
        let both = with(|f| {
            f.from = Some("anna".into());
            f.to = Some("carl".into());
        });
        assert!(fits(&both));
        let one = with(|f| {
            f.from = Some("anna".into());
            f.to = Some("nobody".into());
        });
        assert!(!fits(&one));
        let other = Filter {
            account: Some("ben".into()),
            ..both
        };
        assert!(!fits(&other));
    }

    #[test]
    fn the_null_path_a_rule_and_names_in_other_scripts_fit() {
        let null = MessageRow {
            reverse_path: String::new(),
            recipients: vec![Recipient::new("x@bücher.example")],
            ..message()
        };
        let held = RecipientRow {
            state: State::Held,
            held_by: Some(HeldBy {
                rule: Some(3),
                words: String::new(),
            }),
            transport: None,
            ..row()
        };
        for filter in [
            with(|f| f.from = Some("<>".into())),
            with(|f| f.rule = Some(3)),
            with(|f| f.transport = Some(String::new())),
            with(|f| f.domain = Some("xn--bcher-kva.example".into())),
            with(|f| f.to = Some("@B\u{dc}CHER.example".into())),
        ] {
            assert!(filter.fits(&null, &null.recipients[0], &held), "{filter:?}");
        }
        let domain = with(|f| f.from = Some("@example.org".into()));
        assert!(!domain.fits(&null, &null.recipients[0], &held));
    }

    #[test]
    fn filters_are_shown_in_one_line() {
        assert_eq!(Filter::default().to_string(), "--all");
        let filter = with(|f| {
            f.ids = vec![17, 18];
            f.from = Some("<>".into());
            f.to = Some("a\nb".into());
            f.transport = Some(String::new());
            f.next_before = Some(-7);
        });
        let shown = r#"17 18 --from "<>" --to "a\nb" --transport - --next-before @-7"#;
        assert_eq!(filter.to_string(), shown);
    }

    #[test]
    fn filters_read_as_they_are_written() {
        let filter = with(|f| {
            f.ids = vec![1, 2];
            f.state = Some(State::Held);
            f.next_before = Some(7);
        });
        let text = serde_json::to_string(&filter).unwrap();
        assert!(text.contains("\"state\":\"held\""), "{text}");
        assert_eq!(serde_json::from_str::<Filter>(&text).unwrap(), filter);
        assert!(serde_json::from_str::<Filter>("{\"colour\":1}").is_err());
        assert!(serde_json::from_str::<Filter>("{}").unwrap().is_empty());
    }
}
