//! One bucket over one scripted origin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fallthrough_object::{
    Body, BodyError, BucketName, Clock, Key, Meta, RangeSpec, SeededEntropy, Timestamp,
};
use fallthrough_shadow::Shadow;
use fallthrough_sim::{Content, Script, ScriptedShadow, TokioClock};
use fallthrough_store::{Store, StoreOptions};
use fallthrough_wire::conditions::WriteConditions;
use futures::StreamExt as _;

use crate::{
    Answer, Bucket, BucketError, BucketMode, BucketSettings, CacheWord, Caller, Completion, Engine,
    EngineOptions, GetRequest, ListItem, ListRequest, ListedPart, NewBucket, NewUpload, Object, ObjectBody,
    PutPart, PutRequest, ShadowFactory, ShadowRefused, ShadowRule, ShadowTarget,
};

/// Gives every rule the client that the test holds, or the one for the bucket that the rule names.
#[derive(Debug)]
pub(super) struct Shadows {
    one: Mutex<Arc<dyn Shadow>>,
    named: Mutex<BTreeMap<String, Arc<dyn Shadow>>>,
    scripts: Mutex<BTreeMap<String, Arc<Script>>>,
}

impl ShadowFactory for Shadows {
    fn shadow(&self, _: &BucketName, rule: &ShadowRule) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        let named = self.named.lock().unwrap();
        let named = match &rule.target {
            ShadowTarget::S3 { name, .. } => named.get(name),
            ShadowTarget::Origin { .. } | ShadowTarget::Http { .. } => None,
        };
        Ok(named.cloned().unwrap_or_else(|| self.one.lock().unwrap().clone()))
    }
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) store: Store,
    pub(super) origin: Arc<Script>,
    pub(super) clock: Arc<TokioClock>,
    shadows: Arc<Shadows>,
    pub(super) name: BucketName,
}

/// What a read gave, its body read to the end.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) word: CacheWord,
    pub(super) object: Object,
    pub(super) bytes: Bytes,
}

impl Engine {
    /// Clients that wait in front of origins.
    pub(super) fn waiting_at_origins(&self) -> u32 {
        self.inner.gates.lock().unwrap().values().map(|gate| gate.waiting()).sum()
    }
}

impl World {
    pub(super) async fn new(mode: BucketMode) -> Self {
        Self::with(mode, EngineOptions::default(), |_| ()).await
    }

    pub(super) async fn with(
        mode: BucketMode,
        options: EngineOptions,
        change: impl FnOnce(&mut BucketSettings),
    ) -> Self {
        let clock = Arc::new(TokioClock::new(Timestamp::from_unix_secs(1_800_000_000)));
        let entropy = Arc::new(SeededEntropy::new(7));
        let store = Store::in_memory(StoreOptions::default(), clock.clone(), entropy);
        Self::over(store, clock, mode, options, change).await
    }

    /// Over a store that is there already, and whose bucket may be, too.
    pub(super) async fn over(
        store: Store,
        clock: Arc<TokioClock>,
        mode: BucketMode,
        options: EngineOptions,
        change: impl FnOnce(&mut BucketSettings),
    ) -> Self {
        let entropy = Arc::new(SeededEntropy::new(7));
        let origin = Script::new();
        let shadow: Arc<dyn Shadow> = Arc::new(ScriptedShadow::of(origin.clone()));
        let shadows =
            Arc::new(Shadows { one: Mutex::new(shadow), named: Mutex::default(), scripts: Mutex::default() });
        let engine = Engine::new(store.clone(), shadows.clone(), options, clock.clone(), entropy);
        let name = BucketName::parse("photos").unwrap();
        let mut settings = BucketSettings { owner: "main".into(), mode, ..BucketSettings::default() };
        if mode != BucketMode::Plain {
            settings.shadow = vec![rule()];
        }
        change(&mut settings);
        let created = engine.create_bucket(&name, settings).await.unwrap();
        assert!(matches!(created, NewBucket::Created(_) | NewBucket::Exists(_)));
        Self { engine, store, origin, clock, shadows, name }
    }

    /// Another engine over the same store, as after a restart.
    pub(super) fn restart(&mut self) {
        let entropy = Arc::new(SeededEntropy::new(8));
        let options = self.engine.inner.options.clone();
        self.engine =
            Engine::new(self.store.clone(), self.shadows.clone(), options, self.clock.clone(), entropy);
    }

    /// Another engine over another store, as after the machine has started again.
    pub(super) fn restart_over(&mut self, store: Store) {
        self.store = store;
        self.restart();
    }

