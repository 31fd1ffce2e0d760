//! Reading what clients say, strictly: a field that is unknown, missing or wrong is named. Lists are bounded while they are read.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_path_to_error::{Path, Segment};

use super::objects::Objects;
use super::problem::{Fault, Kind, Problem};

/// A body of JSON.
pub fn body<T: DeserializeOwned>(octets: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(octets);
    let value = serde_path_to_error::deserialize(Objects(&mut reader)).map_err(|error| {
        let pointer = pointer(error.path());
        let error = error.into_inner();
        match error.is_data() {
            true => fault(pointer, &words(&error)).into(),
            false => Problem::new(Kind::Malformed, format!("the JSON can't be read: {error}")),
        }
    })?;
    reader
        .end()
        .map_err(|error| Problem::new(Kind::Malformed, format!("behind the JSON: {error}")))?;
    Ok(value)
}

/// The part of an address behind its question mark.
pub fn query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let reader = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        let words = error.into_inner().to_string();
        let name = field_of(&words).map_or(path, str::to_string);
        Fault::of_parameter(name, words).into()
    })
}

/// RFC 6901 3.
fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => pointer.push('?'),
        }
    }
    pointer
}

/// Without the place, which the pointer has already.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

/// One that is missing, or there twice, is named by the pointer too.
fn fault(mut pointer: String, words: &str) -> Fault {
    if let Some(name) = field_of(words) {
        pointer.push('/');
        pointer.push_str(name);
    }
    Fault::at(pointer, words)
}

/// Which field an error is about whose path only leads to what has, or lacks, it.
fn field_of(words: &str) -> Option<&str> {
    let rest = words
        .strip_prefix("missing field `")
        .or_else(|| words.strip_prefix("duplicate field `"))?;
    rest.strip_suffix('`')
}

/// A list of at most so many; for `deserialize_with`.
pub fn list<'de, const MOST: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct List<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for List<T, MOST> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MOST}")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(entry) = seq.next_element()? {
                if list.len() == MOST {
                    return Err(A::Error::custom(format_args!("more than {MOST} entries")));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(List::<T, MOST>(PhantomData))
}

/// An object of at most so many texts by name; for `deserialize_with`.
pub fn texts<'de, const MOST: usize, D>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Texts<const MOST: usize>;
    impl<'de, const MOST: usize> Visitor<'de> for Texts<MOST> {
        type Value = BTreeMap<String, String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an object of at most {MOST} texts")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut texts = BTreeMap::new();
            while let Some((name, text)) = map.next_entry()? {
                if texts.len() == MOST {
                    return Err(A::Error::custom(format_args!("more than {MOST} entries")));
                }
                if let Some(twice) = texts.insert(name, text) {
                    return Err(A::Error::custom(format_args!(
                        "a name twice, with {twice:?}"
                    )));
                }
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_map(Texts::<MOST>)
}

/// A text of at most so many characters, or none; for `deserialize_with`.
pub fn short<'de, const MOST: usize, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    match text
        .as_ref()
        .is_some_and(|text| text.chars().count() > MOST)
    {
        true => Err(D::Error::custom(format_args!(
            "more than {MOST} characters"
        ))),
        false => Ok(text),
    }
}

/// A whole number, however it is written: JSON has one kind of numbers, and some programs write `5.0`. For `deserialize_with`.
pub fn whole<'de, T: TryFrom<u64>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = u64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }
        fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
            // All of these are whole numbers of u64 too.
            match number.fract() == 0.0 && (0.0..=u32::MAX.into()).contains(&number) {
                true => Ok(number as u64),
                false => Err(E::custom("it must be a whole number in its bounds")),
            }
        }
    }
    let number = deserializer.deserialize_u64(Whole)?;
    T::try_from(number).map_err(|_| D::Error::custom("it must be a whole number in its bounds"))
}

