//! The message that a `Send` asks for: header fields in a fixed order, then its parts, each multipart only where it is needed:
//! `mixed { related { alternative { text, HTML, alternative files }, inline files }, attached files }`.
//! RFC 5322, 2045-2047, 2183, 2387. Whatever of a request would break a header field is refused here.

use std::borrow::Cow;

use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address as AddressField;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;
use smtp::Address;

use crate::code::{ApiError, Code};
use crate::time::Time;
use crate::types::{File, NameAddress, SendRequest};

/// From whom a message is and to whom it goes.
#[derive(Clone, Debug)]
pub struct Addressed {
    /// Its author.
    pub from: Address,
    /// To, CC, BCC: each as the request has it, and as it was read.
    pub recipients: Vec<(String, Address)>,
    /// An address has a local-part beyond ASCII. RFC 6531.
    pub smtputf8: bool,
}

impl Addressed {
    /// Of a request; an author that it does not name is `author`. There may be no recipients: whether the author may write comes first.
    pub fn of(request: &SendRequest, author: &str) -> Result<Addressed, ApiError> {
        if request.text.is_empty() && request.html.is_empty() {
            return Err(ApiError::new(
                Code::MissingBody,
                "at least one of Text and HTML must be there",
            ));
        }
        let from = match request.from.as_slice() {
            [] => address(author)?,
            [from] => address(&from.address)?,
            _ => {
                return Err(ApiError::new(
                    Code::MultipleFrom,
                    "a message has one author",
                ));
            }
        };
        let mut recipients = Vec::new();
        for named in [&request.to, &request.cc, &request.bcc]
            .into_iter()
            .flatten()
        {
            recipients.push((named.address.clone(), address(&named.address)?));
        }
        let mut smtputf8 = is_beyond_ascii(&from);
        smtputf8 |= recipients.iter().any(|(_, to)| is_beyond_ascii(to));
        for named in &request.reply_to {
            smtputf8 |= is_beyond_ascii(&address(&named.address)?);
        }
        Ok(Addressed {
            from,
            recipients,
            smtputf8,
        })
    }
}

/// Of the local-part: a domain has another spelling.
fn is_beyond_ascii(address: &Address) -> bool {
    !address.localpart.as_str().is_ascii()
}

fn address(text: &str) -> Result<Address, ApiError> {
    text.parse()
        .map_err(|e| ApiError::new(Code::BadAddress, format!("{text:?}: {e}")))
}

/// What a message gets from us.
#[derive(Clone, Copy, Debug)]
pub struct Maker<'a> {
    /// Its author, if the request names none.
    pub author: (&'a str, &'a str),
    /// Its Message-ID without brackets, if the request gives none.
    pub message_id: &'a str,
    /// Its Date, if the request gives none.
    pub now: Time,
    /// `User-Agent`, unless the request has one, or an `X-Mailer`.
    pub product: &'a str,
    /// What boundaries of parts begin with, which nobody could foresee who wrote them; none: each message gets others. With the same one a request comes
    /// to the same octets.
    pub boundary: Option<&'a str>,
}

/// Where an uploaded file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadKind {
    /// Beside the text and HTML.
    Alternative,
    /// Shown by the HTML.
    Inline,
    /// With the message.
    Attached,
}

impl UploadKind {
    /// By the name of its field in a form.
    pub fn of_field(name: &str) -> Option<UploadKind> {
        Some(match name {
            "alternativefile" => UploadKind::Alternative,
            "inlinefile" => UploadKind::Inline,
            "attachedfile" => UploadKind::Attached,
            _ => return None,
        })
    }
}

/// A file that came beside the JSON.
#[derive(Clone, Debug)]
pub struct Upload<'a> {
    /// Where it goes.
    pub kind: UploadKind,
    /// Its name; empty: none.
    pub name: String,
    /// Empty: it is guessed.
    pub content_type: String,
    /// Empty: none.
    pub content_id: String,
    /// Its octets.
    pub content: &'a [u8],
}

/// Files that came beside the JSON, in their order.
pub type Uploads<'a> = [Upload<'a>];

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composed {
    /// All of it, lines ended by CRLF; 7 bits unless an address, or a message in it, is beyond ASCII.
    pub octets: Vec<u8>,
    /// With its angle brackets.
    pub message_id: String,
}

