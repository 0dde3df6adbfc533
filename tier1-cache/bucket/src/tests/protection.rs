//! What the origin is spared (`docs/semantics.md`, section 7).

use std::time::Duration;

use fallthrough_object::RangeSpec;
use fallthrough_shadow::Method;
use fallthrough_sim::{At, Fault, ListFault};
use fallthrough_wire::conditions::{Conditions, TagList};
use futures::future::join_all;

use super::world::{World, body_of, caller, collect, key};
use crate::core::mutants::{Mutant, caught};
use crate::{BucketError, BucketMode, CacheWord, Caller, EngineOptions, GetRequest, ListRequest, ObjectBody};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Each of these rules, broken, is missed by the test of it.
#[test]
fn broken_rules_are_found() {
    fn missed<F: Future<Output = ()>>(mutant: Mutant, test: impl Fn() -> F) -> Option<Mutant> {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(test());
        };
        run();
        (!caught(mutant, std::panic::AssertUnwindSafe(run))).then_some(mutant)
    }
    let missed = [
        missed(Mutant::EveryAttemptCounts, one_failing_key_closes_nothing),
        missed(Mutant::RestIgnored, a_resting_origin_is_left_alone),
        missed(Mutant::HeadProvesAbsence, a_missing_bucket_is_no_missing_key),
        missed(Mutant::HeadsGoAlone, heads_of_one_key_are_one),
        missed(Mutant::HeadsGoAlone, conditional_gets_are_one_fill),
        missed(Mutant::AskedThoughSettled, a_late_reader_finds_the_fill_of_another),
        missed(Mutant::FillLeavesWithClient, all_of_a_clients_keys_are_asked_for),
        missed(Mutant::ListNotAdmitted, lists_are_admitted),
        missed(Mutant::SlowReaderKeepsSlot, a_slow_reader_gives_way),
    ];
    assert!(missed.iter().all(Option::is_none), "{missed:?}");
}

