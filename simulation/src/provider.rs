//! Origins as S3 providers that are written to: what they were told, in which order, and what goes wrong with it.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fallthrough_bucket::WriteConflict;
use fallthrough_object::{Body, ETag};
use fallthrough_shadow::{ObjectHeaders, RawAnswer, SentBody, ShadowError, Write, WriteGuard, WriteRequest};
use fallthrough_wire::digest::multipart_etag;
use fallthrough_wire::headers::write_meta;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use md5::{Digest as _, Md5};

use crate::did::Did;
use crate::history::{Moment, VersionId};
use crate::origin::Origins;

/// Who forgets here what somebody else changed there, among the clients.
pub(crate) const YIELDING: u32 = 96;
/// How long after a look at somebody else's object what is here may be forgotten.
const YIELDS_WITHIN: u64 = 12_000_000_000;

/// What was written to the origins of a run.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    uploads: BTreeMap<String, There>,
    next_upload: u32,
    /// By origin and key: whose what is there is.
    whose: BTreeMap<(usize, usize), Whose>,
    /// What took effect, in its order.
    pub(crate) effects: Vec<Effect>,
    /// The headers that objects were sent with.
    sent: BTreeMap<(usize, usize), ObjectHeaders>,
}

/// One write that took effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) origin: usize,
    pub(crate) key: usize,
    pub(crate) at: Moment,
    /// What it left there.
    pub(crate) left: Option<VersionId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// From before, or from before the shadow was set anew.
    Theirs,
    /// Written by us.
    Ours,
    /// Changed by somebody else; whether we had written what was there before.
    Others { over_ours: bool },
}

/// An upload on its way.
#[derive(Debug)]
struct There {
    key: usize,
    object: ObjectHeaders,
    parts: BTreeMap<u32, (Bytes, [u8; 16])>,
}

impl Taken {
    pub(crate) fn whose(&self, origin: usize, key: usize) -> Whose {
        self.whose.get(&(origin, key)).copied().unwrap_or(Whose::Theirs)
    }

    /// What was said of the object that is there, if it was sent by us.
    pub(crate) fn sent(&self, origin: usize, key: usize) -> Option<&ObjectHeaders> {
        self.sent.get(&(origin, key))
    }

    /// Uploads that were begun and neither completed nor aborted.
    pub(crate) fn uploads_left(&self) -> usize {
        self.uploads.len()
    }

    pub(crate) fn changed_by_others(&mut self, origin: usize, key: usize) {
        let over_ours = matches!(self.whose(origin, key), Whose::Ours | Whose::Others { over_ours: true });
        self.whose.insert((origin, key), Whose::Others { over_ours });
        self.sent.remove(&(origin, key));
    }

    /// The shadow is another from now on, of which nothing is known.
    pub(crate) fn forget_whose(&mut self) {
        self.whose.retain(|_, whose| {
            if let Whose::Others { over_ours } = whose {
                *over_ours = false;
            }
            *whose != Whose::Ours
        });
    }
}

