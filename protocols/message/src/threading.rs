//! What puts a message into a conversation: its id, the ids it answers to, its base subject.
//! Computed once at delivery and stored; the rules that join threads are the store's (spec of RFC 5256, adapted).
//! RFC 5322 3.6.4 (identification fields), RFC 5256 2.1 (base subject). Not here: the thread tree (`src/store/threads.rs`).

use memchr::memchr2;

use crate::header::Header;
use crate::limits;
use crate::structure::Structure;

/// The stored facts for threading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadFields {
    /// Canonical Message-ID.
    pub message_id: Option<String>,
    /// Canonical ids of the messages this one answers, oldest first, each once, at most [`limits::REFERENCES_MAX`].
    pub references: Vec<String>,
    /// Subject without the marks of replies, forwards and lists; lower case.
    pub base_subject: BaseSubject,
    /// A delivery report is threaded without comparing subjects.
    pub is_delivery_report: bool,
}

/// Result of the base subject rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseSubject {
    /// Lower case, white space collapsed.
    pub text: String,
    /// True if a reply or forward mark was removed.
    pub is_response: bool,
}

impl ThreadFields {
    /// Reads them from a message and its structure.
    pub fn of_message(message: &[u8], structure: &Structure) -> Self {
        let header = Header::of_section(structure.root.header_octets(message));
        Self {
            is_delivery_report: structure.is_delivery_report(),
            ..Self::of_header(header)
        }
    }

    /// Reads them from a header alone; `is_delivery_report` stays false.
    pub fn of_header(header: Header<'_>) -> Self {
        let message_id = header
            .first("Message-ID")
            .and_then(|field| canonical_message_id(&field.unfolded()));
        let subject = header
            .first("Subject")
            .map(|field| field.text())
            .unwrap_or_default();
        Self {
            message_id,
            references: references(header),
            base_subject: base_subject(&subject),
            is_delivery_report: false,
        }
    }
}

/// Ids of References, else the first of In-Reply-To; unreadable entries are skipped. Beyond the bound the first and the latest stay.
pub fn references(header: Header<'_>) -> Vec<String> {
    let ids_of = |name| {
        header
            .first(name)
            .map(|field| message_ids(field.value))
            .unwrap_or_default()
    };
    let mut ids = ids_of("References");
    if ids.is_empty() {
        ids = ids_of("In-Reply-To");
        ids.truncate(1);
    }
    let excess = ids.len().saturating_sub(limits::REFERENCES_MAX);
    ids.drain(1.min(ids.len())..1.min(ids.len()) + excess);
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    ids
}

/// The canonical form of a Message-ID: what stands between the brackets, without white space and needless quotes, lower case. An id
/// without brackets is its first word. `None` if nothing is left.
pub fn canonical_message_id(value: &[u8]) -> Option<String> {
    if let Some((id, _)) = next_bracketed(value) {
        return canonical(id);
    }
    let word = value.trim_ascii().split(u8::is_ascii_whitespace).next()?;
    canonical(word.strip_prefix(b"<").unwrap_or(word))
}

fn message_ids(value: &[u8]) -> Vec<String> {
    let mut ids = Vec::new();
    let mut rest = value;
    while let Some((id, after)) = next_bracketed(rest) {
        ids.extend(canonical(id));
        rest = after;
    }
    ids
}

/// The next `<...>` and what follows; of `<a <b>` the inner one, since `<a` was cut short.
fn next_bracketed(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut start = memchr::memchr(b'<', octets)? + 1;
    loop {
        let found = start + memchr2(b'<', b'>', &octets[start..])?;
        if octets[found] == b'>' {
            return Some((&octets[start..found], &octets[found + 1..]));
        }
        start = found + 1;
    }
}

fn canonical(id: &[u8]) -> Option<String> {
    if id.len() > limits::MESSAGE_ID_MAX {
        return None;
    }
    let solid: Vec<u8> = id
        .iter()
        .copied()
        .filter(|octet| !octet.is_ascii_whitespace() && *octet != 0)
        .collect();
    let id = String::from_utf8_lossy(&solid).to_lowercase();
    let id = unquoted(&id).unwrap_or(id);
    (!id.is_empty()).then_some(id)
}

/// `"left"@right` without quotes, where the left side is a dot-atom (RFC 5322 3.2.3) and needs none.
fn unquoted(id: &str) -> Option<String> {
    let (left, right) = id.strip_prefix('"')?.split_once("\"@")?;
    let is_atext =
        |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(letter);
    (!left.is_empty() && left.chars().all(is_atext)).then(|| format!("{left}@{right}"))
}

