//! Kills a process that writes, at every named point and at random, and judges what is left.
//!
//! The child is this test binary itself, run again with `RINGMAIL_CHILD` set. It says on its standard output what was acknowledged.
//! `RINGMAIL_KILLS` sets the number of random kills, `RINGMAIL_SEED` replays a series.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ringmail_shards::rt;
use support::{Key, Ledger, ROOM, Random, SHARDS, Store, remove, write};

const WRITERS: u32 = 4;

/// Not a test: the process that is killed.
#[test]
fn child() {
    let Ok(directory) = std::env::var("RINGMAIL_CHILD") else {
        return;
    };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u32>().unwrap();
    let (run, count) = (number("RINGMAIL_RUN"), number("RINGMAIL_COUNT"));
    let store = Store::open(Path::new(&directory));
    say(format_args!("open"));
    store.run(move |core| async move {
        let ended = std::rc::Rc::new(std::cell::Cell::new(0));
        for shard in 0..SHARDS {
            for writer in 0..WRITERS {
                let (core, ended) = (core.clone(), ended.clone());
                rt::spawn(&ROOM, async move {
                    write_many(&core, shard, (run, writer), count).await;
                    ended.set(ended.get() + 1);
                });
            }
        }
        while ended.get() < u32::from(SHARDS) * WRITERS {
            rt::sleep(Duration::from_millis(2)).await;
        }
        // Time for compaction.
        rt::sleep(Duration::from_millis(60)).await;
    });
    say(format_args!("end"));
    store.close();
}

async fn write_many(core: &support::Core0, shard: u16, (run, writer): (u32, u32), count: u32) {
    let mut before = None;
    for n in 0..count {
        let key = Key {
            shard,
            run,
            writer,
            n,
        };
        match write(core, key).await {
            Ok(body) => {
                say(format_args!("ack {shard} {run} {writer} {n}"));
                // Two of three die, so that there is something to compact.
                if let Some((key, body)) = before.replace((key, body))
                    && n % 3 > 0
                {
                    let Key { n, .. } = key;
                    say(format_args!("dying {shard} {run} {writer} {n}"));
                    if remove(core, key, body).await.is_ok() {
                        say(format_args!("dead {shard} {run} {writer} {n}"));
                    }
                }
            }
            Err(error) => {
                say(format_args!("error {shard} {error}"));
                return;
            }
        }
    }
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n@{line}").unwrap();
    out.flush().unwrap();
}

struct Outcome {
    killed: bool,
    opened: bool,
    errors: Vec<String>,
    acknowledged: [usize; SHARDS as usize],
}

