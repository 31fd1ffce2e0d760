//! Consistency of a shard below the rows: every location names a sound record of its body, large content is there and sound, the use
//! of segments adds up, the progress row is sane. What the rows themselves mean is checked by the layer above.
//!
//! A running shard is checked in slices ([`check_slice`]) by the worker pool, one job a slice, so that it never holds a core. A stopped
//! directory ([`check_stopped`]) is checked on a copy of the index, for opening fjall cuts its journal.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::directory::foreign_index;
use super::directory::{DirectoryError, Lock, at, check_progress, shard_path};
use super::external::{CHUNK, read_external_file};
use super::format::{
    CopyProblem, copy, has_used_shards, lost_format, missing, missing_shards, read_format,
};
use crate::ShardId;
use crate::index::{Identity, Index, IndexError, LiveBytes};
use crate::segments::{BodyId, Location, external_name, list_segments, open_record, segment_name};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub shard: ShardId,
    /// The body it costs, if it is one body's.
    pub body: Option<u64>,
    /// What, for operators.
    pub what: String,
}

/// What a check has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The first [`FINDINGS_MAX`] things wrong.
    pub list: Vec<Finding>,
    /// All things wrong.
    pub total: u64,
    /// Worth to know, though nothing is wrong.
    pub notes: Vec<String>,
    /// Bodies checked.
    pub bodies: u64,
    /// Octets of records and large content read.
    pub bytes: u64,
}

impl Findings {
    fn add(&mut self, shard: ShardId, body: Option<u64>, what: String) {
        self.total += 1;
        if self.list.len() < FINDINGS_MAX {
            self.list.push(Finding { shard, body, what });
        }
    }
}

/// Checks at most `limit` bodies from number `from` on, and answers where to go on, or none at the end. `path` is the shard's
/// directory. Bodies that die or move meanwhile are no finding.
pub fn check_slice(
    index: &Index,
    path: &Path,
    (shard, seed): (ShardId, u32),
    from: BodyId,
    limit: usize,
    findings: &mut Findings,
) -> Result<Option<BodyId>, IndexError> {
    let locations = index.locations(from, limit)?;
    let mut open: Option<(u32, io::Result<File>)> = None;
    let next_body = index.progress()?.next_body;
    for (body, location) in &locations {
        findings.bodies += 1;
        if body.0 >= next_body {
            findings.add(
                shard,
                Some(body.0),
                format!("its number is not below the next to be given out, {next_body}"),
            );
        }
        if open.as_ref().is_none_or(|(n, _)| *n != location.segment) {
            let name = path.join("segments").join(segment_name(location.segment));
            open = Some((location.segment, File::open(name)));
        }
        let file = open.as_ref().map(|(_, file)| file);
        let problem = match file {
            Some(Ok(file)) => record_problem(file, seed, *body, location),
            Some(Err(e)) => Some(format!("{}: {e}", segment_name(location.segment))),
            None => None,
        }
        .or_else(|| external_problem(path, *body, location));
        findings.bytes += location.record_length() + location.external_length;
        if let Some(what) = problem
            && index.location(*body)? == Some(*location)
        {
            findings.add(shard, Some(body.0), what);
        }
    }
    Ok(locations
        .last()
        .filter(|_| locations.len() == limit)
        .map(|(body, _)| BodyId(body.0 + 1)))
}

fn record_problem(file: &File, seed: u32, body: BodyId, location: &Location) -> Option<String> {
    let place = || format!("{} at {}", segment_name(location.segment), location.offset);
    let mut bytes = vec![0; location.checked_length()];
    if let Err(e) = file.read_exact_at(&mut bytes, u64::from(location.offset)) {
        return Some(format!("{}: {e}", place()));
    }
    match open_record(&bytes, seed, body) {
        Err(damage) => Some(format!("{}: {damage}", place())),
        Ok((header, _, _)) => (header.location(location.segment, location.offset) != *location)
            .then(|| format!("{}: the index and the record disagree", place())),
    }
}

