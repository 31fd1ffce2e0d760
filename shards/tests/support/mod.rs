//! A store run from outside, for the tests beside this folder: an engine whose cores run closures, and a workload whose content
//! follows from its keys, so that a directory can be judged after any crash.

#![allow(dead_code)] // Each test binary uses its part.

use std::any::Any;
use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringmail_shards::engine::{Core, Engine, EngineOptions, Service};
use ringmail_shards::lanes::Incoming;
use ringmail_shards::pool::Pool;
use ringmail_shards::rt::{self, Room};
use ringmail_shards::segments::BodyId;
use ringmail_shards::storage::{
    Batch, DirectoryError, External, ExternalWriter, NewBody, Shard, StorageError, StorageOptions,
    check_index, check_stopped, open, shard_path,
};
use ringmail_shards::{CoreId, ShardId};

pub const SEED: u32 = 7;
pub const SHARDS: u16 = 2;

pub fn options() -> StorageOptions {
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
type Job = Box<dyn FnOnce(Core0) -> Pin<Box<dyn Future<Output = Answer>>> + Send>;

/// What a closure on a core may use.
#[derive(Clone)]
pub struct Core0 {
    pub shards: Vec<Rc<Shard>>,
    pub pool: Pool,
    pub spool: PathBuf,
}

struct Runner(Core0);

impl Service for Runner {
    type Call = Job;
    type Answer = Answer;

    fn handle(self: &Rc<Self>, incoming: Incoming<Job, Answer>) {
        let future = (incoming.call)(self.0.clone());
        let responder = incoming.responder;
        rt::spawn(&ROOM, async move { responder.answer(future.await) });
    }

    async fn drain(self: Rc<Self>, _limit: Duration) {}
}

pub static ROOM: Room = Room::new("test");

/// An open directory with one core that owns all shards.
pub struct Store {
    engine: Engine<Job, Answer>,
    pub epoch: u64,
}

impl Store {
    pub fn open(directory: &Path) -> Store {
        Store::open_with(directory, &options(), 1).unwrap()
    }

    pub fn open_with(
        directory: &Path,
        options: &StorageOptions,
        cores: usize,
    ) -> Result<Store, DirectoryError> {
        let opened = open(directory, options, SEED)?;
        let epoch = opened.format.epoch;
        let spool = opened.spool.clone();
        let pool = Pool::start("pool", 2, 4096).unwrap();
        let engine = EngineOptions {
            cores: vec![None; cores],
            http_cpu: None,
            ring_depth: 128,
            spin_before_park: Duration::ZERO,
            lane_capacity: 64,
            io_memory: 64 << 10,
        };
        let engine = Engine::start(&engine, opened, &pool, move |core: Core<Job, Answer>| {
            Ok(Rc::new(Runner(Core0 {
                shards: core.shards,
                pool: core.pool,
                spool: spool.clone(),
            })))
        })
        .unwrap();
        Ok(Store { engine, epoch })
    }

    /// Runs a closure on a core and waits for its result.
    pub fn run_on<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        core: u16,
        job: impl FnOnce(Core0) -> F + Send + 'static,
    ) -> T {
        let job: Job = Box::new(|core| {
            Box::pin(async move { Box::new(job(core).await) as Box<dyn Any + Send> })
        });
        let answer = self
            .engine
            .network()
            .call_blocking(CoreId(core), job, LIMIT)
            .expect("the closure is answered");
        *answer.downcast().expect("it answers its own type")
    }

    pub fn run<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        job: impl FnOnce(Core0) -> F + Send + 'static,
    ) -> T {
        self.run_on(0, job)
    }

    pub fn close(self) {
        self.engine.stop(Duration::from_secs(1));
    }
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

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// One thing written: its key tells its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub shard: u16,
    pub run: u32,
    pub writer: u32,
    pub n: u32,
}

impl Key {
    fn random(&self) -> Random {
        Random(
            u64::from(self.shard) << 48
                ^ u64::from(self.run) << 32
                ^ u64::from(self.writer) << 24
                ^ u64::from(self.n),
        )
    }

    pub fn row(&self, prefix: &str) -> Vec<u8> {
        format!(
            "{prefix}/{}/{}/{}/{}",
            self.shard, self.run, self.writer, self.n
        )
        .into_bytes()
    }

