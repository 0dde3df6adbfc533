//! What is written and deleted here is written and deleted at the origin.

use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::Acl;
use fallthrough_sim::{Mishap, Provider};
use fallthrough_store::{Store, StoreOptions, WriteConflict, WriteThrough};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::planted::{assert_caught, missed};
use super::world::{World, caller, key, put_of};
use crate::api::Admission;
use crate::core::mutants::Mutant;
use crate::{BucketError, BucketMode, BucketSettings, EngineOptions, ObjectInfo, ShadowRule, WhichWaiting};

/// A world over a provider that can be written to, with the worker running.
pub(super) struct Through {
    pub(super) world: World,
    pub(super) provider: Provider,
    stop: CancellationToken,
    worker: Option<JoinHandle<()>>,
}

impl Through {
    pub(super) async fn new(write: WriteThrough) -> Self {
        Self::with(|rule| rule.write_through = write).await
    }

    pub(super) async fn with(change: impl Fn(&mut ShadowRule)) -> Self {
        Self::limited(StoreOptions::default(), change).await
    }

    async fn limited(options: StoreOptions, change: impl Fn(&mut ShadowRule)) -> Self {
        let clock = World::clock();
        let entropy = Arc::new(fallthrough_object::SeededEntropy::new(7));
        let store = Store::in_memory(options, clock.clone(), entropy);
        let set = |settings: &mut BucketSettings| {
            settings.shadow[0].delete_through = true;
            change(&mut settings.shadow[0]);
        };
        let world = World::over(store, clock, BucketMode::Migrate, EngineOptions::default(), set).await;
        let provider = Provider::default();
        world.lead_to(Arc::new(provider.clone()));
        let mut through = Self { world, provider, stop: CancellationToken::new(), worker: None };
        through.start();
        through
    }

    fn start(&mut self) {
        self.stop = CancellationToken::new();
        let (engine, stop) = (self.world.engine.clone(), self.stop.clone());
        self.worker = Some(TaskTracker::new().spawn(async move { engine.run_outbox(stop).await }));
    }

    /// Ends the worker, with whatever it has under way.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(worker) = self.worker.take() {
            worker.await.unwrap();
        }
    }

    pub(super) async fn restart(&mut self) {
        self.stop().await;
        self.world.restart();
        self.start();
    }

    pub(super) async fn waiting(&self) -> (u64, u64) {
        let status = self.world.engine.outbox_of(&*self.world.bucket().await);
        (status.pending, status.dead)
    }

    /// Waits until nothing is pending any more.
    pub(super) async fn drained(&self) {
        while self.waiting().await.0 > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await; // Virtual time: lets the worker go on.
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_and_deleted_here_is_so_at_the_origin() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    provider.has("old", "from before");
    world.put("a", "one").await.unwrap();
    world.put("b", vec![b'x'; 300_000]).await.unwrap();
    world.put("empty", "").await.unwrap();
    through.drained().await;
    assert_eq!(provider.text("a").as_deref(), Some("one"));
    assert_eq!(provider.kept("b").unwrap().bytes.len(), 300_000);
    assert_eq!(provider.text("empty").as_deref(), Some(""));
    assert_eq!(provider.kept("a").unwrap().object.meta.content_type.as_deref(), Some("text/plain"));
    assert!(world.delete("old").await && world.delete("a").await && world.delete("never").await);
    through.drained().await;
    assert_eq!(provider.all().keys().collect::<Vec<_>>(), ["b", "empty"]);
    assert_eq!(through.waiting().await, (0, 0));
    // What is overwritten is asked for by what it was left with: nobody has to look.
    let heads = provider.heads();
    world.put("b", "two").await.unwrap();
    through.drained().await;
    assert_eq!((provider.text("b").as_deref(), provider.heads()), (Some("two"), heads));
    assert!(provider.log().last().unwrap().starts_with("PUT b \"two\" if "), "{:?}", provider.log());
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_change_of_a_key_is_sent_and_none_while_another_is_on_its_way() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    provider.mishap("k", Mishap::Waits);
    world.put("k", "1").await.unwrap();
    provider.logged(1).await;
    for text in ["2", "3"] {
        world.put("k", text).await.unwrap();
    }
    world.delete("k").await;
    world.put("k", "4").await.unwrap();
    assert_eq!(through.waiting().await, (1, 0));
    tokio::time::sleep(Duration::from_secs(5)).await; // Virtual time: nothing may come before the first has ended.
    assert_eq!(provider.log().len(), 1);
    provider.go_on();
    through.drained().await;
    assert_eq!(provider.text("k").as_deref(), Some("4"));
    let log = provider.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[0].starts_with("PUT k \"1\" if absent") && log[1].starts_with("PUT k \"4\" if "), "{log:?}");
}

