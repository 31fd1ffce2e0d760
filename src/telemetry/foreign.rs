//! Lines of others in our log: of libraries, which log through the `log` crate (rustls, fjall, glommio), and of the panic hook. They have
//! the same form and connection's number as ours; a library's module is its own name, such as `rustls::conn`, and its level is warn unless
//! `log.modules` names it.
//!
//! Our own logger for `log` instead of tracing-log: that one makes an event of each line whose level, module and place come as fields, to
//! be taken apart again by a subscriber that has no layers.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use log::{LevelFilter, Log, Metadata, Record};
use tracing::Level;

use super::subscriber::{is_enabled_for_library, line, line_at_once, most_verbose};

/// Takes the lines of others from now on.
pub(super) fn capture() -> Result<(), String> {
    log::set_logger(&Foreign).map_err(|e| e.to_string())?;
    follow_levels();
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// Levels changed. Libraries look at the most verbose one before they make a line.
pub(super) fn follow_levels() {
    log::set_max_level(match most_verbose().into_level() {
        None => LevelFilter::Off,
        Some(Level::ERROR) => LevelFilter::Error,
        Some(Level::WARN) => LevelFilter::Warn,
        Some(Level::INFO) => LevelFilter::Info,
        Some(Level::DEBUG) => LevelFilter::Debug,
        Some(Level::TRACE) => LevelFilter::Trace,
    });
}

struct Foreign;

impl Log for Foreign {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_enabled_for_library(level(metadata), metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
            line(level(record.metadata()), record.target(), &text, &[]);
        }
    }

    fn flush(&self) {}
}

fn level(metadata: &Metadata<'_>) -> Level {
    match metadata.level() {
        // What it warns of is what a client did, which is no operator's business.
        _ if metadata.target().starts_with("rustls") && metadata.level() < log::Level::Debug => {
            Level::DEBUG
        }
        log::Level::Error => Level::ERROR,
        log::Level::Warn => Level::WARN,
        log::Level::Info => Level::INFO,
        log::Level::Debug => Level::DEBUG,
        log::Level::Trace => Level::TRACE,
    }
}

/// Says where it was. What became of it is said by whoever catches it; a panic nobody catches may end the process.
fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    let text = panic.payload_as_str().unwrap_or("(no text)");
    let mut words = vec![
        ("panic", text),
        ("place", place.as_deref().unwrap_or("unknown")),
        ("thread", thread.name().unwrap_or("unnamed")),
    ];
    // With RUST_BACKTRACE=1.
    let backtrace = Backtrace::capture();
    let frames = backtrace.to_string();
    if backtrace.status() == BacktraceStatus::Captured {
        words.push(("backtrace", &frames));
    }
    line_at_once(
        Level::ERROR,
        "panic",
        "a panic; this is a bug of ours",
        &words,
    );
}
