//! The body's canonical form and its hash, while the body passes in chunks. What comes out does not depend on where they end.
//! Used by `signing` with what we send, by `verification` with what strangers sent. Memory is constant, the cost is one pass: blocks that
//! relaxed canonicalization leaves as they are go to the hash where they lie. RFC 6376 3.4.3, 3.4.4, 3.7.
//! Lines end with CRLF; a CR or LF on its own is data. Not here: where the body begins (`header_end.rs`).

use aws_lc_rs::digest::{Context, SHA256};

use crate::canonical::Canonicalization;

/// Hash of a canonical body.
pub type BodyHash = [u8; 32];

/// Canonicalizes and hashes one body by one algorithm.
#[derive(Clone)]
pub struct BodyHasher {
    canonicalization: Canonicalization,
    /// Line ends that may turn out to be trailing empty lines.
    line_ends: u64,
    /// White space that may turn out to be at the end of a line; relaxed only. It stands after `line_ends`.
    space: bool,
    /// A CR that may be half of a line end. It stands after `space`.
    carriage_return: bool,
    /// Anything was put out.
    started: bool,
    length: u64,
    /// Octets on their way to the hashes.
    staged: Vec<u8>,
    sinks: Vec<Sink>,
}

/// A hash over the first octets.
#[derive(Clone)]
struct Sink {
    context: Context,
    left: u64,
}

impl BodyHasher {
    /// Hashes all of the body.
    pub fn new(canonicalization: Canonicalization) -> Self {
        Self::limited(canonicalization, &[None])
    }

    /// One hash for each of the lengths, over so many canonical octets; `None` is all of them. RFC 6376 3.7 (l=).
    pub(crate) fn limited(canonicalization: Canonicalization, lengths: &[Option<u64>]) -> Self {
        let sinks = lengths.iter().map(|length| Sink {
            context: Context::new(&SHA256),
            left: length.unwrap_or(u64::MAX),
        });
        Self {
            canonicalization,
            line_ends: 0,
            space: false,
            carriage_return: false,
            started: false,
            length: 0,
            staged: Vec::with_capacity(STAGED_MAX + 16),
            sinks: sinks.collect(),
        }
    }