/// What was sent before, and did not say how it ended, is no stranger at the origin; somebody else's object is.
async fn doubt() {
    for (mishap, there) in [(Mishap::DoneAndLost, true), (Mishap::Lost, false)] {
        let through = Through::new(WriteThrough::Async).await;
        let (world, provider) = (&through.world, &through.provider);
        provider.mishap("same", mishap.clone());
        world.put("same", "1").await.unwrap();
        provider.mishap("newer", mishap.clone());
        world.put("newer", "1").await.unwrap();
        provider.logged(2).await;
        while through
            .world
            .engine
            .waiting(&*world.bucket().await, None, 9, false)
            .await
            .unwrap()
            .iter()
            .any(|c| c.attempts == 0)
        {
            tokio::time::sleep(Duration::from_millis(1)).await; // Virtual time: lets the worker write it down.
        }
        assert_eq!(provider.kept("newer").is_some(), there);
        world.put("newer", "2").await.unwrap();
        through.drained().await;
        assert_eq!(
            (provider.text("same").as_deref(), provider.text("newer").as_deref()),
            (Some("1"), Some("2"))
        );
        assert_eq!(through.waiting().await, (0, 0));
        // Sent again only where it had not arrived.
        let again = provider.log().iter().filter(|line| line.starts_with("PUT same")).count();
        assert_eq!(again, if there { 1 } else { 2 });
    }
}

async fn conflicts() {
    for (policy, there, here, dead) in [
        (WriteConflict::Fail, "theirs", Some("ours"), 1),
        (WriteConflict::Local, "ours", Some("ours"), 0),
        (WriteConflict::Origin, "theirs", Some("theirs"), 0),
    ] {
        let through = Through::with(|rule| {
            rule.write_through = WriteThrough::Async;
            rule.write_conflict = policy;
        })
        .await;
        let (world, provider) = (&through.world, &through.provider);
        world.put("k", "first").await.unwrap();
        through.drained().await;
        provider.has("k", "theirs");
        world.put("k", "ours").await.unwrap();
        through.drained().await;
        assert_eq!(provider.text("k").as_deref(), Some(there), "{policy:?}");
        assert_eq!(through.waiting().await, (0, dead), "{policy:?}");
        let got = world.get("k").await.unwrap();
        assert_eq!(Some(std::str::from_utf8(&got.bytes).unwrap()), here, "{policy:?}");
        if dead > 0 {
            let waiting = world.engine.waiting(&*world.bucket().await, None, 9, true).await.unwrap();
            assert_eq!((waiting[0].key.as_str(), waiting[0].state), ("k", "dead"));
            assert!(waiting[0].reason.as_ref().unwrap().contains("somebody else has changed it"));
        }
        // Deletes are judged as well.
        world.put("d", "first").await.unwrap();
        through.drained().await;
        provider.has("d", "theirs");
        world.delete("d").await;
        through.drained().await;
        let left = provider.text("d");
        assert_eq!(left.is_none(), policy == WriteConflict::Local, "{policy:?}");
        let state = world.state("d").await;
        assert_eq!(state, if policy == WriteConflict::Origin { "unknown" } else { "tombstone" });
    }
}

