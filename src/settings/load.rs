//! Reads the files of the settings. The only file here that reads a disk; the result goes to the pure `check.rs`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::check::parse_and_check;
use super::model::Settings;
use super::parse::parse;
use super::problem::{Problem, Problems};
use super::server::Server;
use super::text::{Text, Texts};

/// Reads and checks the settings that a static file names. All mistakes of all files come back together.
pub fn load(server_file: &Path) -> Result<Settings, Problems> {
    parse_and_check(&read(server_file)?)
}

/// Reads all files without checking them.
pub fn read(server_file: &Path) -> Result<Texts, Problems> {
    let server = read_text(server_file)?;
    let mut problems = Vec::new();
    let Some(mut model) = parse::<Server>(&server, &mut problems) else {
        return Err(Problems(problems));
    };
    model.resolve_paths(server_file);
    let mut unread = Vec::new();
    let domains = read_text(&model.domains_file)
        .map_err(|p| unread.push(p))
        .ok();
    let accounts = read_accounts(&model.accounts_dir, &mut unread);
    match domains {
        Some(domains) if unread.is_empty() => Ok(Texts {
            server,
            domains,
            accounts,
        }),
        _ => {
            problems.extend(unread);
            Err(Problems(problems))
        }
    }
}

/// Reads one file.
pub fn read_text(path: &Path) -> Result<Text, Problem> {
    match fs::metadata(path).map(|m| m.len()) {
        Ok(length) if length > FILE_MAX => {
            let message =
                format!("the file has {length} bytes, more than the {FILE_MAX} that are read");
            return Err(Problem::of_file(path, message));
        }
        _ => (),
    }
    let content = fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    Ok(Text::new(path, content))
}

/// Reads `*.toml` of a folder in order of name. What begins with a dot is somebody's temporary file, ours among them.
pub(super) fn read_accounts(folder: &Path, problems: &mut Vec<Problem>) -> Vec<Text> {
    let entries =
        match fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>()) {
            Ok(entries) => entries,
            Err(error) => {
                problems.push(unreadable(folder, &error));
                return Vec::new();
            }
        };
    let mut paths: Vec<PathBuf> = entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| is_account_file(path))
        .collect();
    paths.sort_unstable();
    let mut texts = Vec::with_capacity(paths.len());
    for path in paths {
        match read_text(&path) {
            Ok(text) => texts.push(text),
            Err(problem) => problems.push(problem),
        }
    }
    texts
}

fn is_account_file(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension() == Some(OsStr::new("toml"))
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let problem = Problem::of_file(path, format!("cannot be read: {error}"));
    match error.kind() {
        io::ErrorKind::NotFound => {
            problem.hint("ringmail config example prints a file to begin with")
        }
        io::ErrorKind::PermissionDenied => {
            problem.hint("the user who runs ringmail must be able to read it")
        }
        _ => problem,
    }
}

/// Largest file that is read: the domains file of 100,000 domains has a few MiB.
const FILE_MAX: u64 = 64 << 20;
