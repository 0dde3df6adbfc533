//! The engine on a machine that can crash: its disk loses what was not synced.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{Body, Clock as _, ETag, RangeSpec, SeededEntropy, Tag, Timestamp};
use fallthrough_sim::TokioClock;
use fallthrough_store::simulation::{SimulatedDisk, Writer};
use fallthrough_store::{ObjectInfo, Store, StoreOptions};
use fallthrough_wire::conditions::{Conditions, TagList, WriteConditions};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::super::world::{World, body_of, caller, collect, key, put_of, rule};
use super::reference::{Answer, Ask, BELIEVED, FRESH, KEYS, Only, When, tag_of};
use crate::{
    Admission, Attributes, Bucket, BucketError, BucketMode, CopyRequest, CopySource, EngineOptions,
    GetRequest, ListItem, ListRequest, ObjectBody, PutRequest,
};

/// When a crash comes, counted from when what is under way was begun.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// After so many turns of the tasks.
    Turns(u8),
    /// After so many ms.
    Millis(u8),
    /// At this change of the disk: of a name, of bytes, or a sync.
    Change(u8),
}

pub(super) struct Machine {
    pub(super) world: World,
    disk: SimulatedDisk,
    writer: JoinHandle<()>,
    /// Whether a crash leaves what the disk said that it has synced; if not, it loses what was synced while the crash
    /// was near.
    honest: bool,
}

/// Bodies above 64 bytes are files, and above 256 they spill before their end.
async fn start(disk: &SimulatedDisk, clock: Arc<TokioClock>) -> (Store, JoinHandle<()>) {
    let options = StoreOptions {
        cache_bytes: 256 << 10,
        small_body_max: 64,
        staging_memory_max: 256,
        hot_bytes: 16 << 10,
        ..StoreOptions::default()
    };
    let entropy = Arc::new(SeededEntropy::new(clock.now().0));
    let (store, writer) =
        Store::open_simulated(disk, options, clock, entropy).await.expect("it opens after any crash");
    (store, TaskTracker::new().spawn(write(writer)))
}

/// Commits wait for a turn of the others, and few share a sync, so that crashes come in between.
async fn write(writer: Writer) {
    loop {
        writer.due().await;
        loop {
            tokio::task::yield_now().await;
            if writer.step(2) == 0 {
                break;
            }
        }
    }
}

pub(super) fn name(k: u8) -> String {
    format!("k{k}")
}

impl Machine {
    pub(super) async fn new(mode: BucketMode, honest: bool) -> Self {
        let (disk, clock) = (SimulatedDisk::default(), World::clock());
        let (store, writer) = start(&disk, clock.clone()).await;
        let options =
            EngineOptions { negative_ttl: BELIEVED, default_ttl: FRESH, ..EngineOptions::default() };
        let world = World::over(store, clock, mode, options, |_| ()).await;
        Self { world, disk, writer, honest }
    }

    /// What is asked of a key; an error is something that a sound machine never says.
    pub(super) async fn ask(&self, k: u8, ask: &Ask) -> Result<Answer, String> {
        let (engine, key) = (&self.world.engine, key(&name(k)));
        let bucket = engine.bucket(&self.world.name).await.map_err(unsound)?;
        let done = match ask {
            Ask::Get => return self.read(&bucket, GetRequest::of(key)).await,
            Ask::Range => {
                let range = Some(RangeSpec::FromTo { first: 3, last: 6 });
                return self.read(&bucket, GetRequest { range, ..GetRequest::of(key) }).await;
            }
            Ask::Head => return self.read(&bucket, GetRequest { head: true, ..GetRequest::of(key) }).await,
            Ask::Put(bytes, only) => {
                let request = PutRequest {
                    length_bytes: Some(bytes.len() as u64),
                    body: Body::Bytes(bytes.clone()),
                    conditions: conditions(only),
                    ..put_of(&name(k), "")
                };
                engine.put(&bucket, &caller(), request).await.map(drop)
            }
            Ask::Delete(only) => engine.delete_if(&bucket, &caller(), &key, conditions(only)).await.map(drop),
            Ask::Purge(written_too) => engine.purge(&bucket, &key, *written_too).await.map(drop),
            Ask::Tag => {
                let change = |info: &mut ObjectInfo| {
                    info.tags = vec![Tag { key: "seen".into(), value: "yes".into() }];
                    Ok(())
                };
                engine.annotate(&bucket, &caller(), &key, Admission::ALL, &change).await.map(drop)
            }
            Ask::CopyFrom => unreachable!("a copy has two keys"),
        };
        done.map_or_else(said, |()| Ok(Answer::Done))
    }