/// What only this side knows of an object does not make it forget what was last seen at the origin.
#[tokio::test(start_paused = true)]
async fn an_acl_does_not_hide_what_somebody_else_does_to_the_object() {
    for is_delivered in [false, true] {
        let through = Through::new(WriteThrough::Async).await;
        let (world, provider) = (&through.world, &through.provider);
        if is_delivered {
            world.put("k", "first").await.unwrap();
            through.drained().await;
        } else {
            provider.has("k", "first");
            world.get("k").await.unwrap();
        }
        let log = provider.log().len();
        let acl = |info: &mut ObjectInfo| {
            info.acl = Some(Acl::default());
            Ok(())
        };
        let bucket = world.bucket().await;
        world.engine.annotate(&bucket, &caller(), &key("k"), Admission::ALL, &acl).await.unwrap();
        through.drained().await;
        assert_eq!(provider.log().len(), log, "an ACL stays here");
        provider.has("k", "theirs");
        world.put("k", "ours").await.unwrap();
        through.drained().await;
        assert_eq!((provider.text("k").as_deref(), through.waiting().await), (Some("theirs"), (0, 1)));
    }
}

/// What one shadow had says nothing of the one that took its place, whatever was said of the object here meanwhile.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_shadow_had_is_not_expected_of_the_next() {
    let through = Through::with(|rule| {
        rule.write_through = WriteThrough::Async;
        rule.write_conflict = WriteConflict::Origin;
    })
    .await;
    let world = &through.world;
    world.put("k", "first").await.unwrap();
    through.drained().await;
    let next = Provider::default();
    world.lead_to(Arc::new(next.clone()));
    let mut rules = world.bucket().await.settings.shadow.clone();
    rules[0].prefix = Some(String::new());
    world.set_rules(&rules).await.unwrap();
    let acl = |info: &mut ObjectInfo| {
        info.acl = Some(Acl::default());
        Ok(())
    };
    let bucket = world.bucket().await;
    world.engine.annotate(&bucket, &caller(), &key("k"), Admission::ALL, &acl).await.unwrap();
    world.put("k", "second").await.unwrap();
    through.drained().await;
    assert_eq!((next.text("k").as_deref(), through.waiting().await), (Some("second"), (0, 0)));
    assert_eq!(&world.get("k").await.unwrap().bytes[..], b"second");
}

/// 412 because our own write, whose answer was lost, stands there already.
#[tokio::test(start_paused = true)]
async fn our_own_content_at_the_origin_is_no_conflict() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    world.put("k", "1").await.unwrap();
    through.drained().await;
    provider.mishap("k", Mishap::DoneAndLost);
    world.put("k", "2").await.unwrap();
    through.drained().await;
    assert_eq!((provider.text("k").as_deref(), through.waiting().await), (Some("2"), (0, 0)));
    // An object of the same bytes with other metadata is not what was written here.
    provider.has("m", "same");
    world.put("m", "same").await.unwrap();
    through.drained().await;
    assert!(provider.log().iter().any(|line| line.starts_with("PUT m")), "{:?}", provider.log());
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_conditions_is_compared_with_instead() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    provider.takes_no_conditions();
    world.put("k", "1").await.unwrap();
    through.drained().await;
    world.put("k", "2").await.unwrap();
    through.drained().await;
    assert_eq!(provider.text("k").as_deref(), Some("2"));
    provider.has("k", "theirs");
    world.put("k", "3").await.unwrap();
    through.drained().await;
    assert_eq!((provider.text("k").as_deref(), through.waiting().await), (Some("theirs"), (0, 1)));
}

