//! Random and mutated input: no panic, no endless loop, and the split of the input changes nothing.

use super::*;

/// SplitMix64: seeded, so that a failure can be repeated.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

const SEEDS: &[&str] = &[
    "a LOGIN {3+}\r\nabc \"x\\\\\\\"y\"\r\n",
    "a AUTHENTICATE PLAIN =\r\n",
    "a AUTHENTICATE PLAIN\r\ndGVzdA==\r\n",
    "a SELECT INBOX (CONDSTORE QRESYNC (67890007 715194045 1:900 (1:3 4:6)))\r\n",
    "a CREATE \"x/y\" (USE (\\Sent \\Junk))\r\n",
    "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (\"a%\" *b) RETURN (CHILDREN STATUS (MESSAGES UIDNEXT SIZE))\r\n",
    "a STATUS &U,BTFw- (MESSAGES UNSEEN HIGHESTMODSEQ)\r\n",
    "a UID FETCH 1:*,5,$ (FLAGS BODY.PEEK[1.2.HEADER.FIELDS.NOT (To {2+}\r\nCc)]<0.100> BINARY.SIZE[1]) (CHANGEDSINCE 5 VANISHED)\r\n",
    "a SEARCH RETURN (MIN SAVE) CHARSET UTF-8 OR (NOT TEXT {2+}\r\n\u{e9}) 1:5 SINCE 1-Feb-1994 MODSEQ \"/flags/\\\\seen\" all 5\r\n",
    "a UID STORE 1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen $Junk x)\r\n",
    "a APPEND x (\\Seen) \" 1-Jan-2024 00:00:00 +0000\" {5+}\r\nhello UTF8 (~{3+}\r\nabc)\r\n",
    "a ID (\"name\" \"x\" \"version\" NIL)\r\n",
    "a IDLE\r\nDONE\r\n",
    "a UID MOVE 1:3 Archive\r\na UID EXPUNGE 1:*\r\na COPY 2 x\r\n",
    "a ENABLE IMAP4rev2 UTF8=ACCEPT\r\na NAMESPACE\r\na LSUB \"\" %\r\na RENAME a b\r\n",
];

const PIECES: &[&str] = &[
    "{",
    "}",
    "{5}",
    "{5+}\r\n",
    "~{3}\r\n",
    "\r\n",
    "\n",
    "\r",
    "\"",
    "\\",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    "*",
    "%",
    "&",
    "$",
    "+",
    " ",
    "\0",
    "\u{e9}",
    "NIL",
    "0",
    "4294967296",
    "18446744073709551616",
    ":",
    ",",
    "NOT ",
    "OR ",
    "UID ",
    "DONE\r\n",
    "{0+}\r\n",
];

fn mutated(random: &mut Random) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..1 + random.below(4) {
        input.extend_from_slice(SEEDS[random.below(SEEDS.len())].as_bytes());
    }
    for _ in 0..random.below(6) {
        let at = random.below(input.len());
        match random.below(5) {
            0 => input[at] = random.next() as u8,
            1 => drop(input.remove(at)),
            2 => {
                let piece = PIECES[random.below(PIECES.len())].bytes();
                input.splice(at..at, piece);
            }
            3 => input.truncate(at.max(1)),
            _ => {
                let end = (at + random.below(30)).min(input.len());
                let copy = input[at..end].to_vec();
                let to = random.below(input.len());
                input.splice(to..to, copy);
            }
        }
        if input.is_empty() {
            input.push(b'a');
        }
    }
    input
}

/// How many inputs; `RINGMAIL_FUZZ_ROUNDS` asks for more.
fn rounds() -> u64 {
    std::env::var("RINGMAIL_FUZZ_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(4000)
}

#[test]
fn mutated_conversations() {
    for seed in 0..rounds() {
        let mut random = Random(seed);
        let input = mutated(&mut random);
        let state = [
            State::NotAuthenticated,
            State::Authenticated,
            State::Selected { read_only: false },
        ][random.below(3)];
        let mut whole = Owner::new(state);
        whole.session.receive(b"");
        whole.give_in_pieces(b"t NOOP\r\n", 100);
        whole.give_in_pieces(&input, input.len());
        let mut split = Owner::new(state);
        split.give_in_pieces(b"t NOOP\r\n", 100);
        split.give_in_pieces(&input, 1 + random.below(7));
        assert_eq!(
            whole.seen,
            split.seen,
            "seed {seed}: {}",
            String::from_utf8_lossy(&input)
        );
        assert_eq!(
            whole.output,
            split.output,
            "seed {seed}: {}",
            String::from_utf8_lossy(&input)
        );
        assert!(
            whole
                .output
                .iter()
                .all(|&octet| octet == b'\r' || octet == b'\n' || (0x20..0x7f).contains(&octet))
        );
    }
}

#[test]
fn random_octets() {
    for seed in 0..rounds() {
        let mut random = Random(seed ^ 0xfeed);
        let input: Vec<u8> = (0..random.below(200))
            .map(|_| random.next() as u8)
            .collect();
        let mut owner = Owner::selected();
        owner.give_in_pieces(b"t NOOP\r\n", 100);
        owner.give_in_pieces(&input, 1 + random.below(50));
        let _ = crate::parse_command(&input, NameSyntax::Utf8);
    }
}
