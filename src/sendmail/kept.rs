//! Mail that was not sent: written to a file of its own, synced, and read again by `--again`.
//! It has its name once it is whole; until then the name ends in `.part`.
//! The directories may be others' too: a file is always a new one, nothing is followed, nothing written over.
//!
//! ```text
//! X-Ringmail-Unsent: 1
//! Sender: a@example.org             what -f said; may be missing
//! Full-Name: Anna                   what -F said; may be missing
//! Recipient: b@example.org          one line for each
//! Recipients-In-Header: yes         where -t was not carried out yet
//! Reason: ...
//!
//! the message
//! ```
//! Lines end in LF; no value holds a control character. The message stands as it was read or as it would have been sent.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A message with what was asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Who it is from, for MAIL; none where nobody said.
    pub sender: Option<String>,
    /// The sender's name, for a From field that has to be made.
    pub full_name: Option<String>,
    /// Whether more recipients stand in the header.
    pub from_header: bool,
    /// Recipients, as they were written.
    pub recipients: Vec<String>,
    /// The message.
    pub octets: Vec<u8>,
}

impl Mail {
    /// Writes it to the first of the places where that can be done. The error says what was wrong with each.
    pub fn keep(&self, reason: &str, places: &[PathBuf], now_secs: u64) -> Result<PathBuf, String> {
        let mut wrong = Vec::new();
        for place in places {
            match self.keep_in(reason, place, now_secs) {
                Ok(path) => return Ok(path),
                Err(error) => wrong.push(format!("{}: {error}", place.display())),
            }
        }
        Err(wrong.join("; "))
    }