    /// The clock of the test world.
    pub(super) fn clock() -> Arc<TokioClock> {
        Arc::new(TokioClock::new(Timestamp::from_unix_secs(1_800_000_000)))
    }

    /// From now on rules lead to this.
    pub(super) fn lead_to(&self, shadow: Arc<dyn Shadow>) {
        *self.shadows.one.lock().unwrap() = shadow;
    }

    /// From now on rules lead to another origin.
    pub(super) fn another_origin(&self) -> Arc<Script> {
        let origin = Script::new();
        *self.shadows.one.lock().unwrap() = Arc::new(ScriptedShadow::of(origin.clone()));
        origin
    }

    /// The origin of rules that name this bucket. To be called before such a rule is set.
    pub(super) fn origin_named(&self, name: &str) -> Arc<Script> {
        let origin = Script::new();
        let shadow = Arc::new(ScriptedShadow::of(origin.clone()));
        self.shadows.named.lock().unwrap().insert(name.to_owned(), shadow);
        self.shadows.scripts.lock().unwrap().insert(name.to_owned(), origin.clone());
        origin
    }

    /// Rules that name this bucket lead to this. To be called before such a rule is set.
    pub(super) fn lead_named(&self, name: &str, shadow: Arc<dyn Shadow>) {
        self.shadows.named.lock().unwrap().insert(name.to_owned(), shadow);
    }

    /// The origin that was made for rules that name this bucket.
    pub(super) fn named(&self, name: &str) -> Arc<Script> {
        self.shadows.scripts.lock().unwrap()[name].clone()
    }

    /// Sets the rules of the bucket.
    pub(super) async fn set_rules(&self, rules: &[ShadowRule]) -> Result<Arc<Bucket>, BucketError> {
        self.engine.set_bucket(&self.name, &|settings| settings.shadow = rules.to_vec()).await
    }

    pub(super) async fn bucket(&self) -> Arc<Bucket> {
        self.engine.bucket(&self.name).await.unwrap()
    }

    pub(super) async fn ask(&self, request: GetRequest) -> Answer<Object> {
        self.engine.get(&self.bucket().await, &caller(), request).await
    }

    pub(super) async fn get(&self, k: &str) -> Result<Got, (CacheWord, BucketError)> {
        self.read(GetRequest::of(key(k))).await
    }

    pub(super) async fn range(&self, k: &str, range: RangeSpec) -> Result<Got, (CacheWord, BucketError)> {
        self.read(GetRequest { range: Some(range), ..GetRequest::of(key(k)) }).await
    }

    pub(super) async fn head(&self, k: &str) -> Result<Got, (CacheWord, BucketError)> {
        self.read(GetRequest { head: true, ..GetRequest::of(key(k)) }).await
    }

    pub(super) async fn read(&self, request: GetRequest) -> Result<Got, (CacheWord, BucketError)> {
        let answer = self.ask(request).await;
        let word = answer.report.word;
        let mut object = answer.result.map_err(|error| (word, error))?;
        let body = match std::mem::replace(&mut object.body, ObjectBody::NotModified) {
            ObjectBody::Whole(body) => body,
            ObjectBody::Range(range, body) => {
                object.body = ObjectBody::Head(Some(range));
                body
            }
            other @ (ObjectBody::Head(_) | ObjectBody::NotModified) => {
                object.body = other;
                Body::empty()
            }
        };
        let bytes = collect(Body::Stream(self.store.pieces(body))).await.expect("the body is whole");
        Ok(Got { word, object, bytes })
    }

    pub(super) async fn put(&self, k: &str, bytes: impl Into<Bytes>) -> Result<(), BucketError> {
        self.put_if(k, bytes, WriteConditions::default()).await
    }

    pub(super) async fn put_if(
        &self,
        k: &str,
        bytes: impl Into<Bytes>,
        conditions: WriteConditions,
    ) -> Result<(), BucketError> {
        let bytes = bytes.into();
        let request = PutRequest {
            key: key(k),
            meta: Meta::of_type("text/plain"),
            attributes: Default::default(),
            length_bytes: Some(bytes.len() as u64),
            body: Body::Bytes(bytes),
            content_md5: None,
            checksums: Arc::new(OnceLock::new()),
            conditions,
        };
        self.engine.put(&self.bucket().await, &caller(), request).await.map(|_| ())
    }

