//! An S3 provider in memory that can be written to, remembers what was done, and misbehaves on command.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use fallthrough_object::{Body, ETag, Meta};
use fallthrough_shadow::{
    ListQuery, ListedObject, ListedPage, Method, ObjectHeaders, RawAnswer, Request, SentBody, Shadow,
    ShadowError, Write, WriteGuard, WriteRequest,
};
use fallthrough_wire::digest::{DigestSet, Digests, multipart_etag};
use fallthrough_wire::headers::write_meta;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

/// What goes wrong with a write.
#[derive(Clone, Debug)]
pub enum Mishap {
    /// It answers this, and does nothing.
    Answers(u16, &'static str),
    /// It does it, and the answer is lost.
    DoneAndLost,
    /// It does nothing, and no answer comes.
    Lost,
    /// It answers 200 with an error in its document, and does nothing.
    SaysErrorLater,
    /// It does nothing and waits until it is let go on; then it does it.
    Waits,
}

/// An object of the provider.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its ETag.
    pub etag: ETag,
    /// What was said of it besides.
    pub object: ObjectHeaders,
}

/// An upload on its way: its key, what was said of the object, and its parts.
type Upload = (String, ObjectHeaders, BTreeMap<u32, (Bytes, [u8; 16])>);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Kept>,
    uploads: BTreeMap<String, Upload>,
    next_upload: u32,
    mishaps: BTreeMap<String, VecDeque<Mishap>>,
    always: Option<Mishap>,
    log: Vec<String>,
    heads: usize,
    takes_no_conditions: bool,
    keeps_parts_waiting: bool,
    passes_over_completions: bool,
}

/// The provider. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Provider {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Provider {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody else puts an object.
    pub fn has(&self, key: &str, bytes: &'static str) {
        let object = ObjectHeaders { meta: Meta::of_type("text/css"), ..ObjectHeaders::default() };
        self.keeps(key, bytes, object);
    }

    /// An object arrives that looks like this.
    pub fn keeps(&self, key: &str, bytes: &'static str, object: ObjectHeaders) {
        let bytes = Bytes::from_static(bytes.as_bytes());
        let kept = Kept { etag: ETag::from_md5(md5(&bytes)), bytes, object };
        self.lock().objects.insert(key.to_owned(), kept);
    }

    /// Somebody else deletes an object.
    pub fn loses(&self, key: &str) {
        self.lock().objects.remove(key);
    }

    /// An object.
    pub fn kept(&self, key: &str) -> Option<Kept> {
        self.lock().objects.get(key).cloned()
    }

    /// The bytes of an object, as text.
    ///
    /// # Panics
    /// If they are none.
    pub fn text(&self, key: &str) -> Option<String> {
        self.kept(key).map(|kept| String::from_utf8(kept.bytes.to_vec()).expect("text"))
    }

    /// All objects.
    pub fn all(&self) -> BTreeMap<String, Bytes> {
        self.lock().objects.iter().map(|(key, kept)| (key.clone(), kept.bytes.clone())).collect()
    }

    /// The next write of this key goes wrong; another call adds to it.
    pub fn mishap(&self, key: &str, mishap: Mishap) {
        self.lock().mishaps.entry(key.to_owned()).or_default().push_back(mishap);
    }

    /// Every write goes wrong from now on, or none.
    pub fn always(&self, mishap: Option<Mishap>) {
        self.lock().always = mishap;
    }

    /// It refuses conditions from now on.
    pub fn takes_no_conditions(&self) {
        self.lock().takes_no_conditions = true;
    }

    /// Parts of uploads wait for ever, or those that come from now on do not.
    pub fn keeps_parts_waiting(&self, waits: bool) {
        self.lock().keeps_parts_waiting = waits;
    }

    /// It takes conditions again.
    pub fn takes_conditions(&self) {
        self.lock().takes_no_conditions = false;
    }

    /// It takes conditions of completions from now on, and does not look at them.
    pub fn passes_over_conditions_of_completions(&self) {
        self.lock().passes_over_completions = true;
    }

    /// The writes so far, as `PUT key "text"`, `DELETE key` and the steps of uploads, with their guard.
    pub fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// How often HEAD was asked.
    pub fn heads(&self) -> usize {
        self.lock().heads
    }

    /// Lets one write go on that waits.
    pub fn go_on(&self) {
        self.go_on.notify_one();
    }

    /// Waits until so many writes have come.
    pub async fn logged(&self, many: usize) {
        loop {
            let changed = self.changed.notified();
            if self.lock().log.len() >= many {
                return;
            }
            changed.await;
        }
    }

    fn note(&self, line: String) {
        self.lock().log.push(line);
        self.changed.notify_waiters();
        self.changed.notify_one();
    }
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut digests = Digests::new(DigestSet::none().and_md5());
    digests.update(bytes);
    digests.finish().md5.expect("it was asked for")
}

