//! The subscriber that `tracing`'s macros call, and its one instance.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{OnceLock, RwLock};
use std::time::SystemTime;

use tracing::callsite::rebuild_interest_cache;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use super::levels::Levels;
use super::line::format_line;
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
    tracing::subscriber::set_global_default(Logfmt).map_err(|e| e.to_string())
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

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        let levels = STATE.get()?.levels.read().ok()?;
        Some(levels.most())
    }

    fn event(&self, event: &Event<'_>) {
        let Some(state) = STATE.get() else { return };
        let format = match state.json.load(Ordering::Relaxed) {
            0 => LogFormat::Logfmt,
            _ => LogFormat::Json,
        };
        let counted = match *event.metadata().level() {
            Level::ERROR => 0,
            Level::WARN => 1,
            _ => 2,
        };
        state.lines[counted].fetch_add(1, Ordering::Relaxed);
        let time = state.with_time.then(SystemTime::now);
        state.writer.line(format_line(event, format, time));
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
