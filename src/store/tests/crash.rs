//! Kills a process whose accounts change, at named points and at random, and judges what is left: everything acknowledged is there,
//! an operation that was not answered is there as a whole or not at all, and the check finds nothing.
//!
//! The child is this test binary itself, run again with `RINGMAIL_CHILD` set; it says on its standard output what it begins and
//! what was acknowledged. `RINGMAIL_KILLS` sets the number of random kills, `RINGMAIL_SEED` replays a series.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const ACCOUNTS: u64 = 4;
const MAILBOXES: [&str; 2] = ["INBOX", "Sent"];

/// Mailbox and UID; what the message says and its flags. UID 0: one whose UID was never told.
type Messages = BTreeMap<(String, u32), (String, u16)>;

#[derive(Default)]
struct Ledger {
    accounts: HashMap<String, Messages>,
    /// The operation each account had begun.
    begun: HashMap<String, Vec<String>>,
}

/// Not a test: the process that is killed.
#[test]
fn child() {
    let Ok(directory) = std::env::var("RINGMAIL_CHILD") else {
        return;
    };
    let seed = environment("RINGMAIL_CHILD_SEED").unwrap();
    let steps = environment("RINGMAIL_CHILD_STEPS").unwrap();
    let store = Store::open(Path::new(&directory));
    store.run(move |context| async move {
        let ended = Rc::new(std::cell::Cell::new(0));
        for n in 0..ACCOUNTS {
            let (context, ended) = (context.clone(), ended.clone());
            shards::rt::spawn(&TEST, async move {
                work(&context, &format!("u{n}"), Random(seed ^ (n << 32)), steps).await;
                ended.set(ended.get() + 1);
            });
        }
        while ended.get() < ACCOUNTS {
            shards::rt::sleep(Duration::from_millis(1)).await;
        }
        shards::rt::sleep(Duration::from_millis(40)).await;
    });
    say("end");
    store.stop();
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{line}").unwrap();
    out.flush().unwrap();
}

async fn work(context: &Context, name: &str, mut random: Random, steps: u64) {
    let account = context.account(name).await;
    let filler = "x".repeat(4_000);
    for step in 0..steps {
        let from = MAILBOXES[random.below(2)];
        let to = MAILBOXES[random.below(2)];
        let selected = account.select(from, false).await.unwrap();
        let uid = random.pick(&selected.uids()).copied().unwrap_or(0);
        let chosen = random.below(10);
        if chosen < 4 || uid == 0 {
            let text = format!("{:x}-{step}-{filler}", random.next());
            say(&format!("begin {name} add {from} 0 {text}"));
            let uid = add(&account, from, &text).await;
            say(&format!("ack {name} add {from} {uid} {text}"));
            continue;
        }
        let flags = [1u16, 2, 4][random.below(3)];
        let op = match chosen {
            4..6 => format!("flag {from} {uid} {flags}"),
            6 => format!("copy {from} {uid} {to}"),
            7 => format!("move {from} {uid} {to}"),
            _ => format!("gone {from} {uid}"),
        };
        say(&format!("begin {name} {op}"));
        let result = match chosen {
            4..6 => selected
                .store_flags(&[uid], FlagAction::Add, flags, &[], None)
                .await
                .map(|_| 0),
            6 => selected.copy(&[uid], to).await.map(|c| c.uids[0].1),
            7 => selected.move_to(&[uid], to).await.map(|c| c.uids[0].1),
            _ => match selected
                .store_flags(&[uid], FlagAction::Add, system::DELETED, &[], None)
                .await
            {
                Ok(_) => selected.expunge(Some(&[uid])).await.map(|_| 0),
                Err(error) => Err(error),
            },
        };
        say(&format!("ack {name} {op} {}", result.unwrap()));
    }
}

/// Carries out one told operation.
fn apply(messages: &mut Messages, words: &[String]) {
    let word = |n: usize| words.get(n).cloned().unwrap_or_default();
    let (mailbox, uid) = (word(1), word(2).parse().unwrap_or(0));
    let key = (mailbox.clone(), uid);
    match words[0].as_str() {
        "add" => drop(messages.insert(key, (word(3), 0))),
        "flag" => messages.get_mut(&key).unwrap().1 |= word(3).parse::<u16>().unwrap(),
        "gone" => drop(messages.remove(&key).unwrap()),
        "copy" | "move" => {
            let message = if words[0] == "copy" {
                messages[&key].clone()
            } else {
                messages.remove(&key).unwrap()
            };
            messages.insert((word(3), word(4).parse().unwrap_or(0)), message);
        }
        other => panic!("{other}"),
    }
}