    pub fn parse(row: &[u8]) -> Option<Key> {
        let text = std::str::from_utf8(row).ok()?;
        let mut numbers = text.split('/').skip(1).map(str::parse::<u32>);
        Some(Key {
            shard: numbers.next()?.ok()? as u16,
            run: numbers.next()?.ok()?,
            writer: numbers.next()?.ok()?,
            n: numbers.next()?.ok()?,
        })
    }

    /// The content in the segment.
    pub fn body(&self) -> Vec<u8> {
        let mut random = self.random();
        let length = [0, 7, 900, 10_240, 30_001][random.below(5) as usize];
        let mut body = Vec::with_capacity(length + 8);
        while body.len() < length {
            body.extend(random.next().to_le_bytes());
        }
        body.truncate(length);
        body
    }

    /// Octets of the content in a file of its own; most have none.
    pub fn external(&self) -> usize {
        if self.n % 16 == 5 { 150_000 } else { 0 }
    }

    fn external_content(&self) -> Vec<u8> {
        vec![self.n as u8; self.external()]
    }
}

/// Writes a key: two rows and a body.
pub async fn write(core: &Core0, key: Key) -> Result<BodyId, StorageError> {
    let shard = &core.shards[usize::from(key.shard)];
    let body = key.body();
    let permit = shard
        .permit(body.len(), true, Duration::from_secs(20))
        .await?;
    let external = write_external(core, key).await;
    let id = shard.next_body();
    let mut batch = Batch::default();
    batch.put(key.row("a"), id.0.to_le_bytes().to_vec());
    batch.put(key.row("b"), id.0.to_le_bytes().to_vec());
    let half = body.len() / 2;
    batch.bodies.push(NewBody {
        id,
        kind: 1,
        meta: key.row("a"),
        parts: vec![
            Arc::new(body[..half].to_vec()),
            Arc::new(body[half..].to_vec()),
        ],
        external: external.clone(),
    });
    let result = shard.commit(permit, batch).await;
    if let Some(external) = external {
        let _ = fs::remove_file(external.path);
    }
    result.map(|_| id)
}

async fn write_external(core: &Core0, key: Key) -> Option<External> {
    if key.external() == 0 {
        return None;
    }
    let path = core
        .spool
        .join(String::from_utf8(key.row("x")).unwrap().replace('/', "-"));
    let write = move || -> std::io::Result<External> {
        let mut writer = ExternalWriter::create(path, 0)?;
        writer.write(&key.external_content())?;
        writer.finish()
    };
    Some(core.pool.run(write).await.unwrap().unwrap())
}

/// Removes a key and lets its body die.
pub async fn remove(core: &Core0, key: Key, body: BodyId) -> Result<(), StorageError> {
    let shard = &core.shards[usize::from(key.shard)];
    let permit = shard.permit(100, false, Duration::from_secs(20)).await?;
    let mut batch = Batch::default();
    batch.delete(key.row("a"));
    batch.delete(key.row("b"));
    batch.dead.push(body);
    shard.commit(permit, batch).await.map(drop)
}

/// Reads a key back: whether it is there; an error when anything of it is not as it was written.
pub async fn read(core: &Core0, key: Key) -> Result<bool, String> {
    let shard = &core.shards[usize::from(key.shard)];
    let row = |name| async move { shard.get(key.row(name)).await.map_err(|e| e.to_string()) };
    let (a, b) = (row("a").await?, row("b").await?);
    if a != b {
        return Err(format!("half of {key:?} is there"));
    }
    let Some(id) = a else { return Ok(false) };
    let id = BodyId(u64::from_le_bytes(id.try_into().unwrap()));
    let body = shard.read_body(id, None).await.map_err(|e| e.to_string())?;
    if body.bytes() != key.body() || body.meta() != key.row("a") {
        return Err(format!("{key:?} has another body"));
    }
    let total = key.external();
    if body.external_length() != total as u64 {
        return Err(format!("{key:?} has another large content"));
    }
    if total > 0 {
        let content = shard.read_external(id, body.location(), 0, total).await;
        if content.map_err(|e| e.to_string())? != key.external_content() {
            return Err(format!("{key:?} has other large content"));
        }
    }
    Ok(true)
}