/// The base subject of a decoded Subject.
// RFC 5256 2.1:
// subj-leader = (*subj-blob subj-refwd) / WSP ; subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
// subj-trailer = "(fwd)" / WSP ; subj-fwd-hdr = "[fwd:" ; subj-fwd-trl = "]"
pub fn base_subject(subject: &str) -> BaseSubject {
    if subject.contains('\0') {
        return BaseSubject::default();
    }
    let bounded = &subject[..subject.floor_char_boundary(limits::SUBJECT_MAX)];
    // (1) white space collapsed, here with lower case.
    let collapsed = bounded
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    let mut text = collapsed.as_str();
    let mut is_response = false;
    loop {
        // (2) trailers
        while let Some(shorter) = text.strip_suffix("(fwd)") {
            (text, is_response) = (shorter.trim_end(), true);
        }
        // (3) to (5) leaders, and blobs that are not all there is
        loop {
            text = text.trim_start();
            if let Some(rest) = strip_leader(text) {
                (text, is_response) = (rest, true);
            } else if let Some(rest) = strip_blob(text).filter(|rest| !rest.is_empty()) {
                text = rest;
            } else {
                break;
            }
        }
        // (6) a forward as a whole
        match text
            .strip_prefix("[fwd:")
            .and_then(|inner| inner.strip_suffix(']'))
        {
            Some(inner) => (text, is_response) = (inner.trim(), true),
            None => {
                return BaseSubject {
                    text: text.to_string(),
                    is_response,
                };
            }
        }
    }
}

fn strip_leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(after) = strip_blob(rest) {
        rest = after;
    }
    let rest = ["re", "fwd", "fw"]
        .iter()
        .find_map(|mark| rest.strip_prefix(mark))?
        .trim_start();
    let rest = strip_blob(rest).unwrap_or(rest);
    rest.strip_prefix(':').map(str::trim_start)
}

// subj-blob = "[" *BLOBCHAR "]" *WSP, BLOBCHAR neither bracket
fn strip_blob(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    inside[end..].strip_prefix(']').map(str::trim_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_subjects() {
        for (subject, text, is_response) in [
            ("Hello", "hello", false),
            ("Re: Hello", "hello", true),
            ("RE : hello  \t world", "hello world", true),
            ("re[2]: FWD: Fw: x", "x", true),
            ("[list] Re: [list] x (fwd) (FWD)", "x", true),
            ("[list]", "[list]", false),
            ("[a][b] x", "x", false),
            ("[Fwd: Re: x]", "x", true),
            ("Re: [fwd: [fwd: x] (fwd)]", "x", true),
            ("Re:", "", true),
            ("Rex: y", "rex: y", false),
            ("Forward: y", "forward: y", false),
            ("x (fwd) y", "x (fwd) y", false),
            ("nul\0", "", false),
            ("", "", false),
        ] {
            assert_eq!(
                base_subject(subject),
                BaseSubject {
                    text: text.into(),
                    is_response
                },
                "{subject}"
            );
        }
    }

    #[test]
    fn message_id_forms() {
        for (value, canonical) in [
            ("<A@B.c>", Some("a@b.c")),
            (" <a@b> (comment)", Some("a@b")),
            ("<\"a.b\"@c>", Some("a.b@c")),
            ("<\"a b\"@c>", Some("ab@c")),
            ("<\"a(b\"@c>", Some("\"a(b\"@c")),
            ("bare@id rest", Some("bare@id")),
            ("<not an address>", Some("notanaddress")),
            ("<cut", Some("cut")),
            ("<>", None),
            ("", None),
        ] {
            assert_eq!(
                canonical_message_id(value.as_bytes()).as_deref(),
                canonical,
                "{value}"
            );
        }
    }

    #[test]
    fn reference_lists() {
        let ids = |header: &str| references(Header::of_message(header.as_bytes()));
        assert_eq!(
            ids("References: <a@x>\r\n <b@\r\n x> junk <cut <c@x> <a@x>\r\nIn-Reply-To: <z>\r\n"),
            ["a@x", "b@x", "c@x"]
        );
        assert_eq!(
            ids("References: junk\r\nIn-Reply-To: \"x\" of <z@x> <y@x>\r\n"),
            ["z@x"]
        );
        assert_eq!(ids(""), [""; 0]);
        let many: String = (0..1000).map(|number| format!(" <{number}@x>")).collect();
        let bounded = ids(&format!("References:{many}\r\n"));
        assert_eq!(
            (bounded.len(), bounded[0].as_str(), bounded[1].as_str()),
            (limits::REFERENCES_MAX, "0@x", "901@x")
        );
    }

    #[test]
    fn hostile_input() {
        for piece in ["[", "[a]", "re:", "(fwd)", "[fwd:", "]", "<", "<a"] {
            let text = piece.repeat((1 << 20) / piece.len());
            base_subject(&text);
            ThreadFields::of_header(Header::of_section(
                format!("References: {text}\r\n").as_bytes(),
            ));
        }
    }
}
