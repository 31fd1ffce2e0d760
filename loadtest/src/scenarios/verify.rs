//! After a run, or after a crash: is all there that a ledger says was accepted?

use crate::error::Failure;
use crate::ledger::Ledger;
use crate::options::Options;

/// Reads the ledger and looks into the mailboxes.
pub fn run(options: &Options) -> Result<(), Failure> {
    let path = options.ledger.as_deref();
    let path = path.ok_or_else(|| Failure::Usage("--ledger FILE is missing".into()))?;
    let found = Ledger::read(path)?.verify(&options.targets[0])?;
    println!("verified: {found} accepted messages are there exactly once");
    Ok(())
}