    /// Takes the next octets of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        match self.canonicalization {
            Canonicalization::Simple => self.simple(chunk),
            Canonicalization::Relaxed => self.relaxed(chunk),
        }
    }

    /// The hash of the whole body.
    pub fn finish(self) -> BodyHash {
        self.finish_all().1.swap_remove(0)
    }

    /// The length of the canonical body, and the hashes in the order they were asked for.
    pub(crate) fn finish_all(mut self) -> (u64, Vec<BodyHash>) {
        if self.carriage_return {
            self.flush();
        }
        // RFC 6376 3.4.3: an empty body is one line end; 3.4.4: it is nothing.
        if self.started || self.canonicalization == Canonicalization::Simple {
            self.stage(b"\r\n");
        }
        self.drain();
        let hash = |sink: Sink| {
            let digest = sink.context.finish();
            digest.as_ref().try_into().expect("SHA-256 has 32 octets")
        };
        (self.length, self.sinks.into_iter().map(hash).collect())
    }

    fn simple(&mut self, mut chunk: &[u8]) {
        if self.carriage_return && !chunk.is_empty() {
            if chunk[0] == b'\n' {
                self.carriage_return = false;
                self.line_ends += 1;
                chunk = &chunk[1..];
            } else {
                self.flush();
            }
        }
        let (mut text, mut line_ends) = (chunk, 0);
        while let Some(shorter) = text.strip_suffix(b"\r\n") {
            text = shorter;
            line_ends += 1;
        }
        let half = line_ends == 0 && text.ends_with(b"\r");
        text = &text[..text.len() - usize::from(half)];
        // The half of a line end may follow whole ones.
        while half && let Some(shorter) = text.strip_suffix(b"\r\n") {
            text = shorter;
            line_ends += 1;
        }
        if !text.is_empty() {
            self.flush();
            self.pass(text);
        }
        self.line_ends += line_ends;
        self.carriage_return |= half;
    }

    fn relaxed(&mut self, chunk: &[u8]) {
        for block in chunk.chunks(BLOCK_LEN) {
            if !is_unchanged(block) {
                self.relaxed_octets(block);
                continue;
            }
            let edge = |octet: &u8| !matches!(octet, b' ' | b'\r' | b'\n');
            let start = block.iter().position(edge).unwrap_or(block.len());
            let end = block.iter().rposition(edge).map_or(start, |last| last + 1);
            self.relaxed_octets(&block[..start]);
            if start < end {
                self.flush();
                self.pass(&block[start..end]);
            }
            self.relaxed_octets(&block[end..]);
        }
    }

    fn relaxed_octets(&mut self, octets: &[u8]) {
        for &octet in octets {
            match octet {
                b'\n' if self.carriage_return => {
                    self.carriage_return = false;
                    self.space = false;
                    self.line_ends += 1;
                }
                b' ' | b'\t' if !self.carriage_return => self.space = true,
                b'\r' if !self.carriage_return => self.carriage_return = true,
                _ => self.relaxed_data(octet),
            }
        }
    }

    /// An octet that shows what waits before it to be no end of line and no end of the body; or the second of two CR, or white space after
    /// a CR, which wait themselves.
    fn relaxed_data(&mut self, octet: u8) {
        self.flush();
        match octet {
            b' ' | b'\t' => self.space = true,
            b'\r' => self.carriage_return = true,
            _ => self.stage(&[octet]),
        }
    }

    /// Puts out what waited, since data follows.
    fn flush(&mut self) {
        while self.line_ends > 0 {
            self.stage(b"\r\n");
            self.line_ends -= 1;
        }
        if std::mem::take(&mut self.space) {
            self.stage(b" ");
        }
        if std::mem::take(&mut self.carriage_return) {
            self.stage(b"\r");
        }
    }

    fn stage(&mut self, octets: &[u8]) {
        self.started = true;
        if self.staged.len() >= STAGED_MAX {
            self.drain();
        }
        self.staged.extend_from_slice(octets);
    }

    fn drain(&mut self) {
        let mut staged = std::mem::take(&mut self.staged);
        self.hash(&staged);
        staged.clear();
        self.staged = staged;
    }

    /// Hashes many octets without copying them.
    fn pass(&mut self, octets: &[u8]) {
        if self.staged.len() + octets.len() <= STAGED_MAX {
            return self.stage(octets);
        }
        self.started = true;
        self.drain();
        self.hash(octets);
    }

    fn hash(&mut self, octets: &[u8]) {
        self.length += octets.len() as u64;
        for sink in &mut self.sinks {
            let taken = sink.left.min(octets.len() as u64);
            sink.left -= taken;
            sink.context.update(&octets[..taken as usize]);
        }
    }
}

/// Whether relaxed canonicalization leaves the octets alone, but for what stands at their ends: no TAB, and no SP before white space or CR.
/// Without a branch in the loop, so that it becomes vector instructions.
fn is_unchanged(block: &[u8]) -> bool {
    let mut changed = block.last() == Some(&b'\t');
    for (octet, next) in block.iter().zip(block.get(1..).unwrap_or_default()) {
        changed |= (*octet == b'\t') | ((*octet == b' ') & ((*next == b' ') | (*next == b'\r')));
    }
    !changed
}

