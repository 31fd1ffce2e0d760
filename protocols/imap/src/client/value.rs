//! The general form of response data: atoms, strings, lists. RFC 9051 4.

use crate::limits::CLIENT_DEPTH_MAX;

/// One datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NIL
    Nil,
    /// A number, a flag, any other word.
    Atom(String),
    /// A quoted string or a literal.
    Octets(Vec<u8>),
    /// A literal so large that its octets came as [`super::Event::Literal`]; this is their number.
    Streamed(u64),
    /// A list in parentheses.
    List(Vec<Value>),
}

impl Value {
    /// Octets of a string or atom; `None` for the others.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(atom) => Some(atom.as_bytes()),
            Self::Octets(octets) => Some(octets),
            _ => None,
        }
    }

    /// How many octets a string has, held or streamed.
    pub fn octet_count(&self) -> Option<u64> {
        match self {
            Self::Streamed(count) => Some(*count),
            _ => self.octets().map(|octets| octets.len() as u64),
        }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.octets().unwrap_or_default()).into_owned()
    }

    pub(super) fn list(&self) -> &[Value] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }
}

/// A place in a response.
pub(super) struct Cursor<'a> {
    octets: &'a [u8],
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self { octets, depth: 0 }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.octets
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.octets.first().copied()
    }

    pub(super) fn eat(&mut self, octet: u8) -> bool {
        match self.octets.split_first() {
            Some((&first, rest)) if first == octet => {
                self.octets = rest;
                true
            }
            _ => false,
        }
    }

    /// Up to (not including) the first octet that is one of the stops.
    pub(super) fn until(&mut self, stops: &[u8]) -> &'a [u8] {
        let end = self
            .octets
            .iter()
            .position(|octet| stops.contains(octet))
            .unwrap_or(self.octets.len());
        let (taken, rest) = self.octets.split_at(end);
        self.octets = rest;
        taken
    }

    /// A word up to a space or parenthesis.
    pub(super) fn word(&mut self) -> &'a [u8] {
        self.until(b" ()")
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        std::str::from_utf8(self.word()).ok()?.parse().ok()
    }

    /// A FETCH item's name: a bracket in it may hold spaces, parentheses and strings.
    pub(super) fn item_name(&mut self) -> Option<String> {
        let mut name = self.until(b" ()[").to_ascii_uppercase();
        if self.peek() == Some(b'[') {
            let close = memchr::memchr(b']', self.octets)?;
            name.extend(self.octets[..=close].to_ascii_uppercase());
            self.octets = &self.octets[close + 1..];
            name.extend_from_slice(self.until(b" ()"));
        }
        String::from_utf8(name).ok().filter(|name| !name.is_empty())
    }

    /// All values up to the end or a closing parenthesis.
    pub(super) fn values(&mut self) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        loop {
            while self.eat(b' ') {}
            match self.peek() {
                None | Some(b')') => return Some(values),
                _ => values.push(self.value()?),
            }
        }
    }

    /// The next value; `None` when there is none.
    pub(super) fn value(&mut self) -> Option<Value> {
        match self.peek()? {
            b'(' => {
                self.eat(b'(');
                self.depth += 1;
                let values = if self.depth > CLIENT_DEPTH_MAX {
                    None
                } else {
                    self.values()
                }?;
                self.depth -= 1;
                self.eat(b')').then_some(Value::List(values))
            }
            b'"' => self.quoted().map(Value::Octets),
            b'{' => self.literal(),
            b'~' if self.octets.get(1) == Some(&b'{') => {
                self.eat(b'~');
                self.literal()
            }
            b')' => None,
            _ => {
                let word = self.word();
                if word.eq_ignore_ascii_case(b"NIL") {
                    return Some(Value::Nil);
                }
                (!word.is_empty()).then(|| Value::Atom(String::from_utf8_lossy(word).into_owned()))
            }
        }
    }

    fn quoted(&mut self) -> Option<Vec<u8>> {
        self.eat(b'"');
        let mut octets = Vec::new();
        loop {
            octets.extend_from_slice(self.until(b"\"\\"));
            if self.eat(b'"') {
                return Some(octets);
            }
            self.eat(b'\\');
            let (&escaped, rest) = self.octets.split_first()?;
            octets.push(escaped);
            self.octets = rest;
        }
    }

    /// `{n}` CRLF and n octets, or the reader's mark for a literal that was streamed: `{n~}` CRLF and none.
    fn literal(&mut self) -> Option<Value> {
        self.eat(b'{');
        let digits = self.until(b"~}");
        let size: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let streamed = self.eat(b'~');
        self.octets = self.octets.strip_prefix(b"}\r\n")?;
        if streamed {
            return Some(Value::Streamed(size));
        }
        let (octets, rest) = self.octets.split_at_checked(usize::try_from(size).ok()?)?;
        self.octets = rest;
        Some(Value::Octets(octets.to_vec()))
    }
}
