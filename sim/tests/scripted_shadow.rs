//! A scripted shadow does what its script says, under virtual time and in the order that a test dictates.

use std::time::Duration;

use bytes::BytesMut;
use fallthrough_object::{BodyError, ETag, Key, RangeSpec};
use fallthrough_shadow::{ListQuery, Method, RawAnswer, Request, Shadow, ShadowError};
use fallthrough_sim::{At, Fault, ListFault, ScriptedShadow};
use futures::StreamExt;

#[expect(clippy::unwrap_used, reason = "a test")]
fn get(key: &str) -> Request {
    Request::get(Key::parse(key).unwrap(), Duration::from_secs(10))
}

async fn read(answer: RawAnswer) -> (BytesMut, Option<BodyError>) {
    let mut got = BytesMut::new();
    let mut body = answer.body;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => got.extend_from_slice(&piece),
            Err(error) => return (got, Some(error)),
        }
    }
    (got, None)
}

#[tokio::test(start_paused = true)]
async fn an_object_is_served_whole_in_part_and_not_at_all() {
    let shadow = ScriptedShadow::new();
    let content = shadow.object("k", 200_000);
    shadow.header("k", "content-type", "text/plain");

    let answer = shadow.fetch(get("k")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-length"], "200000");
    assert_eq!(answer.headers["content-type"], "text/plain");
    assert_eq!(answer.headers["etag"].to_str().unwrap(), ETag::from_md5(content.md5()).to_string());
    assert_eq!(read(answer).await.0, content.bytes());

    let ranged = Request { range: Some(RangeSpec::FromTo { first: 10, last: 19 }), ..get("k") };
    let answer = shadow.fetch(ranged).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.headers["content-range"].to_str().unwrap()),
        (206, "bytes 10-19/200000")
    );
    assert_eq!(read(answer).await.0, content.slice(10, 20));

    let beyond = Request { range: Some(RangeSpec::From { first: 200_000 }), ..get("k") };
    let answer = shadow.fetch(beyond).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.headers["content-range"].to_str().unwrap()),
        (416, "bytes */200000")
    );

    drop(answer);

    let head = Request { method: Method::Head, ..get("k") };
    let answer = shadow.fetch(head).await.unwrap();
    assert_eq!(answer.headers["content-length"], "200000");
    assert!(read(answer).await.0.is_empty());

    assert_eq!(shadow.fetch(get("none")).await.unwrap().status, 404);
    assert_eq!((shadow.calls("k"), shadow.calls_of("k", Method::Head), shadow.total_calls()), (4, 1, 5));
    assert_eq!(shadow.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn conditions_are_judged_against_the_present_edition() {
    let shadow = ScriptedShadow::new();
    shadow.object("k", 10);
    let old = ETag::parse(&shadow.etag("k").unwrap()).unwrap();
    let same = Request { if_none_match: Some(old.clone()), ..get("k") };
    assert_eq!(shadow.fetch(same.clone()).await.unwrap().status, 304);
    shadow.replace("k");
    assert_eq!(shadow.fetch(same).await.unwrap().status, 200);
    let pinned = Request { if_match: Some(old), ..get("k") };
    assert_eq!(shadow.fetch(pinned).await.unwrap().status, 412);
}

#[tokio::test(start_paused = true)]
async fn bodies_break_where_the_script_says() {
    let shadow = ScriptedShadow::new();
    for (fault, got_bytes, breaks) in [
        (Fault::ResetAt(70_000), 70_000, true),
        (Fault::TruncateAt(99_999), 99_999, true),
        (Fault::EndChunkedAt(5), 5, false),
        (Fault::WrongLength(100_001), 100_000, true),
        (Fault::WrongLength(99), 99, false),
        (Fault::NoLength, 100_000, false),
        (Fault::Drip { chunk_bytes: 1000, every: Duration::from_secs(1) }, 100_000, false),
    ] {
        let content = shadow.object("k", 100_000);
        shadow.fault_times("k", 1, fault.clone());
        let (got, error) = read(shadow.fetch(get("k")).await.unwrap()).await;
        assert_eq!(got, content.slice(0, got_bytes), "{fault:?}");
        assert_eq!(error.is_some(), breaks, "{fault:?}");
        // The fault was for one answer.
        assert_eq!(read(shadow.fetch(get("k")).await.unwrap()).await.0.len(), 100_000);
    }
    let content = shadow.object("k", 100_000);
    shadow.fault("k", Fault::FlipByteAt(66_000));
    let (got, error) = read(shadow.fetch(get("k")).await.unwrap()).await;
    assert!(error.is_none());
    let true_bytes = content.bytes();
    let differs: Vec<_> = (0..100_000).filter(|i| got[*i] != true_bytes[*i]).collect();
    assert_eq!(differs, [66_000]);
}

#[tokio::test(start_paused = true)]
async fn answers_that_do_not_come_time_out_and_count_as_abandoned() {
    let shadow = ScriptedShadow::new();
    shadow.object("k", 10);
    shadow.fault_times("k", 1, Fault::NoAnswer);
    shadow.fault_times("k", 1, Fault::Status(500));
    assert!(matches!(shadow.fetch(get("k")).await, Err(ShadowError::Timeout)));
    assert_eq!((shadow.in_flight(), shadow.abandoned("k"), shadow.ended("k")), (0, 1, 1));
    shadow.fault_times("k", 1, Fault::HangUp);
    assert!(matches!(shadow.fetch(get("k")).await, Err(ShadowError::Unreachable { .. })));
    shadow.fault_times("k", 1, Fault::Busy { retry_after: Some("7".into()) });
    let answer = shadow.fetch(get("k")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.headers["retry-after"].to_str().unwrap()), (503, "7"));
}