/// Which files a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileKinds {
    /// Some that the HTML shows.
    pub inline: bool,
    /// Some that go with it.
    pub attached: bool,
}

impl FileKinds {
    /// None at all.
    pub const NONE: FileKinds = FileKinds {
        inline: false,
        attached: false,
    };

    /// Of a request, and of what came beside it.
    pub fn of(request: &SendRequest, uploads: &Uploads<'_>) -> FileKinds {
        let has = |kind| uploads.iter().any(|upload| upload.kind == kind);
        FileKinds {
            inline: !request.inline_files.is_empty() || has(UploadKind::Inline),
            attached: !request.attached_files.is_empty() || has(UploadKind::Attached),
        }
    }
}

/// A message up to its files, for many that have the same ones: what [`split_files`] left of another goes behind it. The request names none itself.
pub fn compose_before_files(
    request: &SendRequest,
    kinds: FileKinds,
    maker: &Maker<'_>,
) -> Result<Vec<u8>, ApiError> {
    let stands_for = |kind| Upload {
        kind,
        name: String::new(),
        content_type: String::new(),
        content_id: String::new(),
        content: b"",
    };
    let inline = kinds.inline.then(|| stands_for(UploadKind::Inline));
    let attached = kinds.attached.then(|| stands_for(UploadKind::Attached));
    let uploads: Vec<Upload<'_>> = inline.into_iter().chain(attached).collect();
    let mut octets = compose(request, &uploads, maker)?.octets;
    split_files(&mut octets, kinds, maker);
    Ok(octets)
}

/// Takes from a message what begins with its first file, to its end: the same for all messages with these files and this boundary. It has one that is
/// given, and no alternative files.
pub fn split_files(octets: &mut Vec<u8>, kinds: FileKinds, maker: &Maker<'_>) -> Vec<u8> {
    // The innermost parts that have both the texts and a file: the texts are the first of them. Nothing else has this line, for nobody could foresee it.
    let kind = match kinds {
        FileKinds::NONE => return Vec::new(),
        FileKinds { inline: true, .. } => "related",
        FileKinds { inline: false, .. } => "mixed",
    };
    let line = format!("\r\n--{}-{kind}\r\n", maker.boundary.unwrap_or_default());
    let Some(at) = memchr::memmem::find_iter(octets, &line).nth(1) else {
        return Vec::new();
    };
    // The files are the large part: they stay where they are.
    let own = octets[..at].to_vec();
    let mut files = std::mem::replace(octets, own);
    files.drain(..at);
    files
}

/// Makes the message.
pub fn compose(
    request: &SendRequest,
    uploads: &Uploads<'_>,
    maker: &Maker<'_>,
) -> Result<Composed, ApiError> {
    check(request)?;
    let files = [
        &request.alternative_files,
        &request.inline_files,
        &request.attached_files,
    ];
    if files.iter().map(|files| files.len()).sum::<usize>() + uploads.len() > FILES_MAX {
        return Err(user(format!("more than {FILES_MAX} files")));
    }
    let from = match request.from.first() {
        Some(from) => mailbox(from),
        None => {
            let (name, address) = maker.author;
            AddressField::new_address(Some(name).filter(|n| !n.is_empty()), in_field(address))
        }
    };
    let lists = [
        ("Reply-To", &request.reply_to),
        ("To", &request.to),
        ("Cc", &request.cc),
    ];
    let mut builder = MessageBuilder::new().header("From", from);
    for (name, list) in lists {
        if !list.is_empty() {
            let list = list.iter().map(mailbox).collect();
            builder = builder.header(name, AddressField::new_list(list));
        }
    }
    if !request.subject.is_empty() {
        builder = builder.header("Subject", Text::new(request.subject.as_str()));
    }
    let date = request.date.unwrap_or(maker.now).to_date_field();
    let date = date.ok_or_else(|| user("Date: a year that a message can't name"))?;
    let message_id = match request.message_id.as_str() {
        "" => format!("<{}>", maker.message_id),
        given => given.to_string(),
    };
    builder = builder
        .header("Date", Raw::new(date))
        .header("Message-ID", Raw::new(message_id.clone()));
    if let Some(last) = request.references.last() {
        builder = builder
            .header("References", Raw::new(request.references.join(" ")))
            .header("In-Reply-To", Raw::new(last.as_str()));
    }
    builder = builder.header("MIME-Version", Raw::new("1.0"));
    for (name, value) in &request.headers {
        // RFC 2047 5: what is no text must not become encoded words, and long links look like it.
        builder = match value.is_ascii() {
            true => builder.header(name.as_str(), Raw::new(value.as_str())),
            false => builder.header(name.as_str(), Text::new(value.as_str())),
        };
    }
    let says = |wanted: &str| {
        let mut names = request.headers.iter().map(|(name, _)| name);
        names.any(|name| name.eq_ignore_ascii_case(wanted))
    };
    if !says("User-Agent") && !says("X-Mailer") {
        builder = builder.header("User-Agent", Raw::new(maker.product));
    }
    let octets = builder.body(body(request, uploads, maker)?).write_to_vec();
    Ok(Composed {
        octets: octets.map_err(|e| ApiError::new(Code::Server, e.to_string()))?,
        message_id,
    })
}

