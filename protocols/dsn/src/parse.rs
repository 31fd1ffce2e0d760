//! Reading what comes back: reports of delivery, bounces of old and odd servers, complaints, automatic replies.
//! Called for mail that may answer mail of ours. All of it is untrusted, and anybody can forge it: the caller must match a report with what it
//! sent (by the address it came to, [`Incoming::envelope_id`] or [`Returned`]) before it believes it. Nothing fails; `limits.rs` bounds the work.
//! RFC 3464, 6522, 6533 (reports), RFC 5965 (complaints), RFC 3834 (automatic replies); the rest by phrases (`parse/phrases.txt`).
//! Not here: the class of a failure (`class.rs`), the sent mail it belongs to.

mod addresses;
mod auto_reply;
mod complaint;
mod notification;
mod parts;
mod pattern;
mod phrases;
mod reply_text;
mod sections;
mod status;

use message::{Header, Structure};
use smtp::{Code, EnhancedStatus};

use crate::action::Action;
use crate::class::{Bounce, BounceClass};
use crate::limits;
use parts::Parts;

pub use complaint::Complaint;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A report that a message was not delivered to at least one recipient.
    Failed,
    /// That it is late, for at least one.
    Delayed,
    /// That it was delivered, relayed or expanded, and no worse.
    Delivered,
    /// A recipient, or their provider, calls a message spam.
    Complaint,
    /// Written by a program to the sender of a message, for a person who is away, for example.
    AutoReply,
    /// None of these.
    NotAReport,
}

impl Kind {
    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Delayed => "delayed",
            Kind::Delivered => "delivered",
            Kind::Complaint => "complaint",
            Kind::AutoReply => "auto-reply",
            Kind::NotAReport => "not-a-report",
        }
    }
}

/// How it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// By the standard for it.
    Standard,
    /// By phrases and guesses.
    Pattern,
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// What it is.
    pub kind: Kind,
    /// How that was found.
    pub form: Form,
    /// One for each recipient the report speaks of; empty if it does not say. Of a complaint, the recipients it names.
    pub recipients: Vec<ReportedRecipient>,
    /// The host that reports.
    pub reporting_mta: Option<String>,
    /// ENVID of the original (RFC 3461 4.4).
    pub envelope_id: Option<String>,
    /// The header of the original, where it came back.
    pub returned: Option<Returned>,
    /// What a complaint says besides.
    pub complaint: Option<Complaint>,
}

/// What a report says of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedRecipient {
    /// The address that failed, decoded. Not always an address of RFC 5321.
    pub address: String,
    /// The address as the sender wrote it, before any alias (ORCPT).
    pub original: Option<String>,
    /// What happened.
    pub action: Action,
    /// The enhanced status.
    pub status: Option<EnhancedStatus>,
    /// The code of the server's reply.
    pub code: Option<Code>,
    /// What the server said, in one line.
    pub diagnostic: String,
    /// The host that said it.
    pub remote_mta: Option<String>,
    /// Why; none if it was delivered.
    pub bounce: Option<Bounce>,
}

/// The header of a message that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    octets: Vec<u8>,
}

impl Returned {
    fn new(mut octets: Vec<u8>) -> Option<Self> {
        octets.truncate(limits::RETURNED_HEADER_MAX);
        let returned = Self { octets };
        returned
            .header()
            .fields()
            .next()
            .is_some()
            .then_some(returned)
    }

    /// The header section: whoever sent the message may look for fields of their own.
    pub fn header(&self) -> Header<'_> {
        Header::of_section(&self.octets)
    }

    /// The first field of that name, as text.
    pub fn field(&self, name: &str) -> Option<String> {
        self.header().first(name).map(|field| field.text())
    }

    /// The Message-ID with its brackets.
    pub fn message_id(&self) -> Option<String> {
        let text = self.field("Message-ID")?;
        let start = text.find('<')?;
        let end = start + text[start..].find('>')?;
        Some(text[start..=end].to_string())
    }
}

/// Reads a message.
pub fn parse(message: &[u8]) -> Incoming {
    read(&message[..message.len().min(limits::LOOKED_AT_MAX)], true)
}