#[tokio::test(start_paused = true)]
async fn a_held_answer_waits_at_its_point_until_released() {
    let shadow = ScriptedShadow::new();
    let content = shadow.object("k", 100);
    for at in [At::Headers, At::FirstByte, At::Byte(40), At::LastByte] {
        shadow.hold("k", at);
    }
    let asked = async {
        let mut body = shadow.fetch(get("k")).await.unwrap().body;
        let mut pieces = Vec::new();
        while let Some(piece) = body.next().await {
            pieces.push(piece.unwrap().len());
        }
        pieces
    };
    let driven = async {
        for at in [At::Headers, At::FirstByte, At::Byte(40), At::LastByte] {
            shadow.wait_for_held("k", at).await;
            assert_eq!(shadow.in_flight(), 1, "{at:?}");
            shadow.release_at("k", at);
        }
        shadow.wait_for_ended("k", 1).await;
    };
    let (pieces, ()) = tokio::join!(asked, driven);
    assert_eq!(pieces, [40, 59, 1]);
    assert_eq!((shadow.abandoned("k"), content.size_bytes()), (0, 100));
}

#[tokio::test(start_paused = true)]
async fn an_answer_held_before_its_headers_tells_the_state_at_release() {
    let shadow = ScriptedShadow::new();
    shadow.object("k", 100);
    shadow.hold("k", At::Headers);
    let driven = async {
        shadow.wait_for_held("k", At::Headers).await;
        let next = shadow.replace("k");
        shadow.release("k");
        next
    };
    let (answer, next) = tokio::join!(shadow.fetch(get("k")), driven);
    assert_eq!(read(answer.unwrap()).await.0, next.bytes());
}

#[tokio::test(start_paused = true)]
async fn lists_page_collapse_and_fail() {
    let shadow = ScriptedShadow::new();
    for key in ["a", "a/1", "a/2", "a0", "b/x", "c"] {
        shadow.object(key, 1);
    }
    let query = |start_after: &str, max_keys| ListQuery {
        prefix: String::new(),
        start_after: start_after.into(),
        delimiter: Some("/".into()),
        max_keys,
        timeout: Duration::from_secs(5),
        ..ListQuery::default()
    };
    let shape = |page: &fallthrough_shadow::ListedPage| {
        let keys: Vec<_> = page.objects.iter().map(|o| o.key.clone()).collect();
        (keys.join(" "), page.prefixes.join(" "), page.truncated)
    };
    assert_eq!(shape(&shadow.list(query("", 10)).await.unwrap()), ("a a0 c".into(), "a/ b/".into(), false));
    assert_eq!(shape(&shadow.list(query("", 2)).await.unwrap()), ("a".into(), "a/".into(), true));
    // After a prefix the next key is one that merely begins like it.
    assert_eq!(shape(&shadow.list(query("a/", 2)).await.unwrap()), ("a0".into(), "b/".into(), true));
    assert_eq!(shape(&shadow.list(query("b/", 2)).await.unwrap()), ("c".into(), String::new(), false));
    shadow.list_fault_times(1, ListFault::Status(403));
    assert!(matches!(shadow.list(query("", 1)).await, Err(ShadowError::ListRefused { status: 403, .. })));
    shadow.list_fault_times(1, ListFault::NoAnswer);
    assert!(matches!(shadow.list(query("", 1)).await, Err(ShadowError::Timeout)));
    assert_eq!(shadow.list_calls(), 6);
}
