//! `DIR/format`: how many shards there are, the seed of all checksums, the epoch. Without it nothing in the directory can be read, so
//! each shard's directory has a copy, written when it is made (or at the first opening, where it has none) and not changed after.
//! A copy's epoch is old; [`restore_format`] takes the newest that the segments tell.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::directory::{DirectoryError, Lock, at, shard_path};
use crate::ShardId;
use crate::faults::{point, shard_point};
use crate::rt::sync_directory;
use crate::segments::{list_segments, segment_epoch, segment_shard};

/// What `DIR/format` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Number of shards, fixed when the directory was made.
    pub shards: u16,
    /// Start of all checksums: makes records of this directory unlike those of others.
    pub seed: u32,
    /// Number of the current opening.
    pub epoch: u64,
}

impl Format {
    fn is_of_the_same_directory(self, other: Format) -> bool {
        (self.shards, self.seed) == (other.shards, other.seed)
    }
}

/// Why a format file, or a copy, says nothing.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("damaged: {0}")]
    Damaged(String),
    #[error(
        "the directory has format version {0}, this program knows {FORMAT_VERSION}; use the version of ringmail that wrote it"
    )]
    Version(u64),
}

/// Reads `DIR/format`; none if there is none.
pub fn read_format(directory: &Path) -> Result<Option<Format>, DirectoryError> {
    let path = directory.join(NAME);
    read_file(&path)
        .map_err(at(&path))?
        .map_err(|why| DirectoryError::Format {
            path,
            what: match why {
                Unreadable::Damaged(_) => format!("{why}; {}", remedy(directory)),
                Unreadable::Version(_) => why.to_string(),
            },
        })
}

/// That there is no format file, though there are shards.
pub(super) fn lost_format(directory: &Path) -> DirectoryError {
    DirectoryError::Format {
        path: directory.join(NAME),
        what: format!(
            "missing, though there is mail in the directory; {}",
            remedy(directory)
        ),
    }
}

fn remedy(directory: &Path) -> String {
    format!(
        "run `ringmail salvage {}`, which makes the file anew from the copies in the shards' directories",
        directory.display()
    )
}

/// Whether it looks like a data directory, sound or not.
pub fn is_data_directory(directory: &Path) -> bool {
    directory.join(NAME).exists() || !shard_directories(directory).is_empty()
}

/// Directories named like shards.
fn shard_directories(directory: &Path) -> Vec<ShardId> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let number = |name: &str| name.strip_prefix("shard-")?.parse().ok().map(ShardId);
    entries
        .filter_map(|e| number(e.ok()?.file_name().to_str()?))
        .filter(|shard| shard_path(directory, *shard).is_dir())
        .collect()
}

/// Whether a shard's directory holds anything but the copy of the format: it was in use.
pub(super) fn is_used(directory: &Path, shard: ShardId) -> bool {
    let is_ours = |name: &str| name == NAME || name == NEW;
    fs::read_dir(shard_path(directory, shard)).is_ok_and(|mut entries| {
        entries.any(|e| e.is_ok_and(|e| !e.file_name().to_str().is_some_and(is_ours)))
    })
}

/// Whether any shard was in use.
pub(super) fn has_used_shards(directory: &Path) -> bool {
    let mut shards = shard_directories(directory).into_iter();
    shards.any(|shard| is_used(directory, shard))
}

/// Shards whose directories are not those that the format file counts: gone, or, with a disk that is not mounted, empty.
pub fn missing_shards(directory: &Path, format: Format) -> Vec<ShardId> {
    let has_copy = |shard| shard_path(directory, shard).join(NAME).exists();
    let all = || (0..format.shards).map(ShardId);
    // In a directory of an earlier version no shard has one yet, and an empty one is of a making that was cut off.
    let copies = all().any(has_copy);
    all()
        .filter(|shard| {
            !shard_path(directory, *shard).exists()
                || copies
                    && !has_copy(*shard)
                    && !SHARD_PARTS
                        .iter()
                        .any(|part| shard_path(directory, *shard).join(part).exists())
        })
        .collect()
}

/// What is wrong with a missing shard, and what to do.
pub(super) fn missing(directory: &Path) -> String {
    format!(
        "missing, though the format file counts it; restore or mount it. Only if it is gone for good: `ringmail salvage --make-missing {}` makes it anew, empty",
        directory.display()
    )
}

/// Makes the index of a missing shard anew with `build`, and its directory around it. Until the index is in its place, the shard is
/// missing still; the copy comes last. So a crash before leaves it to be made again, and one after a shard that opens.
pub fn make_missing(
    directory: &Path,
    _lock: &Lock,
    format: Format,
    shard: ShardId,
    build: impl FnOnce() -> Result<(), DirectoryError>,
) -> Result<(), DirectoryError> {
    // Beside a shard with a copy, an empty directory counts as missing.
    for other in (0..format.shards).map(ShardId) {
        if is_used(directory, other)
            && let Some(CopyProblem::Missing) = copy(directory, format, other)?
        {
            write_copy(directory, other, format)?;
        }
    }
    let path = shard_path(directory, shard);
    fs::create_dir_all(&path).map_err(at(&path))?;
    sync_directory(directory).map_err(at(directory))?;
    build()?;
    for part in ["segments", "large"].map(|part| path.join(part)) {
        fs::create_dir_all(&part).map_err(at(&part))?;
    }
    write_copy(directory, shard, format)
}