/// Whether most of the first bodies it names are not here. A few are in any shard: bodies have the same numbers, and may be as long.
pub(super) fn names_others(index: &Index, path: &Path, seed: u32) -> Result<bool, IndexError> {
    let first = index.locations(BodyId(0), SLICE_BODIES)?;
    let is_here = |(body, location): &(BodyId, Location)| {
        let file = File::open(path.join("segments").join(segment_name(location.segment)));
        file.is_ok_and(|file| record_problem(&file, seed, *body, location).is_none())
    };
    let here = first.iter().filter(|named| is_here(named)).count();
    Ok(here * 2 < first.len())
}

fn external_problem(path: &Path, body: BodyId, location: &Location) -> Option<String> {
    let total = location.external_length;
    let name = external_name(body);
    let file = path.join("large").join(&name);
    let mut at = 0;
    while at < total {
        match read_external_file(&file, location, at, CHUNK) {
            Ok(part) => at += part.len().max(1) as u64,
            Err(e) => return Some(format!("large/{name} at {at}: {e}")),
        }
    }
    None
}

/// Checks a whole shard of which the caller has the index, in slices, calling `progress` after each.
pub fn check_index(
    index: &Index,
    path: &Path,
    (shard, seed): (ShardId, u32),
    progress: &mut dyn FnMut(&Findings),
) -> Result<Findings, IndexError> {
    let mut findings = Findings::default();
    let mut from = Some(BodyId(0));
    while let Some(body) = from {
        from = check_slice(
            index,
            path,
            (shard, seed),
            body,
            SLICE_BODIES,
            &mut findings,
        )?;
        progress(&findings);
    }
    let uses = index.live_bytes()?;
    let problems = use_problems(path, &uses.0, &uses.1);
    // Compaction may have removed a segment since.
    if !problems.is_empty() && index.live_bytes()? == uses {
        for what in problems {
            findings.add(shard, None, what);
        }
    }
    Ok(findings)
}

fn use_problems(path: &Path, counted: &LiveBytes, named: &LiveBytes) -> Vec<String> {
    let mut problems = Vec::new();
    let numbers: BTreeSet<u32> = counted.keys().chain(named.keys()).copied().collect();
    for number in numbers {
        let of = |map: &LiveBytes| map.get(&number).copied().unwrap_or(0);
        let (count, sum) = (of(counted), of(named));
        let name = segment_name(number);
        if count != sum {
            problems.push(format!(
                "{name}: counted {count} live bytes, but locations name {sum}"
            ));
        }
        // Without a living body it is only its row that is left, and no loss.
        if count.max(sum) > 0 && !path.join("segments").join(&name).exists() {
            problems.push(format!(
                "{name}: missing, with {sum} bytes of bodies that live; restore it from a backup with the server stopped. Without one, each of its messages is to be deleted"
            ));
        }
    }
    problems
}

/// Checks a directory that no process has open. `progress` is told the shard and what was seen of it so far.
pub fn check_stopped(
    directory: &Path,
    progress: &mut dyn FnMut(ShardId, &Findings),
) -> Result<Vec<(ShardId, Findings)>, DirectoryError> {
    check_stopped_with(directory, progress, &mut |_, _, _| ())
}

/// The same; `rows` gets the copy of each index that can be read and what was found below it, to check what its rows mean.
pub fn check_stopped_with(
    directory: &Path,
    progress: &mut dyn FnMut(ShardId, &Findings),
    rows: &mut dyn FnMut(ShardId, &Index, &Findings),
) -> Result<Vec<(ShardId, Findings)>, DirectoryError> {
    if read_format(directory)?.is_none() {
        return Err(no_directory(directory));
    }
    check_locked(directory, &Lock::take(directory)?, progress, rows)
}

fn no_directory(directory: &Path) -> DirectoryError {
    if has_used_shards(directory) {
        return lost_format(directory);
    }
    DirectoryError::Format {
        path: directory.join("format"),
        what: "missing: this is no data directory of ringmail".into(),
    }
}

