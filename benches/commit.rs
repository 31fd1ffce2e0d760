//! How fast one shard makes messages of 10 KiB with three rows durable, with 1 and with 100 writers. Prints, judges nothing:
//! `cargo bench --bench commit`. docs/STORAGE.md has figures.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shards::engine::{Core, Engine, EngineOptions, Service};
use shards::lanes::Incoming;
use shards::pool::Pool;
use shards::rt::{self, Room};
use shards::storage::{Batch, NewBody, Shard, StorageOptions, open};

struct Bench(Option<Rc<Shard>>);

struct Run {
    writers: u32,
    each: u32,
}

impl Service for Bench {
    type Call = Run;
    type Answer = Duration;

    fn handle(self: &Rc<Self>, incoming: Incoming<Run, Duration>) {
        let Some(shard) = self.0.clone() else { return };
        rt::spawn(&ROOM, async move {
            let start = Instant::now();
            let left = Rc::new(Cell::new(incoming.call.writers));
            for writer in 0..incoming.call.writers {
                let (shard, left, each) = (shard.clone(), left.clone(), incoming.call.each);
                rt::spawn(&ROOM, async move {
                    for n in 0..each {
                        write(&shard, writer, n).await;
                    }
                    left.set(left.get() - 1);
                });
            }
            while left.get() > 0 {
                rt::sleep(Duration::from_millis(1)).await;
            }
            incoming.responder.answer(start.elapsed());
        });
    }

    async fn drain(self: Rc<Self>, _limit: Duration) {}
}

static ROOM: Room = Room::new("bench");

async fn write(shard: &Rc<Shard>, writer: u32, n: u32) {
    let wait = Duration::from_secs(60);
    let permit = shard.permit(BODY, true, wait).await.expect("room");
    let id = shard.next_body();
    let mut batch = Batch::default();
    for row in ["message", "uid", "thread"] {
        let key = format!("{row}/{writer:08}/{:016x}", id.0 ^ u64::from(n) << 40);
        batch.put(key.into_bytes(), vec![0; 64]);
    }
    batch.bodies.push(NewBody {
        id,
        kind: 1,
        meta: vec![0; 100],
        parts: vec![Arc::new(vec![b'x'; BODY])],
        external: None,
    });
    shard.commit(permit, batch).await.expect("durable");
}

fn cpu() -> Duration {
    // User and system time of the process, in ticks of 10 ms: fields 14 and 15, counted behind the name's ')'.
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .into_iter()
        .flat_map(|rest| rest.split_whitespace().skip(11).take(2))
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = StorageOptions {
        shards: 1,
        ..StorageOptions::default()
    };
    let opened = open(dir.path(), &options, 7).expect("opens");
    let watch = opened.watches().remove(0);
    let pool = Pool::start("pool", 1, 64).expect("starts");
    let engine = EngineOptions {
        cores: vec![None],
        http_cpu: None,
        ring_depth: 1024,
        spin_before_park: Duration::ZERO,
        lane_capacity: 64,
        io_memory: 64 << 10,
    };
    let engine = Engine::start(&engine, opened, &pool, |core: Core<Run, Duration>| {
        // The executor for HTTP owns no shard; nobody calls it here.
        Ok(Rc::new(Bench(core.shards.first().cloned())))
    });
    let engine = engine.expect("starts");
    for (writers, each) in [(1, 2_000), (100, 300)] {
        let (before, cpu_before) = (watch.status(), cpu());
        let run = Run { writers, each };
        let took = engine
            .network()
            .call_blocking(shards::CoreId(0), run, Duration::from_secs(600))
            .expect("answered");
        let (after, spent) = (watch.status(), cpu() - cpu_before);
        let messages = f64::from(writers * each);
        println!(
            "{writers:4} writers: {:7.0} messages/s, {:6.0} groups/s, {:4.1} messages a group, {:5.1} us CPU a message",
            messages / took.as_secs_f64(),
            (after.groups - before.groups) as f64 / took.as_secs_f64(),
            messages / (after.groups - before.groups) as f64,
            spent.as_secs_f64() * 1e6 / messages,
        );
    }
    engine.stop(Duration::from_secs(1));
}

const BODY: usize = 10 << 10;