/// Writes the copies that are missing or damaged.
pub(super) fn keep_copies(directory: &Path, format: Format) -> Result<(), DirectoryError> {
    let mut without = Vec::new();
    for shard in (0..format.shards).map(ShardId) {
        match copy(directory, format, shard)? {
            None => (),
            Some(CopyProblem::Missing | CopyProblem::Damaged(_)) => without.push(shard),
            Some(problem) => return Err(problem.of(directory, shard)),
        }
    }
    // Those that were never used first: without a copy they look like a disk that is not mounted, as soon as another has one.
    without.sort_by_key(|shard| is_used(directory, *shard));
    without
        .into_iter()
        .try_for_each(|shard| write_copy(directory, shard, format))
}

/// What is wrong with a copy.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyProblem {
    #[error("missing; the next start of the server writes it anew")]
    Missing,
    #[error("{0}; the next start of the server writes it anew")]
    Damaged(String),
    #[error("{0}")]
    Version(String),
    #[error(
        "this shard is of another directory (seed {0}, {1} shards); put the right one in its place"
    )]
    Foreign(u32, u16),
    #[error(
        "this is the directory of {0}: were shards renamed, or disks mounted in each other's place? Put each in its place"
    )]
    Exchanged(ShardId),
}

impl CopyProblem {
    fn of(self, directory: &Path, shard: ShardId) -> DirectoryError {
        DirectoryError::Format {
            path: shard_path(directory, shard),
            what: self.to_string(),
        }
    }
}

/// Refuses a shard's directory that is another's: nothing in it may be taken for this shard's.
pub fn refuse_misplaced(
    directory: &Path,
    format: Format,
    shard: ShardId,
) -> Result<(), DirectoryError> {
    match copy(directory, format, shard)? {
        Some(problem @ (CopyProblem::Foreign(..) | CopyProblem::Exchanged(_))) => {
            Err(problem.of(directory, shard))
        }
        _ => Ok(()),
    }
}

/// Looks at the copy in a shard's directory, and whose directory it is.
pub(super) fn copy(
    directory: &Path,
    format: Format,
    shard: ShardId,
) -> Result<Option<CopyProblem>, DirectoryError> {
    if let Some(other) = made_for(directory, format.seed, shard)?
        && other != shard
    {
        return Ok(Some(CopyProblem::Exchanged(other)));
    }
    let path = shard_path(directory, shard).join(NAME);
    Ok(match read_file(&path).map_err(at(&path))? {
        Ok(Some(copy)) if copy.is_of_the_same_directory(format) => None,
        Ok(Some(copy)) => Some(CopyProblem::Foreign(copy.seed, copy.shards)),
        Ok(None) => Some(CopyProblem::Missing),
        Err(why @ Unreadable::Damaged(_)) => Some(CopyProblem::Damaged(why.to_string())),
        Err(why @ Unreadable::Version(_)) => Some(CopyProblem::Version(why.to_string())),
    })
}

/// The shard that a directory's segments say they are of: the newest sound one's word. None where there is none, as in a new one.
fn made_for(
    directory: &Path,
    seed: u32,
    shard: ShardId,
) -> Result<Option<ShardId>, DirectoryError> {
    let segments = shard_path(directory, shard).join("segments");
    if !segments.exists() {
        return Ok(None);
    }
    let numbers = list_segments(&segments).map_err(at(&segments))?;
    for number in numbers.into_iter().rev() {
        if let Some(says) = segment_shard(&segments, number, seed).map_err(at(&segments))? {
            return Ok(Some(says));
        }
    }
    Ok(None)
}

