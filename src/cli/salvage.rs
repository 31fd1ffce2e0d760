//! `ringmail salvage DIR`.

use super::Failure;
use super::arguments::Arguments;

pub(super) fn run(_arguments: &Arguments) -> Result<(), Failure> {
    // todo: rebuilding rows from bodies; the index alone is `shards::storage::IndexBuilder`.
    Err(Failure::Failed(
        "salvage is not part of this version yet; keep the directory as it is".into(),
    ))
}