    /// A read, its body to the end.
    async fn read(&self, bucket: &Arc<Bucket>, request: GetRequest) -> Result<Answer, String> {
        let object = match self.world.engine.get(bucket, &caller(), request).await.result {
            Ok(object) => object,
            Err(error) => return said(error),
        };
        let (tag, size_bytes) =
            (object.info.etag.clone().ok_or("no tag")?, object.size_bytes.ok_or("no size")?);
        let is_whole = matches!(object.body, ObjectBody::Whole(_));
        if matches!(object.body, ObjectBody::Head(_)) {
            return Ok(Answer::Described(tag, size_bytes));
        }
        let pieces = self.world.store.pieces(body_of(object));
        let bytes = collect(Body::Stream(pieces)).await.map_err(|error| format!("{error:?}"))?;
        if is_whole && (tag != tag_of(&bytes) || size_bytes != bytes.len() as u64) {
            return Err(format!("the headers are another body's: {bytes:?}"));
        }
        Ok(Answer::Bytes(bytes))
    }

    /// Copies an object to another key; its ETag and size.
    pub(super) async fn copy(&self, from: u8, to: u8) -> Result<Answer, String> {
        let engine = &self.world.engine;
        let bucket = engine.bucket(&self.world.name).await.map_err(unsound)?;
        let (key, source) = (key(&name(to)), key(&name(from)));
        let request = CopyRequest {
            source: CopySource { bucket: bucket.clone(), key: source, conditions: Conditions::default() },
            key,
            meta: None,
            tags: None,
            checksum: None,
            attributes: Attributes::default(),
            conditions: WriteConditions::default(),
        };
        match engine.copy(&bucket, &caller(), request, Admission::ALL).await {
            Ok(info) => Ok(Answer::Described(info.etag.clone().ok_or("no tag")?, info.size_bytes)),
            Err(error) => said(error),
        }
    }

    /// The whole list, two keys a page; `None` if the origin could not be asked.
    pub(super) async fn list(&self) -> Option<BTreeMap<u8, (ETag, u64)>> {
        let mut request = ListRequest { max_keys: 2, ..ListRequest::default() };
        let mut list = BTreeMap::new();
        for _ in 0..KEYS {
            let bucket = self.world.bucket().await;
            let page = match self.world.engine.list(&bucket, &caller(), request.clone()).await.result {
                Ok(page) => page,
                Err(BucketError::OriginFailing { .. }) => return None,
                Err(other) => panic!("{other:?}"),
            };
            for item in page.items {
                let ListItem::Object { key, etag, size_bytes, .. } = item else { panic!("{item:?}") };
                let k = key.as_str()[1..].parse().expect("one of the keys");
                let before = list.insert(k, (etag.expect("a tag"), size_bytes));
                assert!(before.is_none(), "{key:?} is listed twice");
            }
            match page.next {
                Some(next) => request.cursor = Some(next),
                None => return Some(list),
            }
        }
        panic!("the list does not end: {list:?}");
    }

    /// Clears the shadow, or sets it again.
    pub(super) async fn set_shadow(&self, shadow: bool) -> Result<(), String> {
        let rules: Vec<_> = shadow.then(rule).into_iter().collect();
        self.world.set_rules(&rules).await.map(drop).map_err(unsound)
    }

