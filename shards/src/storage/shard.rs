//! One shard as its owner core sees it: submitting batches, reading rows and bodies. Never blocks.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use super::batch::{Batch, Committed, StorageError};
use super::commit::{Done, QUEUE_MAX, Shared, Work};
use super::external::read_external_file;
use super::work::WorkSender;
use crate::index::{Index, IndexError, Row};
use crate::pool::{Pool, PoolError};
use crate::rt::{self, Event, File};
use crate::segments::{BodyId, Damage, Location, RECORD_HEADER, open_record, segment_name};
use crate::{ShardId, segments};

type Then = Box<dyn FnOnce(Result<Committed, StorageError>)>;

/// The owner core's handle. Batches are answered in the order they were submitted.
pub struct Shard {
    id: ShardId,
    path: PathBuf,
    seed: u32,
    /// None after [`Shard::close`].
    index: RefCell<Option<Index>>,
    pool: Pool,
    work: WorkSender<Work>,
    shared: Arc<Shared>,
    waiting: RefCell<VecDeque<(usize, Then)>>,
    bytes: Cell<usize>,
    permits: Cell<usize>,
    bytes_max: usize,
    room: Event,
    /// Batches were submitted since the commit thread was last woken.
    unsent: Cell<bool>,
    wake: Event,
    next_body: Cell<u64>,
    files: RefCell<VecDeque<(u32, Rc<File>)>>,
    after_group: OnceCell<Box<dyn Fn()>>,
}

/// Room for one batch; from [`Shard::permit`].
pub struct Permit {
    /// None once the batch is submitted: then its answer gives the room back.
    shard: Option<Rc<Shard>>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shard) = &self.shard {
            shard.give_back(self.bytes);
        }
    }
}

/// How a shard is doing, for metrics and health.
#[derive(Clone, Debug, Default)]
pub struct ShardStatus {
    /// Why it is out of service, if it is.
    pub poisoned: Option<Arc<str>>,
    /// Too little disk space for new bodies.
    pub disk_low: bool,
    /// For how long a group has been under way, if one is.
    pub under_way: Option<Duration>,
    /// Groups made durable since the start.
    pub groups: u64,
    /// Batches in them.
    pub batches: u64,
    /// fdatasync calls they took.
    pub syncs: u64,
    /// Bytes of rows and bodies in them.
    pub bytes: u64,
    /// Bodies moved by compaction.
    pub compacted: u64,
}

impl ShardStatus {
    /// For how long, if a group has been under way longer than a sound disk takes.
    pub fn stalled(&self) -> Option<Duration> {
        self.under_way.filter(|time| *time > STALLED_AFTER)
    }
}

/// What a whole engine may ask of a shard from any thread.
#[derive(Clone)]
pub struct Watch {
    /// Which shard.
    pub id: ShardId,
    pub(crate) shared: Arc<Shared>,
}

impl Watch {
    /// A snapshot.
    pub fn status(&self) -> ShardStatus {
        status(&self.shared)
    }

    /// Whether what is new can be stored there: it is in service, and free space is not below the reserve.
    pub fn takes_new(&self) -> bool {
        takes_new(&self.shared)
    }

    /// Whether free space is below the reserve: whatever writes should wait.
    pub fn is_disk_low(&self) -> bool {
        self.shared.low_space.load(Ordering::Relaxed)
    }

    /// Whether a group is under way. The owner core is woken when it is done, and looks at its lanes then: a call that leads to a
    /// batch of this shard need not wake it before ([`crate::lanes::Lanes::call_at_leisure`]).
    pub fn is_committing(&self) -> bool {
        self.shared.committing.load(Ordering::SeqCst)
    }
}

fn takes_new(shared: &Shared) -> bool {
    shared.poison.get().is_none() && !shared.low_space.load(Ordering::Relaxed)
}

fn status(shared: &Shared) -> ShardStatus {
    ShardStatus {
        poisoned: shared.poison.get().cloned(),
        disk_low: shared.low_space.load(Ordering::Relaxed),
        under_way: shared
            .committing
            .load(Ordering::SeqCst)
            .then(|| shared.began.elapsed()),
        groups: shared.groups.load(Ordering::Relaxed),
        batches: shared.batches.load(Ordering::Relaxed),
        syncs: shared.syncs.load(Ordering::Relaxed),
        bytes: shared.bytes.load(Ordering::Relaxed),
        compacted: shared.compacted.load(Ordering::Relaxed),
    }
}

/// A body read back and checked.
pub struct Body {
    record: Vec<u8>,
    start: usize,
    location: Location,
}

impl Body {
    /// The part within the segment: all of it, unless [`Body::external_length`] says more follows.
    pub fn bytes(&self) -> &[u8] {
        &self.record[self.start..]
    }

