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
        let module = module_name(target);
        let inside = |name: &str| {
            module
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let own = self.modules.iter().find(|(name, _)| inside(name));
        *level <= own.map_or(self.default, |(_, filter)| *filter)
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
}
