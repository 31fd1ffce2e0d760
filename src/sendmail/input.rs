//! Reads the message from standard input, to its end before anything is sent: half a message goes nowhere.

use std::io::BufRead;

use super::exit::{Exit, Failure};

/// How a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With the input: `-i`.
    Input,
    /// With a line that is a dot alone, if there is one. More after it is an error: a caller who did not mean it would lose the rest.
    Dot,
    /// The same on a terminal, where nobody waits for more.
    DotAtOnce,
}

/// Reads a message of at most so many octets.
pub fn read(mut input: impl BufRead, ending: Ending, size_max: u64) -> Result<Vec<u8>, Failure> {
    let mut octets = Vec::new();
    loop {
        let start = octets.len();
        let room = size_max.saturating_sub(start as u64) + 1;
        let taken = std::io::Read::take(&mut input, room).read_until(b'\n', &mut octets);
        if let Err(error) = taken {
            let text = format!("standard input: {error}; nothing was sent");
            return Err(Failure::new(Exit::IoErr, text));
        }
        if octets.len() as u64 > size_max {
            let text = format!(
                "the message is larger than {size_max} octets (message_size_max_bytes); nothing was sent or kept"
            );
            return Err(Failure::new(Exit::DataErr, text));
        }
        let line = &octets[start..];
        if line.is_empty() {
            return Ok(octets);
        }
        let is_dot = matches!(line, b".\n" | b".\r\n" | b".");
        match ending {
            Ending::DotAtOnce if is_dot => {
                octets.truncate(start);
                return Ok(octets);
            }
            Ending::Dot if is_dot => {
                octets.truncate(start);
                return nothing_more(input, octets);
            }
            _ => (),
        }
    }
}

fn nothing_more(mut input: impl BufRead, octets: Vec<u8>) -> Result<Vec<u8>, Failure> {
    match input.fill_buf() {
        Ok([]) => Ok(octets),
        Ok(_) => {
            let text = "the message goes on after a line with a dot alone, which ends it; with -i such a line is text. Nothing was sent or kept";
            Err(Failure::new(Exit::DataErr, text))
        }
        Err(error) => {
            let text = format!("standard input: {error}; nothing was sent");
            Err(Failure::new(Exit::IoErr, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Error, Read};

    use super::*;

    /// Gives so much, then fails.
    struct Broken<'a>(&'a [u8]);

    impl Read for Broken<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(Error::other("the cable is out")),
                n => Ok(n),
            }
        }
    }

    fn ended(input: &str, ending: Ending) -> Result<String, Exit> {
        read(input.as_bytes(), ending, 20)
            .map(|octets| String::from_utf8(octets).unwrap())
            .map_err(|failure| failure.exit)
    }

    #[test]
    fn a_dot_ends_a_message_or_is_text() {
        for input in ["a\n.\n", "a\n.\r\n", "a\n."] {
            assert_eq!(ended(input, Ending::Input).unwrap(), input);
            assert_eq!(ended(input, Ending::Dot).unwrap(), "a\n");
            assert_eq!(ended(input, Ending::DotAtOnce).unwrap(), "a\n");
        }
        assert_eq!(ended("a\n.\nb\n", Ending::Input).unwrap(), "a\n.\nb\n");
        assert_eq!(ended("a\n.\nb\n", Ending::Dot), Err(Exit::DataErr));
        assert_eq!(ended("a\n.\nb\n", Ending::DotAtOnce).unwrap(), "a\n");
        for input in ["..\n.x\n .\nx.\n", "", "x"] {
            assert_eq!(ended(input, Ending::Dot).unwrap(), input);
        }
    }

    #[test]
    fn size_is_bounded() {
        assert_eq!(ended(&"x".repeat(20), Ending::Dot).unwrap().len(), 20);
        assert_eq!(ended(&"x".repeat(21), Ending::Dot), Err(Exit::DataErr));
        assert_eq!(ended(&"x\n".repeat(11), Ending::Input), Err(Exit::DataErr));
    }

    #[test]
    fn an_input_that_breaks_off_is_no_message() {
        for (input, ending) in [
            ("a\nb", Ending::Input),
            ("a\n", Ending::Input),
            ("a\n.\n", Ending::Dot),
        ] {
            let failure = read(BufReader::new(Broken(input.as_bytes())), ending, 20).unwrap_err();
            assert_eq!(failure.exit, Exit::IoErr);
        }
    }
}
