//! Passwords from people, or made for them.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Failure;
use crate::login::random;

/// Asks on the terminal, twice and without showing it; else the first line of standard input.
pub(super) fn ask(account: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return read_line();
    }
    let first = prompt(&format!("New password of {account}: "))?;
    let second = prompt("The same again: ")?;
    if first != second {
        return Err(Failure::Failed(
            "the two are not the same; nothing was changed".into(),
        ));
    }
    Ok(first)
}

/// 20 letters and digits that are not mistaken for each other: 115 bits.
pub(super) fn generate() -> Result<String, Failure> {
    let mut password = String::new();
    while password.len() < LENGTH {
        let mut octets = [0; 32];
        random(&mut octets)?;
        // An octet beyond the last whole multiple would favour the first letters.
        let even = octets.iter().map(|b| usize::from(*b));
        let even = even.filter(|n| *n < 256 / LETTERS.len() * LETTERS.len());
        let letters = even.map(|n| char::from(LETTERS[n % LETTERS.len()]));
        password.extend(letters.take(LENGTH - password.len()));
    }
    Ok(password)
}

fn prompt(text: &str) -> Result<String, Failure> {
    let failed = |e: io::Error| Failure::Failed(format!("the terminal: {e}"));
    let mut out = io::stderr();
    write!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(failed)?;
    let hidden = Hidden::new().map_err(failed)?;
    let line = read_line();
    drop(hidden);
    // The line end that was not shown.
    let _ = writeln!(out);
    line
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    let mut input = io::stdin().lock().take(LINE_MAX);
    let read = input.read_line(&mut line);
    read.map_err(|e| Failure::Failed(format!("standard input: {e}")))?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::Failed(
            "no password came on standard input; --generate makes one".into(),
        ));
    }
    Ok(line.to_string())
}

/// While it lives the terminal shows nothing that is typed.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Hidden> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const LENGTH: usize = 20;
/// A longer line is no password.
const LINE_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_passwords_differ_and_can_be_read_aloud() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_eq!(one.len(), LENGTH);
        assert!(one.bytes().all(|b| LETTERS.contains(&b)));
        assert_ne!(one, two);
    }
}
