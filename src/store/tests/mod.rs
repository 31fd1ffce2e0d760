//! The store on a real directory: an engine whose first core runs closures. Each closing asserts that every open account is
//! consistent, and that the directory is.

mod api;
mod check;
mod crash;
mod deleting;
mod login_records;
mod numbers;
mod races;
mod salvage;
mod sessions;
mod whole;

use std::any::Any;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shards::CoreId;
use shards::engine::{Core, Engine, EngineOptions, Service};
use shards::lanes::Incoming;
use shards::pool::Pool;
use shards::storage::{Shard, StorageOptions, open};

use super::rows::ThreadRow;
use super::*;

pub const SHARDS: u16 = 2;

pub fn storage_options() -> StorageOptions {
    StorageOptions {
        shards: SHARDS,
        segment_size: 1 << 20,
        cache_bytes: 1 << 20,
        disk_reserve_bytes: 0,
        compaction_dead_percent: 20,
        compaction_bytes_per_sec: 64 << 20,
        ..StorageOptions::default()
    }
}

type Answer = Box<dyn Any + Send>;
type Job = Box<dyn FnOnce(Context) -> Pin<Box<dyn Future<Output = Answer>>> + Send>;

/// What a closure may use.
#[derive(Clone)]
pub struct Context {
    pub accounts: Rc<Accounts>,
    pub shards: Vec<Rc<Shard>>,
    pub spool: std::path::PathBuf,
    pub pool: Pool,
}

impl Context {
    pub async fn account(&self, name: &str) -> Rc<Account> {
        self.accounts.open(name).await.unwrap()
    }
}

struct Runner(Context);

impl Service for Runner {
    type Call = Job;
    type Answer = Answer;

    fn handle(self: &Rc<Self>, incoming: Incoming<Job, Answer>) {
        let future = (incoming.call)(self.0.clone());
        let responder = incoming.responder;
        shards::rt::spawn(&TEST, async move { responder.answer(future.await) });
    }

    async fn drain(self: Rc<Self>, _limit: Duration) {
        // What buries bodies in the background ends by itself.
        for account in self.0.accounts.open_accounts() {
            while account.is_changing() {
                shards::rt::sleep(Duration::from_millis(1)).await;
            }
            account.assert_consistent();
        }
    }
}

static TEST: shards::rt::Room = shards::rt::Room::new("test");
/// Seconds since 1970 as the store sees them.
pub static CLOCK: AtomicI64 = AtomicI64::new(1_700_000_000);

/// An open directory.
pub struct Store {
    engine: Engine<Job, Answer>,
    directory: std::path::PathBuf,
    /// Of tasks, before it was opened.
    panics: (u64, u64),
}

impl Store {
    pub fn open(directory: &Path) -> Store {
        Store::open_with(directory, 64 << 20)
    }

    pub fn open_with(directory: &Path, cache_bytes: usize) -> Store {
        let opened = open(directory, &storage_options(), 7).unwrap();
        let spool = opened.spool.clone();
        let pool = Pool::start("pool", 2, 4096).unwrap();
        let engine = EngineOptions {
            cores: vec![None],
            http_cpu: None,
            ring_depth: 128,
            spin_before_park: Duration::ZERO,
            lane_capacity: 64,
            io_memory: 64 << 10,
        };
        let options = StoreOptions {
            cache_bytes,
            initial_mailboxes: vec![(
                "Sent".into(),
                SpecialUse {
                    sent: true,
                    ..Default::default()
                },
            )],
            wall_clock: || CLOCK.load(Ordering::Relaxed),
        };
        let engine = Engine::start(&engine, opened, &pool, move |core: Core<Job, Answer>| {
            let accounts = Accounts::new(options.clone(), &core.shards, core.shard_count);
            Ok(Rc::new(Runner(Context {
                accounts: Rc::new(accounts),
                shards: core.shards,
                spool: spool.clone(),
                pool: core.pool,
            })))
        })
        .unwrap();
        Store {
            engine,
            directory: directory.to_path_buf(),
            panics: (TEST.panics(), ROOM.panics()),
        }
    }