/// A key that its origin cannot give is that key's affair: the others are asked for as ever.
async fn one_failing_key_closes_nothing() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("broken", 10);
    world.origin.fault("broken", Fault::Status(500));
    world.origin.object("whole", 10);
    for _ in 0..3 {
        assert!(matches!(world.get("broken").await, Err((_, BucketError::OriginFailing { .. }))));
    }
    assert!(world.origin.calls("broken") > 5, "it was asked for more often than opens a breaker");
    assert_eq!(world.get("whole").await.unwrap().bytes.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn one_failing_key_does_not_close_its_origin() {
    one_failing_key_closes_nothing().await;
}

fn told_to_wait<T: std::fmt::Debug>(answer: Result<T, BucketError>) -> Duration {
    match answer {
        Err(BucketError::SlowDown { retry_after, .. }) => retry_after,
        other => panic!("{other:?}"),
    }
}

async fn a_resting_origin_is_left_alone() {
    let world = World::new(BucketMode::Migrate).await;
    for name in ["a", "b"] {
        world.origin.object(name, 10);
    }
    world.origin.fault_times("a", 1, Fault::Busy { retry_after: Some("120".into()) });
    let get = async |name| world.get(name).await.map_err(|(_, error)| error);
    assert_eq!(told_to_wait(get("a").await), secs(120));
    tokio::time::advance(secs(20)).await;
    for name in ["a", "b", "a"] {
        assert_eq!(told_to_wait(get(name).await), secs(100));
    }
    assert_eq!(told_to_wait(world.head("b").await.map_err(|(_, e)| e)), secs(100));
    let range = RangeSpec::FromTo { first: 0, last: 3 };
    assert_eq!(told_to_wait(world.range("b", range).await.map_err(|(_, e)| e)), secs(100));
    let list = ListRequest { max_keys: 10, ..ListRequest::default() };
    let page = world.engine.list(&world.bucket().await, &caller(), list).await;
    assert_eq!(told_to_wait(page.result), secs(100));
    assert_eq!((world.origin.total_calls(), world.origin.list_calls()), (1, 0));
    tokio::time::advance(secs(100)).await;
    for name in ["a", "b"] {
        assert_eq!(world.get(name).await.unwrap().bytes.len(), 10);
    }
    // Whatever it says, not for longer than ten minutes.
    world.origin.object("c", 10);
    world.origin.fault_times("c", 1, Fault::Busy { retry_after: Some("3000".into()) });
    assert_eq!(told_to_wait(get("c").await), secs(3000));
    tokio::time::advance(secs(601)).await;
    assert!(get("c").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_asks_to_be_left_alone_is() {
    a_resting_origin_is_left_alone().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_told_to_wait_lets_the_origin_rest() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("a", 10);
    world.origin.list_fault_times(1, ListFault::Busy { retry_after: secs(40) });
    let list = || ListRequest { max_keys: 10, ..ListRequest::default() };
    let page = world.engine.list(&world.bucket().await, &caller(), list()).await;
    assert_eq!(told_to_wait(page.result), secs(40));
    assert_eq!(told_to_wait(world.get("a").await.map_err(|(_, error)| error)), secs(40));
    assert_eq!(world.origin.total_calls(), 0);
    tokio::time::advance(secs(40)).await;
    assert_eq!(world.names(list()).await, ["a"]);
}

/// A fill whose body broke off waits for the origin's rest to end, and then fetches what is missing.
#[tokio::test(start_paused = true)]
async fn a_running_fill_waits_for_the_rest_to_end() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 3_000_000);
    world.origin.object("other", 10);
    world.origin.fault_times("k", 1, Fault::ResetAt(2_000_000));
    world.origin.hold("k", At::Byte(1_000_000));
    let answer = world.ask(GetRequest::of(key("k"))).await;
    world.origin.wait_for_held("k", At::Byte(1_000_000)).await;
    world.origin.fault_times("other", 1, Fault::Busy { retry_after: Some("60".into()) });
    assert!(world.get("other").await.is_err());
    let before = world.now();
    world.origin.release("k");
    assert_eq!(collect(body_of(answer.result.unwrap())).await.unwrap().len(), 3_000_000);
    assert_eq!(world.now().since(before).as_secs(), 60);
    assert_eq!(world.origin.calls("k"), 2);
    // Not for ever: a rest that ends after the fill's own time is a failure now.
    let options = EngineOptions { header_wait: secs(30), ..EngineOptions::default() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    world.origin.object("k", 3_000_000);
    world.origin.fault_times("k", 1, Fault::ResetAt(2_000_000));
    world.origin.hold("k", At::Byte(1_000_000));
    let answer = world.ask(GetRequest::of(key("k"))).await;
    world.origin.wait_for_held("k", At::Byte(1_000_000)).await;
    world.origin.object("other", 10);
    world.origin.fault_times("other", 1, Fault::Busy { retry_after: Some("60".into()) });
    assert!(world.get("other").await.is_err());
    world.origin.release("k");
    assert!(collect(body_of(answer.result.unwrap())).await.is_err());
}

/// What a provider answers to GET and HEAD of `k`, and how often it was asked before that.
async fn a_missing_bucket_is_no_missing_key() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.fault("k", Fault::S3Error { status: 404, code: "NoSuchBucket".into() });
    for _ in 0..2 {
        let head = world.head("k").await;
        assert!(matches!(head, Err((_, BucketError::ShadowMisconfigured { .. }))), "{head:?}");
    }
    assert_eq!(world.state("k").await, "unknown");
    let get = world.get("k").await;
    assert!(matches!(get, Err((CacheWord::Miss, BucketError::ShadowMisconfigured { .. }))), "{get:?}");
    world.origin.heal("k");
    // A conditional GET is judged on a HEAD: the same.
    world.origin.fault("k", Fault::S3Error { status: 404, code: "NoSuchBucket".into() });
    let conditions = Conditions { if_match: Some(TagList::parse("\"x\"")), ..Conditions::default() };
    let get = world.read(GetRequest { conditions, ..GetRequest::of(key("k")) }).await;
    assert!(matches!(get, Err((_, BucketError::ShadowMisconfigured { .. }))), "{get:?}");
}

#[tokio::test(start_paused = true)]
async fn a_providers_head_proves_no_absence() {
    a_missing_bucket_is_no_missing_key().await;
}

/// A tool that asks for one absent key after the other: one request each, and one more in a minute.
#[tokio::test(start_paused = true)]
async fn absence_is_confirmed_once_and_not_for_every_key() {
    let world = World::new(BucketMode::Migrate).await;
    for n in 0..20 {
        let head = world.head(&format!("absent{n}")).await;
        assert!(matches!(head, Err((CacheWord::Miss, BucketError::NoSuchKey))), "{head:?}");
    }
    assert_eq!(world.origin.total_calls(), 21);
    let confirming = &world.origin.call_log("absent0")[1];
    assert_eq!(
        (confirming.method, confirming.range),
        (Method::Get, Some(RangeSpec::FromTo { first: 0, last: 0 }))
    );
    // Noted: 404 without asking, for GET as well.
    assert!(matches!(world.get("absent7").await, Err((CacheWord::Negative, BucketError::NoSuchKey))));
    // What a GET says of another key confirms as well.
    tokio::time::advance(secs(61)).await;
    assert!(world.get("nothing").await.is_err());
    assert!(world.head("absent3").await.is_err());
    assert_eq!(world.origin.total_calls(), 23);
    // The bucket goes away: the next GET tells, and from then on HEAD asks.
    let gone = || Fault::S3Error { status: 404, code: "NoSuchBucket".into() };
    world.origin.fault_for_all(gone());
    assert!(matches!(world.get("x").await, Err((_, BucketError::ShadowMisconfigured { .. }))));
    assert!(matches!(world.head("y").await, Err((_, BucketError::ShadowMisconfigured { .. }))));
}

/// HEAD says 404 and the object is there all the same: the range that was asked for describes it.
#[tokio::test(start_paused = true)]
async fn an_object_that_only_head_does_not_find_is_described() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 5_000);
    world.origin.fault_times("k", 1, Fault::Status(404));
    let head = world.head("k").await.unwrap();
    assert_eq!((head.object.size_bytes, world.state("k").await), (Some(5_000), "known"));
    assert_eq!(world.get("k").await.unwrap().bytes.len(), 5_000);
}