fn answer(status: u16, headers: &[(&'static str, String)], body: String) -> RawAnswer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().expect("a header value"));
    }
    let status = StatusCode::from_u16(status).expect("a status");
    let pieces = futures::stream::iter([Ok(Bytes::from(body))]);
    RawAnswer { status, headers: map, body: Box::pin(pieces) }
}

fn error(status: u16, code: &str) -> RawAnswer {
    answer(status, &[], format!("<Error><Code>{code}</Code></Error>"))
}

async fn taken(body: SentBody) -> Bytes {
    let bytes = match body.body {
        Body::Bytes(bytes) => bytes,
        Body::File(_) => panic!("files are not sent"),
        Body::Stream(mut pieces) => {
            let mut bytes = BytesMut::new();
            while let Some(piece) = pieces.next().await {
                bytes.extend_from_slice(&piece.expect("the body is whole"));
            }
            bytes.freeze()
        }
    };
    assert_eq!(bytes.len() as u64, body.size_bytes);
    assert!(body.md5.is_none_or(|promised| promised == md5(&bytes)));
    bytes
}

impl Provider {
    fn done(&self, key: &str, kept: Option<Kept>) -> RawAnswer {
        let mut state = self.lock();
        match kept {
            Some(kept) => {
                let etag = kept.etag.to_string();
                state.objects.insert(key.to_owned(), kept);
                answer(200, &[("etag", etag)], String::new())
            }
            None => {
                state.objects.remove(key);
                answer(204, &[], String::new())
            }
        }
    }

    /// Does what is to be done, under the guard.
    fn act(&self, key: &str, guard: &WriteGuard, kept: Option<Kept>) -> RawAnswer {
        let there = self.kept(key).map(|kept| kept.etag);
        let holds = match guard {
            WriteGuard::None => true,
            WriteGuard::Match(etag) => there.as_ref() == Some(etag),
            WriteGuard::Absent => there.is_none(),
        };
        if holds { self.done(key, kept) } else { error(412, "PreconditionFailed") }
    }

    async fn act_or_not(
        &self,
        key: &str,
        guard: WriteGuard,
        kept: Option<Kept>,
    ) -> Result<RawAnswer, ShadowError> {
        let mishap = {
            let mut state = self.lock();
            if state.takes_no_conditions && guard != WriteGuard::None {
                return Ok(error(501, "NotImplemented"));
            }
            let own = state.mishaps.get_mut(key).and_then(VecDeque::pop_front);
            own.or_else(|| state.always.clone())
        };
        match mishap {
            None => Ok(self.act(key, &guard, kept)),
            Some(Mishap::Answers(status, code)) => Ok(error(status, code)),
            Some(Mishap::DoneAndLost) => {
                self.act(key, &guard, kept);
                Err(ShadowError::Timeout)
            }
            Some(Mishap::Lost) => Err(ShadowError::Unreachable { reason: "the connection broke".into() }),
            Some(Mishap::SaysErrorLater) => Ok(error(200, "InternalError")),
            Some(Mishap::Waits) => {
                self.go_on.notified().await;
                Ok(self.act(key, &guard, kept))
            }
        }
    }
}

fn told(guard: &WriteGuard) -> String {
    match guard {
        WriteGuard::None => String::new(),
        WriteGuard::Match(etag) => format!(" if {}", &etag.value()[..4.min(etag.value().len())]),
        WriteGuard::Absent => " if absent".to_owned(),
    }
}

#[async_trait]
impl Shadow for Provider {
    async fn fetch(&self, request: Request) -> Result<RawAnswer, ShadowError> {
        let mut state = self.lock();
        if request.method == Method::Head {
            state.heads += 1;
        }
        let Some(kept) = state.objects.get(request.key.as_str()) else {
            let missing = error(404, if request.method == Method::Head { "" } else { "NoSuchKey" });
            return Ok(if request.method == Method::Head {
                answer(404, &[], String::new())
            } else {
                missing
            });
        };
        let mut headers = HeaderMap::new();
        write_meta(&kept.object.meta, &mut headers).expect("it was taken from headers");
        headers.insert("etag", kept.etag.to_string().parse().expect("a header value"));
        headers.insert("content-length", kept.bytes.len().into());
        let bytes = if request.method == Method::Head { Bytes::new() } else { kept.bytes.clone() };
        let body = Box::pin(futures::stream::iter([Ok(bytes)]));
        Ok(RawAnswer { status: StatusCode::OK, headers, body })
    }

    async fn list(&self, query: ListQuery) -> Result<ListedPage, ShadowError> {
        let state = self.lock();
        let objects = state.objects.iter().filter(|(key, _)| {
            key.starts_with(&query.prefix) && (query.start_after.is_empty() || **key > query.start_after)
        });
        let listed = objects.map(|(key, kept)| ListedObject {
            key: key.clone(),
            etag: Some(kept.etag.clone()),
            size_bytes: kept.bytes.len() as u64,
            last_modified: fallthrough_object::Timestamp(0),
        });
        Ok(ListedPage { objects: listed.collect(), prefixes: Vec::new(), truncated: false })
    }

    async fn write(&self, request: WriteRequest) -> Result<RawAnswer, ShadowError> {
        let (key, guard) = (request.key.as_str().to_owned(), request.guard);
        match request.write {
            Write::Put { object, body } => {
                let bytes = taken(body).await;
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]).into_owned();
                self.note(format!("PUT {key} {text:?}{}", told(&guard)));
                let kept = Kept { etag: ETag::from_md5(md5(&bytes)), bytes, object: *object };
                self.act_or_not(&key, guard, Some(kept)).await
            }
            Write::Delete => {
                self.note(format!("DELETE {key}{}", told(&guard)));
                self.act_or_not(&key, guard, None).await
            }
            Write::CreateUpload { object } => {
                let mut state = self.lock();
                state.next_upload += 1;
                let id = format!("up-{}", state.next_upload);
                state.uploads.insert(id.clone(), (key.clone(), *object, BTreeMap::new()));
                drop(state);
                self.note(format!("CREATE {key}"));
                let root = "InitiateMultipartUploadResult";
                Ok(answer(200, &[], format!("<{root}><UploadId>{id}</UploadId></{root}>")))
            }
            Write::UploadPart { upload, number, body } => {
                let bytes = taken(body).await;
                let sum = md5(&bytes);
                self.note(format!("PART {key} {number} of {} bytes", bytes.len()));
                if self.lock().keeps_parts_waiting {
                    std::future::pending::<()>().await;
                }
                let mut state = self.lock();
                let Some(there) = state.uploads.get_mut(&upload) else {
                    return Ok(error(404, "NoSuchUpload"));
                };
                there.2.insert(number, (bytes, sum));
                Ok(answer(200, &[("etag", ETag::from_md5(sum).to_string())], String::new()))
            }
            Write::CompleteUpload { upload, parts } => {
                self.note(format!("COMPLETE {key} of {} parts{}", parts.len(), told(&guard)));
                let there = self.lock().uploads.get(&upload).cloned();
                let Some((_, object, there)) = there else { return Ok(error(404, "NoSuchUpload")) };
                let mut bytes = BytesMut::new();
                let mut sums = Vec::new();
                for (number, etag) in parts {
                    let (part, sum) = &there[&number];
                    assert_eq!(etag, ETag::from_md5(*sum));
                    bytes.extend_from_slice(part);
                    sums.push(*sum);
                }
                let kept = Kept { etag: multipart_etag(sums.iter()), bytes: bytes.freeze(), object };
                let guard = if self.lock().passes_over_completions { WriteGuard::None } else { guard };
                let done = self.act_or_not(&key, guard, Some(kept)).await?;
                if done.status == 200 {
                    self.lock().uploads.remove(&upload);
                }
                Ok(done)
            }
            Write::AbortUpload { upload } => {
                self.note(format!("ABORT {key}"));
                let gone = self.lock().uploads.remove(&upload).is_none();
                Ok(if gone { error(404, "NoSuchUpload") } else { answer(204, &[], String::new()) })
            }
        }
    }
}

impl Provider {
    /// Uploads that are on their way.
    pub fn uploads(&self) -> usize {
        self.lock().uploads.len()
    }
}
