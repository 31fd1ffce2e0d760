//! `ringmail config`: check and example.

use super::arguments::Arguments;
use super::{Failure, print};
use crate::settings::example::{EXAMPLES, SHAPING};
use crate::settings::{check_machine, load};

pub(super) fn check(arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments
        .config
        .as_ref()
        .ok_or_else(|| Failure::Usage("config check needs --config FILE".into()))?;
    let settings = load(file).map_err(|e| e.to_string())?;
    check_machine(&settings, file).map_err(|e| e.to_string())?;
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let text = format!(
        "{}: no mistake; {}, {}, {}\n",
        file.display(),
        count(settings.server.listener.len(), "listener"),
        count(settings.domains.domain.len(), "domain"),
        count(settings.accounts.len(), "account"),
    );
    print(&text)
}

pub(super) fn example(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(path) = arguments.rest.first() {
        let mut all = EXAMPLES.iter().chain([&SHAPING]);
        let known: Vec<&str> = all.clone().map(|e| e.path).collect();
        let example = all.find(|e| e.path == path).ok_or_else(|| {
            Failure::Usage(format!(
                "no sample {path:?}; there are {}",
                known.join(", ")
            ))
        })?;
        return print(example.content);
    }
    let all = EXAMPLES
        .iter()
        .map(|e| format!("##### {}\n\n{}", e.path, e.content));
    print(&all.collect::<Vec<_>>().join("\n"))
}