    fn keep_in(&self, reason: &str, place: &Path, now_secs: u64) -> io::Result<PathBuf> {
        make_own(place)?;
        for number in 0..NAMES_MAX {
            let name = format!("{now_secs}-{}-{number}.unsent", std::process::id());
            let path = place.join(&name);
            if fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            // A part of a message looks like a message.
            let part = place.join(name + PART);
            let opened = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&part);
            match opened {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
                Ok(file) => {
                    let written = self.write(reason, file);
                    let named = written.and_then(|()| fs::rename(&part, &path));
                    named.inspect_err(|_| drop(fs::remove_file(&part)))?;
                    sync(place).inspect_err(|_| drop(fs::remove_file(&path)))?;
                    return Ok(path);
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn write(&self, reason: &str, mut file: File) -> io::Result<()> {
        let mut head = format!("{FIRST_LINE}\n");
        let mut line = |name: &str, value: &str| {
            let value: String = value.chars().map(printable).collect();
            head.push_str(&format!("{name}: {value}\n"));
        };
        if let Some(sender) = &self.sender {
            line("Sender", sender);
        }
        if let Some(name) = &self.full_name {
            line("Full-Name", name);
        }
        for recipient in &self.recipients {
            line("Recipient", recipient);
        }
        if self.from_header {
            line("Recipients-In-Header", "yes");
        }
        line("Reason", reason);
        head.push('\n');
        file.write_all(head.as_bytes())?;
        file.write_all(&self.octets)?;
        file.sync_all()
    }

    /// Reads a file back, of at most so many octets, that belongs to this user.
    pub fn read(path: &Path, size_max: u64, user: u32) -> Result<Mail, String> {
        let wrong = |what: &str| format!("{}: {what}", path.display());
        if path
            .as_os_str()
            .as_encoded_bytes()
            .ends_with(PART.as_bytes())
        {
            return Err(wrong("was not written to its end"));
        }
        let mut file = File::open(path).map_err(|e| wrong(&e.to_string()))?;
        let metadata = file.metadata().map_err(|e| wrong(&e.to_string()))?;
        // Set up with rights of its own, the command could be made to send files that the caller may not read.
        if user != 0 && metadata.uid() != user {
            return Err(wrong("belongs to another user"));
        }
        if metadata.len() > size_max.saturating_add(HEAD_MAX) {
            return Err(wrong("larger than message_size_max_bytes"));
        }
        let mut octets = Vec::new();
        file.read_to_end(&mut octets)
            .map_err(|e| wrong(&e.to_string()))?;
        Mail::parse(&octets).ok_or_else(|| wrong("not a file of mail that was kept"))
    }

    fn parse(octets: &[u8]) -> Option<Mail> {
        let end = octets.windows(2).position(|pair| pair == b"\n\n")?;
        let mut lines = std::str::from_utf8(&octets[..end]).ok()?.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut mail = Mail {
            octets: octets[end + 2..].to_vec(),
            ..Mail::default()
        };
        for line in lines {
            let (name, value) = line.split_once(": ")?;
            match name {
                "Sender" => mail.sender = Some(value.to_owned()),
                "Full-Name" => mail.full_name = Some(value.to_owned()),
                "Recipient" => mail.recipients.push(value.to_owned()),
                "Recipients-In-Header" => mail.from_header = value == "yes",
                "Reason" => (),
                _ => return None,
            }
        }
        Some(mail)
    }
}

/// The place's directory, if it is not there: for this user alone.
fn make_own(place: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A directory that only takes files (mode 1733) can't be opened; its file is synced all the same.
fn sync(place: &Path) -> io::Result<()> {
    match File::open(place) {
        Ok(directory) => directory.sync_all(),
        Err(_) => Ok(()),
    }
}

fn printable(letter: char) -> char {
    match letter.is_control() {
        true => '?',
        false => letter,
    }
}

const FIRST_LINE: &str = "X-Ringmail-Unsent: 1";
/// The end of a name while the file is written.
const PART: &str = ".part";
/// Names tried in one directory: each is new, but for a clock that was set back.
const NAMES_MAX: u32 = 100;
/// Octets of a file beside its message.
const HEAD_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        Mail {
            sender: Some(String::new()),
            full_name: Some("Anna\nRecipient: x@y".into()),
            from_header: true,
            recipients: vec!["\"a b\"@c.d".into(), "e".into()],
            octets: b"Subject: x\n\nbody\n\n.\n\xff".to_vec(),
        }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let places = [dir.path().join("missing/deep"), dir.path().join("own")];
        let user = fs::metadata(dir.path()).unwrap().uid();
        let first = mail().keep("no\r\nroute", &places, 7).unwrap();
        // As if the machine had gone down while the next was written.
        let mut part = first.clone().into_os_string();
        part.push(PART);
        fs::write(&part, &fs::read(&first).unwrap()[..90]).unwrap();
        let error = Mail::read(Path::new(&part), 100, user).unwrap_err();
        assert!(error.contains("not written to its end"), "{error}");
        let second = mail().keep("", &places, 7).unwrap();
        let names = |end: &str| {
            let all = fs::read_dir(&places[1]).unwrap().map(|e| e.unwrap().path());
            all.filter(|p| p.to_str().unwrap().ends_with(end)).count()
        };
        assert_eq!((names(".unsent"), names(PART)), (2, 1));
        assert_ne!(first, second);
        assert!(first.starts_with(&places[1]));
        for (path, mode) in [(&first, 0o100_600), (&places[1], 0o40_700)] {
            assert_eq!(fs::metadata(path).unwrap().mode(), mode);
        }
        let read = Mail::read(&first, 100, user).unwrap();
        let expected = Mail {
            full_name: Some("Anna?Recipient: x@y".into()),
            ..mail()
        };
        assert_eq!(read, expected);
        assert!(
            fs::read_to_string(&first).is_err(),
            "octets stay as they are"
        );
    }

    #[test]
    fn what_is_no_kept_mail_is_not_sent() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        let user = fs::metadata(dir.path()).unwrap().uid();
        for content in [
            "",
            "root:x:0:0\n\n",
            "X-Ringmail-Unsent: 2\nSender: a\n\nb",
            "X-Ringmail-Unsent: 1\nOdd: a\n\nb",
            "X-Ringmail-Unsent: 1\nSender: a",
        ] {
            fs::write(&file, content).unwrap();
            assert!(
                Mail::read(&file, 100, user)
                    .unwrap_err()
                    .contains("not a file of"),
                "{content}"
            );
        }
        assert!(
            Mail::read(&file, 100, user.wrapping_add(1))
                .unwrap_err()
                .contains("another user")
        );
        fs::write(&file, vec![b'x'; (HEAD_MAX + 101) as usize]).unwrap();
        assert!(Mail::read(&file, 100, user).unwrap_err().contains("larger"));
        assert!(Mail::read(dir.path(), 100, user).is_err());
    }

    #[test]
    fn when_nothing_can_be_written_each_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "").unwrap();
        let error = mail()
            .keep("", &[file.join("a"), dir.path().join("b/c")], 7)
            .unwrap_err();
        assert!(
            error.contains("f/a: ") && error.contains("b/c: "),
            "{error}"
        );
    }
}
