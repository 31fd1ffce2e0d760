//! How a line reads. logfmt: `time=... level=info module=store msg="..." key=value`, a value in quotes when it needs them; JSON: one
//! object with the same words. Under systemd the time is left out: the journal has its own. Pure.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use shards::rt::with_task_label;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::levels::module_name;
use crate::settings::LogFormat;

/// The line of an event, with its end.
pub(super) fn format_line(
    event: &Event<'_>,
    format: LogFormat,
    time: Option<SystemTime>,
) -> String {
    let metadata = event.metadata();
    let mut line = Line::begin(format, time, metadata.level(), metadata.target());
    // The message first, wherever the macro put it.
    event.record(&mut Message(&mut line));
    event.record(&mut Others(&mut line));
    if metadata.fields().field(CONNECTION).is_none() {
        line.connection();
    }
    line.end()
}

/// A line of one who has only a text and some words beside it.
pub(super) fn format_text(
    (level, target): (&Level, &str),
    message: &str,
    words: &[(&str, &str)],
    format: LogFormat,
    time: Option<SystemTime>,
) -> String {
    let mut line = Line::begin(format, time, level, target);
    line.message(message);
    for (key, value) in words {
        line.text(key, value);
    }
    line.connection();
    line.end()
}

struct Line {
    format: LogFormat,
    text: String,
}

impl Line {
    fn new(format: LogFormat) -> Line {
        let mut text = String::with_capacity(LINE_USUAL);
        if format == LogFormat::Json {
            text.push('{');
        }
        Line { format, text }
    }

    /// What each line has.
    fn begin(format: LogFormat, time: Option<SystemTime>, level: &Level, target: &str) -> Line {
        let mut line = Line::new(format);
        if let Some(time) = time {
            line.text("time", &timestamp(time));
        }
        line.text("level", level_word(level));
        line.text("module", module_name(target));
        line
    }

    fn message(&mut self, text: &str) {
        match self.format {
            // Always in quotes, so that the eye finds it.
            LogFormat::Logfmt => {
                self.key("msg");
                logfmt_quoted(&mut self.text, shortened(text));
            }
            LogFormat::Json => self.text("msg", text),
        }
    }

    /// The connection that the task at work serves, if it does.
    fn connection(&mut self) {
        with_task_label(|label| {
            if let Some(label) = label {
                self.text(CONNECTION, label);
            }
        });
    }

    fn key(&mut self, key: &str) {
        match self.format {
            LogFormat::Logfmt => {
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                self.text.push_str(key);
                self.text.push('=');
            }
            LogFormat::Json => {
                if self.text.len() > 1 {
                    self.text.push(',');
                }
                json_string(&mut self.text, key);
                self.text.push(':');
            }
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        let value = shortened(value);
        match self.format {
            LogFormat::Logfmt if !needs_quotes(value) => self.text.push_str(value),
            LogFormat::Logfmt => logfmt_quoted(&mut self.text, value),
            LogFormat::Json => json_string(&mut self.text, value),
        }
    }

    /// A number or a truth value: the same in both forms.
    fn plain(&mut self, key: &str, value: impl fmt::Display) {
        self.key(key);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
    }

    fn end(mut self) -> String {
        if self.format == LogFormat::Json {
            self.text.push('}');
        }
        self.text.push('\n');
        self.text
    }
}

struct Message<'l>(&'l mut Line);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            self.0.message(&format!("{value:?}"));
        }
    }
}

struct Others<'l>(&'l mut Line);

impl Visit for Others<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != MESSAGE {
            self.0.text(field.name(), &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != MESSAGE {
            self.0.text(field.name(), value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.0.text(field.name(), &value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.plain(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.plain(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for what is no number.
        if value.is_finite() {
            self.0.plain(field.name(), value);
        } else {
            self.0.text(field.name(), &value.to_string());
        }
    }
}

fn needs_quotes(value: &str) -> bool {
    value.is_empty()
        || value
            .bytes()
            .any(|b| !b.is_ascii_graphic() || matches!(b, b'"' | b'\\' | b'='))
}

/// Nothing a peer sends can end the line or fake another: control characters are escaped.
fn logfmt_quoted(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c => push_visible(out, c),
        }
    }
    out.push('"');
}

/// RFC 8259 7.
fn json_string(out: &mut String, value: &str) {
    logfmt_quoted(out, value);
}

fn push_visible(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // The line and paragraph separators too: some viewers break lines there.
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
        c => out.push(c),
    }
}

fn shortened(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_MAX)]
}

fn level_word(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// RFC 3339, UTC, milliseconds.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a number of days since 1970-01-01. Years are counted from March, so that a leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let era_day = days % DAYS_OF_400_YEARS;
    let year = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * year_day + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = days / DAYS_OF_400_YEARS * 400 + year + u64::from(month <= 2);
    (year, month, year_day - (153 * from_march + 2) / 5 + 1)
}

/// The field that holds a connection's number. The task's label is it where the event does not say.
const CONNECTION: &str = "connection";
/// The field that holds an event's text.
const MESSAGE: &str = "message";
/// Room for a usual line.
const LINE_USUAL: usize = 192;
/// Longest value in a line, in octets; the rest is cut off.
const VALUE_MAX: usize = 4096;
/// From 1 March of the year 0.
const DAYS_TO_1970: u64 = 719_468;
const DAYS_OF_400_YEARS: u64 = 146_097;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quoted(value: &str) -> String {
        let mut line = Line::new(LogFormat::Logfmt);
        line.text("k", value);
        line.end()
    }

    #[test]
    fn logfmt_quotes_what_needs_it() {
        assert_eq!(quoted("a-b.c:25"), "k=a-b.c:25\n");
        assert_eq!(quoted(""), "k=\"\"\n");
        assert_eq!(quoted("two words"), "k=\"two words\"\n");
        assert_eq!(quoted("a=b"), "k=\"a=b\"\n");
        assert_eq!(quoted("say \"hi\" \\"), "k=\"say \\\"hi\\\" \\\\\"\n");
        assert_eq!(quoted("é"), "k=\"é\"\n");
    }

    #[test]
    fn a_peer_cannot_end_the_line() {
        assert_eq!(
            quoted("x\r\nlevel=error\u{7}\u{85}\u{2028}"),
            "k=\"x\\r\\nlevel=error\\u0007\\u0085\\u2028\"\n"
        );
        assert_eq!(
            quoted(&"a".repeat(VALUE_MAX + 10)).len(),
            VALUE_MAX + "k=\n".len()
        );
    }

    #[test]
    fn json_is_json() {
        let mut line = Line::new(LogFormat::Json);
        line.text("msg", "a \"b\"\n\u{1}é\\");
        line.plain("n", 7);
        line.plain("yes", true);
        let value: serde_json::Value = serde_json::from_str(&line.end()).unwrap();
        assert_eq!(value["msg"], "a \"b\"\n\u{1}é\\");
        assert_eq!(
            (value["n"].as_u64(), value["yes"].as_bool()),
            (Some(7), Some(true))
        );
    }

    #[test]
    fn timestamps_are_rfc_3339() {
        let at = |secs, ms: u32| timestamp(UNIX_EPOCH + Duration::new(secs, ms * 1_000_000));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399, 7), "2000-02-28T23:59:59.007Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_785_542_400, 999), "2026-08-01T00:00:00.999Z");
        assert_eq!(at(4_102_444_799, 0), "2099-12-31T23:59:59.000Z");
    }
}