    /// An object of several parts, of so many bytes each; its ETag.
    pub(super) async fn put_parts(&self, k: &str, sizes: &[usize]) -> Result<String, BucketError> {
        let bucket = self.bucket().await;
        let begun = NewUpload {
            key: key(k),
            initiator: "main".into(),
            meta: Meta::of_type("text/plain"),
            attributes: Default::default(),
            checksum: None,
            checksum_of_whole: false,
        };
        let upload = self.engine.create_upload(&bucket, begun).await?;
        let mut parts = Vec::new();
        for (number, size) in (1..).zip(sizes) {
            let body = Bytes::from(vec![b'a' + u8::try_from(number).unwrap(); *size]);
            let part = PutPart {
                key: key(k),
                upload,
                number,
                length_bytes: Some(*size as u64),
                body: Body::Bytes(body),
                content_md5: None,
                checksums: Arc::new(OnceLock::new()),
            };
            let part = self.engine.put_part(&bucket, part).await?;
            parts.push(ListedPart { number, etag: Some(part.etag()), checksums: Vec::new() });
        }
        let completion = Completion {
            key: key(k),
            upload,
            parts,
            conditions: WriteConditions::default(),
            checksum: None,
            size_bytes: None,
        };
        let info = self.engine.complete_upload(&bucket, &caller(), completion).await?;
        Ok(info.etag.as_ref().unwrap().to_string())
    }

    pub(super) async fn delete(&self, k: &str) -> bool {
        self.engine.delete(&self.bucket().await, &caller(), &key(k)).await.unwrap().tombstone
    }

    pub(super) async fn purge(&self, k: &str, written_too: bool) -> Result<bool, BucketError> {
        self.engine.purge(&self.bucket().await, &key(k), written_too).await
    }

    pub(super) async fn state(&self, k: &str) -> &'static str {
        self.engine.explain(&self.bucket().await, &key(k)).await.unwrap().state
    }

    /// Names of a whole list, page by page; prefixes end as they are.
    pub(super) async fn names(&self, request: ListRequest) -> Vec<String> {
        let mut names = Vec::new();
        let mut request = request;
        for _ in 0..1000 {
            let page = self
                .engine
                .list(&self.bucket().await, &caller(), request.clone())
                .await
                .result
                .expect("a page");
            assert!(page.items.len() <= request.max_keys);
            names.extend(page.items.iter().map(|item| match item {
                ListItem::Object { key, .. } => key.as_str().to_owned(),
                ListItem::Prefix(prefix) => prefix.clone(),
            }));
            match page.next {
                Some(cursor) => request.cursor = Some(cursor),
                None => return names,
            }
        }
        panic!("the list does not end: {names:?}");
    }

    /// Waits until every fill has ended and committed.
    pub(super) async fn settled(&self) {
        while self.engine.fills_in_flight() > 0 || !self.engine.inner.tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await; // Virtual time: only lets the tasks run.
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

pub(super) fn rule() -> ShadowRule {
    rule_to("old")
}

/// A rule that leads to a bucket of this name.
pub(super) fn rule_to(name: &str) -> ShadowRule {
    ShadowRule::to(ShadowTarget::S3 {
        endpoint: "http://origin.test".into(),
        name: name.into(),
        region: "us-east-1".into(),
        addressing: Default::default(),
        credentials: None,
    })
}

pub(super) fn caller() -> Caller {
    Caller { client: "me".into(), signed: true, may_fill: true, hops: 0, request_id: "r".into(), trace: None }
}

/// A PUT of this text.
pub(super) fn put_of(k: &str, text: &'static str) -> PutRequest {
    PutRequest {
        key: key(k),
        meta: Meta::of_type("text/plain"),
        attributes: Default::default(),
        length_bytes: Some(text.len() as u64),
        body: Body::Bytes(Bytes::from_static(text.as_bytes())),
        content_md5: None,
        checksums: Arc::new(OnceLock::new()),
        conditions: WriteConditions::default(),
    }
}

pub(super) fn key(raw: &str) -> Key {
    Key::parse(raw).unwrap()
}

pub(super) async fn collect(body: Body) -> Result<Bytes, BodyError> {
    match body {
        Body::Bytes(bytes) => Ok(bytes),
        Body::File(_) => panic!("the store in memory has no files"),
        Body::Stream(mut pieces) => {
            let mut bytes = BytesMut::new();
            while let Some(piece) = pieces.next().await {
                bytes.extend_from_slice(&piece?);
            }
            Ok(bytes.freeze())
        }
    }
}

/// The body of an answer that is expected to have one.
pub(super) fn body_of(object: Object) -> Body {
    match object.body {
        ObjectBody::Whole(body) | ObjectBody::Range(_, body) => body,
        ObjectBody::Head(_) | ObjectBody::NotModified => panic!("no body"),
    }
}

pub(super) fn same(got: &Bytes, want: &Content) -> bool {
    *got == want.bytes()
}
