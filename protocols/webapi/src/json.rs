//! JSON as the first clients of this API write it: names of fields in any case, `null` for what is not said, nothing unknown, what comes
//! after the first value not looked at. Lists are bounded while they are read: an entry may take much more memory than its JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};

use crate::code::{ApiError, Code};

/// Reads the parameters of a call.
pub fn read<T: DeserializeOwned>(octets: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(octets);
    T::deserialize(&mut reader)
        .map_err(|e| ApiError::new(Code::Protocol, format!("parsing request: {e}")))
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
