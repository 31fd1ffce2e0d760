//! The store from outside: what is committed is read back, after reopening too.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringmail_shards::engine::{Core, Engine, EngineOptions, Service};
use ringmail_shards::lanes::Incoming;
use ringmail_shards::pool::Pool;
use ringmail_shards::storage::{Batch, NewBody, Shard, StorageOptions, open};

struct Test(Vec<Rc<Shard>>);

enum Call {
    Write(u8, Vec<u8>),
    Read(u8),
}

impl Service for Test {
    type Call = Call;
    type Answer = Option<Vec<u8>>;

    fn handle(self: &Rc<Self>, incoming: Incoming<Call, Option<Vec<u8>>>) {
        let shard = self.0[0].clone();
        ringmail_shards::rt::spawn(&ROOM, async move {
            let answer = match incoming.call {
                Call::Write(key, body) => Some(write(&shard, key, body).await),
                Call::Read(key) => read(&shard, key).await,
            };
            incoming.responder.answer(answer);
        });
    }

    async fn drain(self: Rc<Self>, _limit: Duration) {}
}

static ROOM: ringmail_shards::rt::Room = ringmail_shards::rt::Room::new("test");

async fn write(shard: &Rc<Shard>, key: u8, body: Vec<u8>) -> Vec<u8> {
    let permit = shard
        .permit(body.len(), true, Duration::from_secs(1))
        .await
        .unwrap();
    let id = shard.next_body();
    let mut batch = Batch::default();
    batch.put(vec![key], id.0.to_le_bytes().to_vec());
    batch.bodies.push(NewBody {
        id,
        kind: 1,
        meta: vec![key],
        parts: vec![Arc::new(body)],
        external: None,
    });
    shard.commit(permit, batch).await.unwrap();
    Vec::new()
}

async fn read(shard: &Rc<Shard>, key: u8) -> Option<Vec<u8>> {
    let row = shard.get(vec![key]).await.unwrap()?;
    let id = ringmail_shards::segments::BodyId(u64::from_le_bytes(row.try_into().unwrap()));
    Some(shard.read_body(id, None).await.unwrap().bytes().to_vec())
}

fn start(directory: &Path) -> Engine<Call, Option<Vec<u8>>> {
    let options = StorageOptions {
        shards: 2,
        segment_size: 1 << 20,
        disk_reserve_bytes: 0,
        ..StorageOptions::default()
    };
    let opened = open(directory, &options, 7).unwrap();
    let pool = Pool::start("pool", 1, 64).unwrap();
    let engine = EngineOptions {
        cores: vec![None, None],
        http_cpu: None,
        ring_depth: 256,
        spin_before_park: Duration::ZERO,
        lane_capacity: 64,
        io_memory: 64 << 10,
    };
    Engine::start(
        &engine,
        opened,
        &pool,
        |core: Core<Call, Option<Vec<u8>>>| Ok(Rc::new(Test(core.shards))),
    )
    .unwrap()
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let limit = Duration::from_secs(10);
    let engine = start(dir.path());
    let network = engine.network();
    for key in 0..20 {
        for core in 0..2 {
            let core = ringmail_shards::CoreId(core);
            network
                .call_blocking(core, Call::Write(key, vec![key; 100_000]), limit)
                .unwrap();
        }
    }
    engine.stop(Duration::from_secs(1));
    let engine = start(dir.path());
    for key in 0..20 {
        for core in 0..2 {
            let answer = engine
                .network()
                .call_blocking(ringmail_shards::CoreId(core), Call::Read(key), limit)
                .unwrap();
            assert_eq!(answer, Some(vec![key; 100_000]));
        }
    }
    engine.stop(Duration::from_secs(1));
}

/// A child that another thread starts holds copies of all descriptors until its exec; a lock that was just let go must not seem taken.
#[test]
fn a_lock_just_let_go_is_free_while_children_start() {
    let directory = tempfile::tempdir().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert!(
                        std::process::Command::new("true")
                            .status()
                            .unwrap()
                            .success()
                    );
                }
            });
        }
        for n in 0..2000 {
            let taken = ringmail_shards::storage::Lock::take(directory.path());
            if taken.is_err() {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            assert!(taken.is_ok(), "at {n}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
