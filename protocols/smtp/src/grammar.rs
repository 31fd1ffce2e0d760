//! The cursor and character classes that the parsers of addresses and commands share.
//! Input is one line, already known to be UTF-8 without control characters; it is not trusted beyond that.
//! RFC 5234 B.1, RFC 5321 4.1.2, RFC 6531 3.3.

/// What is left of a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a>(pub &'a str);

impl<'a> Cursor<'a> {
    /// The next octet, not consumed.
    pub fn peek(&self) -> Option<u8> {
        self.0.as_bytes().first().copied()
    }

    /// Consumes `octet` (ASCII) if it is next.
    pub fn eat(&mut self, octet: u8) -> bool {
        let eaten = self.peek() == Some(octet);
        if eaten {
            self.0 = &self.0[1..];
        }
        eaten
    }

    /// Consumes the longest run of characters of a class; it may be empty.
    pub fn run(&mut self, class: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !class(c)).unwrap_or(self.0.len());
        let (run, rest) = self.0.split_at(end);
        self.0 = rest;
        run
    }

    /// Consumes `word` (ASCII) without regard to case if it is next.
    pub fn word(&mut self, word: &str) -> bool {
        match self.0.as_bytes().get(..word.len()) {
            Some(head) if head.eq_ignore_ascii_case(word.as_bytes()) => {
                self.0 = &self.0[word.len()..];
                true
            }
            _ => false,
        }
    }

    /// Consumes all spaces that are next.
    pub fn spaces(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    /// Whether the line is used up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `atext` of RFC 5322 3.2.3, widened by RFC 6531 3.3 with UTF8-non-ascii.
pub(crate) fn is_atext(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_'
        | '`' | '{' | '|' | '}' | '~' => true,
        _ => !c.is_ascii() && !c.is_control(),
    }
}

/// What may stand in a domain label; where hyphens may stand is checked by the caller.
pub(crate) fn is_label(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || c == '-'
        || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
}