async fn dead() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    provider.has("gone", "old");
    provider.always(Some(Mishap::Answers(403, "AccessDenied")));
    world.put("k", "1").await.unwrap();
    // The client is not told: it is deleted here.
    assert!(world.delete("gone").await);
    through.drained().await;
    assert_eq!(through.waiting().await, (0, 2));
    assert!(matches!(world.get("gone").await, Err((_, BucketError::NoSuchKey))));
    assert_eq!(provider.text("gone").as_deref(), Some("old"));
    let attempts = provider.log().len();
    tokio::time::sleep(Duration::from_secs(3600)).await; // Virtual time: nobody tries.
    assert_eq!(provider.log().len(), attempts);
    let bucket = world.bucket().await;
    let told = world.engine.explain(&bucket, &key("k")).await.unwrap().waiting.unwrap();
    assert!(told.reason.unwrap().contains("403"));
    provider.always(None);
    let tried = world.engine.retry_waiting(&bucket, &WhichWaiting::Key(key("k"))).await.unwrap();
    through.drained().await;
    assert_eq!((tried, provider.text("k").as_deref(), through.waiting().await), (1, Some("1"), (0, 1)));
    assert_eq!(world.engine.drop_waiting(&bucket, &WhichWaiting::Dead).await.unwrap(), 1);
    assert_eq!((through.waiting().await, provider.text("gone").as_deref()), ((0, 0), Some("old")));
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_with_growing_pauses() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    for _ in 0..4 {
        provider.mishap("k", Mishap::Answers(500, "InternalError"));
    }
    provider.mishap("k", Mishap::SaysErrorLater);
    let begun = world.now();
    world.put("k", "1").await.unwrap();
    through.drained().await;
    assert_eq!((provider.text("k").as_deref(), provider.log().len()), (Some("1"), 6));
    let took = world.now().since(begun);
    assert!(took >= Duration::from_millis(15_500) && took < Duration::from_secs(32), "{took:?}");
}

async fn parts() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    let sizes = [5 << 20, 6 << 20, 1000];
    let etag = world.put_parts("big", &sizes).await.unwrap();
    through.drained().await;
    let kept = provider.kept("big").unwrap();
    assert_eq!((kept.etag.to_string(), kept.bytes.len()), (etag.clone(), sizes.iter().sum()));
    assert_eq!(kept.bytes, world.get("big").await.unwrap().bytes);
    // One that fails at its end leaves no upload behind, and arrives later.
    provider.mishap("again", Mishap::SaysErrorLater);
    let etag = world.put_parts("again", &sizes).await.unwrap();
    through.drained().await;
    assert_eq!((provider.kept("again").unwrap().etag.to_string(), provider.uploads()), (etag, 0));
}

/// A provider that honours conditions of a PUT and passes over those of a completion, as some do.
async fn completions() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    provider.passes_over_conditions_of_completions();
    let sizes = [5 << 20, 1000];
    let first = world.put_parts("k", &sizes).await.unwrap();
    through.drained().await;
    assert_eq!(provider.kept("k").unwrap().etag.to_string(), first);
    provider.has("k", "theirs");
    world.put_parts("k", &[6 << 20, 1]).await.unwrap();
    through.drained().await;
    assert!(provider.text("k").as_deref() == Some("theirs"), "somebody's object is overwritten");
    assert_eq!((through.waiting().await, provider.uploads()), ((0, 1), 0));
}

/// The process ends between a delete at the origin and its answer. The next one has not seen the origin's bucket, whose
/// HEAD says 404 without a word: it was our own delete.
async fn deletes_in_doubt() {
    let mut through = Through::new(WriteThrough::Async).await;
    through.world.put("k", "1").await.unwrap();
    through.drained().await;
    through.provider.mishap("k", Mishap::DoneAndLost);
    let logged = through.provider.log().len();
    through.world.delete("k").await;
    through.provider.logged(logged + 1).await;
    through.restart().await;
    through.drained().await;
    assert_eq!((through.provider.text("k"), through.waiting().await), (None, (0, 0)));
    // The same where it is written again meanwhile.
    through.world.put("k", "2").await.unwrap();
    through.drained().await;
    assert_eq!((through.provider.text("k").as_deref(), through.waiting().await), (Some("2"), (0, 0)));
}