    pub(super) async fn has_shadow(&self) -> bool {
        !self.world.bucket().await.settings.shadow.is_empty()
    }

    pub(super) fn since(&self, from: Timestamp) -> When {
        When { from, to: self.world.now() }
    }

    /// The machine crashes at this moment while `running` is under way, which gives what it answers to `told`. What
    /// survives is decided by `seed`.
    pub(super) async fn crash<'a, F: Future<Output = ()> + 'a>(
        &'a self,
        running: impl IntoIterator<Item = F>,
        at: Moment,
        seed: u64,
    ) -> SimulatedDisk {
        let before = (!self.honest).then(|| self.disk.as_of_now(seed));
        if let Moment::Change(changes) = at {
            self.disk.stop_after(u32::from(changes));
        }
        let mut running: FuturesUnordered<F> = running.into_iter().collect();
        let over = async {
            match at {
                Moment::Turns(turns) => {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                }
                // Under virtual time: a crash comes so long after.
                Moment::Millis(ms) => tokio::time::sleep(Duration::from_millis(u64::from(ms))).await,
                // The disk has stopped by then, or it has nothing to do.
                Moment::Change(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                Some(()) = running.next() => {}
                () = &mut over => break,
            }
        }
        // The disk stops first: whoever is dropped now can write nothing more.
        let left = self.disk.crash(seed);
        before.unwrap_or(left)
    }

    /// Whether the disk has stopped.
    pub(super) fn is_dead(&self) -> bool {
        self.disk.is_dead()
    }

    /// Starts on what a crash has left of the disk.
    pub(super) async fn start_after_crash(&mut self, left: SimulatedDisk) {
        self.writer.abort();
        self.world.engine.shutdown(Duration::ZERO).await;
        self.disk = left;
        self.start().await;
    }

    /// Ends in order, and starts again.
    pub(super) async fn reopen(&mut self) {
        self.world.engine.shutdown(Duration::from_secs(1)).await;
        self.writer.abort();
        self.world.store.close().await;
        self.start().await;
    }

    async fn start(&mut self) {
        let (store, writer) = start(&self.disk, self.world.clock.clone()).await;
        store.sweep().await.expect("what is left over is swept");
        self.world.restart_over(store);
        self.writer = writer;
    }

    /// Everything is forgotten: nothing must be left of it on the disk, and what is counted must be right.
    pub(super) async fn leaves_nothing(mut self) {
        assert_eq!(self.world.store.recount().await.expect("it can be counted"), 0, "tallies to be mended");
        for k in 0..KEYS {
            self.world.purge(&name(k), true).await.expect("a purge");
        }
        self.reopen().await;
        for folder in ["staging/", "blobs/"] {
            assert_eq!(self.disk.names(folder), Vec::<String>::new(), "files are left in {folder}");
        }
        self.writer.abort();
    }
}

fn conditions(only: &Only) -> WriteConditions {
    let (if_match, if_none_match) = match only {
        Only::Always => (None, None),
        Only::IfAbsent => (None, Some(TagList::Any)),
        Only::IfMatch(tag) => (Some(TagList::Tags(vec![tag.clone()])), None),
    };
    WriteConditions { if_match, if_none_match, ..WriteConditions::default() }
}

fn said(error: BucketError) -> Result<Answer, String> {
    match error {
        BucketError::NoSuchKey => Ok(Answer::Absent),
        BucketError::OriginFailing { .. } => Ok(Answer::CannotAsk),
        BucketError::RangeNotSatisfiable { .. } => Ok(Answer::NoSuchRange),
        BucketError::PreconditionFailed => Ok(Answer::Refused),
        BucketError::WouldLoseWritten => Ok(Answer::Kept),
        other => Err(unsound(other)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unsound(error: BucketError) -> String {
    format!("{error:?}")
}

/// Bytes that say where they come from, `len` of them.
pub(super) fn text(from: &str, len: usize) -> Bytes {
    from.bytes().cycle().take(len).collect()
}