    /// The self-description it was stored with.
    pub fn meta(&self) -> &[u8] {
        &self.record[RECORD_HEADER..self.start]
    }

    /// Octets of content that follow in a file of their own: see [`Shard::read_external`].
    pub fn external_length(&self) -> u64 {
        self.location.external_length
    }

    /// Where it was found.
    pub fn location(&self) -> Location {
        self.location
    }
}

pub(crate) struct ShardParts {
    pub id: ShardId,
    pub path: PathBuf,
    pub seed: u32,
    pub index: Index,
    pub work: WorkSender<Work>,
    pub shared: Arc<Shared>,
    pub next_body: u64,
    pub bytes_max: usize,
}

impl Shard {
    /// Takes over a shard on the core that owns it from now on, and serves its answers there.
    pub(crate) fn new(parts: ShardParts, pool: Pool) -> Rc<Shard> {
        let shard = Rc::new(Shard {
            id: parts.id,
            path: parts.path,
            seed: parts.seed,
            index: RefCell::new(Some(parts.index)),
            pool,
            work: parts.work,
            shared: parts.shared,
            waiting: RefCell::default(),
            bytes: Cell::new(0),
            permits: Cell::new(0),
            bytes_max: parts.bytes_max,
            room: Event::new(),
            unsent: Cell::new(false),
            wake: Event::new(),
            next_body: Cell::new(parts.next_body),
            files: RefCell::default(),
            after_group: OnceCell::new(),
        });
        let serving = shard.clone();
        rt::spawn(&ROOM, async move { serving.serve().await });
        let waking = shard.clone();
        rt::spawn(&ROOM, async move { waking.wake_when_submitted().await });
        shard
    }

    /// What runs on this core after the answers of each group. Set once.
    pub(crate) fn after_group(&self, then: impl Fn() + 'static) {
        let _ = self.after_group.set(Box::new(then));
    }

    /// Lets go of the index, so that the directory can be opened again. Reads fail from now on.
    pub fn close(&self) {
        self.index.borrow_mut().take();
        self.files.borrow_mut().clear();
    }

    /// Its number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Where the external content of a body lies once it is committed.
    pub fn external_path(&self, body: BodyId) -> PathBuf {
        self.path.join("large").join(segments::external_name(body))
    }

    /// How it is doing.
    pub fn status(&self) -> ShardStatus {
        status(&self.shared)
    }

    /// Whether what is new can be stored: see [`Watch::takes_new`].
    pub fn takes_new(&self) -> bool {
        takes_new(&self.shared)
    }

