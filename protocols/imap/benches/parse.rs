//! Nanoseconds per parsed command: `cargo bench -p ringmail-imap`.

use std::hint::black_box;
use std::time::Instant;

use ringmail_imap::parse_command;
use ringmail_imap::types::NameSyntax;

fn main() {
    for command in [
        "a1 NOOP",
        "a1 SELECT INBOX",
        "a1 FETCH 1:* (UID FLAGS)",
        "a1 UID FETCH 1:5,7,9:1000 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (From To Subject Date)])",
        "a1 UID STORE 4:99 +FLAGS.SILENT (\\Seen \\Answered $Forwarded)",
        "a1 SEARCH UNSEEN OR FROM \"someone\" SUBJECT \"something\" SINCE 1-Jan-2026 NOT DELETED",
    ] {
        let mut nanos = 0;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..COMMANDS {
                let parsed = parse_command(black_box(command.as_bytes()), NameSyntax::ModifiedUtf7);
                assert!(black_box(parsed).is_ok(), "{command}");
            }
            nanos = start.elapsed().as_nanos() / COMMANDS;
        }
        println!("{nanos:6} ns  {command}");
    }
}

const COMMANDS: u128 = 200_000;
/// The last is told; those before warm up.
const ROUNDS: u32 = 3;
