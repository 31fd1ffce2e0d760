//! `ringmail salvage DIR`.

use std::path::Path;

use super::Failure;
use super::arguments::Arguments;
use super::which::Which;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of_directory(Path::new(&arguments.rest[0]))?;
    if which.running()?.is_some() {
        return Err(Failure::Failed(format!(
            "a server runs on it; stop it first: ringmail stop {}",
            which.named
        )));
    }
    // Held until the end: no server may start meanwhile.
    let _lock = which.lock()?;
    // todo: rebuilding rows from bodies (`store`); the index alone is `shards::storage::IndexBuilder`.
    Err(Failure::Failed(
        "salvage is not part of this version yet; keep the directory as it is".into(),
    ))
}