fn mailbox(named: &NameAddress) -> AddressField<'_> {
    let name = Some(named.name.as_str()).filter(|name| !name.is_empty());
    AddressField::new_address(name, in_field(&named.address))
}

/// A domain beyond ASCII as A-labels, where its local-part does not need SMTPUTF8 anyway. RFC 5891 4.4.
fn in_field(address: &str) -> Cow<'_, str> {
    match address.rsplit_once('@') {
        Some((localpart, domain)) if localpart.is_ascii() && !domain.is_ascii() => {
            match idna::domain_to_ascii(domain) {
                Ok(domain) => Cow::Owned(format!("{localpart}@{domain}")),
                Err(_) => Cow::Borrowed(address),
            }
        }
        _ => Cow::Borrowed(address),
    }
}

fn body<'r>(
    request: &'r SendRequest,
    uploads: &'r Uploads<'_>,
    maker: &Maker<'_>,
) -> Result<MimePart<'r>, ApiError> {
    let joined = |container, parts| joined(container, parts, maker.boundary);
    let of = |kind: UploadKind| uploads.iter().filter(move |u| u.kind == kind);
    let mut texts = Vec::new();
    if !request.text.is_empty() {
        texts.push(MimePart::new("text/plain", whole_lines(&request.text)));
    }
    if !request.html.is_empty() {
        texts.push(MimePart::new("text/html", whole_lines(&request.html)));
    }
    let alternatives = files(
        &request.alternative_files,
        of(UploadKind::Alternative),
        INLINE,
    )?;
    texts.extend(alternatives);
    let text = joined("multipart/alternative", texts);
    let mut related = vec![text];
    related.extend(files(
        &request.inline_files,
        of(UploadKind::Inline),
        INLINE,
    )?);
    let mut mixed = vec![joined("multipart/related", related)];
    mixed.extend(files(
        &request.attached_files,
        of(UploadKind::Attached),
        ATTACHMENT,
    )?);
    Ok(joined("multipart/mixed", mixed))
}

/// Without a CR that ends no line: it is in no body of text. RFC 2045 2.7, RFC 5321 2.3.8.
fn whole_lines(text: &str) -> Cow<'_, str> {
    let is_lone = |(at, _): (usize, _)| text.as_bytes().get(at + 1) != Some(&b'\n');
    if !text.match_indices('\r').any(is_lone) {
        return Cow::Borrowed(text);
    }
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    Cow::Owned(lines.replace('\n', "\r\n"))
}

/// One part is itself.
fn joined<'r>(
    container: &'static str,
    mut parts: Vec<MimePart<'r>>,
    boundary: Option<&str>,
) -> MimePart<'r> {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut told = ContentType::new(container);
    if let Some(boundary) = boundary {
        // One in the other: each has its own.
        let kind = container.rsplit('/').next().unwrap_or(container);
        told = told.attribute("boundary", format!("{boundary}-{kind}"));
    }
    MimePart::new(told, parts)
}

const INLINE: &str = "inline";
const ATTACHMENT: &str = "attachment";