/// Runs the child until its end or its death, and writes into the ledger what it said.
fn run_child(
    directory: &Path,
    ledger: &mut Ledger,
    (run, count): (u32, u32),
    faults: &str,
    kill_after: Option<Duration>,
) -> Outcome {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env("RINGMAIL_CHILD", directory)
        .env("RINGMAIL_RUN", run.to_string())
        .env("RINGMAIL_COUNT", count.to_string())
        .env("RINGMAIL_FAULTS", faults)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap());
    let killer = kill_after.map(|wait| {
        let pid = rustix::process::Pid::from_child(&process);
        std::thread::spawn(move || {
            std::thread::sleep(wait);
            // The child is not waited for before this thread has ended, so the number is still its own.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        })
    });
    let mut outcome = Outcome {
        killed: false,
        opened: false,
        errors: Vec::new(),
        acknowledged: [0; SHARDS as usize],
    };
    let mut ended = false;
    for line in lines.lines() {
        let line = line.unwrap();
        let Some(said) = line.strip_prefix('@') else {
            continue;
        };
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        let key = || Key::parse(format!("k/{}", rest.replace(' ', "/")).as_bytes()).unwrap();
        match word {
            "open" => outcome.opened = true,
            "end" => ended = true,
            "ack" => {
                outcome.acknowledged[usize::from(key().shard)] += 1;
                assert!(ledger.present.insert(key()));
            }
            "dying" => drop(ledger.dying.insert(key())),
            "dead" => {
                ledger.dying.remove(&key());
                assert!(ledger.present.remove(&key()));
            }
            "error" => outcome.errors.push(rest.to_string()),
            _ => panic!("{line}"),
        }
    }
    if let Some(killer) = killer {
        killer.join().unwrap();
    }
    let status = process.wait().unwrap();
    use std::os::unix::process::ExitStatusExt;
    outcome.killed = status.signal() == Some(9);
    assert!(
        outcome.killed || ended || faults.contains("fail"),
        "the child died otherwise: {status}"
    );
    outcome
}

/// Points, and how often each is passed in one run of the child at least.
const POINTS: &[(&str, &[u32])] = &[
    ("open.shards", &[1]),
    ("open.format", &[1, 1]),
    ("open.epoch", &[1, 1]),
    ("open.index", &[1, 2, 2]),
    ("open.swept", &[1, 2, 2]),
    ("segment.created", &[1, 2, 3]),
    ("segment.named", &[1, 2, 3]),
    ("group.taken", &[1, 9]),
    ("large.sync", &[1, 4]),
    ("large.linked", &[1, 4]),
    ("large.synced", &[1, 4]),
    ("large.link=emlink,large.copied", &[1, 4]),
    ("body.appended", &[1, 9]),
    ("segment.sync", &[1, 9]),
    ("body.synced", &[1, 9]),
    ("rows.commit", &[1, 9]),
    ("rows.synced", &[1, 9]),
    ("rows.committed", &[1, 9]),
    ("compaction.copied", &[1, 2]),
    ("compaction.moved", &[1, 2]),
    ("compaction.forgotten", &[1, 2]),
    ("compaction.removed", &[1, 2]),
];

/// `count`: more than the child comes to write before it passes the point.
fn kill_at_points(points: &[(&str, &[u32])], count: u32) {
    for (point, passings) in points {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::default();
        // Something to keep, to move and to sweep. The points of making a directory are for a bare one.
        if *point != "open.shards" {
            run_child(directory.path(), &mut ledger, (0, 24), "", None);
        }
        for (run, at) in passings.iter().enumerate() {
            let run = run as u32 + 1;
            let faults = format!("{point}=kill@{at}");
            let outcome = run_child(directory.path(), &mut ledger, (run, count), &faults, None);
            assert!(outcome.killed, "{faults} was not passed");
            println!("{faults}: {:?} acknowledged", outcome.acknowledged);
            ledger.judge(directory.path());
        }
    }
}

#[test]
fn a_kill_at_each_point_of_opening_loses_nothing() {
    kill_at_points(&POINTS[..7], 3_000);
}

#[test]
fn a_kill_at_each_point_of_a_group_loses_nothing() {
    kill_at_points(&POINTS[7..18], 24);
}

#[test]
fn a_kill_at_each_point_of_compaction_loses_nothing() {
    kill_at_points(&POINTS[18..], 3_000);
}

#[test]
fn a_kill_while_a_bare_directory_is_made_leaves_one_that_opens() {
    for (point, at) in [
        ("open.copy", 1),
        ("open.copied", 1),
        ("open.copied", 2),
        ("open.shards", 1),
        ("open.format", 1),
        ("open.epoch", 1),
        ("open.index_begun", 1),
        ("open.index_begun", 2),
        ("open.index", 1),
        ("open.index", 2),
        ("open.identity", 1),
        ("open.identity", 2),
        ("segment.created", 1),
        ("segment.named", 2),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::default();
        let faults = format!("{point}=kill@{at}");
        let outcome = run_child(directory.path(), &mut ledger, (1, 4), &faults, None);
        assert!(outcome.killed && !outcome.opened, "{faults}");
        let begun = directory.path().join("shard-000/rows.begun");
        if begun.exists() {
            // As fjall leaves it between its steps: it opens never again.
            std::fs::write(begun.join("version"), b"").unwrap();
        }
        assert_eq!(begun.exists(), faults == "open.index_begun=kill@1");
        ledger.judge(directory.path());
        run_child(directory.path(), &mut ledger, (2, 4), "", None);
        ledger.judge(directory.path());
    }
}

#[test]
fn a_kill_while_an_older_directory_gets_its_copies_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    run_child(directory.path(), &mut ledger, (0, 4), "", None);
    for (run, (point, at)) in [("open.copy", 1), ("open.copied", 1), ("open.copied", 2)]
        .into_iter()
        .enumerate()
    {
        for shard in 0..2 {
            std::fs::remove_file(directory.path().join(format!("shard-{shard:03}/format")))
                .unwrap();
        }
        let faults = format!("{point}=kill@{at}");
        let run = run as u32 + 1;
        let outcome = run_child(directory.path(), &mut ledger, (run, 4), &faults, None);
        assert!(outcome.killed && !outcome.opened, "{faults}");
        ledger.judge(directory.path());
    }
}