    /// Runs a closure on the core and waits for its result.
    pub fn run<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        job: impl FnOnce(Context) -> F + Send + 'static,
    ) -> T {
        let job: Job = Box::new(|context| {
            Box::pin(async move { Box::new(job(context).await) as Box<dyn Any + Send> })
        });
        let network = self.engine.network();
        let answer = network
            .call_blocking(CoreId(0), job, LIMIT)
            .expect("the closure did not panic");
        *answer.downcast().expect("it answers its own type")
    }

    /// Stops, with all assertions, and checks what is stored.
    pub fn close(self) {
        let panics = self.panics;
        let directory = self.stop();
        assert_eq!((TEST.panics(), ROOM.panics()), panics, "of all tests");
        assert_eq!(findings(&directory), Vec::<String>::new());
    }

    fn stop(self) -> std::path::PathBuf {
        let accounts = self.run(|context| async move {
            let mut problems = Vec::new();
            for account in context.accounts.open_accounts() {
                while account.is_changing() {
                    shards::rt::sleep(Duration::from_millis(1)).await;
                }
                problems.extend(account.problems());
            }
            problems
        });
        assert_eq!(accounts, Vec::<String>::new());
        self.engine.stop(Duration::from_secs(1));
        self.directory
    }
}

/// What is wrong in a stopped directory.
pub fn findings(directory: &Path) -> Vec<String> {
    if !directory.join("format").exists() {
        // Killed while it was made.
        return Vec::new();
    }
    check_stopped(directory, &|_| true, &mut |_| ())
        .unwrap()
        .findings
}

/// A directory for one test, opened.
pub fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path());
    (directory, store)
}

/// A message whose content is `text`.
pub fn message(text: &str) -> NewMessage {
    NewMessage {
        prefix: b"Return-Path: <>\r\n".to_vec(),
        content: NewContent {
            bytes: Arc::new(text.as_bytes().to_vec()),
            external: None,
        },
        flags: 0,
        keywords: Vec::new(),
        received: 1_600_000_000,
        saved: 1_600_000_001,
        reverse_path: "sender@example.org".into(),
        recipient: "u@example.org".into(),
        thread: ThreadRow {
            message_id: text.len() as u64 + 1,
            ..ThreadRow::default()
        },
        is_incoming: false,
    }
}

pub async fn add(account: &Rc<Account>, mailbox: &str, text: &str) -> u32 {
    let added = account.add(mailbox, vec![message(text)], None).await;
    added.unwrap().unwrap().uids[0]
}

/// Content of a message, without its prefix.
pub async fn content(selected: &Selected, uid: u32) -> Result<String, StoreError> {
    let entry = selected.entry(uid).ok_or(StoreError::MessageGone)?;
    let body = selected.body(&entry).await?;
    let text = String::from_utf8(body.octets().to_vec()).unwrap();
    Ok(text.strip_prefix("Return-Path: <>\r\n").unwrap().into())
}

/// Everything of an account that a client could see, as text.
pub async fn picture(account: &Rc<Account>) -> String {
    use std::fmt::Write;
    let mut text = format!("{:?} {:?}\n", account.subscriptions(), account.quota().0);
    for info in account.mailboxes() {
        // Written with the next change only.
        let info = MailboxInfo {
            recent_from: 0,
            ..info
        };
        writeln!(text, "{info:?}").unwrap();
        let selected = account.select(&info.name, true).await.unwrap();
        for uid in selected.uids().iter() {
            let row = selected.entry(*uid).unwrap().to_row();
            let content = content(&selected, *uid).await.unwrap();
            writeln!(text, "  {uid} {row:?} {content}").unwrap();
        }
    }
    text
}

/// A reproducible stream of numbers (splitmix64).
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() {
            None
        } else {
            Some(&all[self.below(all.len())])
        }
    }
}

/// A number from the environment, for repeats and longer runs.
pub fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed of a random test, printed so that it can be repeated.
pub fn seed() -> u64 {
    let seed = environment("RINGMAIL_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |d| d.as_nanos() as u64)
    });
    println!("RINGMAIL_SEED={seed}");
    seed
}

/// For the longest of the closures on a disk that syncs a few times a second.
const LIMIT: Duration = Duration::from_secs(600);