/// The same, or none.
pub fn whole_or_none<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    struct Number<T>(T);
    impl<'de, T: TryFrom<u64>> Deserialize<'de> for Number<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            whole(deserializer).map(Number)
        }
    }
    let number = Option::<Number<T>>::deserialize(deserializer)?;
    Ok(number.map(|Number(number)| number))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default, deserialize_with = "list::<2, _, _>")]
        inner: Vec<Inner>,
        #[serde(default)]
        count: Option<u32>,
        #[serde(default, deserialize_with = "texts::<2, _>")]
        texts: BTreeMap<String, String>,
        #[serde(default)]
        one: Option<Inner>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
    }

    #[test]
    fn wrong_fields_are_named() {
        let cases = [
            (
                r#"{"inner":[{"name":"a"},{"nam":"b"}]}"#,
                422,
                "/inner/1/nam",
            ),
            (r#"{"inner":[{"name":"a"},{}]}"#, 422, "/inner/1/name"),
            (r#"{"inner":[{"name":7}]}"#, 422, "/inner/0/name"),
            (r#"{"a/b~":1}"#, 422, "/a~1b~0"),
            (r#"{"count":-1}"#, 422, "/count"),
            (
                r#"{"inner":[{"name":""},{"name":""},{"name":""}]}"#,
                422,
                "/inner",
            ),
            (r#"{"texts":{"a":"","b":"","c":""}}"#, 422, "/texts"),
            (r#"{"texts":{"a":"","a":""}}"#, 422, "/texts"),
            (r#"{"count":1,"count":1}"#, 422, "/count"),
            ("[]", 422, ""),
            ("7", 422, ""),
            ("[[],null,{}]", 422, ""),
            (r#"{"inner":[["a"]]}"#, 422, "/inner/0"),
            (r#"{"inner":[{"name":"a"},[]]}"#, 422, "/inner/1"),
            (r#"{"one":["a"]}"#, 422, "/one"),
            (r#"{"texts":[]}"#, 422, "/texts"),
            (r#"{"inner":["#, 400, ""),
            (r#"{} {}"#, 400, ""),
            ("", 400, ""),
            ("\u{feff}{}", 400, ""),
        ];
        for (json, status, pointer) in cases {
            let problem = body::<Outer>(json.as_bytes()).unwrap_err();
            assert_eq!(problem.status, status, "{json}: {problem:?}");
            let named = problem
                .errors
                .first()
                .and_then(|fault| fault.pointer.as_deref());
            assert_eq!(named.unwrap_or_default(), pointer, "{json}: {problem:?}");
            assert!(!problem.detail.is_empty());
        }
        let problem = body::<Outer>(b"{\"inner\":[\xff]}").unwrap_err();
        assert_eq!(problem.status, 400);
        let deep = "[".repeat(100_000);
        assert_eq!(
            body::<serde_json::Value>(deep.as_bytes())
                .unwrap_err()
                .status,
            400
        );
        let read = body::<Outer>(br#"{"inner":[{"name":"a"}],"count":null,"one":null}"#).unwrap();
        assert_eq!((read.inner.len(), read.count, read.one), (1, None, None));
        let read = body::<Outer>(br#"{"one":{"name":"\u00e4"}}"#).unwrap();
        assert_eq!(read.one.unwrap().name, "\u{e4}");
    }

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        #[derive(Debug, Deserialize)]
        struct Asked {
            #[serde(deserialize_with = "whole")]
            number: u8,
            #[serde(default, deserialize_with = "whole_or_none")]
            more: Option<u32>,
        }
        let read = |json: &str| body::<Asked>(json.as_bytes()).map(|a| (a.number, a.more));
        for (json, number) in [
            (r#"{"number":7}"#, (7, None)),
            (r#"{"number":7.0,"more":null}"#, (7, None)),
            (
                r#"{"number":0.7e1,"more":4294967295.0}"#,
                (7, Some(u32::MAX)),
            ),
        ] {
            assert_eq!(read(json).unwrap(), number, "{json}");
        }
        for wrong in ["256", "-1", "1.5", "-0.5", "1e30", "null", "\"7\""] {
            let problem = read(&format!(r#"{{"number":{wrong}}}"#)).unwrap_err();
            assert_eq!(
                problem.errors[0].pointer.as_deref(),
                Some("/number"),
                "{wrong}"
            );
        }
        assert!(read(r#"{"number":7,"more":1e10}"#).is_err());
    }

    #[test]
    fn short_texts_are_counted_in_characters() {
        #[derive(Debug, Deserialize)]
        struct Asked {
            #[serde(default, deserialize_with = "short::<3, _>")]
            to: Option<String>,
        }
        let read = query::<Asked>("to=%C3%A4%C3%A4%C3%A4").unwrap();
        assert_eq!(read.to.as_deref(), Some("\u{e4}\u{e4}\u{e4}"));
        assert_eq!(query::<Asked>("").unwrap().to, None);
        let problem = query::<Asked>("to=abcd").unwrap_err();
        assert_eq!(problem.errors[0].parameter.as_deref(), Some("to"));
    }

    #[test]
    fn parameters_are_named() {
        #[derive(Debug, Deserialize, PartialEq)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            #[serde(default)]
            limit: Option<u16>,
            #[serde(default)]
            to: Option<String>,
        }
        let read = query::<Asked>("limit=5&to=a%40x").unwrap();
        assert_eq!(
            read,
            Asked {
                limit: Some(5),
                to: Some("a@x".into())
            }
        );
        assert_eq!(
            query::<Asked>("").unwrap(),
            Asked {
                limit: None,
                to: None
            }
        );
        for (text, name) in [
            ("limit=x", "limit"),
            ("colour=1", "colour"),
            ("limit=70000", "limit"),
        ] {
            let problem = query::<Asked>(text).unwrap_err();
            assert_eq!(
                problem.errors[0].parameter.as_deref(),
                Some(name),
                "{problem:?}"
            );
        }
        assert_eq!(query::<Asked>("to=1&to=2").unwrap_err().status, 422);
    }
}