fn files<'r>(
    of_request: &'r [File],
    uploads: impl Iterator<Item = &'r Upload<'r>>,
    disposition: &'static str,
) -> Result<Vec<MimePart<'r>>, ApiError> {
    let mut parts = Vec::new();
    for file in of_request {
        let content = file.data.octets();
        let content = content.map_err(|e| user(format!("file {:?}: Data: {e}", file.name)))?;
        let content_type = content_type(&file.content_type, content);
        let part = part(
            content_type,
            content.into(),
            &file.name,
            &file.content_id,
            disposition,
        );
        parts.push(part);
    }
    for file in uploads {
        let of = |what: &str| format!("upload {:?}: {what}", file.name);
        check_text(&of("name"), &file.name)?;
        check_ascii(&of("Content-Type"), &file.content_type)?;
        check_ascii(&of("Content-ID"), &file.content_id)?;
        let content_type = content_type(&file.content_type, file.content);
        let content = Cow::Borrowed(file.content);
        let part = part(
            content_type,
            content,
            &file.name,
            &file.content_id,
            disposition,
        );
        parts.push(part);
    }
    Ok(parts)
}

fn part<'r>(
    content_type: String,
    content: Cow<'r, [u8]>,
    name: &'r str,
    content_id: &'r str,
    disposition: &'static str,
) -> MimePart<'r> {
    let (content_type, content, encoding) = as_message(content_type, content);
    let mut told = ContentType::new(disposition);
    if !name.is_empty() {
        told = told.attribute("filename", name);
    }
    let mut part = MimePart::raw(mail_builder::mime::BodyPart::Binary(content))
        .header("Content-Type", Raw::new(content_type))
        .header("Content-Disposition", told);
    if !content_id.is_empty() {
        part = part.header("Content-ID", Raw::new(content_id));
    }
    match encoding {
        Some(encoding) => part.transfer_encoding(encoding),
        None => part,
    }
}

/// RFC 2046 5.2.1: a message within a message is not encoded, so its lines must be such as SMTP takes (RFC 5321 4.5.3.1.6). What has others is
/// no longer called a message. Answers type, content, and how it goes; None: in base64.
fn as_message(
    content_type: String,
    content: Cow<'_, [u8]>,
) -> (String, Cow<'_, [u8]>, Option<&'static str>) {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("message/rfc822") {
        return (content_type, content, None);
    }
    let octet_stream = "application/octet-stream".to_string();
    let lines = match message::normalise_crlf(&content) {
        Ok(Cow::Owned(lines)) => Cow::Owned(lines),
        Ok(Cow::Borrowed(_)) => content,
        Err(_) => return (octet_stream, content, None),
    };
    let is_long = |line: &[u8]| line.len() > LINE_MAX;
    if lines.contains(&0) || lines.split(|octet| *octet == b'\n').any(is_long) {
        return (octet_stream, lines, None);
    }
    let encoding = if lines.is_ascii() { "7bit" } else { "8bit" };
    (content_type, lines, Some(encoding))
}

/// As given, else by the first octets: magic numbers, then whether it is text.
fn content_type(given: &str, content: &[u8]) -> String {
    if !given.is_empty() {
        return given.to_string();
    }
    let start = &content[..content.len().min(LOOKED_AT)];
    if let Some(kind) = infer::get(start) {
        return kind.mime_type().to_string();
    }
    // A character may be cut at the end.
    let is_utf8 = match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none(),
    };
    let is_text = |octet: &u8| *octet >= b' ' || matches!(octet, b'\t' | b'\n' | b'\r' | 0x0c);
    match is_utf8 && start.iter().all(is_text) {
        true => "text/plain; charset=utf-8".into(),
        false => "application/octet-stream".into(),
    }
}

