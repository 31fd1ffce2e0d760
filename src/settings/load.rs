//! Reads the files of the settings. The only file here that reads a disk; the result goes to the pure `check.rs`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use super::Settings;
use super::check::parse_and_check;
use super::parse::parse;
use super::problem::{Problem, Problems};
use super::server::Server;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Where it was.
    pub path: PathBuf,
    /// What it held.
    pub content: String,
}

impl Text {
    /// A text under a path; nothing is read.
    pub fn new(path: impl Into<PathBuf>, content: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
        }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        match fs::metadata(path).map(|m| m.len()) {
            Ok(length) if length > FILE_MAX => {
                return Err(Problem::of_file(
                    path,
                    format!("the file has {length} bytes, more than the {FILE_MAX} that are read"),
                ));
            }
            _ => (),
        }
        let content = fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
        Ok(Self::new(path, content))
    }
}

/// All files of the settings as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// The static file.
    pub server: Text,
    /// The domains file.
    pub domains: Text,
    /// The accounts, in order of their names.
    pub accounts: Vec<Text>,
}

/// What a file held, reduced to a number: enough to notice an edit by hand. Not stable between versions; never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of a content.
    pub fn of(content: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(content.as_bytes());
        Self(hasher.finish())
    }
}

/// The fingerprint of each file, by path.
pub type Fingerprints = BTreeMap<PathBuf, Fingerprint>;

/// Reads and checks the settings that a static file names. All mistakes of all files come back together.
pub fn load(server_file: &Path) -> Result<Settings, Problems> {
    parse_and_check(&read(server_file)?)
}

/// Reads all files without checking them.
pub fn read(server_file: &Path) -> Result<Texts, Problems> {
    let server = Text::read(server_file)?;
    let mut problems = Vec::new();
    let Some(mut model) = parse::<Server>(&server, &mut problems) else {
        return Err(Problems(problems));
    };
    model.resolve_paths(server_file);
    let mut unread = Vec::new();
    let domains = Text::read(&model.domains_file)
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
        match Text::read(&path) {
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

impl Server {
    /// Makes each relative path relative to the directory of the static file.
    pub(super) fn resolve_paths(&mut self, server_file: &Path) {
        let base = server_file.parent().unwrap_or(Path::new(""));
        let certificates = self
            .listener
            .iter_mut()
            .filter_map(|l| l.tls.as_mut())
            .flat_map(|tls| &mut tls.certificates);
        let files = certificates.flat_map(|pair| [&mut pair.cert, &mut pair.key]);
        for path in [
            &mut self.data_dir,
            &mut self.domains_file,
            &mut self.accounts_dir,
        ]
        .into_iter()
        .chain(files)
        {
            if !path.as_os_str().is_empty() {
                *path = base.join(&*path);
            }
        }
    }
}

/// Largest file that is read: the domains file of 100,000 domains has a few MiB.
const FILE_MAX: u64 = 64 << 20;