    /// Why what happens now could not be written down, if so: nothing should be begun that must not happen twice.
    pub fn cannot_record(&self) -> Option<&'static str> {
        if self.shared.poison.get().is_some() {
            return Some(
                "a write of its shard failed, which is out of service: check the disk, then restart",
            );
        }
        let is_full = self.shared.no_space.load(Ordering::Relaxed);
        is_full.then_some("the disk is full, and what comes of an attempt could not be written down: free some space")
    }

    /// The last of so many numbers that follow each other, for a new body and what else is numbered with it; none is given twice, also not
    /// after a restart, once the body is durable.
    pub fn next_bodies(&self, count: u64) -> BodyId {
        let id = self.next_body.get() + count.max(1) - 1;
        self.next_body.set(id + 1);
        BodyId(id)
    }

    /// A number for a new body; never given twice.
    pub fn next_body(&self) -> BodyId {
        let id = self.next_body.get();
        self.next_body.set(id + 1);
        BodyId(id)
    }

    /// Waits until there is room for a batch of about `bytes`, at most `limit`. Take it before computing rows: what is
    /// computed must be submitted, nothing is ever rolled back. `has_bodies`: refused while the disk is nearly full.
    pub async fn permit(
        self: &Rc<Self>,
        bytes: usize,
        has_bodies: bool,
        limit: Duration,
    ) -> Result<Permit, StorageError> {
        self.check_poison()?;
        if has_bodies && self.shared.low_space.load(Ordering::Relaxed) {
            return Err(StorageError::DiskFull);
        }
        if !self.has_room() {
            let wait = async {
                while !self.has_room() {
                    self.room.wait(self.room.count()).await;
                }
            };
            rt::timeout(limit, wait)
                .await
                .map_err(|_| StorageError::Busy)?;
            self.check_poison()?;
        }
        self.permits.set(self.permits.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        Ok(Permit {
            shard: Some(self.clone()),
            bytes,
        })
    }

    fn has_room(&self) -> bool {
        self.permits.get() < QUEUE_MAX && self.bytes.get() < self.bytes_max
    }

    fn give_back(&self, bytes: usize) {
        self.permits.set(self.permits.get() - 1);
        self.bytes.set(self.bytes.get() - bytes);
        self.room.notify();
    }

    fn check_poison(&self) -> Result<(), StorageError> {
        match self.shared.poison.get() {
            Some(reason) => Err(StorageError::OutOfService(self.id, reason.clone())),
            None => Ok(()),
        }
    }

    /// Hands a batch to the commit thread. `then` runs on this core when it is durable (or the shard has failed), after those of
    /// all batches submitted before.
    pub fn submit(
        &self,
        permit: Permit,
        batch: Batch,
        then: impl FnOnce(Result<Committed, StorageError>) + 'static,
    ) {
        let mut permit = permit;
        permit.shard = None;
        let bytes = permit.bytes;
        self.waiting.borrow_mut().push_back((bytes, Box::new(then)));
        if self.work.push(Work::Batch(batch)).is_err() {
            // The queue holds as many batches as there are permits, so only a stopped thread is left: everything waiting fails.
            self.fail_waiting("the commit thread has stopped");
        }
        // Woken once for all that the tasks of this round submit: larger groups, fewer syncs and fewer system calls.
        if !self.unsent.replace(true) {
            self.wake.notify();
        }
    }

    async fn wake_when_submitted(self: Rc<Self>) {
        let mut seen = 0;
        loop {
            seen = self.wake.wait(seen).await;
            self.unsent.set(false);
            self.work.wake();
        }
    }

    /// Submits and waits until the batch is durable.
    pub async fn commit(
        self: &Rc<Self>,
        permit: Permit,
        batch: Batch,
    ) -> Result<Committed, StorageError> {
        let (sender, receiver) = futures_channel::oneshot::channel();
        self.submit(permit, batch, move |result| {
            let _ = sender.send(result);
        });
        receiver.await.unwrap_or_else(|_| {
            Err(StorageError::Poisoned(
                self.id,
                "the commit thread has stopped".into(),
            ))
        })
    }

    /// Batches submitted and not yet answered.
    pub fn under_way(&self) -> usize {
        self.waiting.borrow().len()
    }

    fn fail_waiting(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        loop {
            let Some((bytes, then)) = self.waiting.borrow_mut().pop_front() else {
                break;
            };
            self.give_back(bytes);
            then(Err(StorageError::Poisoned(self.id, reason.clone())));
        }
    }

    async fn serve(self: Rc<Self>) {
        let done: &Done = &self.shared.done;
        loop {
            let group = poll_fn(|cx| {
                if let Some(group) = done.queue.pop() {
                    return Poll::Ready(group);
                }
                done.waker.register(cx.waker());
                done.queue.pop().map_or(Poll::Pending, Poll::Ready)
            })
            .await;
            match group.answers {
                Ok(answers) => {
                    for committed in answers {
                        self.answer_next(Ok(committed));
                    }
                }
                Err(reason) => {
                    for _ in 0..group.batches {
                        self.answer_next(Err(StorageError::Poisoned(self.id, reason.clone())));
                    }
                }
            }
            if let Some(then) = self.after_group.get() {
                then();
            }
            rt::yield_if_needed().await;
        }
    }

    fn answer_next(&self, result: Result<Committed, StorageError>) {
        let next = self.waiting.borrow_mut().pop_front();
        if let Some((bytes, then)) = next {
            self.give_back(bytes);
            then(result);
        }
    }

    /// One row, read by the pool.
    pub async fn get(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(move |index| index.get(&key)).await
    }

    /// Rows with `prefix`, from key `from` on, at most `limit`, read by the pool.
    pub async fn scan(
        &self,
        prefix: Vec<u8>,
        from: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<Row>, StorageError> {
        self.read(move |index| index.scan(&prefix, &from, limit))
            .await
    }

    /// The same, and no more once they come to so many octets; whether a bound ended it.
    pub async fn scan_within(
        &self,
        prefix: Vec<u8>,
        from: Vec<u8>,
        bounds: (usize, usize),
    ) -> Result<(Vec<Row>, bool), StorageError> {
        self.read(move |index| index.scan_within(&prefix, &from, bounds))
            .await
    }

    /// Checks stored bodies from a number on, at most `limit`, by the pool; answers what is wrong and where to go on.
    pub async fn check_slice(
        &self,
        from: BodyId,
        limit: usize,
    ) -> Result<(super::Findings, Option<BodyId>), StorageError> {
        let (path, shard) = (self.path.clone(), (self.id, self.seed));
        self.read(move |index| {
            let mut findings = super::Findings::default();
            let next = super::check_slice(index, &path, shard, from, limit, &mut findings)?;
            Ok((findings, next))
        })
        .await
    }

    /// Any read of the index, by the pool.
    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.check_poison()?;
        let index = self.index.borrow().clone();
        let index = index
            .ok_or_else(|| StorageError::OutOfService(self.id, "the server is stopping".into()))?;
        match self.pool.run(move || job(&index)).await {
            Ok(result) => result.map_err(|e| StorageError::Index(self.id, e)),
            Err(PoolError::Full) => Err(StorageError::Busy),
            Err(PoolError::Lost) => Err(StorageError::Index(
                self.id,
                IndexError("a read of the index panicked".into()),
            )),
        }
    }

    /// Reads a body and checks it. `hint` is where it was last seen; a body moved by compaction is found again.
    pub async fn read_body(
        &self,
        body: BodyId,
        hint: Option<Location>,
    ) -> Result<Body, StorageError> {
        if let Some(location) = hint {
            match self.read_at(body, location).await {
                Ok(found) => return Ok(found),
                Err(Missing::Moved) => (),
                Err(Missing::Damaged(what)) => {
                    // A stale hint may point into the middle of a reused file name; only the index knows.
                    if self.current(body).await? == location {
                        return Err(self.damaged(body, what));
                    }
                }
            }
        }
        // Compaction may move it between the look into the index and the reading: then the index says something new.
        let mut location = self.current(body).await?;
        for _ in 0..MOVES_MAX {
            let missing = match self.read_at(body, location).await {
                Ok(found) => return Ok(found),
                Err(missing) => missing,
            };
            let now = self.current(body).await?;
            if now == location {
                let what = match missing {
                    Missing::Moved => "it is not where the index says".into(),
                    Missing::Damaged(what) => what,
                };
                return Err(self.damaged(body, what));
            }
            location = now;
        }
        Err(StorageError::Busy)
    }

    fn damaged(&self, body: BodyId, what: Arc<str>) -> StorageError {
        StorageError::Damaged {
            shard: self.id,
            body: body.0,
            what,
        }
    }

    async fn current(&self, body: BodyId) -> Result<Location, StorageError> {
        let location = self.read(move |index| index.location(body)).await?;
        location.ok_or(StorageError::Gone(self.id, body.0))
    }

    async fn read_at(&self, body: BodyId, location: Location) -> Result<Body, Missing> {
        let file = self.segment_file(location.segment).await?;
        let record = file
            .read_exact_at(u64::from(location.offset), location.checked_length())
            .await
            .map_err(|e| Missing::Damaged(e.to_string().into()))?;
        let start = RECORD_HEADER + usize::from(location.meta_length);
        match open_record(&record, self.seed, body) {
            Ok((header, _, _))
                if (header.meta_length, header.body_length)
                    != (location.meta_length, location.body_length) =>
            {
                Err(Missing::Damaged(
                    "the index and the record disagree about its length".into(),
                ))
            }
            Ok(_) => Ok(Body {
                record,
                start,
                location,
            }),
            Err(Damage::OtherBody) => Err(Missing::Moved),
            Err(damage) => Err(Missing::Damaged(damage.to_string().into())),
        }
    }

    async fn segment_file(&self, number: u32) -> Result<Rc<File>, Missing> {
        if let Some((_, file)) = self.files.borrow().iter().find(|(n, _)| *n == number) {
            return Ok(file.clone());
        }
        let path = self.path.join("segments").join(segment_name(number));
        let file = match File::open(&path).await {
            Ok(file) => Rc::new(file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Missing::Moved),
            Err(e) => return Err(Missing::Damaged(e.to_string().into())),
        };
        let mut files = self.files.borrow_mut();
        if files.len() >= OPEN_FILES_MAX {
            files.pop_front();
        }
        files.push_back((number, file.clone()));
        Ok(file)
    }

    /// Reads `length` octets at `offset` of a body's external content, by the pool. `location` says which content that is, wherever the
    /// record lies now.
    pub async fn read_external(
        &self,
        body: BodyId,
        location: Location,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let path = self.path.join("large").join(segments::external_name(body));
        let result = self
            .pool
            .run(move || read_external_file(&path, &location, offset, length))
            .await;
        match result {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(e)) => Err(self.damaged(body, e.to_string().into())),
            Err(_) => Err(StorageError::Busy),
        }
    }
}

enum Missing {
    Moved,
    Damaged(Arc<str>),
}

/// Octets of a body's parts in memory, at most; what is larger goes to a file of its own.
pub const BODY_MAX: usize = 1 << 20;
/// A group takes milliseconds, on a disk of many users seconds.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// How often a body may be moved under one read.
const MOVES_MAX: usize = 8;
const OPEN_FILES_MAX: usize = 16;
/// Panics here are ours.
pub static ROOM: rt::Room = rt::Room::new("storage");