/// The sound copies, each with the number of shards that have one of the same directory; the most frequent first.
fn sound_copies(directory: &Path) -> Vec<(Format, usize)> {
    let mut found: BTreeMap<(u16, u32), (Format, usize)> = BTreeMap::new();
    for shard in shard_directories(directory) {
        if let Ok(Ok(Some(copy))) = read_file(&shard_path(directory, shard).join(NAME)) {
            let of = found.entry((copy.shards, copy.seed)).or_insert((copy, 0));
            of.0.epoch = of.0.epoch.max(copy.epoch);
            of.1 += 1;
        }
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    found
}

/// The copy that a making of the directory left when it was cut off.
pub(super) fn begun(directory: &Path) -> Option<Format> {
    sound_copies(directory).first().map(|(format, _)| *format)
}

/// Makes `DIR/format` anew if it is missing or damaged, from the copies; answers it, and whether it was made anew. The epoch is above
/// all that the copies and the segments tell.
pub fn restore_format(directory: &Path, _lock: &Lock) -> Result<(Format, bool), DirectoryError> {
    let path = directory.join(NAME);
    match read_file(&path).map_err(at(&path))? {
        Ok(Some(format)) => return Ok((format, false)),
        Err(why @ Unreadable::Version(_)) => {
            let what = why.to_string();
            return Err(DirectoryError::Format { path, what });
        }
        Ok(None) | Err(Unreadable::Damaged(_)) => (),
    }
    let copies = sound_copies(directory);
    let refuse = |what: &str| {
        Err(DirectoryError::Format {
            path: path.clone(),
            what: what.into(),
        })
    };
    let mut format = match copies.as_slice() {
        [] => {
            return refuse(
                "missing or damaged, and no shard's directory has a sound copy; restore the file, or one `shard-NNN/format`, from a backup",
            );
        }
        [(_, most), (_, second), ..] if most == second => {
            return refuse(
                "missing or damaged, and the copies in the shards' directories are of different directories, as many of the one as of the other; put the right shards in place",
            );
        }
        [(format, _), ..] => *format,
    };
    for shard in shard_directories(directory) {
        let segments = shard_path(directory, shard).join("segments");
        // A shard that was never used has none.
        for number in list_segments(&segments).unwrap_or_default() {
            let epoch =
                segment_epoch(&segments, number, shard, format.seed).map_err(at(&segments))?;
            format.epoch = format.epoch.max(epoch.unwrap_or(0));
        }
    }
    format.epoch += 1;
    write_format(directory, &format)?;
    Ok((format, true))
}

fn read_file(path: &Path) -> io::Result<Result<Option<Format>, Unreadable>> {
    match fs::read(path) {
        // Octets that are no UTF-8 fail the checksum.
        Ok(bytes) => Ok(parse_format(&String::from_utf8_lossy(&bytes)).map(Some)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Ok(None)),
        Err(e) => Err(e),
    }
}

fn parse_format(text: &str) -> Result<Format, Unreadable> {
    let damaged = |what: String| Unreadable::Damaged(what);
    let mut fields = HashMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| damaged("a line has no '='".into()))?;
        let value: u64 = value
            .trim()
            .parse()
            .map_err(|_| damaged(format!("{} is not a number", name.trim())))?;
        fields.insert(name.trim(), value);
    }
    let field = |name: &str| {
        let value = fields.get(name).copied();
        value.ok_or_else(|| damaged(format!("{name} is missing")))
    };
    // The version first: a newer one may compute the rest differently.
    match field("version")? {
        FORMAT_VERSION => (),
        other => return Err(Unreadable::Version(other)),
    }
    let crc = field("crc")?;
    let covered = text.find("crc").unwrap_or(text.len());
    if crc != u64::from(crc32c::crc32c(&text.as_bytes()[..covered])) {
        return Err(damaged("checksum does not match".into()));
    }
    let shards = u16::try_from(field("shards")?)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| damaged("shards is out of range".into()))?;
    Ok(Format {
        shards,
        seed: field("seed")? as u32,
        epoch: field("epoch")?,
    })
}

/// Replaces `DIR/format`.
pub(super) fn write_format(directory: &Path, format: &Format) -> Result<(), DirectoryError> {
    let head = "# Written by ringmail at each start. Do not edit.";
    let write = || -> io::Result<()> {
        write_file(directory, head, format, || point("open.format"))?;
        point("open.epoch")
    };
    write().map_err(at(&directory.join(NAME)))
}

fn write_copy(directory: &Path, shard: ShardId, format: Format) -> Result<(), DirectoryError> {
    let path = shard_path(directory, shard);
    let head = "# Copy of ../format as it was when this was written. Do not edit.";
    let write = || -> io::Result<()> {
        write_file(&path, head, &format, || shard_point(shard, "open.copy"))?;
        shard_point(shard, "open.copied")
    };
    write().map_err(at(&path.join(NAME)))
}

fn write_file(
    directory: &Path,
    head: &str,
    format: &Format,
    before_rename: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    let mut text = format!(
        "{head}\nversion = {FORMAT_VERSION}\nshards = {}\nseed = {}\nepoch = {}\n",
        format.shards, format.seed, format.epoch
    );
    let crc = crc32c::crc32c(text.as_bytes());
    text.push_str(&format!("crc = {crc}\n"));
    let new = directory.join(NEW);
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    before_rename()?;
    fs::rename(&new, directory.join(NAME))?;
    sync_directory(directory)
}

const NAME: &str = "format";
const NEW: &str = "format.new";
const FORMAT_VERSION: u64 = 1;
/// What a shard that was opened once has.
const SHARD_PARTS: [&str; 3] = ["rows", "segments", "mark"];