async fn sync() {
    let through = Through::new(WriteThrough::Sync).await;
    let (world, provider) = (&through.world, &through.provider);
    world.put("k", "1").await.unwrap();
    assert_eq!((provider.text("k").as_deref(), through.waiting().await), (Some("1"), (0, 0)));
    provider.mishap("k", Mishap::Answers(403, "AccessDenied"));
    assert!(matches!(world.put("k", "2").await, Err(BucketError::ShadowMisconfigured { .. })));
    provider.mishap("k", Mishap::Answers(503, "SlowDown"));
    assert!(matches!(world.put("k", "2").await, Err(BucketError::OriginFailing { .. })));
    assert_eq!(world.get("k").await.unwrap().bytes, "1");
    assert_eq!((provider.text("k").as_deref(), through.waiting().await), (Some("1"), (0, 0)));
    tokio::time::sleep(Duration::from_secs(60)).await; // Virtual time: the breaker and the rest are over.
    provider.has("k", "theirs");
    assert!(matches!(world.put("k", "3").await, Err(BucketError::PreconditionFailed)));
    assert_eq!(world.get("k").await.unwrap().bytes, "1");
    provider.loses("k");
    assert!(matches!(world.put("k", "3").await, Err(BucketError::PreconditionFailed)));
    // Large ones, copies and those of several parts as well.
    world.put("large", vec![b'x'; 300_000]).await.unwrap();
    assert_eq!(provider.kept("large").unwrap().bytes.len(), 300_000);
    let etag = world.put_parts("parts", &[5 << 20, 7]).await.unwrap();
    assert_eq!(provider.kept("parts").unwrap().etag.to_string(), etag);
    let all = crate::UploadsRequest { max: 9, ..crate::UploadsRequest::default() };
    assert!(world.engine.uploads(&*world.bucket().await, &all).await.unwrap().items.is_empty());
    assert_eq!(world.get("parts").await.unwrap().bytes, provider.kept("parts").unwrap().bytes);
    // A delete is told afterwards, in its order.
    world.delete("large").await;
    world.put("large", "again").await.unwrap();
    assert_eq!((provider.text("large").as_deref(), through.waiting().await), (Some("again"), (0, 0)));
}

