//! From the octets of one response to its type. `None` means that it is malformed.

use super::response::{FetchData, ListData, Response, ResponseCode, SearchData, Status};
use super::value::{Cursor, Value};
use crate::response::Condition;
use crate::types::{
    DateTime, Flags, Keyword, ModSeq, NumberSet, SystemFlag, Tag, Uid, UidValidity,
};

/// Reads a response without its last CRLF.
pub(super) fn response(octets: &[u8]) -> Option<Response> {
    if let Some(text) = octets.strip_prefix(b"+") {
        let text = text.strip_prefix(b" ").unwrap_or(text);
        return Some(Response::Continuation(
            String::from_utf8_lossy(text).into_owned(),
        ));
    }
    let mut cursor = Cursor::new(octets);
    let start = cursor.word();
    cursor.eat(b' ').then_some(())?;
    if start != b"*" {
        let tag = Tag::new(start)?;
        let condition = condition(cursor.word())?;
        return status(&mut cursor, condition).map(|status| Response::Tagged(tag, status));
    }
    if cursor.peek()?.is_ascii_digit() {
        return numbered(&mut cursor);
    }
    let word = cursor.word();
    match condition(word) {
        Some(condition) => status(&mut cursor, condition).map(Response::Status),
        None => named(&word.to_ascii_uppercase(), &mut cursor),
    }
}

fn condition(word: &[u8]) -> Option<Condition> {
    [
        Condition::Ok,
        Condition::No,
        Condition::Bad,
        Condition::Bye,
        Condition::PreAuth,
    ]
    .into_iter()
    .find(|condition| condition.as_str().as_bytes().eq_ignore_ascii_case(word))
}

/// resp-text = ["[" resp-text-code "]" SP] [text]
fn status(cursor: &mut Cursor<'_>, condition: Condition) -> Option<Status> {
    cursor.eat(b' ');
    let mut code = None;
    if cursor.eat(b'[') {
        let octets = cursor.until(b"]");
        cursor.eat(b']').then_some(())?;
        cursor.eat(b' ');
        code = Some(response_code(octets)?);
    }
    Some(Status {
        condition,
        code,
        text: String::from_utf8_lossy(cursor.rest()).into_owned(),
    })
}

fn response_code(octets: &[u8]) -> Option<ResponseCode> {
    let mut cursor = Cursor::new(octets);
    let name = String::from_utf8(cursor.word().to_ascii_uppercase()).ok()?;
    cursor.eat(b' ');
    Some(match name.as_str() {
        "CAPABILITY" => ResponseCode::Capability(texts(&cursor.values()?)),
        "UIDVALIDITY" => ResponseCode::UidValidity(UidValidity::new(number32(&mut cursor)?)?),
        "UIDNEXT" => ResponseCode::UidNext(Uid::new(number32(&mut cursor)?)?),
        "HIGHESTMODSEQ" => ResponseCode::HighestModSeq(ModSeq::new(cursor.number()?)?),
        "MODIFIED" => ResponseCode::Modified(number_set(cursor.word())?),
        "APPENDUID" => {
            let validity = UidValidity::new(number32(&mut cursor)?)?;
            cursor.eat(b' ');
            ResponseCode::AppendUid(validity, number_set(cursor.word())?)
        }
        "COPYUID" => {
            let validity = UidValidity::new(number32(&mut cursor)?)?;
            cursor.eat(b' ');
            let source = number_set(cursor.word())?;
            cursor.eat(b' ');
            ResponseCode::CopyUid(validity, source, number_set(cursor.word())?)
        }
        _ => ResponseCode::Other(name, String::from_utf8_lossy(cursor.rest()).into_owned()),
    })
}

/// `n EXISTS` and its like
fn numbered(cursor: &mut Cursor<'_>) -> Option<Response> {
    let number = number32(cursor)?;
    cursor.eat(b' ');
    let word = cursor.word();
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    if is("EXISTS") {
        Some(Response::Exists(number))
    } else if is("EXPUNGE") {
        Some(Response::Expunge(number))
    } else if is("RECENT") {
        Some(Response::Recent(number))
    } else if is("FETCH") {
        cursor.eat(b' ');
        fetch(cursor, number).map(Response::Fetch)
    } else {
        None
    }
}

/// msg-att = "(" item SP value *(SP item SP value) ")"
fn fetch(cursor: &mut Cursor<'_>, number: u32) -> Option<FetchData> {
    let mut data = FetchData {
        number,
        ..FetchData::default()
    };
    cursor.eat(b'(').then_some(())?;
    while !cursor.eat(b')') {
        let name = cursor.item_name()?;
        cursor.eat(b' ').then_some(())?;
        match name.as_str() {
            "UID" => data.uid = Some(number32(cursor)?),
            "RFC822.SIZE" => data.rfc822_size = Some(cursor.number()?),
            "FLAGS" => data.flags = Some(flags(cursor, &mut data.recent)?),
            "MODSEQ" => {
                let value = cursor.value()?;
                data.mod_seq = ModSeq::new(value.list().first()?.text().parse().ok()?);
            }
            "INTERNALDATE" => data.internal_date = DateTime::parse(cursor.value()?.octets()?),
            _ => data.items.push((name, cursor.value()?)),
        }
        cursor.eat(b' ');
    }
    cursor.rest().is_empty().then_some(data)
}

