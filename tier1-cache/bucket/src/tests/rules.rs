//! Several rules on one bucket: the first one that takes a key decides.

use fallthrough_sim::{Content, ListFault};

use super::planted::{assert_caught, missed};
use super::world::{World, caller, key, rule_to, same};
use crate::core::mutants::Mutant;
use crate::{BucketError, BucketMode, CacheWord, ListFrom, ListRequest, ShadowRule, Treat403As};

#[tokio::test(start_paused = true)]
async fn the_first_rule_that_takes_a_key_decides() {
    let world = World::new(BucketMode::Migrate).await;
    let [pictures, hashes, rest] = ["pictures", "hashes", "rest"].map(|name| world.origin_named(name));
    let rules = [
        ShadowRule {
            prefix: Some("img/".into()),
            suffix: Some(".png".into()),
            key: Some("{rest}".into()),
            list: Some(ListFrom::Local),
            ..rule_to("pictures")
        },
        ShadowRule {
            matches: Some("^img/[0-9a-f]{4}$".into()),
            list: Some(ListFrom::Local),
            ..rule_to("hashes")
        },
        ShadowRule { prefix: Some("old/".into()), ..rule_to("rest") },
    ];
    world.set_rules(&rules).await.unwrap();
    let content = |origin: &fallthrough_sim::Script, name: &str| origin.object(name, 100);
    let expected: [(&str, &str, usize, Content); 3] = [
        ("img/cat.png", "cat.png", 0, content(&pictures, "cat.png")),
        ("img/00ff", "img/00ff", 1, content(&hashes, "img/00ff")),
        ("old/img/a.png", "old/img/a.png", 2, content(&rest, "old/img/a.png")),
    ];
    // Every origin has every name: only the rule tells whose object it is.
    for (_, theirs, number, _) in &expected {
        for (other, origin) in [&pictures, &hashes, &rest].into_iter().enumerate() {
            if other != *number {
                origin.object(theirs, 7);
            }
        }
    }
    for (ours, _, number, content) in &expected {
        let explained = world.engine.explain(&world.bucket().await, &key(ours)).await.unwrap();
        assert_eq!(explained.rule.as_ref().map(|(number, _)| *number), Some(*number), "{ours}");
        let got = world.get(ours).await.unwrap();
        assert!(same(&got.bytes, content), "{ours}");
        assert_eq!(got.word, CacheWord::Miss);
    }
    let calls = || {
        let of = |origin: &fallthrough_sim::Script| {
            ["cat.png", "img/cat.png", "dog.png", "img/00ff", "old/img/a.png", "img/cat.jpg", "cat.jpg"]
                .map(|name| origin.calls(name))
                .iter()
                .sum::<usize>()
        };
        [of(&pictures), of(&hashes), of(&rest)]
    };
    assert_eq!(calls(), [1, 1, 1]);

    // Of no rule, or deleted here: nobody is asked.
    let (word, error) = world.get("img/cat.jpg").await.unwrap_err();
    assert!(matches!(error, BucketError::NoSuchKey), "{word:?} {error:?}");
    world.delete("img/dog.png").await;
    pictures.object("dog.png", 100);
    world.get("img/dog.png").await.unwrap_err();
    assert_eq!(calls(), [1, 1, 1]);
    world.settled().await;
    let all = ListRequest { max_keys: 10, ..ListRequest::default() };
    assert_eq!(world.names(all).await, ["img/00ff", "img/cat.png", "old/img/a.png"]);
}

#[tokio::test(start_paused = true)]
async fn each_rule_reads_its_own_origins_answers() {
    let world = World::new(BucketMode::Migrate).await;
    let [hidden, open] = ["hidden", "open"].map(|name| world.origin_named(name));
    let absent =
        ShadowRule { prefix: Some("a/".into()), treat_403_as: Treat403As::Absent, ..rule_to("hidden") };
    world.set_rules(&[absent, rule_to("open")]).await.unwrap();
    for origin in [&hidden, &open] {
        origin.fault("a/x", fallthrough_sim::Fault::Status(403));
        origin.fault("b", fallthrough_sim::Fault::Status(403));
    }
    let (_, error) = world.get("a/x").await.unwrap_err();
    assert!(matches!(error, BucketError::NoSuchKey), "{error:?}");
    let (_, error) = world.get("b").await.unwrap_err();
    assert!(matches!(error, BucketError::ShadowMisconfigured { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn one_shadow_that_cannot_be_listed_is_no_partial_list() {
    let world = World::new(BucketMode::Migrate).await;
    let [first, second] = ["first", "second"].map(|name| world.origin_named(name));
    let rules = [ShadowRule { prefix: Some("a/".into()), ..rule_to("first") }, rule_to("second")];
    world.set_rules(&rules).await.unwrap();
    first.object("a/1", 1);
    second.object("b", 1);
    // Hidden: it is the business of the first rule.
    second.object("a/2", 1);
    let all = ListRequest { max_keys: 10, ..ListRequest::default() };
    for failing in [&first, &second] {
        failing.list_fault_times(1, ListFault::Status(500));
        let failed = world.engine.list(&world.bucket().await, &caller(), all.clone()).await.result;
        assert!(matches!(failed, Err(BucketError::OriginFailing { .. })), "{failed:?}");
        assert_eq!(world.names(all.clone()).await, ["a/1", "b"]);
    }
    // Under a prefix that is the first rule's, the other one is not asked.
    let (before, within) = (second.list_calls(), ListRequest { prefix: "b".into(), ..all });
    assert_eq!(world.names(within).await, ["b"]);
    assert_eq!(second.list_calls(), before + 1);
}

async fn both_take_it() {
    let world = World::new(BucketMode::Migrate).await;
    let [first, second] = ["first", "second"].map(|name| world.origin_named(name));
    world
        .set_rules(&[ShadowRule { prefix: Some("a/".into()), ..rule_to("first") }, rule_to("second")])
        .await
        .unwrap();
    let content = first.object("a/x", 100);
    second.object("a/x", 7);
    // What the first does not have, the second is not asked for.
    second.object("a/none", 7);
    assert!(same(&world.get("a/x").await.unwrap().bytes, &content));
    let (_, error) = world.get("a/none").await.unwrap_err();
    assert!(matches!(error, BucketError::NoSuchKey), "{error:?}");
    assert_eq!(second.total_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_rule_goes_before_a_later_one() {
    both_take_it().await;
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([missed(Mutant::LastRuleDecides, both_take_it)]);
}