#[test]
fn kills_at_random_lose_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seed = number("RINGMAIL_SEED").unwrap_or_else(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |d| d.as_nanos() as u64)
    });
    let kills = number("RINGMAIL_KILLS").unwrap_or(12);
    println!("RINGMAIL_SEED={seed} RINGMAIL_KILLS={kills}");
    let mut random = Random(seed);
    let (mut killed, mut acknowledged) = (0, 0);
    let mut directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    for run in 0..kills as u32 {
        if run % 10 == 9 {
            // A fresh one now and then, for the making of it and to bound the time of judging.
            directory = tempfile::tempdir().unwrap();
            ledger = Ledger::default();
        }
        let wait = Duration::from_millis(10 + random.below(600));
        let outcome = run_child(
            directory.path(),
            &mut ledger,
            (run, 100_000),
            "",
            Some(wait),
        );
        killed += u64::from(outcome.killed);
        acknowledged += outcome.acknowledged.iter().sum::<usize>();
        ledger.judge(directory.path());
    }
    println!("{killed} kills, {acknowledged} batches acknowledged, none lost");
    assert_eq!(killed, kills);
}

#[test]
fn a_failed_write_poisons_its_shard_alone() {
    // From which passing on: each writer waits for its answers, so a point of every group is passed 24 times at least, and one of
    // groups with large content twice (large content comes twice from each writer).
    for (point, deed, at) in [
        ("segment.sync", "fail", 3),
        ("rows.commit", "fail", 3),
        ("rows.synced", "fail", 3),
        ("body.appended", "fail", 3),
        ("large.linked", "fail", 2),
        ("rows.commit", "panic", 3),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::default();
        let faults = format!("shard-001/{point}={deed}@{at}");
        let outcome = run_child(directory.path(), &mut ledger, (1, 24), &faults, None);
        assert!(!outcome.killed);
        assert_eq!(outcome.acknowledged[0], 24 * WRITERS as usize, "{point}");
        assert!(outcome.acknowledged[1] < 24 * WRITERS as usize, "{point}");
        assert!(!outcome.errors.is_empty());
        for error in &outcome.errors {
            assert!(
                error.starts_with("1 shard-001 is out of service until the next start: "),
                "{error}"
            );
        }
        ledger.judge(directory.path());
        run_child(directory.path(), &mut ledger, (2, 6), "", None);
        ledger.judge(directory.path());
    }
}

#[test]
fn large_content_that_can_have_no_more_names_is_copied() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    let faults = "large.link=emlink@2";
    let outcome = run_child(directory.path(), &mut ledger, (1, 24), faults, None);
    assert_eq!(outcome.errors, Vec::<String>::new());
    assert_eq!(outcome.acknowledged, [24 * WRITERS as usize; 2]);
    ledger.judge(directory.path());
}

#[test]
fn a_segment_that_cannot_be_read_is_not_compacted_and_stops_no_mail() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    let outcome = run_child(
        directory.path(),
        &mut ledger,
        (1, 400),
        "compaction.read=fail",
        None,
    );
    assert!(!outcome.killed);
    assert_eq!(outcome.errors, Vec::<String>::new());
    assert_eq!(
        outcome.acknowledged,
        [400 * WRITERS as usize; SHARDS as usize]
    );
    ledger.judge(directory.path());
    // What was kept is compacted after the next start: the point that follows is passed.
    let faults = "compaction.moved=kill";
    let outcome = run_child(directory.path(), &mut ledger, (2, 3_000), faults, None);
    assert!(outcome.killed);
    ledger.judge(directory.path());
}
