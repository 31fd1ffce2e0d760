//! The end of a message sent with DATA, in octets that come in pieces. RFC 5321 4.1.1.4: CRLF, a dot, CRLF; the first CRLF is the message's.

use memchr::memmem;

/// Looks for the end. The last octets are held back, as they may belong to it.
pub struct DataEnd {
    held: Vec<u8>,
    /// So many of those held never came: the message follows the CRLF of DATA, so it may begin with its end.
    before: usize,
}

impl DataEnd {
    /// At the begin of a message.
    pub fn new() -> Self {
        Self {
            held: b"\r\n".to_vec(),
            before: 2,
        }
    }

    /// Hands on the octets that are the message's, and says how many were used if its end was among them. Stuffed dots are left.
    pub fn receive(&mut self, input: &[u8], mut content: impl FnMut(&[u8])) -> Option<usize> {
        let held = self.held.len();
        let next = &input[..input.len().min(END.len() - 1)];
        self.held.extend_from_slice(next);
        let across = memmem::find(&self.held, END).map(|at| at + END.len() - held);
        let end = across.or_else(|| memmem::find(input, END).map(|at| at + END.len()));
        self.held.truncate(held);
        // What is known to be content: all but the marker, or all but what may be the marker's begin.
        let all = held + end.unwrap_or(input.len());
        let sure = all.saturating_sub(if end.is_some() { MARKER } else { END.len() - 1 });
        let from_held = sure.min(held);
        if from_held > self.before {
            content(&self.held[self.before..from_held]);
        }
        if sure > held {
            content(&input[..sure - held]);
        }
        if end.is_some() {
            return end;
        }
        self.before = self.before.saturating_sub(from_held);
        self.held.drain(..from_held);
        let rest = sure.saturating_sub(held);
        self.held.extend_from_slice(&input[rest..]);
        None
    }
}

const END: &[u8] = b"\r\n.\r\n";
/// The dot and its CRLF.
const MARKER: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_wherever_the_octets_are_cut() {
        let texts: [&[u8]; 5] = [
            b"",
            b"a\r\n",
            b"a\r\n..\r\n.b\r\n\r\n",
            b"\r\n\r\n",
            b"a\n.\nb\r\n.\rc\r\n",
        ];
        for text in texts {
            let sent = [text, b".\r\nQUIT\r\n"].concat();
            for cut in 0..text.len() + 3 {
                for second in cut..text.len() + 3 {
                    let mut end = DataEnd::new();
                    let mut content = Vec::new();
                    let parts = [&sent[..cut], &sent[cut..second], &sent[second..]];
                    let used = parts
                        .map(|part| end.receive(part, |octets| content.extend_from_slice(octets)));
                    assert_eq!(used, [None, None, Some(text.len() + 3 - second)]);
                    assert_eq!(content, text, "{cut} {second}");
                }
            }
        }
    }
}
