//! The subscriber that `tracing`'s macros call, and its one instance.

use std::io::Write;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{OnceLock, RwLock};
use std::time::SystemTime;

use tracing::callsite::rebuild_interest_cache;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use super::foreign;
use super::levels::Levels;
use super::line::{format_line, format_text};
use super::writer::Writer;
use crate::metrics::{NONE, Samples, label};
use crate::settings::{Log, LogFormat};

/// Starts logging to standard error. Called once, before anything is logged; an error is a thread that can't be had.
pub fn start(log: &Log) -> Result<(), String> {
    let writer = Writer::start(std::io::stderr()).map_err(|e| format!("the log thread: {e}"))?;
    let state = State {
        writer,
        levels: RwLock::new(Levels::new(log)),
        json: AtomicU8::new(u8::from(log.format == LogFormat::Json)),
        // Set by systemd when standard error goes to the journal, which stamps each line.
        with_time: std::env::var_os("JOURNAL_STREAM").is_none(),
        lines: Default::default(),
    };
    if STATE.set(state).is_err() {
        return Err("the log was started twice".into());
    }
    tracing::subscriber::set_global_default(Logfmt).map_err(|e| e.to_string())?;
    foreign::capture()
}

/// A line that comes from no event. Goes the way of all lines.
pub(super) fn line(level: Level, target: &str, message: &str, words: &[(&str, &str)]) {
    if let Some(state) = STATE.get() {
        state.count(&level);
        state
            .writer
            .line(state.format_text(&level, target, message, words));
    }
}

/// A line at once, by the calling thread: for one whose process may end before the log's thread has its turn.
pub(super) fn line_at_once(level: Level, target: &str, message: &str, words: &[(&str, &str)]) {
    if let Some(state) = STATE.get() {
        state.count(&level);
        let line = state.format_text(&level, target, message, words);
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Whether a line of a library is wanted.
pub(super) fn is_enabled_for_library(level: Level, target: &str) -> bool {
    let levels = STATE.get().and_then(|state| state.levels.read().ok());
    levels.is_some_and(|levels| levels.enabled_for_library(target, &level))
}

/// The most verbose level any module has.
pub(super) fn most_verbose() -> LevelFilter {
    let levels = STATE.get().and_then(|state| state.levels.read().ok());
    levels.map_or(LevelFilter::OFF, |levels| levels.most())
}

/// Changes levels and format from now on.
pub fn reload(log: &Log) {
    let Some(state) = STATE.get() else { return };
    if let Ok(mut levels) = state.levels.write() {
        *levels = Levels::new(log);
    }
    let json = u8::from(log.format == LogFormat::Json);
    state.json.store(json, Ordering::Relaxed);
    rebuild_interest_cache();
    foreign::follow_levels();
}

/// Waits until what was logged is written; before the process ends.
pub fn flush() {
    if let Some(state) = STATE.get() {
        state.writer.flush();
    }
}

/// Lines by level, and lines dropped because standard error was too slow.
pub fn counts() -> Samples {
    let Some(state) = STATE.get() else {
        return Samples::new();
    };
    let mut samples: Samples = LEVELS
        .iter()
        .zip(&state.lines)
        .map(|(word, count)| {
            let key = ("ringmail_log_lines_total", label("level", word));
            (key, count.load(Ordering::Relaxed) as i64)
        })
        .collect();
    let dropped = state.writer.dropped() as i64;
    samples.push((("ringmail_log_lines_dropped_total", NONE), dropped));
    samples
}

// One for the process, as `tracing` has one subscriber. Levels are asked when a place in the code is first met and after a reload, not at
// each event, so the lock and the atomics here are on no hot path.
static STATE: OnceLock<State> = OnceLock::new();

struct State {
    writer: Writer,
    levels: RwLock<Levels>,
    json: AtomicU8,
    with_time: bool,
    lines: [AtomicU64; 3],
}

impl State {
    fn format(&self) -> LogFormat {
        match self.json.load(Ordering::Relaxed) {
            0 => LogFormat::Logfmt,
            _ => LogFormat::Json,
        }
    }

    fn time(&self) -> Option<SystemTime> {
        self.with_time.then(SystemTime::now)
    }

    fn format_text(
        &self,
        level: &Level,
        target: &str,
        message: &str,
        words: &[(&str, &str)],
    ) -> String {
        let (format, time) = (self.format(), self.time());
        format_text((level, target), message, words, format, time)
    }

    fn count(&self, level: &Level) {
        let counted = match *level {
            Level::ERROR => 0,
            Level::WARN => 1,
            _ => 2,
        };
        self.lines[counted].fetch_add(1, Ordering::Relaxed);
    }
}

struct Logfmt;

impl Subscriber for Logfmt {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let Some(state) = STATE.get() else {
            return false;
        };
        match state.levels.read() {
            Ok(levels) => {
                metadata.is_event() && levels.enabled(metadata.target(), metadata.level())
            }
            Err(_) => true,
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(most_verbose())
    }

    fn event(&self, event: &Event<'_>) {
        let Some(state) = STATE.get() else { return };
        state.count(event.metadata().level());
        let line = format_line(event, state.format(), state.time());
        state.writer.line(line);
    }

    // No spans: never enabled, so these are never called for one of ours.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Labels of [`State::lines`]: info and what is below it are counted together.
const LEVELS: [&str; 3] = ["error", "warn", "info"];
