//! Several members behind one rule: the one that will answer soonest is asked, what it cannot answer is asked of another,
//! and no object is ever put together from two.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::RangeSpec;
use fallthrough_sim::{At, Fault, ListFault, Mishap, Provider, Script};
use fallthrough_store::WriteThrough;

use super::outbox::Through;
use super::planted::{assert_caught, missed};
use super::world::{World, body_of, caller, collect, key, rule_to, same};
use crate::core::mutants::Mutant;
use crate::{
    BucketError, BucketMode, CacheWord, EngineOptions, GetRequest, ListRequest, MemberState, ShadowRule,
};

/// More than is verified before the first byte goes out, and with an ETag that is no digest.
const LARGE: u64 = 2_000_000;

/// A rule that leads to buckets of these names.
fn rule(names: &[&str]) -> ShadowRule {
    let members = names[1..].iter().map(|name| rule_to(name).target).collect();
    ShadowRule { members, ..rule_to(names[0]) }
}

/// A bucket over so many members, `m0` and so on.
async fn world(mode: BucketMode, count: usize) -> (World, Vec<Arc<Script>>) {
    let world = World::with(mode, EngineOptions::default(), |_| ()).await;
    let names: Vec<_> = (0..count).map(|number| format!("m{number}")).collect();
    let scripts = names.iter().map(|name| world.origin_named(name)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    world.set_rules(&[rule(&names)]).await.unwrap();
    (world, scripts)
}

fn all() -> ListRequest {
    ListRequest { max_keys: 100, ..ListRequest::default() }
}

/// Every member has this.
fn all_have(scripts: &[Arc<Script>], k: &str, size: u64) -> fallthrough_sim::Content {
    let contents: Vec<_> = scripts.iter().map(|script| script.object(k, size)).collect();
    contents[0].clone()
}

fn calls(scripts: &[Arc<Script>], k: &str) -> Vec<usize> {
    scripts.iter().map(|script| script.calls(k)).collect()
}

async fn states(world: &World) -> Vec<MemberState> {
    world.engine.explain(&world.bucket().await, &key("any")).await.unwrap().members
}

async fn fails_over() {
    for fault in [Fault::HangUp, Fault::Status(500), Fault::Status(502), Fault::NoAnswer, Fault::Status(403)]
    {
        let (world, scripts) = world(BucketMode::Migrate, 2).await;
        let content = all_have(&scripts, "k", 1000);
        scripts[0].fault_for_all(fault.clone());
        let began = tokio::time::Instant::now();
        let got = world.get("k").await.unwrap();
        assert!(same(&got.bytes, &content), "{fault:?}");
        assert_eq!(calls(&scripts, "k"), [1, 1], "{fault:?}");
        assert!(
            began.elapsed() <= Duration::from_secs(10),
            "a silent one is left as a silent body is: {fault:?}"
        );
        world.settled().await;
        let told = world.engine.explain(&world.bucket().await, &key("k")).await.unwrap();
        assert_eq!(told.provenance.unwrap().origin, "s3:m1#1", "{fault:?}");
        assert_eq!(world.head("k").await.unwrap().word, CacheWord::Hit);
        // HEAD and ranges of other keys as well.
        all_have(&scripts, "l", 400_000);
        world.head("l").await.unwrap();
        let range = world.range("l", RangeSpec::FromTo { first: 10, last: 19 }).await.unwrap();
        assert_eq!((range.word, range.bytes.len()), (CacheWord::Pass, 10), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_member_cannot_answer_another_one_does_before_the_client_sees_a_byte() {
    fails_over().await;
}

/// Members with different objects of one name: what was begun goes on with that object or not at all.
async fn never_mixed() {
    let (world, scripts) = world(BucketMode::Migrate, 3).await;
    let content = scripts[0].object("k", LARGE);
    scripts[1].object("k", LARGE);
    scripts[1].replace("k");
    // Looks at no condition and says no ETag: what it has could be anything.
    scripts[2].object("k", LARGE);
    scripts[2].replace("k");
    for fault in [Fault::IgnoreConditions, Fault::NoETag] {
        scripts[2].fault("k", fault);
    }
    scripts[0].fault_times("k", 1, Fault::ResetAt(LARGE / 2));
    let got = world.get("k").await.unwrap();
    assert!(same(&got.bytes, &content), "the one that it began with ends it");
    assert_eq!(calls(&scripts, "k"), [2, 1, 1], "the one that broke off is asked last");
    world.settled().await;
    assert!(same(&world.get("k").await.unwrap().bytes, &content));

    // And where that one is gone it is broken off, and kept by nobody.
    let content = scripts[0].object("l", LARGE);
    scripts[1].object("l", LARGE);
    scripts[1].replace("l");
    scripts[0].fault_times("l", 1, Fault::ResetAt(LARGE / 2));
    scripts[0].hold("l", At::Byte(LARGE / 4));
    let answer = world.ask(GetRequest::of(key("l"))).await;
    scripts[0].fault("l", Fault::HangUp);
    scripts[0].release("l");
    let read = collect(body_of(answer.result.unwrap())).await;
    assert!(read.is_err(), "{:?}", read.map(|bytes| same(&bytes, &content)));
    world.settled().await;
    assert_eq!(world.state("l").await, "unknown");
}

#[tokio::test(start_paused = true)]
async fn a_body_goes_on_at_another_member_only_with_the_same_object() {
    let (world, scripts) = world(BucketMode::Migrate, 2).await;
    let content = all_have(&scripts, "k", LARGE);
    scripts[0].fault("k", Fault::ResetAt(LARGE / 2));
    let got = world.get("k").await.unwrap();
    assert!(same(&got.bytes, &content));
    assert_eq!(calls(&scripts, "k"), [1, 1]);
    let resumed = &scripts[1].call_log("k")[0];
    assert_eq!(resumed.if_match, scripts[0].etag("k"));
    assert!(matches!(resumed.range, Some(RangeSpec::From { first }) if first > 0), "{:?}", resumed.range);
    never_mixed().await;
}

async fn open_ones_are_passed_over() {
    let (world, scripts) = world(BucketMode::Migrate, 2).await;
    scripts[0].fault_for_all(Fault::HangUp);
    let pause = || tokio::time::sleep(Duration::from_secs(120)); // Virtual time: what it was slow at fades.
    for name in ["k0", "k1", "k2", "k3", "k4"] {
        all_have(&scripts, name, 10);
        pause().await;
        assert_eq!(states(&world).await[0].state, "asked");
        world.get(name).await.unwrap();
        assert_eq!(calls(&scripts, name), [1, 1]);
    }
    assert_eq!(states(&world).await[0].state, "failing");
    all_have(&scripts, "next", 10);
    world.get("next").await.unwrap();
    assert_eq!(calls(&scripts, "next"), [0, 1]);
    // Its pause is over: one request finds out, and is answered all the same.
    pause().await;
    all_have(&scripts, "probe", 10);
    world.get("probe").await.unwrap();
    assert_eq!((calls(&scripts, "probe"), states(&world).await[0].state), (vec![1, 1], "failing"));
    scripts[0].heal_all();
    pause().await;
    all_have(&scripts, "healed", 10);
    world.get("healed").await.unwrap();
    assert_eq!((calls(&scripts, "healed"), states(&world).await[0].state), (vec![1, 0], "asked"));
    // Nobody is asked where both of them are left alone.
    for script in &scripts {
        script.fault_for_all(Fault::HangUp);
    }
    let (a, b, c, d, e) =
        tokio::join!(world.get("x0"), world.get("x1"), world.get("x2"), world.get("x3"), world.get("x4"));
    for got in [a, b, c, d, e] {
        assert!(matches!(got, Err((_, BucketError::OriginFailing { .. }))), "{got:?}");
    }
    assert!(states(&world).await.iter().all(|member| member.state == "failing"));
    assert!(matches!(world.get("more").await, Err((_, BucketError::OriginFailing { .. }))));
    assert_eq!(calls(&scripts, "more"), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_breaker_is_open_is_passed_over() {
    Box::pin(open_ones_are_passed_over()).await;
}

async fn least_load() {
    let (world, scripts) = world(BucketMode::Migrate, 2).await;
    for name in ["a", "b", "c", "d"] {
        all_have(&scripts, name, LARGE);
    }
    // Of two that nothing is known of, the first.
    scripts[0].hold("a", At::Byte(LARGE / 2));
    let held = world.ask(GetRequest::of(key("a"))).await;
    assert_eq!(calls(&scripts, "a"), [1, 0]);
    assert_eq!(states(&world).await[0].in_flight, 1, "a body that is on its way counts");
    world.get("b").await.unwrap();
    assert_eq!(calls(&scripts, "b"), [0, 1], "the other one has nothing to do");
    scripts[0].release("a");
    drop(collect(body_of(held.result.unwrap())).await.unwrap());
    world.settled().await;
    assert_eq!(states(&world).await.iter().map(|member| member.in_flight).collect::<Vec<_>>(), [0, 0]);
    // One that takes its time is asked when the other has enough to do.
    scripts[0].fault_times("c", 1, Fault::DelayHeaders(Duration::from_secs(2)));
    world.get("c").await.unwrap();
    assert_eq!(calls(&scripts, "c"), [1, 0]);
    world.get("d").await.unwrap();
    assert_eq!(calls(&scripts, "d"), [0, 1]);
    // And once again when that was long ago.
    tokio::time::sleep(Duration::from_secs(600)).await; // Virtual time.
    all_have(&scripts, "e", 10);
    world.get("e").await.unwrap();
    assert_eq!(calls(&scripts, "e"), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_member_with_the_least_to_do_is_asked() {
    least_load().await;
}

#[tokio::test(start_paused = true)]
async fn failure_is_not_absence_and_one_that_answers_is_believed() {
    let (world, scripts) = world(BucketMode::Migrate, 2).await;
    assert!(matches!(world.get("none").await, Err((_, BucketError::NoSuchKey))));
    assert_eq!(calls(&scripts, "none"), [1, 0], "members have the same objects");
    scripts[0].fault_for_all(Fault::Status(500));
    assert!(matches!(world.get("gone").await, Err((_, BucketError::NoSuchKey))), "the other one said so");
    scripts[1].fault_for_all(Fault::HangUp);
    for name in ["x", "y"] {
        let got = world.get(name).await;
        assert!(matches!(got, Err((_, BucketError::OriginFailing { .. }))), "{got:?}");
        assert_eq!(world.state(name).await, "unknown");
    }
    // One refuses us and the other cannot be asked: it is not settled that somebody has to mend something.
    for script in &scripts {
        script.heal_all();
    }
    tokio::time::sleep(Duration::from_secs(60)).await; // Virtual time.
    scripts[0].fault_for_all(Fault::Status(403));
    scripts[1].fault_for_all(Fault::Status(500));
    assert!(matches!(world.get("z").await, Err((_, BucketError::OriginFailing { .. }))));
    scripts[1].heal_all();
    scripts[1].fault_for_all(Fault::Status(403));
    assert!(matches!(world.get("zz").await, Err((_, BucketError::ShadowMisconfigured { .. }))));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_by_its_etag_is_looked_for_at_every_member() {
    let (world, scripts) = world(BucketMode::Migrate, 2).await;
    let content = scripts[1].object("k", 400_000);
    scripts[0].fault_times("k", 1, Fault::HangUp);
    // The second one describes it; the first one does not have it.
    world.head("k").await.unwrap();
    let range = RangeSpec::FromTo { first: 5, last: 14 };
    let got = world.range("k", range).await.unwrap();
    assert_eq!(got.bytes, content.bytes().slice(5..15));
    // With nobody left who could be asked it is not there.
    scripts[1].remove("k");
    assert!(matches!(world.range("k", range).await, Err((_, BucketError::NoSuchKey))));
}

#[tokio::test(start_paused = true)]
async fn lists_come_from_the_first_member_that_answers() {
    let (world, scripts) = world(BucketMode::Migrate, 2).await;
    scripts[0].object("a", 1);
    scripts[1].object("b", 1);
    assert_eq!(world.names(all()).await, ["a"]);
    // However busy it is: pages of one list come from one member while it answers.
    scripts[0].hold("a", At::Headers);
    let bucket = world.bucket().await;
    let (caller, request) = (caller(), GetRequest::of(key("a")));
    let held = world.engine.get(&bucket, &caller, request);
    tokio::pin!(held);
    tokio::select! {
        _ = &mut held => panic!("it is held"),
        () = scripts[0].wait_for_held("a", At::Headers) => {}
    }
    assert_eq!(world.names(all()).await, ["a"]);
    scripts[0].release("a");
    held.await.result.unwrap();
    for fault in [ListFault::Status(500), ListFault::Status(403), ListFault::Malformed, ListFault::NoAnswer] {
        scripts[0].list_fault(fault.clone());
        assert_eq!(world.names(all()).await, ["a", "b"], "{fault:?}");
        scripts[0].heal_all();
    }
    for script in &scripts {
        script.list_fault(ListFault::Status(500));
    }
    let page = world.engine.list(&bucket, &caller, all()).await.result;
    assert!(matches!(page, Err(BucketError::OriginFailing { .. })), "never a part of a list");
}

async fn first_is_written() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, second) = (&through.world, Provider::default());
    world.lead_named("second", Arc::new(second.clone()));
    let mut rule = rule(&["old", "second"]);
    (rule.write_through, rule.delete_through) = (WriteThrough::Async, true);
    world.set_rules(&[rule]).await.unwrap();
    // The first one fails at something, so that the other one is asked rather.
    through.provider.has("read", "r");
    second.has("read", "r");
    through.provider.mishap("a", Mishap::Answers(500, "InternalError"));
    for name in ["a", "b", "c"] {
        world.put(name, "mine").await.unwrap();
    }
    through.drained().await;
    assert_eq!(second.all().len(), 1, "{:?}", second.log());
    assert_eq!(&world.get("read").await.unwrap().bytes[..], b"r");
    assert_eq!(through.provider.text("c").as_deref(), Some("mine"));
    world.delete("read").await;
    through.drained().await;
    assert!(through.provider.text("read").is_none() && second.text("read").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_written_and_deleted_goes_to_the_first_member_alone() {
    first_is_written().await;
}

#[tokio::test(start_paused = true)]
async fn changed_members_are_another_shadow() {
    let (world, scripts) = world(BucketMode::Migrate, 2).await;
    assert!(matches!(world.get("k").await, Err((_, BucketError::NoSuchKey))));
    let gate = world.bucket().await.gate_version;
    world.set_rules(&[rule(&["m0"])]).await.unwrap();
    assert!(world.bucket().await.gate_version > gate && states(&world).await.is_empty());
    // What the old members did not have is not believed of the new one.
    scripts[0].object("k", 1);
    world.get("k").await.unwrap();
    assert!(matches!(
        world.set_rules(&[rule(&["m0", "m0"])]).await,
        Err(BucketError::InvalidSettings { .. })
    ));
}

#[test]
fn planted_bugs_among_members_are_caught() {
    assert_caught([
        missed(Mutant::MemberFailureIsFinal, fails_over),
        missed(Mutant::MembersMixed, never_mixed),
        missed(Mutant::FailingMemberAsked, open_ones_are_passed_over),
        missed(Mutant::MemberLoadIgnored, least_load),
        missed(Mutant::AnyMemberWritten, first_is_written),
    ]);
}
