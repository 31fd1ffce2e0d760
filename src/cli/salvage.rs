//! `ringmail salvage DIR`: rebuilds the damaged shards of a stopped directory, or all, from the stored bodies.

use std::io::Write;
use std::path::Path;

use shards::storage::shard_path;

use super::arguments::Arguments;
use super::which::Which;
use super::{Failure, print};
use crate::percore::wall_clock;
use crate::queue::salvaged::hold;
use crate::store::{Missing, Progress, Salvaged, Scope, salvage};

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let which = Which::of_directory(Path::new(&arguments.rest[0]))?;
    if which.running()?.is_some() {
        return Err(Failure::Failed(format!(
            "a server runs on it; stop it first: ringmail stop {}",
            which.named
        )));
    }
    which.must_have_data()?;
    // Only to see that it may be had, by this user; salvage takes it again for its own time.
    drop(which.lock()?);
    let scope = if arguments.all {
        Scope::All
    } else {
        Scope::Damaged
    };
    let missing = if arguments.make_missing {
        Missing::Make
    } else {
        Missing::Leave
    };
    let mut teller = Teller {
        named: &which.named,
        told: 0,
        failed: None,
    };
    let now = wall_clock();
    let unknown = |body, row: &[u8]| hold(body, row, now);
    let salvaged = salvage(
        &which.data_dir,
        (scope, missing),
        &unknown,
        &mut |progress| {
            teller.progress(&progress);
        },
    )?;
    if let Some(failure) = teller.failed {
        return Err(failure);
    }
    print(&summary(&salvaged))?;
    match not_done(&salvaged, &which) {
        text if text.is_empty() => Ok(()),
        text => Err(Failure::Failed(text)),
    }
}

/// What is not as it was, and the way out.
fn not_done(salvaged: &Salvaged, which: &Which) -> String {
    let mut texts = Vec::new();
    if let Some(shard) = salvaged.missing.first() {
        let more = match salvaged.missing.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        texts.push(format!(
            "{} is missing{more}, and the server does not start without it: restore or mount it. Only if it is gone for good: ringmail salvage --make-missing {} makes it anew, empty",
            shard_path(&which.data_dir, *shard).display(),
            which.data_dir.display(),
        ));
    }
    if salvaged.lost_total > 0 {
        texts.push("not everything could be brought back; what is lost is listed above, and the old index was kept beside the new one".into());
    }
    if salvaged.left > 0 {
        let things = match salvaged.left {
            1 => "1 thing is".to_string(),
            n => format!("{n} things are"),
        };
        texts.push(format!(
            "{things} wrong that no new index can mend, such as damaged bodies; ringmail check {} names them, each with the way out",
            which.named
        ));
    }
    texts.join("\n")
}

/// Tells of each shard as soon as it is done: a salvage that is stopped has told what it did.
struct Teller<'a> {
    /// How the directory is named on the command line.
    named: &'a str,
    /// Records or bodies of the last line of progress.
    told: u64,
    failed: Option<Failure>,
}

impl Teller<'_> {
    fn progress(&mut self, progress: &Progress<'_>) {
        let (number, line) = match progress {
            Progress::Checked(bodies) => (*bodies, format!("looking for damage: {bodies} bodies")),
            Progress::Read(shard, records) => (*records, format!("{shard}: {records} records")),
            Progress::Format(format) => {
                let told = print(&format!(
                    "The format file is made anew from the copies in the shards' directories: {} shards, epoch {}.\n",
                    format.shards, format.epoch
                ));
                return self.failed = self.failed.take().or(told.err());
            }
            Progress::Made(shard) => {
                let told = print(&format!(
                    "{shard}: was missing and is made anew, empty; its accounts have no mail and no passwords any more.\n"
                ));
                return self.failed = self.failed.take().or(told.err());
            }
            Progress::Rebuilt(shard, salvaged) => {
                self.told = 0;
                let told = print(&format!("{shard}: {}", self.report(salvaged)));
                return self.failed = self.failed.take().or(told.err());
            }
        };
        if number < self.told {
            // The next shard.
            self.told = 0;
        }
        if number >= self.told + PROGRESS_EVERY {
            self.told = number;
            // Progress nobody sees is no error.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    fn report(&self, salvaged: &Salvaged) -> String {
        let mut text = numbers(salvaged);
        for kept in &salvaged.kept {
            text += &format!("The old index is kept as {}\n", kept.display());
        }
        if salvaged.unknown > 0 {
            text += &format!(
                "{} recipients in the queue are held, for 30 days: nobody knows whether they had their message before. `ringmail queue list --state held` shows them; release or drop them.\n",
                salvaged.unknown
            );
        }
        if salvaged.without_index > 0 {
            text += "No old index could be read: suppression lists, webhooks, templates, keys and what was kept of mail that went out are gone, and hold rules if no other shard has them.\n";
        }
        if salvaged.renumbered > 0 {
            text += &format!("{} messages have a new UID.\n", salvaged.renumbered);
        }
        if salvaged.without_content > 0 {
            text += &format!(
                "{} large messages have no content any more: they were expunged, or delivered to all they were for, unless files were lost.\n",
                salvaged.without_content
            );
        }
        for account in &salvaged.without_password {
            text += &format!(
                "Set the password of {account} anew: ringmail account password {account} {}\n",
                self.named
            );
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
}

fn numbers(salvaged: &Salvaged) -> String {
    format!(
        "{} accounts, {} mailboxes, {} messages ({} octets), {} entries of queue and fan-out\n",
        salvaged.accounts, salvaged.mailboxes, salvaged.messages, salvaged.octets, salvaged.entries
    )
}

fn summary(salvaged: &Salvaged) -> String {
    if salvaged.shards == 0 && !salvaged.missing.is_empty() {
        return "The indexes of the shards that are there are not damaged.\n".into();
    }
    if salvaged.shards == 0 {
        let changed = salvaged.format_anew || !salvaged.made.is_empty();
        let nothing = if changed { "nothing else" } else { "nothing" };
        return format!("No index is damaged; {nothing} was changed.\n");
    }
    let s = if salvaged.shards == 1 { "" } else { "s" };
    format!(
        "Rebuilt {} shard{s}: {}\
         Messages that were expunged lately may be back, later changes of flags and moves may be lost.\n",
        salvaged.shards,
        numbers(salvaged)
    )
}

/// Records or bodies between two lines of progress.
const PROGRESS_EVERY: u64 = 10_000;