/// In `treat-403-as = "absent"` even the credentials may be wrong, however lately the bucket was seen.
#[tokio::test(start_paused = true)]
async fn a_403_that_hides_absence_is_confirmed_every_time() {
    let world = World::with(BucketMode::Migrate, EngineOptions::default(), |settings| {
        settings.shadow[0].treat_403_as = crate::Treat403As::Absent;
    })
    .await;
    let answer = |code: &str| Fault::S3Error { status: 403, code: code.into() };
    world.origin.fault("hidden", answer("AccessDenied"));
    assert!(matches!(world.head("hidden").await, Err((_, BucketError::NoSuchKey))));
    world.origin.fault("k", answer("InvalidAccessKeyId"));
    let head = world.head("k").await;
    assert!(matches!(head, Err((_, BucketError::ShadowMisconfigured { .. }))), "{head:?}");
}

async fn heads_of_one_key_are_one() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 70_000_000);
    world.origin.fault("k", Fault::DelayHeaders(Duration::from_millis(500)));
    // They come one after the other while the first is on its way, and some as it ends.
    let heads = join_all((0..100).map(async |n| {
        tokio::time::sleep(Duration::from_millis(6 * n)).await; // Virtual time.
        world.head("k").await
    }))
    .await;
    let mut words = Vec::new();
    for head in heads {
        let head = head.unwrap();
        assert_eq!(head.object.size_bytes, Some(70_000_000));
        words.push(head.word);
    }
    assert_eq!(words.iter().filter(|word| **word == CacheWord::Miss).count(), 1);
    assert!(words.contains(&CacheWord::Joined) && words.contains(&CacheWord::Hit));
    assert_eq!(world.origin.total_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_heads_of_a_cold_key_are_one_request() {
    heads_of_one_key_are_one().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_goes_on_without_who_asked_and_answers_the_next() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 10);
    world.origin.hold("k", At::Headers);
    {
        let first = world.head("k");
        tokio::pin!(first);
        tokio::select! {
            biased;
            _ = &mut first => panic!("nothing was released"),
            () = world.origin.wait_for_held("k", At::Headers) => {}
        }
        // Dropped here: the first client is gone.
    }
    // The second waits as long as a client does, the third comes for the answer. One of them may not fill.
    let nobody = Caller { may_fill: false, ..caller() };
    let request = GetRequest { head: true, ..GetRequest::of(key("k")) };
    let second = world.engine.get(&world.bucket().await, &nobody, request).await;
    assert!(told_to_wait(second.result.map(drop)) >= secs(1));
    let (third, ()) = tokio::join!(world.head("k"), async { world.origin.release("k") });
    assert_eq!(third.unwrap().word, CacheWord::Joined);
    assert_eq!((world.origin.total_calls(), world.state("k").await), (1, "known"));
}