/// All keys of a shard.
pub async fn keys(core: &Core0, shard: u16) -> Result<Vec<Key>, StorageError> {
    let shard = &core.shards[usize::from(shard)];
    let rows = shard.scan(b"a/".to_vec(), Vec::new(), usize::MAX).await?;
    Ok(rows.iter().map(|(k, _)| Key::parse(k).unwrap()).collect())
}

/// What must be true of a directory.
#[derive(Default)]
pub struct Ledger {
    pub present: BTreeSet<Key>,
    /// A removal was asked for and not answered.
    pub dying: BTreeSet<Key>,
}

impl Ledger {
    /// Opens the directory and judges it: every acknowledged key once and whole, nothing half, every location sound.
    /// What was never answered counts as it was found from now on.
    pub fn judge(&mut self, directory: &Path) {
        let store = Store::open(directory);
        let path = directory.to_path_buf();
        let found = store.run(move |core| async move {
            let mut found = BTreeSet::new();
            for shard in 0..SHARDS {
                for key in keys(&core, shard).await.unwrap() {
                    assert!(read(&core, key).await.unwrap());
                    assert!(found.insert(key));
                }
                let rows = core.shards[usize::from(shard)].clone();
                let all = rows.scan(b"b/".to_vec(), Vec::new(), usize::MAX).await;
                let of_shard = found.iter().filter(|k| k.shard == shard).count();
                assert_eq!(all.unwrap().len(), of_shard, "half a batch is there");
                let path = shard_path(&path, rows.id());
                let findings = rows
                    .read(move |index| {
                        check_index(index, &path, (ShardId(shard), SEED), &mut |_| ())
                    })
                    .await
                    .unwrap();
                assert_eq!(findings.list, [], "check");
                assert_eq!(findings.bodies, of_shard as u64);
            }
            found
        });
        for key in &self.present {
            assert!(
                found.contains(key) || self.dying.contains(key),
                "{key:?} was acknowledged and is lost"
            );
        }
        self.present = found;
        self.dying.clear();
        assert!(
            fs::read_dir(directory.join("spool"))
                .unwrap()
                .next()
                .is_none(),
            "the spool is emptied at opening"
        );
        store.close();
    }
}

pub fn key(shard: u16, n: u32) -> Key {
    Key {
        shard,
        run: 0,
        writer: 0,
        n,
    }
}

/// Writes `count` keys to each shard, one group each.
pub fn fill(directory: &Path, count: u32) {
    let store = Store::open(directory);
    store.run(move |core| async move {
        for n in 0..count {
            for shard in 0..SHARDS {
                write(&core, key(shard, n)).await.unwrap();
            }
        }
    });
    store.close();
}

/// Which of the keys of a shard are there, and what was said of the others.
pub fn survey(store: &Store, shard: u16, count: u32) -> (Vec<u32>, Vec<String>) {
    store.run(move |core| async move {
        let (mut sound, mut errors) = (Vec::new(), Vec::new());
        for n in 0..count {
            match read(&core, key(shard, n)).await {
                Ok(true) => sound.push(n),
                Ok(false) => (),
                Err(e) => errors.push(e),
            }
        }
        (sound, errors)
    })
}

pub fn findings(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for (shard, findings) in check_stopped(directory, &mut |_, _| ()).unwrap() {
        assert!(shard == ShardId(0) || findings.total == 0, "{findings:?}");
        assert_eq!(findings.total as usize, findings.list.len());
        all.extend(findings.list.into_iter().map(|f| f.what));
    }
    all
}

pub fn assert_whole(directory: &Path, count: u32) {
    let store = Store::open(directory);
    for shard in 0..SHARDS {
        let all: Vec<u32> = (0..count).collect();
        assert_eq!(survey(&store, shard, count), (all, vec![]));
    }
    store.run(move |core| async move { write(&core, key(0, 900)).await.unwrap() });
    store.close();
    assert_eq!(findings(directory), Vec::<String>::new());
}

/// Flips a bit of a file.
pub fn flip(path: &Path, at: u64) {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

/// All files below.
pub fn walk(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// For the longest of the closures on a disk that syncs a few times a second.
const LIMIT: Duration = Duration::from_secs(600);
