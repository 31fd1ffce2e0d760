//! Which events are logged: a level for all, other levels for some modules. Pure.

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::settings::{Log, LogLevel};

/// The levels in force.
#[derive(Debug)]
pub(super) struct Levels {
    default: LevelFilter,
    /// Longest name first, so that the innermost module that fits is found first.
    modules: Vec<(String, LevelFilter)>,
}

impl Levels {
    pub(super) fn new(log: &Log) -> Levels {
        let mut modules: Vec<(String, LevelFilter)> = log
            .modules
            .iter()
            .map(|(name, level)| (name.clone(), filter(*level)))
            .collect();
        modules.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Levels {
            default: filter(log.level),
            modules,
        }
    }

    pub(super) fn enabled(&self, target: &str, level: &Level) -> bool {
        self.enabled_from(self.default, target, level)
    }

    /// The same for a line of a library: warnings, and more only by its own name. A look at our own house shall not drown in an index's
    /// housekeeping, nor show what a library would of keys and rows.
    pub(super) fn enabled_for_library(&self, target: &str, level: &Level) -> bool {
        self.enabled_from(self.default.min(LevelFilter::WARN), target, level)
    }

    fn enabled_from(&self, default: LevelFilter, target: &str, level: &Level) -> bool {
        let module = module_name(target);
        let inside = |name: &str| {
            module
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let own = self.modules.iter().find(|(name, _)| inside(name));
        *level <= own.map_or(default, |(_, filter)| *filter)
    }

    /// The most verbose level any module has.
    pub(super) fn most(&self) -> LevelFilter {
        let levels = self.modules.iter().map(|(_, filter)| *filter);
        levels.fold(self.default, std::cmp::max)
    }
}

/// A target in the operator's words: `ringmail::store::add` is `store::add`, `ringmail_shards::rt` is `shards::rt`.
pub(super) fn module_name(target: &str) -> &str {
    target
        .strip_prefix("ringmail::")
        .or_else(|| target.strip_prefix("ringmail_"))
        .unwrap_or(target)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_module_decides() {
        let mut log = Log::default();
        for (name, level) in [
            ("store", LogLevel::Warn),
            ("store::deliver", LogLevel::Trace),
            ("shards", LogLevel::Error),
        ] {
            log.modules.insert(name.into(), level);
        }
        let levels = Levels::new(&log);
        let enabled = |target, level| levels.enabled(target, &level);
        assert!(enabled("ringmail::smtp_server", Level::INFO));
        assert!(!enabled("ringmail::smtp_server", Level::DEBUG));
        assert!(!enabled("ringmail::store::add", Level::INFO));
        assert!(enabled("ringmail::store::deliver", Level::TRACE));
        assert!(enabled("ringmail::store::deliver::deep", Level::TRACE));
        assert!(!enabled("ringmail::store::deliver2", Level::INFO));
        assert!(enabled("ringmail::stores", Level::INFO));
        assert!(!enabled("ringmail_shards::rt", Level::WARN));
        assert_eq!(levels.most(), LevelFilter::TRACE);
    }

    #[test]
    fn a_library_tells_more_only_by_its_own_name() {
        let mut log = Log {
            level: LogLevel::Trace,
            ..Log::default()
        };
        log.modules.insert("rustls".into(), LogLevel::Debug);
        let levels = Levels::new(&log);
        let enabled = |target, level| levels.enabled_for_library(target, &level);
        assert!(enabled("index::journal", Level::WARN));
        assert!(!enabled("index::journal", Level::INFO));
        assert!(enabled("rustls::server::hs", Level::DEBUG));
        assert!(!enabled("rustls::server::hs", Level::TRACE));
        log.level = LogLevel::Error;
        assert!(!Levels::new(&log).enabled_for_library("fjall", &Level::WARN));
    }
}