/// The answer is lost; then it is asked for, by whoever comes first: the worker, or the next change of the key.
async fn prepared() {
    for (mishap, arrived) in [(Mishap::DoneAndLost, true), (Mishap::Lost, false)] {
        let mut through = Through::new(WriteThrough::Sync).await;
        through.world.put("k", "old").await.unwrap();
        through.provider.mishap("k", mishap.clone());
        assert!(matches!(through.world.put("k", "new").await, Err(BucketError::OriginFailing { .. })));
        through.drained().await;
        let expected = if arrived { "new" } else { "old" };
        assert_eq!(through.world.get("k").await.unwrap().bytes, expected, "{mishap:?}");
        assert_eq!(through.provider.text("k").as_deref(), Some(expected));
        // The process ends between the two.
        through.provider.mishap("c", Mishap::Waits);
        let (engine, bucket) = (through.world.engine.clone(), through.world.bucket().await);
        let logged = through.provider.log().len();
        let put = TaskTracker::new()
            .spawn(async move { engine.put(&bucket, &caller(), put_of("c", "crashed")).await.map(drop) });
        through.provider.logged(logged + 1).await;
        through.stop().await;
        put.abort();
        assert!(put.await.unwrap_err().is_cancelled());
        if arrived {
            let object = through.provider.kept("k").unwrap().object;
            through.provider.keeps("c", "crashed", object);
        }
        assert!(matches!(through.world.get("c").await, Err((_, BucketError::NoSuchKey))) || arrived);
        through.restart().await;
        through.drained().await;
        let state = through.world.state("c").await;
        assert_eq!(state == "written", arrived, "{state}");
        assert_eq!(through.waiting().await, (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_and_survives_a_restart() {
    let options = StoreOptions { outbox_rows_max: 3, ..StoreOptions::default() };
    let mut through = Through::limited(options, |rule| rule.write_through = WriteThrough::Async).await;
    through.stop().await;
    for name in ["a", "b", "c"] {
        through.world.put(name, "1").await.unwrap();
    }
    let full = through.world.put("d", "1").await;
    assert!(matches!(full, Err(BucketError::OutboxFull { rows: 3, .. })), "{full:?}");
    assert!(matches!(through.world.get("d").await, Err((_, BucketError::NoSuchKey))));
    // What waits already takes no more room.
    through.world.put("a", "2").await.unwrap();
    through.restart().await;
    through.drained().await;
    through.world.put("d", "1").await.unwrap();
    through.drained().await;
    assert_eq!(through.provider.text("a").as_deref(), Some("2"));
    assert_eq!(through.provider.all().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_shadow_stays_while_something_waits_for_it() {
    let mut through = Through::new(WriteThrough::Async).await;
    through.stop().await;
    let world = &through.world;
    world.put("k", "1").await.unwrap();
    world.delete("k").await;
    let refused = |ended| matches!(ended, Err(BucketError::NotDelivered { waiting: 1 }));
    assert!(refused(world.engine.delete_bucket(&world.name).await));
    let clear = |settings: &mut BucketSettings| {
        settings.shadow.clear();
        settings.mode = BucketMode::Plain;
    };
    let off = |settings: &mut BucketSettings| settings.shadow[0].delete_through = false;
    assert!(refused(world.engine.set_bucket(&world.name, &clear).await.map(drop)));
    assert!(refused(world.engine.set_bucket(&world.name, &off).await.map(drop)));
    // What leads to the same place may change.
    let ttl = |settings: &mut BucketSettings| settings.shadow[0].negative_ttl_secs = Some(3);
    world.engine.set_bucket(&world.name, &ttl).await.unwrap();
    world.engine.set_bucket_by(&world.name, &clear, true).await.unwrap();
    assert_eq!(through.waiting().await, (0, 0));
    world.engine.delete_bucket(&world.name).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_what_the_rule_is_for_goes_through() {
    let through = Through::with(|rule| {
        rule.write_through = WriteThrough::Async;
        rule.delete_through = false;
        rule.prefix = Some("in/".into());
        rule.key = Some("old/{key}".into());
    })
    .await;
    let (world, provider) = (&through.world, &through.provider);
    provider.has("old/in/old", "old");
    world.put("in/a", "1").await.unwrap();
    world.put("out/a", "1").await.unwrap();
    world.delete("in/old").await;
    through.drained().await;
    assert_eq!(provider.all().keys().collect::<Vec<_>>(), ["old/in/a", "old/in/old"]);
    // What was written and deleted before it was sent is not sent.
    let begun = provider.log().len();
    provider.always(Some(Mishap::Lost));
    world.put("in/b", "1").await.unwrap();
    world.delete("in/b").await;
    provider.always(None);
    through.drained().await;
    assert_eq!((provider.text("old/in/b"), provider.log().len() - begun <= 1), (None, true));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_in_doubt_is_asked_for_before_the_next() {
    doubt().await;
}

#[tokio::test(start_paused = true)]
async fn a_conflict_at_the_origin_is_settled_as_the_rule_says() {
    conflicts().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_mend_itself_is_dead_until_it_is_tried_again_or_dropped() {
    dead().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_of_several_parts_has_the_same_etag_on_both_sides() {
    parts().await;
}

#[tokio::test(start_paused = true)]
async fn a_completion_overwrites_nobody_though_its_condition_is_passed_over() {
    completions().await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_in_doubt_is_nobody_elses() {
    deletes_in_doubt().await;
}

#[tokio::test(start_paused = true)]
async fn a_sync_write_is_at_the_origin_before_it_is_acknowledged_or_not_at_all() {
    sync().await;
}

#[tokio::test(start_paused = true)]
async fn a_sync_write_in_doubt_is_settled_by_asking() {
    prepared().await;
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([
        missed(Mutant::CollapseForgetsSent, doubt),
        missed(Mutant::WriteUnguarded, conflicts),
        missed(Mutant::ConflictOverwrites, conflicts),
        missed(Mutant::RefusedDeleteIsDone, dead),
        missed(Mutant::PartsSentWhole, parts),
        missed(Mutant::CompletesUnseen, completions),
        missed(Mutant::UnprovenIsConflict, deletes_in_doubt),
        missed(Mutant::SyncAnswersEarly, sync),
        missed(Mutant::InDoubtIsDone, prepared),
    ]);
}