fn read(message: &[u8], may_descend: bool) -> Incoming {
    let structure = Structure::of_message(message);
    let header = Header::of_section(structure.root.header_octets(message));
    let parts = Parts::of(message, &structure.root);
    // RFC 8098 3: a receipt; it says that the message arrived, whatever its words sound like.
    if parts.report_type.as_deref() == Some("disposition-notification") {
        return Incoming::new(Kind::NotAReport, Form::Standard);
    }
    let mut incoming = complaint::read(header, &parts)
        .or_else(|| status::read(&parts))
        .or_else(|| notification::read(header, &parts))
        .or_else(|| auto_reply::read(header))
        .or_else(|| pattern::read(header, &parts))
        .unwrap_or_else(|| Incoming::new(Kind::NotAReport, Form::Pattern));
    if incoming.kind == Kind::NotAReport || incoming.kind == Kind::AutoReply {
        return incoming;
    }
    if let Some(inner) = parts
        .embedded
        .clone()
        .filter(|_| may_descend && incoming.recipients.is_empty())
    {
        // A gateway's notice about a report that it carries.
        let inner = read(&message[inner], false);
        if !inner.recipients.is_empty() && inner.form == Form::Standard {
            return inner;
        }
    }
    if incoming.returned.is_none() {
        incoming.returned = parts.returned.and_then(Returned::new);
    }
    incoming.name_paths();
    incoming
}

impl Incoming {
    fn new(kind: Kind, form: Form) -> Self {
        Self {
            kind,
            form,
            recipients: Vec::new(),
            reporting_mta: None,
            envelope_id: None,
            returned: None,
            complaint: None,
        }
    }

    /// A report of these recipients; its kind is the worst of them.
    fn of_recipients(recipients: Vec<ReportedRecipient>, form: Form) -> Self {
        let any = |action| recipients.iter().any(|r| r.action == action);
        let kind = if any(Action::Failed) {
            Kind::Failed
        } else if any(Action::Delayed) {
            Kind::Delayed
        } else {
            Kind::Delivered
        };
        Self {
            recipients,
            ..Self::new(kind, form)
        }
    }
}

impl Incoming {
    /// A sole recipient that is a file or a program on the reporting host: whom the original was for says the returned header.
    fn name_paths(&mut self) {
        let [recipient] = self.recipients.as_mut_slice() else {
            return;
        };
        if recipient.address.contains('@') || recipient.original.is_some() {
            return;
        }
        let to = self
            .returned
            .as_ref()
            .and_then(|returned| returned.field("To"));
        let found = to.as_deref().and_then(addresses::find);
        recipient.original = found
            .filter(|(_, _, after)| addresses::find(after).is_none())
            .map(|(_, address, _)| address.to_string());
    }
}

impl ReportedRecipient {
    fn new(address: String, action: Action) -> Self {
        Self {
            address,
            original: None,
            action,
            status: None,
            code: None,
            diagnostic: String::new(),
            remote_mta: None,
            bounce: None,
        }
    }

    /// Judges it by what is known of it, and if that is not enough, by a longer text about it.
    fn judge(&mut self, longer: &str) {
        if !matches!(self.action, Action::Failed | Action::Delayed) {
            return;
        }
        let in_text = reply_text::find(&self.diagnostic);
        let said = in_text.and_then(|found| found.status);
        // The server's own status says more than `5.0.0` of the host that reports, and where both speak, it is the nearer one.
        let telling = said
            .filter(|s| s.subject > 0 && s.class >= 4)
            .or(self.status);
        let mut bounce = Bounce::of(self.code, telling, &self.diagnostic);
        if bounce.class == BounceClass::Unknown && said.is_some() {
            bounce = Bounce::of(self.code, self.status, &self.diagnostic);
        }
        if bounce.class == BounceClass::Unknown && !longer.is_empty() {
            bounce = Bounce::of(self.code, self.status, longer);
        }
        if self.action == Action::Delayed {
            bounce = Bounce::new(bounce.class, Code::new(450), None);
        }
        self.bounce = Some(bounce);
    }
}

/// Text in one line, without control characters, cut at a bound.
fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        let room = max.saturating_sub(line.len());
        let fitting = word.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = if word.len() <= room {
            word.len()
        } else {
            fitting.take_while(|end| *end <= room).last().unwrap_or(0)
        };
        line.push_str(&word[..end]);
        if end < word.len() {
            break;
        }
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests;