/// Whoever asks after a purge is not answered by what was asked for before it, and nothing of that is noted.
#[tokio::test(start_paused = true)]
async fn a_purge_supersedes_a_head_on_its_way() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.hold("k", At::Headers);
    let (early, late) = tokio::join!(world.head("k"), async {
        world.origin.wait_for_held("k", At::Headers).await;
        world.purge("k", false).await.unwrap();
        let (late, ()) = tokio::join!(world.head("k"), async {
            world.origin.wait_for_calls("k", 2).await;
            world.origin.object("k", 10);
            world.origin.release("k");
        });
        late
    });
    drop(early);
    assert_eq!(late.unwrap().word, CacheWord::Miss, "it asked for itself");
    assert_eq!(world.origin.calls_of("k", Method::Head), 2);
    world.settled().await;
    assert_eq!(world.state("k").await, "known");
}

/// Nobody is answered by what was asked of a shadow that was replaced since.
#[tokio::test(start_paused = true)]
async fn another_shadow_supersedes_a_head_on_its_way() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 10);
    world.origin.hold("k", At::Headers);
    let (_, ()) = tokio::join!(world.head("k"), async {
        world.origin.wait_for_held("k", At::Headers).await;
        world.another_origin().object("k", 20);
        let set = |settings: &mut crate::BucketSettings| settings.shadow[0].edition = Some("two".into());
        world.engine.set_bucket(&world.name, &set).await.unwrap();
        // Who may not fill may ask, and does not join this one.
        let nobody = Caller { may_fill: false, ..caller() };
        let request = GetRequest { head: true, ..GetRequest::of(key("k")) };
        let told = world.engine.get(&world.bucket().await, &nobody, request).await.result;
        assert_eq!(told.unwrap().size_bytes, Some(20));
        assert_eq!(world.head("k").await.unwrap().object.size_bytes, Some(20));
        world.origin.release("k");
    });
    world.settled().await;
    assert_eq!(world.head("k").await.unwrap().object.size_bytes, Some(20));
}

fn matching(etag: &str) -> GetRequest {
    let conditions = Conditions { if_match: Some(TagList::parse(etag)), ..Conditions::default() };
    GetRequest { conditions, ..GetRequest::of(key("k")) }
}

