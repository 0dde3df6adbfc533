//! What clients may cause at an origin in a stretch of time (`docs/semantics.md`, section 7).

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Entropy, Rate, SeededEntropy};
use futures::future::join_all;

use super::world::{World, caller, key};
use crate::{BucketError, BucketMode, CacheWord, Caller, EngineOptions, GetRequest};

/// Random keys that one client asks for.
fn random_keys() -> usize {
    std::env::var("FALLTHROUGH_RANDOM_KEYS").ok().map_or(10_000, |count| count.parse().unwrap())
}

fn rate(text: &str) -> Option<Rate> {
    Some(text.parse().unwrap())
}

async fn world(budget: Option<Rate>, client_budget: Option<Rate>) -> World {
    let options = EngineOptions { budget, client_budget, ..EngineOptions::default() };
    World::with(BucketMode::Migrate, options, |_| ()).await
}

fn of(client: &str) -> Caller {
    Caller { client: Arc::from(client), ..caller() }
}

async fn asks(world: &World, client: &str, k: &str) -> (CacheWord, Result<(), BucketError>) {
    let answer = world.engine.get(&world.bucket().await, &of(client), GetRequest::of(key(k))).await;
    (answer.report.word, answer.result.map(drop))
}

/// For ten minutes one client asks for keys that nobody has asked for before.
#[tokio::test(start_paused = true)]
async fn random_keys_of_one_client_cost_no_more_than_its_budget() {
    let world = world(None, rate("60/min")).await;
    world.origin.object("warm", 10);
    world.origin.object("modest", 10);
    assert!(asks(&world, "somebody", "warm").await.1.is_ok());
    let entropy = SeededEntropy::new(1);
    let count = random_keys();
    let pause = Duration::from_secs(600) / u32::try_from(count).unwrap();
    let mut refused = 0;
    for n in 0..count {
        let (word, result) = asks(&world, "greedy", &format!("{:016x}", entropy.next_u64())).await;
        match result {
            Err(BucketError::NoSuchKey) => assert_eq!(word, CacheWord::Miss),
            Err(BucketError::SlowDown { reason: "client-budget", retry_after }) => {
                assert_eq!(retry_after, Duration::from_secs(1));
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
        // Neither what is here nor other clients are concerned.
        assert_eq!(asks(&world, "greedy", "warm").await.0, CacheWord::Hit);
        if n == count / 2 {
            assert!(asks(&world, "modest", "modest").await.1.is_ok());
        }
        tokio::time::advance(pause).await;
    }
    let caused = world.origin.total_calls() - 2;
    assert!(caused <= 60 + 600, "{caused} calls");
    assert!(caused >= 600, "the budget can be spent: {caused} calls");
    assert_eq!(caused + refused, count);
}

/// Who is over the budget of all waits for it, in turns, and nobody is lost.
#[tokio::test(start_paused = true)]
async fn the_budget_of_all_is_spent_in_turns() {
    let world = world(rate("10/s"), None).await;
    let keys: Vec<String> = (0..60).map(|n| format!("greedy/{n}")).collect();
    for k in keys.iter().map(String::as_str).chain(["modest"]) {
        world.origin.object(k, 10);
    }
    let begin = tokio::time::Instant::now();
    let greedy = join_all(keys.iter().map(|k| asks(&world, "greedy", k)));
    let modest = async {
        // Virtual time: the other's are all asked for by then, and none has come after the first ten.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = asks(&world, "modest", "modest").await.1;
        (answer, begin.elapsed())
    };
    let (greedy, (modest, after)) = futures::join!(greedy, modest);
    assert!(greedy.iter().all(|(_, result)| result.is_ok()), "{greedy:?}");
    // Ten went at once, and fifty-one came one by one.
    let all = begin.elapsed();
    assert!(all >= Duration::from_millis(5000) && all < Duration::from_millis(5600), "{all:?}");
    assert!(modest.is_ok());
    assert!(after < Duration::from_millis(500), "not behind all of the other's: {after:?}");
    assert_eq!(world.origin.total_calls(), 61);
}

/// Who is sent away because of a budget and comes back when told is served.
#[tokio::test(start_paused = true)]
async fn a_spent_budget_says_when_to_come_back() {
    let world = world(rate("2/h"), None).await;
    for k in ["a", "b", "c"] {
        world.origin.object(k, 10);
    }
    assert!(asks(&world, "x", "a").await.1.is_ok());
    assert!(asks(&world, "y", "b").await.1.is_ok());
    let Err(BucketError::SlowDown { reason: "budget", retry_after }) = asks(&world, "z", "c").await.1 else {
        panic!("it was not sent away")
    };
    assert!(
        retry_after > Duration::from_secs(1790) && retry_after <= Duration::from_secs(1800),
        "{retry_after:?}"
    );
    tokio::time::advance(retry_after - Duration::from_secs(61)).await;
    assert!(matches!(asks(&world, "z", "c").await.1, Err(BucketError::SlowDown { reason: "budget", .. })));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(asks(&world, "z", "c").await.1.is_ok());
    assert_eq!(world.origin.total_calls(), 3);
}

/// Readers who join a fill, and who ask for what is known not to be there, cost nothing.
#[tokio::test(start_paused = true)]
async fn joining_costs_nothing() {
    let world = world(None, rate("2/day")).await;
    world.origin.object("k", 10);
    let readers = join_all((0..50).map(|_| asks(&world, "me", "k"))).await;
    assert!(readers.iter().all(|(_, result)| result.is_ok()));
    for _ in 0..50 {
        assert!(matches!(asks(&world, "me", "none").await.1, Err(BucketError::NoSuchKey)));
    }
    assert_eq!(world.origin.total_calls(), 2);
    assert!(matches!(asks(&world, "me", "third").await.1, Err(BucketError::SlowDown { .. })));
}