/// Nothing that ends a header field or can't be in one, and no field twice that must be there once (RFC 5322 3.6).
fn check(request: &SendRequest) -> Result<(), ApiError> {
    let lists = [
        ("From", &request.from),
        ("To", &request.to),
        ("CC", &request.cc),
        ("BCC", &request.bcc),
        ("ReplyTo", &request.reply_to),
    ];
    for (field, list) in lists {
        for named in list {
            check_text(field, &named.name)?;
        }
    }
    check_text("Subject", &request.subject)?;
    for (field, text) in [("Text", &request.text), ("HTML", &request.html)] {
        if text.contains('\0') {
            return Err(user(format!("{field}: it has a NUL character in it")));
        }
    }
    check_ascii("MessageID", &request.message_id)?;
    let id = &request.message_id;
    let has_brackets = id.len() > 2 && id.starts_with('<') && id.ends_with('>');
    if !id.is_empty() && !has_brackets {
        let message = "MessageID: it has no angle brackets around it";
        return Err(ApiError::new(Code::MalformedMessageId, message));
    }
    for reference in &request.references {
        check_ascii("References", reference)?;
    }
    let files = [
        &request.alternative_files,
        &request.inline_files,
        &request.attached_files,
    ];
    for file in files.into_iter().flatten() {
        check_text("file: Name", &file.name)?;
        check_ascii("file: ContentType", &file.content_type)?;
        check_ascii("file: ContentID", &file.content_id)?;
    }
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in &request.headers {
        if !is_field_name(name) {
            return Err(user(format!("Headers: {name:?} is no name of a field")));
        }
        check_text(name, value)?;
        let is = |other: &&str| name.eq_ignore_ascii_case(other);
        if OURS.iter().any(is) {
            return Err(user(format!("Headers: {name} is written by the server")));
        }
        let lower = name.to_ascii_lowercase();
        if EXTRA.iter().any(|extra| lower.starts_with(extra)) {
            let message = "what recipients are not to read is said in Extra";
            return Err(user(format!("Headers: {name}: {message}")));
        }
        if ONCE.iter().any(is) {
            let said_by_request = match lower.as_str() {
                "from" | "date" | "message-id" => true,
                "to" => !request.to.is_empty(),
                "cc" => !request.cc.is_empty(),
                "reply-to" => !request.reply_to.is_empty(),
                "subject" => !request.subject.is_empty(),
                "references" | "in-reply-to" => !request.references.is_empty(),
                _ => false,
            };
            if said_by_request || seen.iter().any(is) {
                return Err(user(format!("Headers: {name} would be there twice")));
            }
            seen.push(name);
        }
    }
    Ok(())
}

/// RFC 5322 2.2.
pub(crate) fn is_field_name(name: &str) -> bool {
    let is_fit = |octet: u8| octet.is_ascii_graphic() && octet != b':';
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_fit)
}

/// Control characters of ASCII. Others are text by mistake (that of Windows taken for Latin-1, say), and go encoded as that does.
fn is_control(character: char) -> bool {
    character.is_ascii_control()
}

fn check_text(what: &str, text: &str) -> Result<(), ApiError> {
    match text.contains(is_control) {
        true => Err(user(format!("{what}: it has a control character in it"))),
        false => Ok(()),
    }
}

/// Of what is written as it is. RFC 5322 2.2.
fn check_ascii(what: &str, text: &str) -> Result<(), ApiError> {
    check_text(what, text)?;
    match text.is_ascii() && text.len() <= RAW_MAX {
        true => Ok(()),
        false => Err(user(format!(
            "{what}: more than {RAW_MAX} octets, or not ASCII"
        ))),
    }
}

fn user(message: impl Into<String>) -> ApiError {
    ApiError::new(Code::User, message)
}

/// RFC 5322 2.1.1, less a colon, a space and a value.
const NAME_MAX: usize = 76;
/// Octets of a value that is written as it is, which may have no place where a line can end (RFC 5322 2.1.1: 998 octets).
const RAW_MAX: usize = 900;
/// Octets of a line with its CR. RFC 5321 4.5.3.1.6 counts the LF too.
const LINE_MAX: usize = 999;
/// Files of a message.
const FILES_MAX: usize = 1000;
/// What the submitter says for himself where a message is submitted by SMTP: recipients would read it.
const EXTRA: [&str; 2] = ["ringmail-extra-", "x-mox-extra-"];
/// Octets of a file that its type is guessed from.
const LOOKED_AT: usize = 512;
/// Fields that no request may write.
const OURS: [&str; 10] = [
    "Authentication-Results",
    "Ringmail-Message",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Received",
    "Return-Path",
    "Bcc",
    "DKIM-Signature",
];
/// RFC 5322 3.6.
const ONCE: [&str; 10] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
    "Date",
];

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