/// As seen live: conditional GETs 120 ms apart, at an origin whose HEAD takes half a second.
async fn conditional_gets_are_one_fill() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 5_000);
    world.origin.fault("k", Fault::DelayHeaders(Duration::from_millis(500)));
    let etag = world.origin.etag("k").unwrap();
    let got = join_all((0..20).map(async |n| {
        tokio::time::sleep(Duration::from_millis(120 * n)).await; // Virtual time.
        world.read(matching(&etag)).await
    }))
    .await;
    assert!(got.into_iter().all(|got| got.is_ok_and(|got| got.bytes.len() == 5_000)));
    assert_eq!((world.origin.calls_of("k", Method::Head), world.origin.calls_of("k", Method::Get)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn many_conditional_gets_of_a_cold_key_are_one_head_and_one_fill() {
    conditional_gets_are_one_fill().await;
}

/// A reader whose lookup is older than somebody else's fill, as a lookup before a HEAD is.
async fn a_late_reader_finds_the_fill_of_another() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 5_000);
    world.origin.fault_times("k", 1, Fault::DelayHeaders(secs(2)));
    let etag = world.origin.etag("k").unwrap();
    // The HEAD of the conditional GET is on its way while the key is filled.
    let (judged, ()) = tokio::join!(world.read(matching(&etag)), async {
        world.origin.wait_for_calls("k", 1).await;
        world.get("k").await.unwrap();
    });
    let judged = judged.unwrap();
    assert_eq!((judged.word, judged.bytes.len()), (CacheWord::Hit, 5_000));
    assert_eq!(world.origin.calls_of("k", Method::Get), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_comes_too_late_asks_nobody() {
    a_late_reader_finds_the_fill_of_another().await;
}

#[tokio::test(start_paused = true)]
async fn conditions_are_judged_on_what_is_known_until_it_is_another_object() {
    let world = World::new(BucketMode::Migrate).await;
    world.origin.object("k", 5_000);
    let old = world.origin.etag("k").unwrap();
    world.head("k").await.unwrap();
    let unless = |etag: &str| {
        let conditions = Conditions { if_none_match: Some(TagList::parse(etag)), ..Conditions::default() };
        GetRequest { conditions, ..GetRequest::of(key("k")) }
    };
    let got = world.read(unless(&old)).await.unwrap();
    assert!(got.word == CacheWord::Hit && matches!(got.object.body, ObjectBody::NotModified));
    assert_eq!(world.origin.total_calls(), 1, "a fresh description answers by itself");
    // The object changes behind our back: what is known lets a GET through, which finds another object.
    world.origin.replace("k");
    let new = world.origin.etag("k").unwrap();
    let got = world.read(unless("\"something else\"")).await.unwrap();
    assert_eq!(got.object.info.etag.as_ref().unwrap().to_string(), new);
    assert_eq!((world.origin.calls_of("k", Method::Head), world.origin.calls_of("k", Method::Get)), (2, 2));
}

/// As seen live: two places, one per client, half a second each, twelve keys of one client who waits three seconds.
async fn all_of_a_clients_keys_are_asked_for() {
    let options = EngineOptions {
        max_in_flight: 2,
        per_client: 1,
        max_queue: 100,
        client_wait: secs(3),
        ..EngineOptions::default()
    };
    let world = World::with(BucketMode::Compute, options, |_| ()).await;
    let names: Vec<_> = (0..12).map(|n| format!("k{n:02}")).collect();
    for name in &names {
        world.origin.object(name, 10);
        world.origin.fault(name, Fault::DelayHeaders(Duration::from_millis(700)));
    }
    let answers = join_all(names.iter().map(|name| world.get(name))).await;
    let waits: Vec<u64> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Err((_, BucketError::SlowDown { retry_after, .. })) => Some(retry_after.as_secs()),
            Err(other) => panic!("{other:?}"),
            Ok(_) => None,
        })
        .collect();
    // Four were served in three seconds. The others are told by their place in the queue and by the client's own
    // bound, one after the other, at 0.7 s each: the first of them has run for 0.2 s.
    assert_eq!(waits, [1, 2, 3, 3, 4, 5, 5, 6]);
    // They come back when they were told to and find what they had waited for.
    tokio::time::sleep(secs(*waits.last().unwrap() + 1)).await;
    for name in &names {
        assert_eq!(world.get(name).await.unwrap().word, CacheWord::Hit, "{name}");
    }
    assert_eq!(world.origin.total_calls(), 12);
    assert_eq!(world.origin.in_flight_max(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fill_keeps_its_place_when_its_client_gives_up() {
    all_of_a_clients_keys_are_asked_for().await;
}

#[tokio::test(start_paused = true)]
async fn the_retry_joins_the_fill_that_waits() {
    let options = EngineOptions {
        max_in_flight: 1,
        client_wait: secs(3),
        queue_wait: secs(60),
        ..EngineOptions::default()
    };
    let world = World::with(BucketMode::Compute, options, |_| ()).await;
    for name in ["slow", "k"] {
        world.origin.object(name, 10);
    }
    world.origin.hold("slow", At::Headers);
    assert!(world.get("slow").await.is_err() && world.get("k").await.is_err());
    assert_eq!((world.origin.calls("slow"), world.origin.calls("k")), (1, 0));
    let (retry, ()) = tokio::join!(world.get("k"), async { world.origin.release("slow") });
    assert_eq!(retry.unwrap().word, CacheWord::Joined);
    // The queue has a deadline of its own.
    world.origin.object("late", 10);
    world.origin.object("stuck", 10);
    world.origin.hold("stuck", At::Headers);
    assert!(world.get("stuck").await.is_err() && world.get("late").await.is_err());
    tokio::time::sleep(secs(61)).await; // Virtual time.
    assert_eq!((world.engine.fills_in_flight(), world.origin.calls("late")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_was_superseded_while_it_waited_asks_nobody() {
    let options = EngineOptions { max_in_flight: 1, client_wait: secs(3), ..EngineOptions::default() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    for name in ["slow", "k"] {
        world.origin.object(name, 10);
    }
    world.origin.hold("slow", At::Headers);
    assert!(world.get("slow").await.is_err() && world.get("k").await.is_err());
    world.put("k", "mine").await.unwrap();
    world.origin.release("slow");
    world.settled().await;
    assert_eq!((world.origin.calls("slow"), world.origin.calls("k")), (1, 0));
    assert_eq!(world.get("k").await.unwrap().bytes, "mine");
}

async fn lists_are_admitted() {
    let options =
        EngineOptions { max_in_flight: 2, max_queue: 4, client_wait: secs(3), ..EngineOptions::default() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    world.origin.object("k", 10);
    world.origin.list_fault(ListFault::Delay(secs(2)));
    let bucket = world.bucket().await;
    let list = || ListRequest { max_keys: 10, ..ListRequest::default() };
    let pages = (0..12).map(async |n: u32| {
        let client = Caller { client: format!("client{n}").into(), ..caller() };
        world.engine.list(&bucket, &client, list()).await.result
    });
    let pages = join_all(pages).await;
    let shed = pages.iter().filter(|page| matches!(page, Err(BucketError::SlowDown { .. }))).count();
    let listed = pages.iter().filter(|page| page.as_ref().is_ok_and(|page| page.items.len() == 1)).count();
    // Two at once, two seconds each; of the four that may wait two wait for too long.
    assert_eq!((listed, shed, world.origin.list_calls()), (4, 8, 4), "{pages:?}");
}

#[tokio::test(start_paused = true)]
async fn lists_count_against_the_origins_bound() {
    lists_are_admitted().await;
}

/// A reader that takes nothing of a passed range, while somebody waits for its place.
async fn a_slow_reader_gives_way() {
    let options = EngineOptions { max_in_flight: 1, ..EngineOptions::default() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    world.origin.object("large", 50_000_000);
    world.origin.object("k", 10);
    let range = Some(RangeSpec::FromTo { first: 0, last: 39_999_999 });
    let slow = world.ask(GetRequest { range, ..GetRequest::of(key("large")) }).await;
    let slow = body_of(slow.result.unwrap());
    // Nobody waits: it may take its time.
    tokio::time::sleep(secs(100)).await;
    assert_eq!((world.origin.in_flight(), world.origin.ended("large")), (1, 0));
    let before = world.now();
    assert_eq!(world.get("k").await.unwrap().bytes.len(), 10);
    assert!(world.now().since(before) <= secs(12));
    assert!(collect(slow).await.is_err(), "it ended early, and not cleanly");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_of_a_passed_range_does_not_keep_its_place() {
    a_slow_reader_gives_way().await;
    // One that fits into the lead is done with at once, whoever takes it and when.
    let options = EngineOptions { max_in_flight: 1, ..EngineOptions::default() };
    let world = World::with(BucketMode::Migrate, options, |_| ()).await;
    let content = world.origin.object("large", 50_000_000);
    let range = Some(RangeSpec::FromTo { first: 5, last: 100_004 });
    let slow = world.ask(GetRequest { range, ..GetRequest::of(key("large")) }).await;
    world.origin.wait_for_ended("large", 1).await;
    tokio::time::sleep(secs(100)).await; // Virtual time.
    assert_eq!(collect(body_of(slow.result.unwrap())).await.unwrap(), content.slice(5, 100_005));
    // A reader that hangs up ends the request.
    let range = Some(RangeSpec::FromTo { first: 0, last: 39_999_999 });
    drop(world.ask(GetRequest { range, ..GetRequest::of(key("large")) }).await);
    world.settled().await;
    assert_eq!(world.origin.in_flight(), 0);
}

/// An origin without a list is not taken for one that has nothing: what is here is listed only if the rule says so.
#[tokio::test(start_paused = true)]
async fn an_origin_that_offers_no_list_is_no_empty_one() {
    for status in [405, 501] {
        let world = World::new(BucketMode::Migrate).await;
        world.put("here", "1").await.unwrap();
        world.origin.object("there", 10);
        world.origin.list_fault(ListFault::Status(status));
        let list = ListRequest { max_keys: 10, ..ListRequest::default() };
        let page = world.engine.list(&world.bucket().await, &caller(), list.clone()).await.result;
        match page {
            Err(BucketError::ShadowMisconfigured { mend }) => {
                assert!(mend.contains("list = \"local\""), "{mend}")
            }
            other => panic!("{status}: {other:?}"),
        }
        // The bucket is not empty as far as anybody knows.
        assert!(world.engine.delete_bucket(&world.name).await.is_err());
        let local =
            |settings: &mut crate::BucketSettings| settings.shadow[0].list = Some(crate::ListFrom::Local);
        world.engine.set_bucket(&world.name, &local).await.unwrap();
        assert_eq!(world.names(list).await, ["here"]);
        // No answer of that kind counts as a failure.
        assert!(world.get("there").await.is_ok());
    }
}
