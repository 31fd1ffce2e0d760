//! Moments, as RFC 3339 writes them, with the zone they came in.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{OffsetDateTime, UtcOffset};

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(OffsetDateTime);

impl Time {
    /// Of seconds since 1970, in UTC.
    pub fn of_unix(secs: i64) -> Option<Time> {
        OffsetDateTime::from_unix_timestamp(secs).ok().map(Time)
    }

    /// The same, in a zone east of UTC. None: RFC 3339 can't write it.
    pub fn of_unix_at(secs: i64, offset_minutes: i16) -> Option<Time> {
        let zone = UtcOffset::from_whole_seconds(i32::from(offset_minutes) * 60).ok()?;
        let utc = OffsetDateTime::from_unix_timestamp(secs).ok()?;
        let moment = utc.checked_to_offset(zone)?;
        moment.format(&Rfc3339).ok().map(|_| Time(moment))
    }

    /// Seconds since 1970; parts of one are cut off.
    pub fn unix(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// As a Date field has it. RFC 5322 3.3. None: a year it can't write.
    pub fn to_date_field(self) -> Option<String> {
        self.0.format(&Rfc2822).ok()
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let read = OffsetDateTime::parse(&text, &Rfc3339);
        read.map(Time)
            .map_err(|_| D::Error::custom(format_args!("{text:?} is no time of RFC 3339")))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.format(&Rfc3339);
        serializer.serialize_str(&text.map_err(serde::ser::Error::custom)?)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}
