//! `ringmail salvage DIR`: rebuilds the damaged shards of a stopped directory from the stored bodies.

use std::io::Write;
use std::path::Path;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::store::{Salvaged, Scope, salvage};

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of_directory(Path::new(&arguments.rest[0]))?;
    if which.running()?.is_some() {
        return Err(Failure::Failed(format!(
            "a server runs on it; stop it first: ringmail stop {}",
            which.named
        )));
    }
    // Only to see that it may be had, by this user; salvage takes it again for its own time.
    drop(which.lock()?);
    let mut told = 0;
    let salvaged = salvage(&which.data_dir, Scope::Damaged, &mut |records| {
        if records >= told + PROGRESS_EVERY {
            told = records;
            // Progress nobody sees is no error.
            let _ = writeln!(std::io::stderr(), "{records} records read");
        }
    })
    .map_err(|e| e.to_string())?;
    print(&report(&salvaged))?;
    if salvaged.lost_total > 0 {
        return Err(Failure::Failed(
            "not everything could be brought back; what is lost is listed above, and the old index was kept beside the new one".into(),
        ));
    }
    Ok(())
}

fn report(salvaged: &Salvaged) -> String {
    if salvaged.shards == 0 {
        return "No shard is damaged; nothing was changed. `ringmail check` looks closer.\n".into();
    }
    let mut text = format!(
        "Rebuilt {} shards: {} accounts, {} mailboxes, {} messages ({} octets), {} entries of queue and fan-out.\n\
         Messages that were expunged lately may be back, later changes of flags may be lost, and what was partly delivered is delivered again.\n",
        salvaged.shards,
        salvaged.accounts,
        salvaged.mailboxes,
        salvaged.messages,
        salvaged.octets,
        salvaged.entries
    );
    if salvaged.renumbered > 0 {
        text += &format!("{} messages have a new UID.\n", salvaged.renumbered);
    }
    for account in &salvaged.without_password {
        text +=
            &format!("Set the password of {account} anew: ringmail account password {account}\n");
    }
    for lost in &salvaged.lost {
        text += &format!("lost: {lost}\n");
    }
    let unlisted = salvaged.lost_total - salvaged.lost.len() as u64;
    if unlisted > 0 {
        text += &format!("and {unlisted} more\n");
    }
    text
}

const PROGRESS_EVERY: u64 = 10_000;