fn flags(cursor: &mut Cursor<'_>, recent: &mut bool) -> Option<Flags> {
    let mut flags = Flags::default();
    cursor.eat(b'(').then_some(())?;
    while !cursor.eat(b')') {
        let word = cursor.word();
        match word.strip_prefix(b"\\") {
            Some(name) => match SystemFlag::from_name(name) {
                Some(flag) => flags.system.insert(flag),
                None => *recent |= name.eq_ignore_ascii_case(b"Recent"),
            },
            None => flags.insert(Keyword::new(word)?),
        }
        cursor.eat(b' ');
    }
    Some(flags)
}

fn named(name: &[u8], cursor: &mut Cursor<'_>) -> Option<Response> {
    cursor.eat(b' ');
    if name == b"SEARCH" {
        return search(cursor).map(Response::Search);
    }
    let values = cursor.values()?;
    cursor.rest().is_empty().then_some(())?;
    Some(match name {
        b"CAPABILITY" => Response::Capability(texts(&values)),
        b"ENABLED" => Response::Enabled(texts(&values)),
        b"FLAGS" => Response::Flags(texts(values.first()?.list())),
        b"LIST" => Response::List(list(values)?),
        b"LSUB" => Response::Lsub(list(values)?),
        b"ESEARCH" => Response::Search(esearch(&values)?),
        b"VANISHED" => {
            let earlier = matches!(values.first()?, Value::List(_));
            Response::Vanished(number_set(values.last()?.octets()?)?, earlier)
        }
        b"STATUS" => {
            let [mailbox, Value::List(items)] = values.as_slice() else {
                return None;
            };
            let pairs = items
                .chunks_exact(2)
                .filter_map(|pair| Some((pair[0].text(), pair[1].text().parse().ok()?)));
            Response::MailboxStatus(mailbox.text(), pairs.collect())
        }
        _ => Response::Other(String::from_utf8_lossy(name).into_owned(), values),
    })
}

/// `"SEARCH" *(SP nz-number) [SP "(" "MODSEQ" SP mod-sequence-value ")"]`
fn search(cursor: &mut Cursor<'_>) -> Option<SearchData> {
    let mut data = SearchData::default();
    let mut numbers = Vec::new();
    while cursor.peek().is_some_and(|octet| octet.is_ascii_digit()) {
        numbers.push(number32(cursor)?);
        cursor.eat(b' ');
    }
    data.all = numbers.into_iter().collect();
    if cursor.peek() == Some(b'(') {
        data.mod_seq = ModSeq::new(cursor.value()?.list().get(1)?.text().parse().ok()?);
    }
    cursor.rest().is_empty().then_some(data)
}

fn esearch(values: &[Value]) -> Option<SearchData> {
    let mut data = SearchData::default();
    let mut values = values.iter();
    while let Some(value) = values.next() {
        if let [_, tag] = value.list() {
            data.tag = Some(tag.text());
            continue;
        }
        let name = value.text().to_ascii_uppercase();
        if name == "UID" {
            data.uid = true;
            continue;
        }
        let argument = values.next()?.text();
        match name.as_str() {
            "MIN" => data.min = Some(argument.parse().ok()?),
            "MAX" => data.max = Some(argument.parse().ok()?),
            "COUNT" => data.count = Some(argument.parse().ok()?),
            "MODSEQ" => data.mod_seq = ModSeq::new(argument.parse().ok()?),
            "ALL" => data.all = number_set(argument.as_bytes())?,
            _ => {}
        }
    }
    Some(data)
}

fn list(mut values: Vec<Value>) -> Option<ListData> {
    let extended = if values.len() > 3 {
        values.pop()?
    } else {
        Value::Nil
    };
    let [Value::List(attributes), delimiter, name] = values.as_slice() else {
        return None;
    };
    let delimiter = match delimiter {
        Value::Nil => None,
        delimiter => Some(*delimiter.octets()?.first()?),
    };
    // An atom NIL in the place of a name is a mailbox of that name.
    let name = if *name == Value::Nil {
        "NIL".into()
    } else {
        name.text()
    };
    Some(ListData {
        attributes: texts(attributes),
        delimiter,
        name,
        extended: extended.list().to_vec(),
    })
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().map(Value::text).collect()
}

fn number32(cursor: &mut Cursor<'_>) -> Option<u32> {
    cursor
        .number()
        .and_then(|number| u32::try_from(number).ok())
}

fn number_set(text: &[u8]) -> Option<NumberSet> {
    let text = std::str::from_utf8(text).ok()?;
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        ranges.push((first.parse().ok()?, last.parse().ok()?));
    }
    Some(NumberSet::from_ranges(ranges))
}