fn run_child(
    directory: &Path,
    ledger: &mut Ledger,
    seed: u64,
    steps: u64,
    faults: &str,
    wait: Option<Duration>,
) -> (bool, usize) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args([
            "store::tests::crash::child",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("RINGMAIL_CHILD", directory)
        .env("RINGMAIL_CHILD_SEED", seed.to_string())
        .env("RINGMAIL_CHILD_STEPS", steps.to_string())
        .env("RINGMAIL_FAULTS", faults)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap());
    let process = std::sync::Arc::new(std::sync::Mutex::new(process));
    let killer = wait.map(|wait| {
        let process = process.clone();
        std::thread::spawn(move || {
            std::thread::sleep(wait);
            // Not waited for before this thread has ended, so the number is still its own.
            let _ = process.lock().unwrap().kill();
        })
    });
    let (mut acknowledged, mut ended) = (0, false);
    for line in lines.lines() {
        let line = line.unwrap();
        let Some(said) = line.strip_prefix('@') else {
            continue;
        };
        let words: Vec<String> = said.split(' ').map(str::to_string).collect();
        match words[0].as_str() {
            "begin" => drop(ledger.begun.insert(words[1].clone(), words[2..].to_vec())),
            "ack" => {
                acknowledged += 1;
                ledger.begun.remove(&words[1]);
                apply(
                    ledger.accounts.entry(words[1].clone()).or_default(),
                    &words[2..],
                );
            }
            "end" => ended = true,
            // Cut off by the kill.
            _ => (),
        }
    }
    if let Some(killer) = killer {
        killer.join().unwrap();
    }
    let status = process.lock().unwrap().wait().unwrap();
    use std::os::unix::process::ExitStatusExt;
    let killed = status.signal() == Some(9);
    assert!(killed || ended, "the child died otherwise: {status}");
    (killed, acknowledged)
}

/// Everything acknowledged is there; what was only begun, as a whole or not at all. It counts as it was found from now on.
fn judge(directory: &Path, ledger: &mut Ledger) {
    assert_eq!(findings(directory), Vec::<String>::new());
    let store = Store::open(directory);
    for n in 0..ACCOUNTS {
        let name = format!("u{n}");
        let expected = ledger.accounts.remove(&name).unwrap_or_default();
        let of = name.clone();
        let found: Messages = store.run(move |context| async move {
            let account = context.account(&of).await;
            let mut found = Messages::new();
            for mailbox in MAILBOXES {
                let selected = account.select(mailbox, true).await.unwrap();
                for uid in selected.uids().iter() {
                    let text = content(&selected, *uid).await.unwrap();
                    let flags = selected.entry(*uid).unwrap().flags;
                    found.insert((mailbox.to_string(), *uid), (text, flags));
                }
            }
            found
        });
        if found != expected {
            let begun = ledger
                .begun
                .get(&name)
                .unwrap_or_else(|| panic!("{name} lost something"));
            let mut other = expected.clone();
            if begun[0] == "gone" {
                // Two steps: it may be marked only.
                let key = (begun[1].clone(), begun[2].parse().unwrap());
                match found.get(&key) {
                    Some(_) => other.get_mut(&key).unwrap().1 |= system::DELETED,
                    None => drop(other.remove(&key)),
                }
            } else {
                apply(&mut other, begun);
            }
            let anonymous = |((mailbox, uid), message): (&(String, u32), &(String, u16))| {
                let uid = if other.contains_key(&(mailbox.clone(), *uid)) {
                    *uid
                } else {
                    0
                };
                ((mailbox.clone(), uid), message.clone())
            };
            let told: Messages = found.iter().map(anonymous).collect();
            assert!(
                told == other && told.len() == found.len(),
                "{name} after {:?}",
                &begun[..2]
            );
        }
        ledger.accounts.insert(name, found);
    }
    ledger.begun.clear();
    store.close();
}

#[test]
fn a_kill_at_each_point_of_a_commit_loses_nothing_of_an_account() {
    let points = [
        "group.taken@5",
        "body.appended@9",
        "body.synced@4",
        "rows.commit@20",
        "rows.synced@14",
        "rows.committed@30",
        "compaction.copied@1",
        "compaction.moved@1",
    ];
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    run_child(directory.path(), &mut ledger, 1, 150, "", None);
    judge(directory.path(), &mut ledger);
    for (run, point) in points.iter().enumerate() {
        let (name, at) = point.split_once('@').unwrap();
        let faults = format!("{name}=kill@{at}");
        let (killed, acknowledged) = run_child(
            directory.path(),
            &mut ledger,
            run as u64 + 2,
            150,
            &faults,
            None,
        );
        println!("{faults}: killed {killed}, {acknowledged} acknowledged");
        assert!(
            killed || name.starts_with("compaction"),
            "{faults} was not passed"
        );
        judge(directory.path(), &mut ledger);
    }
}

#[test]
fn kills_at_random_lose_nothing_of_an_account() {
    let seed = seed();
    let kills = environment("RINGMAIL_KILLS").unwrap_or(6);
    let mut random = Random(seed);
    let mut directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    let mut all = 0;
    for run in 0..kills {
        if run % 10 == 9 {
            directory = tempfile::tempdir().unwrap();
            ledger = Ledger::default();
        }
        let wait = Duration::from_millis(20 + random.below(700) as u64);
        let (killed, acknowledged) = run_child(
            directory.path(),
            &mut ledger,
            random.next(),
            100_000,
            "",
            Some(wait),
        );
        assert!(killed);
        all += acknowledged;
        judge(directory.path(), &mut ledger);
    }
    println!("{kills} kills, {all} operations acknowledged, none lost");
}