/// Octets that are looked at together.
const BLOCK_LEN: usize = 512;
/// Octets collected before they are hashed.
const STAGED_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn hashed(canonicalization: Canonicalization, body: &[u8]) -> String {
        let mut hasher = BodyHasher::new(canonicalization);
        hasher.update(body);
        STANDARD.encode(hasher.finish())
    }

    /// RFC 6376 3.4.3 and 3.4.4 word by word, on the whole body at once.
    fn by_the_book(canonicalization: Canonicalization, body: &[u8]) -> Vec<u8> {
        let mut text = body.to_vec();
        if canonicalization == Canonicalization::Relaxed {
            let mut lines: Vec<Vec<u8>> = Vec::new();
            let mut rest = body;
            loop {
                let end = memchr::memmem::find(rest, b"\r\n");
                let mut line = Vec::new();
                for &octet in &rest[..end.unwrap_or(rest.len())] {
                    match octet {
                        b' ' | b'\t' if line.last() == Some(&b' ') => {}
                        b' ' | b'\t' => line.push(b' '),
                        _ => line.push(octet),
                    }
                }
                if line.last() == Some(&b' ') {
                    line.pop();
                }
                lines.push(line);
                match end {
                    Some(end) => rest = &rest[end + 2..],
                    None => break,
                }
            }
            text = lines.join(&b"\r\n"[..]);
        }
        while text.ends_with(b"\r\n") {
            text.truncate(text.len() - 2);
        }
        if !text.is_empty() || canonicalization == Canonicalization::Simple {
            text.extend_from_slice(b"\r\n");
        }
        text
    }

    fn digest(octets: &[u8]) -> String {
        STANDARD.encode(aws_lc_rs::digest::digest(&SHA256, octets))
    }

    #[test]
    fn empty_bodies_of_rfc_6376_3_4() {
        let simple = "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=";
        let relaxed = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(hashed(Canonicalization::Simple, b""), simple);
        assert_eq!(hashed(Canonicalization::Simple, b"\r\n\r\n\r\n"), simple);
        assert_eq!(hashed(Canonicalization::Relaxed, b""), relaxed);
        assert_eq!(hashed(Canonicalization::Relaxed, b"\r\n \t\r\n"), relaxed);
    }

    #[test]
    fn the_examples_of_rfc_6376_3_4_5() {
        let body = b" C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(
            hashed(Canonicalization::Relaxed, body),
            digest(b" C\r\nD E\r\n")
        );
        assert_eq!(
            hashed(Canonicalization::Simple, body),
            digest(b" C \r\nD \t E\r\n")
        );
    }

    /// Every body of up to eight pieces out of those that matter, cut at every octet.
    #[test]
    fn all_short_bodies_in_all_cuts() {
        let pieces: [&[u8]; 6] = [b" ", b"\t", b"\r", b"\n", b"\r\n", b"x"];
        for number in 0..6_u32.pow(6) {
            let mut body = Vec::new();
            let mut digits = number;
            while digits > 0 {
                body.extend_from_slice(pieces[digits as usize % 6]);
                digits /= 6;
            }
            for canonicalization in [Canonicalization::Simple, Canonicalization::Relaxed] {
                let expected =
                    aws_lc_rs::digest::digest(&SHA256, &by_the_book(canonicalization, &body));
                let cut = number as usize % (body.len() + 1);
                let mut hasher = BodyHasher::new(canonicalization);
                hasher.update(&body[..cut]);
                hasher.update(&body[cut..]);
                assert_eq!(
                    hasher.finish(),
                    expected.as_ref(),
                    "{canonicalization:?} {body:?} {cut}"
                );
                let mut hasher = BodyHasher::new(canonicalization);
                body.chunks(1).for_each(|octet| hasher.update(octet));
                assert_eq!(
                    hasher.finish(),
                    expected.as_ref(),
                    "{canonicalization:?} {body:?}"
                );
            }
        }
    }

    #[test]
    fn random_long_bodies_in_random_cuts() {
        let mut state = 1_u64;
        let mut next = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % bound as u64) as usize
        };
        for round in 0..400 {
            let pieces: [&[u8]; 8] = [
                b"word",
                b" ",
                b"\r\n",
                b"  ",
                b"a longer run of words without anything special in it",
                b" \r\n",
                b"\t",
                b"\r",
            ];
            let kinds = [3, 5, 8][round % 3];
            let mut body = Vec::new();
            let size = next(6000);
            while body.len() < size {
                body.extend_from_slice(pieces[next(kinds)]);
            }
            for canonicalization in [Canonicalization::Simple, Canonicalization::Relaxed] {
                let canonical = by_the_book(canonicalization, &body);
                let limit = next(canonical.len() + 1);
                let lengths = [None, Some(limit as u64), Some(0), Some(u64::MAX)];
                let mut hasher = BodyHasher::limited(canonicalization, &lengths);
                let mut rest = &body[..];
                while !rest.is_empty() {
                    let (chunk, after) = rest.split_at(next(rest.len().min(1500)) + 1);
                    hasher.update(chunk);
                    rest = after;
                }
                let (length, hashes) = hasher.finish_all();
                assert_eq!(length, canonical.len() as u64);
                let of = |text: &[u8]| aws_lc_rs::digest::digest(&SHA256, text).as_ref().to_vec();
                assert_eq!(hashes[0][..], of(&canonical)[..], "{canonicalization:?}");
                assert_eq!(hashes[1][..], of(&canonical[..limit])[..]);
                assert_eq!(hashes[2][..], of(b"")[..]);
                assert_eq!(hashes[3], hashes[0]);
            }
        }
    }
}
