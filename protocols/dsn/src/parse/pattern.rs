//! Bounces without a status part: qmail, Exim, old sendmail, Exchange, Notes, Google and many gateways, by what they have in common.
//! A mail system says that something failed; lines name a recipient each, and what follows a line is about it; a separator or a header
//! ends the text and begins the original. The phrases are rows of `phrases.txt`. The text is untrusted; its lines are bounded.
//! Not here: reports with fields (`status.rs`), reasons (`class`).

use message::Header;

use super::parts::Parts;
use super::phrases::{self, Use};
use super::reply_text::{self, FoundReply};
use super::sections::{self, Section, plain};
use super::{Form, Incoming, ReportedRecipient, Returned, addresses, one_line, status};
use crate::action::Action;
use crate::limits;

/// A bounce, if it is one.
pub(super) fn read(header: Header<'_>, parts: &Parts) -> Option<Incoming> {
    let evidence = Evidence::of(header, parts);
    if !evidence.is_bounce() {
        return None;
    }
    let report = Report::of(&parts.text);
    let returned = parts
        .returned
        .clone()
        .or(report.returned.clone())
        .and_then(Returned::new);
    if let Some(incoming) = fields_in_text(&report.text) {
        return Some(Incoming {
            returned,
            ..incoming
        });
    }
    let senders = senders(header, returned.as_ref());
    let mut found = named(header, &report.text, &senders);
    if found.is_empty() {
        // A report inside the text that another one carries.
        if let Some(incoming) = fields_in_text(&parts.text) {
            return Some(Incoming {
                returned,
                ..incoming
            });
        }
        let guess = returned.as_ref().and_then(addressee);
        let guess = guess.or_else(|| shown_addressee(&report.text, &senders));
        found = guess.into_iter().collect();
    }
    // Without a recipient there must be more than a mail system's name on it: postmasters write letters too.
    if found.is_empty() && !(evidence.subject && evidence.text) && !evidence.report_type {
        return None;
    }
    let action = if is_delay(header, &report.text) {
        Action::Delayed
    } else {
        Action::Failed
    };
    let mut incoming =
        Incoming::of_recipients(reported(found, &report.text, action), Form::Pattern);
    if incoming.recipients.is_empty() {
        incoming.kind = if action == Action::Delayed {
            super::Kind::Delayed
        } else {
            super::Kind::Failed
        };
    }
    incoming.returned = returned;
    Some(incoming)
}

/// Whether a mail system wrote it, by the name of the author.
pub(super) fn is_from_daemon(header: Header<'_>) -> bool {
    let from = header
        .first("From")
        .map(|field| field.text().to_lowercase());
    from.is_some_and(|from| from.trim() == "<>" || phrases::contains(Use::Daemon, &from))
}

/// What speaks for a bounce.
struct Evidence {
    daemon: bool,
    subject: bool,
    text: bool,
    failed_recipients: bool,
    report_type: bool,
    /// From nobody, with a message in it.
    returns: bool,
}

impl Evidence {
    fn of(header: Header<'_>, parts: &Parts) -> Self {
        let subject = header.first("Subject").map(|f| f.text().to_lowercase());
        let return_path = header.first("Return-Path").map(|f| f.text());
        let is_null = return_path.is_some_and(|path| path.trim() == "<>");
        // Texts are long only where the original is in them.
        let text: String = parts.text.chars().take(TEXT_LOOKED_AT_MAX).collect();
        Self {
            daemon: is_from_daemon(header),
            subject: subject.is_some_and(|s| phrases::contains(Use::Subject, &s)),
            text: phrases::contains(Use::Text, &plain(&text)),
            failed_recipients: header.first("X-Failed-Recipients").is_some(),
            report_type: parts.report_type.as_deref() == Some("delivery-status"),
            returns: is_null && parts.returned.is_some(),
        }
    }

    fn is_bounce(&self) -> bool {
        self.failed_recipients
            || self.report_type
            || self.daemon && (self.subject || self.text)
            || self.text && (self.subject || self.returns)
    }
}

/// The text for people without the original in it.
struct Report {
    text: String,
    returned: Option<Vec<u8>>,
}

