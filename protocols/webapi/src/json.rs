//! JSON as the first clients of this API write it: names of fields in any case, `null` for what is not said, nothing unknown, what comes
//! after the first value not looked at.

use serde::de::DeserializeOwned;

use crate::code::{ApiError, Code};

/// Reads the parameters of a call.
pub fn read<T: DeserializeOwned>(octets: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(octets);
    T::deserialize(&mut reader)
        .map_err(|e| ApiError::new(Code::Protocol, format!("parsing request: {e}")))
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
                                if let Some(value) = map.next_value::<Option<$type>>()? {
                                    object.$field = value;
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
