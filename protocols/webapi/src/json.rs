//! JSON as the first clients of this API write it: names of fields in any case, `null` for what is not said, nothing unknown, what comes
//! after the first value not looked at, U+FFFD for what is no Unicode. Lists are bounded while they are read: an entry may take much more memory than its JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};

use crate::code::{ApiError, Code};

/// Reads the parameters of a call.
pub fn read<T: DeserializeOwned>(octets: &[u8]) -> Result<T, ApiError> {
    let text = String::from_utf8_lossy(octets);
    let text = without_lone_surrogates(&text);
    let mut reader = serde_json::Deserializer::from_str(&text);
    T::deserialize(&mut reader)
        .map_err(|e| ApiError::new(Code::Protocol, format!("parsing request: {e}")))
}

/// A client that cut a text in UTF-16 may have cut a character. RFC 8259 8.2 leaves open what becomes of the halves: here U+FFFD.
fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    let mut mended: Option<String> = None;
    let mut at = 0;
    // A backslash is in a string or makes the JSON malformed; both leave its length as it is.
    while let Some(found) = text[at..].find('\\') {
        let escape = at + found;
        at = escape
            + match unit(text, escape) {
                // What is escaped may be longer than an octet.
                None => 1 + text[escape + 1..].chars().next().map_or(0, char::len_utf8),
                Some(0xd800..=0xdbff)
                    if matches!(unit(text, escape + 6), Some(0xdc00..=0xdfff)) =>
                {
                    12
                }
                Some(0xd800..=0xdfff) => {
                    let all = mended.get_or_insert_with(|| text.to_string());
                    all.replace_range(escape..escape + 6, "\\ufffd");
                    6
                }
                Some(_) => 6,
            };
    }
    mended.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The number in a `\uXXXX` at a place.
fn unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u16::from_str_radix(digits, 16).ok())?
}

/// Entries of a list, or of an object whose keys are free.
const ENTRIES_MAX: usize = 10_000;

/// A value of a field, within [`ENTRIES_MAX`].
pub(crate) struct Bounded<T>(pub T);

impl<'de, T: Field<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Bounded)
    }
}

/// What a field may be.
pub(crate) trait Field<'de>: Sized {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Types that hold no list, or bound it themselves.
macro_rules! plain {
    ($($type:ty),*) => {
        $(impl<'de> $crate::json::Field<'de> for $type {
            fn read<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                serde::Deserialize::deserialize(deserializer)
            }
        })*
    };
}

pub(crate) use plain;

impl<'de, T: Deserialize<'de>> Field<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    has_room::<A::Error>(list.len())?;
                    list.push(entry);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

impl<'de> Field<'de> for BTreeMap<String, String> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = BTreeMap<String, String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    has_room::<A::Error>(pairs.len())?;
                    pairs.insert(key, value);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

fn has_room<E: Error>(entries: usize) -> Result<(), E> {
    match entries < ENTRIES_MAX {
        true => Ok(()),
        false => Err(E::custom(format_args!("more than {ENTRIES_MAX} entries"))),
    }
}

/// A struct that is read and written as a JSON object.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $json:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Object;
                impl<'de> serde::de::Visitor<'de> for Object {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a JSON object")
                    }
                    #[allow(unused_mut)]
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut object = $name::default();
                        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                            $(if key.eq_ignore_ascii_case($json) {
                                if let Some(value) = map.next_value::<Option<$crate::json::Bounded<$type>>>()? {
                                    object.$field = value.0;
                                }
                                continue;
                            })*
                            return Err(serde::de::Error::custom(format_args!("unknown field {key:?}")));
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(Object)
            }
        }

        impl serde::Serialize for $name {
            #[allow(unused_imports)]
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                let fields: &[&str] = &[$($json),*];
                #[allow(unused_mut)]
                let mut object = serializer.serialize_struct(stringify!($name), fields.len())?;
                $(object.serialize_field($json, &self.$field)?;)*
                object.end()
            }
        }
    };
}

pub(crate) use object;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::MsgMove;

    #[test]
    fn halves_of_characters_are_replaced() {
        let name = |json: &str| {
            let json = format!("{{\"DestMailboxName\": \"{json}\"}}");
            let read: Result<MsgMove, _> = read(json.as_bytes());
            read.map(|m| m.dest_mailbox_name).map_err(|e| e.code)
        };
        for (json, expected) in [
            ("a\\ud83d\\ude00b", "a\u{1f600}b"),
            ("a\\ud83d", "a\u{fffd}"),
            ("\\uDE00\\ud83d", "\u{fffd}\u{fffd}"),
            ("\\ud83d\\ud83d\\ude00", "\u{fffd}\u{1f600}"),
            ("\\ud83d\\u0041", "\u{fffd}A"),
            ("\\\\ud83d", "\\ud83d"),
            ("\\\"\\ud83d\u{e4}", "\"\u{fffd}\u{e4}"),
        ] {
            assert_eq!(name(json).as_deref(), Ok(expected), "{json}");
        }
        for wrong in ["\\ud83", "\\u+123", "\\\u{e4}", "\\"] {
            assert_eq!(name(wrong), Err(Code::Protocol), "{wrong}");
        }
        let octets = b"{\"DestMailboxName\": \"\xff\"}";
        let read: MsgMove = super::read(octets).unwrap();
        assert_eq!(read.dest_mailbox_name, "\u{fffd}");
    }
}