impl Report {
    fn of(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().take(limits::TEXT_LINES_MAX).collect();
        let end = lines.iter().position(|line| is_separator(line));
        let end = end.or_else(|| header_begins(&lines)).unwrap_or(lines.len());
        let after = lines
            .iter()
            .skip(end)
            .skip_while(|line| !is_header_line(line.trim_start()));
        let indent = after
            .clone()
            .next()
            .map_or(0, |line| line.len() - line.trim_start().len());
        let header: Vec<&str> = after
            .map(|line| {
                line.get(indent..)
                    .filter(|_| line[..indent].trim().is_empty())
                    .unwrap_or(line)
            })
            .take_while(|line| !line.trim().is_empty())
            .collect();
        let mut returned = header.join("\n").into_bytes();
        returned.extend_from_slice(b"\n");
        Self {
            text: lines[..end].join("\n"),
            returned: (!header.is_empty()).then_some(returned),
        }
    }
}

fn is_separator(line: &str) -> bool {
    // A separator is a line of its own, not a sentence in a paragraph.
    line.len() <= SEPARATOR_MAX && phrases::contains(Use::Separator, &plain(line))
}

/// Where a header stands without a separator: fields one after the other, the first of them one with which headers begin.
fn header_begins(lines: &[&str]) -> Option<usize> {
    const FIRST: [&str; 4] = [
        "received:",
        "return-path:",
        "x-originating-ip:",
        "dkim-signature:",
    ];
    (0..lines.len()).find(|at| {
        let first = lines[*at].trim_start().to_ascii_lowercase();
        let is_part =
            |line: &&&str| is_header_line(line.trim_start()) || line.starts_with([' ', '\t']);
        FIRST.iter().any(|name| first.starts_with(name))
            && lines[*at..]
                .iter()
                .take(HEADER_RUN)
                .take_while(is_part)
                .count()
                == HEADER_RUN
    })
}