/// The same for who has the lock already and keeps it.
pub fn check_locked(
    directory: &Path,
    _lock: &Lock,
    progress: &mut dyn FnMut(ShardId, &Findings),
    rows: &mut dyn FnMut(ShardId, &Index, &Findings),
) -> Result<Vec<(ShardId, Findings)>, DirectoryError> {
    let Some(format) = read_format(directory)? else {
        return Err(no_directory(directory));
    };
    let mut all = Vec::new();
    let gone = missing_shards(directory, format);
    for shard in (0..format.shards).map(ShardId) {
        let path = shard_path(directory, shard);
        if gone.contains(&shard) {
            let mut findings = Findings::default();
            findings.add(shard, None, missing(directory));
            all.push((shard, findings));
            continue;
        }
        let used = !list_segments(&path.join("segments"))
            .unwrap_or_default()
            .is_empty()
            || path.join("mark").exists();
        if !path.join("rows").exists() {
            // A stop while the shard was made leaves nothing to check; a segment is made after the index.
            let mut findings = Findings::default();
            if used {
                let what =
                    "the index is missing; `ringmail salvage` rebuilds it from the stored bodies";
                findings.add(shard, None, what.into());
            }
            all.push((shard, findings));
            continue;
        }
        let rows_copy = path.join("rows.check");
        let result = copy_index(&path.join("rows"), &rows_copy).map_err(at(&rows_copy));
        let findings = result.map(|()| {
            let mut progress = |f: &Findings| progress(shard, f);
            check_copy(&path, &rows_copy, (shard, format.seed), &mut progress, rows)
        });
        let _ = fs::remove_dir_all(&rows_copy);
        let mut findings = findings?;
        match copy(directory, format, shard)? {
            None => (),
            Some(problem @ CopyProblem::Exchanged(_)) => {
                findings.add(shard, None, problem.to_string());
            }
            Some(problem) => {
                let what = format!("copy of the format file: {problem}");
                match problem {
                    // As in a directory of a version that made none.
                    CopyProblem::Missing => findings.notes.push(what),
                    _ => findings.add(shard, None, what),
                }
            }
        }
        all.push((shard, findings));
    }
    Ok(all)
}

fn check_copy(
    path: &Path,
    copy: &Path,
    (shard, seed): (ShardId, u32),
    progress: &mut dyn FnMut(&Findings),
    rows: &mut dyn FnMut(ShardId, &Index, &Findings),
) -> Findings {
    let mut check = || -> Result<Findings, IndexError> {
        let index = Index::open(copy, CACHE)?;
        // Before its rows are looked at: what they say is of other bodies.
        if let Some(what) = foreign_index(path, &index, Identity { seed, shard })? {
            let mut findings = Findings::default();
            let remedy = "if that can't be, `ringmail salvage` sets it aside and rebuilds the index from the stored bodies";
            findings.add(shard, None, format!("{what}; {remedy}"));
            return Ok(findings);
        }
        let mut findings = check_index(&index, path, (shard, seed), progress)?;
        let numbers = list_segments(&path.join("segments")).unwrap_or_default();
        match check_progress(path, shard, seed, index.progress()?, &numbers) {
            Ok(None) => (),
            Ok(Some(lost)) => findings.add(
                shard,
                None,
                format!("{lost}: rows were lost; `ringmail salvage` rebuilds them"),
            ),
            Err(e) => findings.add(shard, None, e.to_string()),
        }
        rows(shard, &index, &findings);
        Ok(findings)
    };
    check().unwrap_or_else(|error| {
        let mut findings = Findings::default();
        findings.add(
            shard,
            None,
            format!("{error}; `ringmail salvage` rebuilds it from the stored bodies"),
        );
        findings
    })
}

/// Copies a directory tree; runs of zeros (fjall's journals are mostly that) stay holes.
fn copy_index(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_index(&entry.path(), &target)?;
        } else {
            copy_file(&entry.path(), &target)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let (mut source, mut target) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        if buffer[..read].iter().all(|b| *b == 0) {
            target.seek(SeekFrom::Current(read as i64))?;
        } else {
            target.write_all(&buffer[..read])?;
        }
    }
    target.set_len(source.metadata()?.len())
}

/// Bodies in one slice: of 1 MiB each they are read in about 50 ms.
pub const SLICE_BODIES: usize = 64;
/// Findings that are listed; beyond, only counted.
pub const FINDINGS_MAX: usize = 1000;
const CACHE: u64 = 8 << 20;
