//! What is passed on to the origin of what clients ask with, and what is kept of the answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fallthrough_object::RangeSpec;
use fallthrough_shadow::{Extras, ListQuery, ListedPage, Method, RawAnswer, Request, Shadow, ShadowError};
use fallthrough_wire::conditions::Conditions;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::world::{World, body_of, caller, collect, key};
use crate::core::mutants::{Mutant, caught};
use crate::{
    BucketError, BucketMode, CacheWord, Caller, EngineOptions, GetRequest, ShadowRule, ShadowTarget,
};

/// Whose objects say what they were asked for with.
#[derive(Debug, Default)]
struct Echo {
    asked: Mutex<Vec<Request>>,
    /// What it does with the next answers.
    does: Mutex<Does>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Does {
    #[default]
    Right,
    /// It says no length.
    Chunks,
    /// The connection ends before the body does, which has no length.
    Breaks,
    /// A byte is another one than its digest says.
    Flips,
    Absent,
    Fails,
    Refuses,
}

impl Echo {
    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn does(&self, what: Does) {
        *self.does.lock().unwrap() = what;
    }
}

fn text(request: &Request) -> String {
    let query = request.extras.raw_query().unwrap_or_default();
    let headers = request.extras.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    // Of several pieces on their way.
    format!("{} ?{query} {}", request.key, headers.collect::<Vec<_>>().join("; ")) + &" ".repeat(200_000)
}

#[async_trait]
impl Shadow for Echo {
    async fn fetch(&self, request: Request) -> Result<RawAnswer, ShadowError> {
        self.asked.lock().unwrap().push(request.clone());
        let does = *self.does.lock().unwrap();
        let body = Bytes::from(text(&request));
        let mut headers = HeaderMap::new();
        let digest = fallthrough_object::ETag::from_md5(md5(&body));
        headers.insert("etag", HeaderValue::try_from(digest.to_string()).unwrap());
        let status = match does {
            Does::Absent => StatusCode::NOT_FOUND,
            Does::Fails => StatusCode::INTERNAL_SERVER_ERROR,
            Does::Refuses => StatusCode::BAD_REQUEST,
            Does::Right | Does::Chunks | Does::Breaks | Does::Flips => StatusCode::OK,
        };
        let (mut body, mut status) = (body, status);
        if let Some(RangeSpec::FromTo { first, last }) = request.range
            && status == StatusCode::OK
        {
            let range = format!("bytes {first}-{last}/{}", body.len());
            headers.insert("content-range", HeaderValue::try_from(range).unwrap());
            body = body.slice(usize::try_from(first).unwrap()..=usize::try_from(last).unwrap());
            status = StatusCode::PARTIAL_CONTENT;
        }
        if does == Does::Flips {
            headers.insert("content-md5", HeaderValue::try_from(base64(&md5(&body))).unwrap());
            let mut other = body.to_vec();
            other[7] ^= 1;
            body = other.into();
        }
        if !matches!(does, Does::Chunks | Does::Breaks) {
            headers.insert("content-length", HeaderValue::from(body.len()));
        }
        let mut pieces: Vec<_> = body.chunks(50_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        if does == Does::Breaks {
            pieces.truncate(1);
            pieces.push(Err(fallthrough_object::BodyError::Incomplete));
        }
        if request.method == Method::Head {
            pieces.clear();
        }
        Ok(RawAnswer { status, headers, body: futures::stream::iter(pieces).boxed() })
    }

    async fn list(&self, _: ListQuery) -> Result<ListedPage, ShadowError> {
        Err(ShadowError::NoList)
    }
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut digests =
        fallthrough_wire::digest::Digests::new(fallthrough_wire::digest::DigestSet::none().and_md5());
    digests.update(bytes);
    digests.finish().md5.unwrap()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let digits = (0..4).map(|n| char::from(DIGITS[(bits >> (18 - 6 * n)) as usize & 63]));
        text.extend(digits.take(three.len() + 1));
        text.extend(std::iter::repeat_n('=', 3 - three.len()));
    }
    text
}

async fn world(mode: BucketMode, change: impl FnOnce(&mut ShadowRule)) -> (World, Arc<Echo>) {
    let mut rule = ShadowRule::to(ShadowTarget::Http { url: "http://origin.test".into() });
    (rule.pass_query, rule.pass_headers) = (vec!["w".into()], vec!["accept-language".into()]);
    change(&mut rule);
    let world = World::with(mode, EngineOptions::default(), |settings| settings.shadow = vec![rule]).await;
    let echo = Arc::new(Echo::default());
    world.lead_to(echo.clone());
    (world, echo)
}

/// A read with this width and this language.
async fn read(world: &World, k: &str, width: Option<&str>, language: Option<&str>) -> GetRequest {
    let query = [("w", width), ("x-amz-signature", Some("s")), ("other", Some("o"))];
    let query = query.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let header = |name: &str| {
        assert_eq!(name, "accept-language", "only what is listed is looked at");
        language.map(str::to_owned)
    };
    let extras = world.engine.extras(&*world.bucket().await, &key(k), query, header).unwrap();
    GetRequest { extras, ..GetRequest::of(key(k)) }
}

async fn get(world: &World, width: Option<&str>, language: Option<&str>) -> (CacheWord, String) {
    let got = world.read(read(world, "k", width, language).await).await.unwrap();
    (got.word, String::from_utf8(got.bytes.to_vec()).unwrap().trim().to_owned())
}

/// Each is given what it asked for, whatever was asked for and kept before.
async fn variants() {
    let (world, echo) = world(BucketMode::Cache, |_| ()).await;
    assert_eq!(get(&world, Some("1 0"), None).await, (CacheWord::Pass, "k ?w=1%200".to_owned()));
    assert_eq!(world.state("k").await, "unknown", "nothing is kept of it");
    assert_eq!(get(&world, None, None).await, (CacheWord::Miss, "k ?".to_owned()));
    world.settled().await;
    assert_eq!(get(&world, None, None).await, (CacheWord::Hit, "k ?".to_owned()));
    assert_eq!(get(&world, Some("2"), Some("de")).await.1, "k ?w=2 accept-language: de");
    assert_eq!(get(&world, None, Some("fr")).await, (CacheWord::Pass, "k ? accept-language: fr".to_owned()));
    assert_eq!(get(&world, None, None).await, (CacheWord::Hit, "k ?".to_owned()));
    assert_eq!((echo.asked(), world.state("k").await), (4, "filled"));
    // And while the plain one is being filled.
    assert!(world.purge("k", false).await.unwrap());
    let (plain, varied) = tokio::join!(get(&world, None, None), get(&world, Some("3"), None));
    assert_eq!((plain.1.as_str(), varied.1.as_str()), ("k ?", "k ?w=3"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_may_depend_on_more_than_the_key_is_passed_and_not_kept() {
    variants().await;
    for mode in [BucketMode::Migrate, BucketMode::Compute] {
        let (world, echo) = world(mode, |_| ()).await;
        assert_eq!(get(&world, Some("1"), None).await, (CacheWord::Pass, "k ?w=1".to_owned()));
        assert_eq!((world.state("k").await, echo.asked()), ("unknown", 1), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_ranges_and_conditions_are_of_the_answer_that_is_passed() {
    let (world, echo) = world(BucketMode::Cache, |_| ()).await;
    let plain = world.get("k").await.unwrap().object;
    let request = read(&world, "k", Some("1"), None).await;
    let head = world.read(GetRequest { head: true, ..request.clone() }).await.unwrap();
    assert_eq!(echo.asked.lock().unwrap().last().unwrap().method, Method::Head);
    assert_ne!(head.object.info.etag, plain.info.etag);
    let whole = world.read(request.clone()).await.unwrap();
    assert_eq!(
        (head.object.size_bytes, &head.object.info.etag),
        (whole.object.size_bytes, &whole.object.info.etag)
    );
    let range = Some(RangeSpec::FromTo { first: 2, last: 5 });
    let got = world.read(GetRequest { range, ..request.clone() }).await.unwrap();
    assert_eq!((&got.bytes[..], got.word), (&b"?w=1"[..], CacheWord::Pass));
    let mut headers = HeaderMap::new();
    let etag = whole.object.info.etag.as_ref().unwrap().to_string();
    headers.insert("if-none-match", HeaderValue::try_from(etag).unwrap());
    let conditions = Conditions::from_headers(&headers);
    let same = world.read(GetRequest { conditions: conditions.clone(), ..request.clone() }).await.unwrap();
    assert!(matches!(same.object.body, crate::ObjectBody::NotModified));
    let other = read(&world, "k", Some("2"), None).await;
    let other = world.read(GetRequest { conditions, ..other }).await.unwrap();
    assert!(other.bytes.starts_with(b"k ?w=2"));
    assert!(matches!(
        world.read(GetRequest { part: Some(2), ..request }).await,
        Err((_, BucketError::NoSuchPart { .. }))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_passed_body_ends_cleanly_only_where_it_is_whole() {
    let (world, echo) = world(BucketMode::Cache, |_| ()).await;
    echo.does(Does::Chunks);
    assert_eq!(get(&world, Some("1"), None).await.1, "k ?w=1");
    for does in [Does::Breaks, Does::Flips] {
        echo.does(does);
        let answer = world.ask(read(&world, "k", Some("1"), None).await).await;
        assert!(collect(body_of(answer.result.unwrap())).await.is_err(), "{does:?}");
    }
    // What the origin says of a variant says nothing of the key.
    for (does, status) in [(Does::Absent, 404), (Does::Fails, 503), (Does::Refuses, 400)] {
        echo.does(does);
        let error = world.ask(read(&world, "k", Some("1"), None).await).await.result.unwrap_err();
        let seen = match error {
            BucketError::NoSuchKey => 404,
            BucketError::OriginFailing { .. } => 503,
            BucketError::ImpossibleKey { .. } => 400,
            other => panic!("{other:?}"),
        };
        assert_eq!((seen, world.state("k").await), (status, "unknown"));
    }
    echo.does(Does::Right);
    assert_eq!(get(&world, None, None).await.1, "k ?");
}

#[tokio::test(start_paused = true)]
async fn what_is_here_for_good_is_here_whatever_is_asked_with() {
    let (world, echo) = world(BucketMode::Migrate, |_| ()).await;
    world.put("k", "mine").await.unwrap();
    assert_eq!(get(&world, Some("1"), None).await, (CacheWord::Hit, "mine".to_owned()));
    world.delete("k").await;
    let deleted = world.read(read(&world, "k", Some("1"), None).await).await;
    assert!(matches!(deleted, Err((CacheWord::Tombstone, BucketError::NoSuchKey))));
    assert_eq!(echo.asked(), 0);
    // Who may not have it fetched may not have it passed on.
    let reader = Caller { may_fill: false, ..caller() };
    let request = read(&world, "cold", Some("1"), None).await;
    let answer = world.engine.get(&world.bucket().await, &reader, request).await;
    assert!(matches!(answer.result, Err(BucketError::FillDenied)) && echo.asked() == 0, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_the_same_whatever_is_passed_on_is_kept() {
    let (world, echo) = world(BucketMode::Cache, |rule| rule.passed_alike = true).await;
    let head = world.read(GetRequest { head: true, ..read(&world, "k", Some("0"), None).await }).await;
    assert_eq!(head.unwrap().word, CacheWord::Miss);
    assert_eq!(get(&world, Some("1"), None).await, (CacheWord::Miss, "k ?w=1".to_owned()));
    world.settled().await;
    assert_eq!(get(&world, Some("2"), None).await, (CacheWord::Hit, "k ?w=1".to_owned()));
    assert_eq!(echo.asked(), 2);
    assert!(echo.asked.lock().unwrap().iter().all(|request| !request.extras.is_empty()));
    let answer = world.ask(read(&world, "k", None, None).await).await;
    assert_eq!(answer.report.varies_by, None);
    // A stale copy is asked about with what its reader brought.
    tokio::time::sleep(Duration::from_secs(7200)).await; // Virtual time.
    get(&world, Some("4"), None).await;
    let last = echo.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!(last.extras.raw_query().as_deref(), Some("w=4"));
}

#[tokio::test(start_paused = true)]
async fn answers_say_by_which_headers_they_vary_and_explain_says_what_is_passed_on() {
    let (world, _) = world(BucketMode::Cache, |rule| rule.prefix = Some("k".into())).await;
    for language in [None, Some("de")] {
        let answer = world.ask(read(&world, "k", None, language).await).await;
        assert_eq!(answer.report.varies_by.as_deref(), Some("accept-language"), "also of the answer to none");
    }
    let told = world.engine.explain(&world.bucket().await, &key("k")).await.unwrap();
    assert_eq!(
        told.passes_on.as_deref(),
        Some("parameters w; headers accept-language: answers to them are not kept")
    );
    // Of a key that is no rule's nothing is passed on.
    let query = [("w", "1")].into_iter();
    let other = world.engine.extras(&*world.bucket().await, &key("other"), query, |_| Some("x".into()));
    assert_eq!(other, Ok(Extras::default()));
}

#[tokio::test(start_paused = true)]
async fn an_s3_provider_is_passed_nothing() {
    let world = World::new(BucketMode::Migrate).await;
    let rule = ShadowRule { pass_query: vec!["w".into()], ..super::world::rule() };
    let refused = world.set_rules(std::slice::from_ref(&rule)).await.unwrap_err();
    assert!(
        matches!(&refused, BucketError::InvalidSettings { reason } if reason.contains("S3 provider")),
        "{refused:?}"
    );
    // In a bucket that computes, a program answers there.
    let world = World::with(BucketMode::Compute, EngineOptions::default(), |_| ()).await;
    world.set_rules(&[rule]).await.unwrap();
}

#[test]
fn planted_bugs_are_caught() {
    let run = || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(variants());
    };
    assert!(caught(Mutant::VariantKept, run));
}
