//! Reads the files of the settings. The only file here that reads a disk; the result goes to the pure `check.rs`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::parse_and_check_unfinished;
use super::model::Settings;
use super::parse::parse;
use super::problem::{Problem, Problems, Unfinished};
use super::server::Server;
use super::shaping::Shaping;
use super::text::{Text, Texts};

/// Reads and checks the settings that a static file names. All mistakes of all files come back together.
pub fn load(server_file: &Path) -> Result<Settings, Problems> {
    load_unfinished(server_file)?.finished()
}

/// The same for those who add accounts: that some are missing is no error yet.
pub fn load_unfinished(server_file: &Path) -> Result<Unfinished, Problems> {
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
    let mut of_shaping = Vec::new();
    let shaping = read_shaping(model.outbound.shaping_file.as_deref(), &mut of_shaping);
    match domains {
        Some(domains) if unread.iter().all(|p| p.awaits_account) => {
            let checked = parse_and_check_unfinished(&Texts {
                server,
                domains,
                accounts,
            });
            let mut unfinished = match checked {
                Err(Problems(found)) => return Err(Problems([found, of_shaping].concat())),
                Ok(_) if !of_shaping.is_empty() => return Err(Problems(of_shaping)),
                Ok(unfinished) => unfinished,
            };
            unfinished.settings.shaping = Arc::new(shaping);
            unfinished.missing.splice(..0, unread);
            Ok(unfinished)
        }
        _ => {
            problems.extend(unread);
            problems.extend(of_shaping);
            Err(Problems(problems))
        }
    }
}

/// The rules of traffic shaping: those of the file, if one is named, and the built-in ones.
fn read_shaping(path: Option<&Path>, problems: &mut Vec<Problem>) -> Shaping {
    let text = match path.map(read_text) {
        None => return Shaping::built_in(),
        Some(text) => text.map_err(|problem| problems.push(problem)),
    };
    text.map_or_else(
        |()| Shaping::default(),
        |text| Shaping::read(&text, problems),
    )
}

/// The data directory that a static file names, whatever else is wrong in it: a server that runs there has settings of its own.
pub fn load_data_dir(server_file: &Path) -> Result<PathBuf, Problems> {
    let text = read_text(server_file)?;
    let mut problems = Vec::new();
    match parse::<Server>(&text, &mut problems) {
        Some(mut server) if !server.data_dir.as_os_str().is_empty() => {
            server.resolve_paths(server_file);
            Ok(server.data_dir)
        }
        _ if problems.is_empty() => {
            let problem = Problem::of_file(server_file, "missing field \"data_dir\"");
            Err(problem.hint("the directory of all data").into())
        }
        _ => Err(Problems(problems)),
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
    let paths = match account_paths(folder) {
        Ok(paths) => paths,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let problem = Problem::of_file(folder, "this folder of the accounts is not there");
            let hint = "ringmail account add NAME ADDRESS makes it with its first account";
            problems.push(problem.hint(hint).awaits_account());
            return Vec::new();
        }
        Err(error) => {
            problems.push(unreadable(folder, &error));
            return Vec::new();
        }
    };
    let mut texts = Vec::with_capacity(paths.len());
    for path in paths {
        match read_text(&path) {
            Ok(text) => texts.push(text),
            Err(problem) => problems.push(problem),
        }
    }
    texts
}

/// The files of a folder that are accounts, in order of name.
pub(super) fn account_paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_account_file(&path) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::example::EXAMPLES;
    use super::*;

    /// A directory with the samples in it.
    fn samples(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ringmail-load-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("accounts")).unwrap();
        for example in EXAMPLES {
            fs::write(dir.join(example.path), example.content).unwrap();
        }
        dir
    }

    fn mistakes(dir: &Path) -> Vec<String> {
        let problems = load(&dir.join("ringmail.toml")).unwrap_err().0;
        problems
            .iter()
            .map(|p| {
                format!(
                    "{}: {}",
                    p.file.strip_prefix(dir).unwrap().display(),
                    p.message
                )
            })
            .collect()
    }

    #[test]
    fn the_samples_load_and_other_peoples_files_are_passed_over() {
        let dir = samples("right");
        fs::write(dir.join("accounts/.example.toml.7.tmp"), "half a fi").unwrap();
        fs::write(dir.join("accounts/.hidden.toml"), "half a fi").unwrap();
        fs::write(dir.join("accounts/example.toml~"), "half a fi").unwrap();
        let settings = load(&dir.join("ringmail.toml")).unwrap();
        assert_eq!(settings.accounts.len(), 1);
        assert_eq!(settings.fingerprints.len(), 3);
        assert_eq!(*settings.shaping, Shaping::built_in());
        assert!(
            settings
                .fingerprints
                .contains_key(&dir.join("accounts/example.toml"))
        );
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn rules_of_traffic_shaping_come_from_the_file_that_is_named() {
        let dir = samples("shaping");
        let path = dir.join("ringmail.toml");
        let named =
            fs::read_to_string(&path).unwrap() + "[outbound]\nshaping_file = \"own.toml\"\n";
        let named = named.replacen("\n[outbound]\n", "\n", 1);
        fs::write(&path, named).unwrap();
        assert!(mistakes(&dir)[0].starts_with("own.toml: cannot be read"));
        let rules = "[[site]]\nhosts = [\"*.google.com\"]\nrate = \"5/second\"\n";
        fs::write(dir.join("own.toml"), rules).unwrap();
        let settings = load(&path).unwrap();
        let google = settings.shaping.of_site(&["smtp.google.com"]);
        assert_eq!(google.rate().unwrap().messages, 5);
        assert!(google.rule.connections_max.is_some());
        fs::write(dir.join("own.toml"), "[[site]]\nrate = \"5\"\n").unwrap();
        assert_eq!(mistakes(&dir).len(), 2);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn files_that_cannot_be_read_are_named_all_at_once() {
        let dir = samples("wrong");
        fs::write(dir.join("ringmail.toml"), "nonsense = 1\n").unwrap();
        fs::remove_file(dir.join("domains.toml")).unwrap();
        fs::write(dir.join("accounts/bytes.toml"), b"full_name = \"\xff\"\n").unwrap();
        let found = mistakes(&dir);
        assert_eq!(found[0], "ringmail.toml: unknown field \"nonsense\"");
        assert!(
            found[1].starts_with("domains.toml: cannot be read: No such file"),
            "{found:?}"
        );
        assert!(
            found[2].starts_with(
                "accounts/bytes.toml: cannot be read: stream did not contain valid UTF-8"
            ),
            "{found:?}"
        );
        fs::remove_dir_all(&dir).unwrap();
        assert!(mistakes(&dir)[0].starts_with("ringmail.toml: cannot be read"));
    }
}