// RFC 5322 2.2: a field-name has no space; a colon follows it.
fn is_header_line(line: &str) -> bool {
    let Some((name, _)) = line.split_once(':') else {
        return false;
    };
    (2..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Fields of a status part in a text, as some gateways write it.
fn fields_in_text(text: &str) -> Option<Incoming> {
    let lower = text.to_ascii_lowercase();
    let at = lower.find("\nfinal-recipient:")?;
    // Fields of the same block that stand before it.
    let start = lower[..at].rfind("\n\n").map_or(0, |at| at + 2);
    status::of_fields(&text.as_bytes()[start..], text, Form::Pattern)
}

/// Addresses of the sender, which texts name too.
fn senders(header: Header<'_>, returned: Option<&Returned>) -> Vec<String> {
    let own = ["To", "Delivered-To", "X-Original-To", "From"];
    let theirs = ["Return-Path", "From", "Sender", "Reply-To"];
    let own = own
        .iter()
        .filter_map(|name| header.first(name).map(|f| f.text()));
    let theirs = theirs.iter().filter_map(|name| returned?.field(name));
    let found = own
        .chain(theirs)
        .filter_map(|text| addresses::first(&text).map(|a| a.to_lowercase()));
    found.collect()
}

/// Recipients of X-Failed-Recipients, else those that lines of the text name.
fn named(header: Header<'_>, text: &str, senders: &[String]) -> Vec<Section> {
    let mut in_text = sections::of(text);
    let listed = header
        .first("X-Failed-Recipients")
        .map(|f| f.text())
        .unwrap_or_default();
    let listed = listed
        .split(',')
        .filter_map(addresses::first)
        .take(limits::RECIPIENTS_MAX);
    let listed: Vec<Section> = listed
        .map(|address| {
            let same = in_text
                .iter()
                .find(|n| n.address.eq_ignore_ascii_case(&address));
            let about = same.map_or(String::new(), |n| n.about.clone());
            Section {
                address: address.into_owned(),
                about,
            }
        })
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let is_sender = |named: &Section| senders.contains(&named.address.to_lowercase());
    if in_text.iter().any(|n| !is_sender(n)) {
        in_text.retain(|n| !is_sender(n));
    }
    in_text
}

/// The recipient of the original, where it has a single one.
fn addressee(returned: &Returned) -> Option<Section> {
    // A bounce that is returned was for the sender.
    if is_from_daemon(returned.header()) {
        return None;
    }
    let field = ["X-Failed-Recipients", "To", "Apparently-To"]
        .iter()
        .find_map(|name| returned.field(name))?;
    let (_, address, after) = addresses::find(&field)?;
    let alone =
        addresses::find(after).is_none_or(|(_, second, _)| second.eq_ignore_ascii_case(address));
    alone.then(|| Section {
        address: address.to_string(),
        about: String::new(),
    })
}

/// The same, where the text shows a field of the original: `To: bob@example.org`.
fn shown_addressee(text: &str, senders: &[String]) -> Option<Section> {
    let fields = text
        .lines()
        .filter_map(|line| line.trim_start().split_once(':'));
    let to = fields.filter(|(name, _)| name.eq_ignore_ascii_case("to"));
    let mut found = to.filter_map(|(_, value)| addresses::first(value));
    found
        .find(|a| !senders.contains(&a.to_lowercase()))
        .map(|address| Section {
            address: address.into_owned(),
            about: String::new(),
        })
}

fn is_delay(header: Header<'_>, text: &str) -> bool {
    let subject = header
        .first("Subject")
        .map(|f| f.text().to_lowercase())
        .unwrap_or_default();
    let failed = [
        "permanent",
        "giving up",
        "given up",
        "not going to try again",
    ];
    let text = plain(text);
    (phrases::contains(Use::Delay, &subject) || phrases::contains(Use::Delay, &text))
        && !failed
            .iter()
            .any(|word| subject.contains(word) || text.contains(word))
}

fn reported(found: Vec<Section>, text: &str, action: Action) -> Vec<ReportedRecipient> {
    // All of the text is about a recipient that is alone in it.
    let sole = (found.len() == 1).then_some(text);
    let one = |section: Section| {
        let about = section.about;
        let mut recipient = ReportedRecipient::new(section.address, action);
        let sources = [Some(about.as_str()), sole].into_iter().flatten();
        let reply = sources
            .filter_map(|source| reply_text::find(source).map(|reply| (reply, source)))
            .find(|(reply, _)| reply.code.is_none_or(|code| code.number() >= 400));
        match reply {
            Some((reply, source)) => quote(&mut recipient, reply, source),
            None => {
                let shown = sole.filter(|_| about.trim().is_empty()).unwrap_or(&about);
                recipient.diagnostic = one_line(shown, ABOUT_MAX);
            }
        }
        recipient.judge(&one_line(sole.unwrap_or(&about), limits::DIAGNOSTIC_MAX));
        recipient
    };
    found.into_iter().map(one).collect()
}

/// Takes over a reply that a text quotes.
fn quote(recipient: &mut ReportedRecipient, reply: FoundReply, source: &str) {
    recipient.code = reply.code;
    recipient.status = reply.status;
    // A bare status stands anywhere in its line: `no mail exchanger. (#5.4.4)`.
    let start = match reply.code {
        Some(_) => reply.at,
        None => source[..reply.at].rfind('\n').map_or(0, |end| end + 1),
    };
    recipient.diagnostic = one_line(paragraph(&source[start..]), limits::DIAGNOSTIC_MAX);
    recipient.remote_mta = host(&source[..reply.at]);
}

/// Up to the first empty line.
fn paragraph(text: &str) -> &str {
    text.split("\n\n").next().unwrap_or_default()
}

/// The host named last before a reply: `host mx.example.jp [192.0.2.153]:`.
fn host(before: &str) -> Option<String> {
    let start = before.len().saturating_sub(limits::VALUE_MAX);
    let start = (start..=before.len()).find(|at| before.is_char_boundary(*at))?;
    let words: Vec<&str> = before[start..].split_whitespace().collect();
    let at = words
        .iter()
        .rposition(|word| matches!(*word, "host" | "host:" | "to" | "by"))?;
    let name = words.get(at + 1)?.trim_end_matches([':', '.', ',', ';']);
    let fits = name.contains('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._[]".contains(&b));
    fits.then(|| name.to_string())
}

/// Characters of a text that are looked at for phrases of a bounce.
const TEXT_LOOKED_AT_MAX: usize = 8192;
/// Octets of a line that may be a separator.
const SEPARATOR_MAX: usize = 120;
/// Lines in a row that make a header.
const HEADER_RUN: usize = 3;
/// Octets of a text that is shown where no reply is in it.
const ABOUT_MAX: usize = 512;