impl Origins {
    pub(crate) fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody looks at what an origin has: where that is somebody else's, what is here may be given up for it.
pub(crate) fn noticed(origins: &Origins, origin: usize, name: &str) {
    let yields = origins.plan.through.is_some_and(|way| way.conflict == WriteConflict::Origin);
    let Some(key) = origins.plan.keys.iter().position(|key| *key == name).filter(|_| yields) else { return };
    if matches!(origins.taken().whose(origin, key), Whose::Others { .. }) {
        let from = origins.journal.now();
        let to = Moment { nanos: from.nanos + YIELDS_WITHIN, ..from };
        origins.journal.did_until(YIELDING, key, from, to, Did::Yield, false);
    }
}

/// What is asked for, its body read.
#[derive(Debug)]
enum Step {
    Put(Box<ObjectHeaders>, Bytes),
    Delete,
    Create(Box<ObjectHeaders>),
    Part(String, u32, Bytes),
    Complete(String, Vec<(u32, ETag)>),
    Abort(String),
}

impl Step {
    fn in_words(&self) -> String {
        match self {
            Self::Put(_, bytes) => format!("PUT of {} bytes, {}", bytes.len(), ETag::from_md5(md5(bytes))),
            Self::Delete => "DELETE".to_owned(),
            Self::Create(_) => "CREATE".to_owned(),
            Self::Part(upload, number, bytes) => format!("PART {number} of {upload}, {} bytes", bytes.len()),
            Self::Complete(upload, parts) => format!("COMPLETE {upload} of {} parts", parts.len()),
            Self::Abort(upload) => format!("ABORT {upload}"),
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Nothing,
    Answers(u16, &'static str),
    /// It is done, and the answer is this.
    DoneAndAnswers(u16, &'static str),
    /// The connection breaks, after it was done or without.
    Reset(bool),
    /// No answer comes, after it was done or without.
    Stall(bool),
    /// The upload is lost.
    LosesUpload,
    Slow(Duration),
}

/// Takes a write, as the weather says.
pub(crate) async fn take(
    origins: &Arc<Origins>,
    origin: usize,
    request: WriteRequest,
) -> Result<RawAnswer, ShadowError> {
    let dice = &origins.dice;
    let name = request.key.as_str();
    let Some(key) = origins.plan.keys.iter().position(|key| *key == name) else {
        origins.journal.violation(format!("an origin is sent {name}, which nobody wrote"));
        return Err(ShadowError::ReadOnly);
    };
    let step = match request.write {
        Write::Put { object, body } => Step::Put(object, whole(origins, body).await?),
        Write::Delete => Step::Delete,
        Write::CreateUpload { object } => Step::Create(object),
        Write::UploadPart { upload, number, body } => Step::Part(upload, number, whole(origins, body).await?),
        Write::CompleteUpload { upload, parts } => Step::Complete(upload, parts),
        Write::AbortUpload { upload } => Step::Abort(upload),
    };
    let mishap = mishap(origins, &step);
    origins.journal.note(&format!(
        "origin {origin} is sent key {key}: {} {:?} {mishap:?}",
        step.in_words(),
        request.guard
    ));
    origins.journal.count("writes to origins");
    let delay = Duration::from_micros(if dice.chance(60) { dice.below(30_000) } else { 0 });
    let if_dropped = dice.chance(50);
    let odd = dice.chance(50);
    let mut arrived =
        Arrived { origins: origins.clone(), origin, key, step, guard: request.guard, if_dropped, odd };
    tokio::time::sleep(delay).await;
    match mishap {
        Mishap::Nothing => Ok(arrived.act()),
        Mishap::Slow(pause) => {
            tokio::time::sleep(pause).await;
            Ok(arrived.act())
        }
        Mishap::Answers(status, code) => {
            arrived.forget();
            Ok(error(status, code))
        }
        Mishap::DoneAndAnswers(status, code) => {
            arrived.act();
            Ok(error(status, code))
        }
        Mishap::Reset(done) => {
            if done {
                drop(arrived.act())
            } else {
                arrived.forget()
            };
            Err(ShadowError::Unreachable { reason: "connection reset".into() })
        }
        Mishap::Stall(done) => {
            if done {
                drop(arrived.act())
            } else {
                arrived.forget()
            };
            tokio::time::sleep(request.stall).await;
            Err(ShadowError::Timeout)
        }
        Mishap::LosesUpload => {
            if let Step::Complete(upload, _) | Step::Part(upload, ..) = &arrived.step {
                origins.taken().uploads.remove(upload);
            }
            Ok(arrived.act())
        }
    }
}

fn mishap(origins: &Origins, step: &Step) -> Mishap {
    let dice = &origins.dice;
    if !dice.chance(origins.weather()) {
        return Mishap::Nothing;
    }
    let (name, mishap) = match dice.below(12) {
        0 | 1 => ("write 5xx", Mishap::Answers(dice.pick(&[500, 502, 504]), "InternalError")),
        2 => ("write done, 500", Mishap::DoneAndAnswers(500, "InternalError")),
        3 => ("write busy", Mishap::Answers(503, "SlowDown")),
        4 | 5 => ("write reset", Mishap::Reset(false)),
        6 | 7 => ("write done, reset", Mishap::Reset(true)),
        8 => ("write stall", Mishap::Stall(dice.chance(50))),
        9 if matches!(step, Step::Complete(..)) => {
            ("write error after 200", Mishap::Answers(200, "InternalError"))
        }
        9 => ("write contended", Mishap::Answers(409, "ConditionalRequestConflict")),
        10 if matches!(step, Step::Complete(..) | Step::Part(..)) => ("upload lost", Mishap::LosesUpload),
        _ => ("write slow", Mishap::Slow(Duration::from_millis(dice.between(200, 12_000)))),
    };
    origins.journal.count(name);
    mishap
}

async fn whole(origins: &Origins, body: SentBody) -> Result<Bytes, ShadowError> {
    let broken = || ShadowError::Unreachable { reason: "the body broke off".into() };
    let bytes = match body.body {
        Body::Bytes(bytes) => bytes,
        Body::File(_) => return Err(broken()),
        Body::Stream(mut pieces) => {
            let mut bytes = BytesMut::new();
            while let Some(piece) = pieces.next().await {
                bytes.extend_from_slice(&piece.map_err(|_| broken())?);
            }
            bytes.freeze()
        }
    };
    if bytes.len() as u64 != body.size_bytes {
        origins.journal.violation(format!("{} bytes are sent as {}", bytes.len(), body.size_bytes));
    }
    if body.md5.is_some_and(|promised| promised != md5(&bytes)) {
        origins.journal.violation("bytes are sent with the MD5 of others");
    }
    Ok(bytes)
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

fn answer(status: u16, etag: Option<&str>, body: String) -> RawAnswer {
    let mut headers = HeaderMap::new();
    if let Some(etag) = etag {
        headers.insert("etag", etag.parse().expect("an ETag is a header value"));
    }
    let status = StatusCode::from_u16(status).expect("a status");
    RawAnswer { status, headers, body: futures::stream::iter([Ok(Bytes::from(body))]).boxed() }
}

fn error(status: u16, code: &str) -> RawAnswer {
    answer(status, None, format!("<Error><Code>{code}</Code></Error>"))
}

/// A request that came whole. Whoever sent it may be gone before it is answered: then it takes effect or not.
struct Arrived {
    origins: Arc<Origins>,
    origin: usize,
    key: usize,
    step: Step,
    guard: WriteGuard,
    if_dropped: bool,
    /// Decides what S3 providers differ in.
    odd: bool,
}

impl Drop for Arrived {
    fn drop(&mut self) {
        if self.if_dropped {
            self.origins.journal.note(&format!("key {} is changed at the origin unheard", self.key));
            self.act();
        }
    }
}

impl Arrived {
    fn forget(&mut self) {
        self.if_dropped = false;
    }

    /// Does it, now.
    fn act(&mut self) -> RawAnswer {
        self.if_dropped = false;
        let name = self.origins.plan.keys[self.key];
        if matches!(self.step, Step::Put(..) | Step::Delete | Step::Complete(..)) {
            let there = self.origins.scripts[self.origin].etag(name);
            match (&self.guard, there) {
                (WriteGuard::None, _) | (WriteGuard::Absent, None) => {}
                (WriteGuard::Match(etag), Some(there)) if etag.to_string() == there => {}
                (WriteGuard::Match(_), None) if self.odd => return error(404, "NoSuchKey"),
                _ => return error(412, "PreconditionFailed"),
            }
        }
        match &self.step {
            Step::Put(object, bytes) => {
                let etag = ETag::from_md5(md5(bytes)).to_string();
                self.left(Some((&etag, bytes, object)));
                answer(200, Some(&etag), String::new())
            }
            Step::Delete => {
                self.left(None);
                answer(204, None, String::new())
            }
            Step::Create(object) => {
                let mut taken = self.origins.taken();
                taken.next_upload += 1;
                let id = format!("upload-{}", taken.next_upload);
                let there = There { key: self.key, object: (**object).clone(), parts: BTreeMap::new() };
                taken.uploads.insert(id.clone(), there);
                let root = "InitiateMultipartUploadResult";
                answer(200, None, format!("<{root}><UploadId>{id}</UploadId></{root}>"))
            }
            Step::Part(upload, number, bytes) => {
                let mut taken = self.origins.taken();
                let Some(there) = taken.uploads.get_mut(upload) else { return error(404, "NoSuchUpload") };
                there.parts.insert(*number, (bytes.clone(), md5(bytes)));
                answer(200, Some(&ETag::from_md5(md5(bytes)).to_string()), String::new())
            }
            Step::Complete(upload, parts) => self.complete(upload, parts),
            Step::Abort(upload) => match self.origins.taken().uploads.remove(upload) {
                Some(_) => answer(204, None, String::new()),
                None => error(404, "NoSuchUpload"),
            },
        }
    }

    fn complete(&self, upload: &str, parts: &[(u32, ETag)]) -> RawAnswer {
        let there = self.origins.taken().uploads.remove(upload).filter(|there| there.key == self.key);
        let Some(there) = there else { return error(404, "NoSuchUpload") };
        let (mut bytes, mut sums) = (BytesMut::new(), Vec::new());
        for (number, etag) in parts {
            match there.parts.get(number).filter(|(_, sum)| ETag::from_md5(*sum) == *etag) {
                Some((part, sum)) => {
                    bytes.extend_from_slice(part);
                    sums.push(*sum);
                }
                None => self.origins.journal.violation(format!("part {number} was never sent")),
            }
        }
        let etag = multipart_etag(sums.iter()).to_string();
        self.left(Some((&etag, &bytes.freeze(), &there.object)));
        let root = "CompleteMultipartUploadResult";
        answer(200, None, format!("<{root}><ETag>{}</ETag></{root}>", etag.replace('"', "&quot;")))
    }

    /// Leaves this at the origin.
    fn left(&self, object: Option<(&str, &Bytes, &ObjectHeaders)>) {
        let Self { origins, origin, key, .. } = self;
        let (journal, script, name) = (&origins.journal, &origins.scripts[*origin], origins.plan.keys[*key]);
        if object.is_none() && script.etag(name).is_none() {
            return;
        }
        let fails = origins.plan.through.is_some_and(|way| way.conflict == WriteConflict::Fail);
        if fails && origins.taken().whose(*origin, *key) == (Whose::Others { over_ours: true }) {
            journal.violation(format!("what somebody else made of key {key} at the origin is overwritten"));
        }
        let mut version = None;
        if let Some((etag, bytes, said)) = object {
            let mut headers = HeaderMap::new();
            write_meta(&said.meta, &mut headers).expect("it was taken from headers");
            let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            // A copy of parts is called otherwise where it is sent in one.
            let known = journal.named(*key, etag).map(|(id, _)| id);
            let known = known.or_else(|| journal.only(*key, |content| content.bytes() == bytes).ok());
            let Some(known) = known else {
                journal.violation(format!("an origin is sent {etag} for key {key}, which nobody wrote"));
                return;
            };
            let content = journal.of(known).content;
            if content.bytes() != bytes {
                journal.violation(format!("an origin is sent other bytes than those of {known:?}"));
            }
            version = Some(journal.version_as(*key, content.clone(), etag.to_owned()));
            script.keep(name, content, etag, headers);
        } else {
            script.remove(name);
        }
        let at = origins.became(*origin, *key, version);
        journal.note(&format!("origin {origin} key {key} is left with {version:?}"));
        journal.count("writes that took effect");
        let mut taken = origins.taken();
        taken.whose.insert((*origin, *key), Whose::Ours);
        match object {
            Some((_, _, said)) => taken.sent.insert((*origin, *key), said.clone()),
            None => taken.sent.remove(&(*origin, *key)),
        };
        taken.effects.push(Effect { origin: *origin, key: *key, at, left: version });
    }
}
