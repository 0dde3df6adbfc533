//! What attempts at a delivery leave behind, and how they are told from what somebody else did.

use std::time::Duration;

use fallthrough_sim::Mishap;
use fallthrough_store::WriteThrough;
use fallthrough_wire::conditions::{Conditions, WriteConditions};

use super::eviction::alone;
use super::outbox::Through;
use super::world::{caller, key};
use crate::api::{Admission, Attributes};
use crate::core::mutants::{Mutant, caught};
use crate::{CopyRequest, CopySource};

/// A provider that takes no conditions for a while, and takes them again.
async fn for_a_while() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    provider.takes_no_conditions();
    world.put("k", "1").await.unwrap();
    through.drained().await;
    provider.takes_conditions();
    world.put("k", "2").await.unwrap();
    through.drained().await;
    assert!(!provider.log().last().unwrap().contains(" if "), "{:?}", provider.log());
    tokio::time::sleep(Duration::from_secs(3600)).await; // Virtual time: it is tried again.
    world.put("k", "3").await.unwrap();
    through.drained().await;
    assert!(provider.log().last().unwrap().contains(" if "), "{:?}", provider.log());
}

#[tokio::test(start_paused = true)]
async fn conditions_that_were_refused_are_tried_again_after_a_while() {
    for_a_while().await;
}

/// Other objects are still guarded after something else of a write was refused with 400.
async fn choked() {
    let through = Through::new(WriteThrough::Async).await;
    let (world, provider) = (&through.world, &through.provider);
    provider.mishap("bad", Mishap::Answers(400, "InvalidArgument"));
    world.put("bad", "1").await.unwrap();
    through.drained().await;
    assert_eq!(through.waiting().await, (0, 1));
    world.put("good", "1").await.unwrap();
    through.drained().await;
    assert!(provider.log().last().unwrap().ends_with(" if absent"), "{:?}", provider.log());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_does_not_speak_of_the_condition_says_nothing_of_conditions() {
    choked().await;
}

/// A client goes away, or the process ends, while the parts of an object are on their way.
async fn parts_cut_off() {
    for restarts in [false, true] {
        let mut through = Through::new(WriteThrough::Sync).await;
        let provider = through.provider.clone();
        provider.keeps_parts_waiting(true);
        tokio::select! {
            _ = through.world.put_parts("k", &[5 << 20, 7]) => panic!("it cannot have ended"),
            () = provider.logged(2) => {}
        }
        assert_eq!(provider.uploads(), 1);
        if restarts {
            through.stop().await;
        }
        provider.keeps_parts_waiting(false);
        if restarts {
            through.restart().await;
        }
        through.drained().await;
        assert_eq!((provider.uploads(), through.waiting().await), (0, (0, 0)));
        assert_eq!(provider.text("k"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn uploads_that_were_cut_off_are_ended_at_the_origin() {
    parts_cut_off().await;
}

/// A copy of an object of several parts is called otherwise at the origin; its arrival was not heard of.
async fn copied_unheard() {
    for write in [WriteThrough::Async, WriteThrough::Sync] {
        let through = Through::new(write).await;
        let (world, provider) = (&through.world, &through.provider);
        let etag = world.put_parts("from", &[5 << 20, 7]).await.unwrap();
        through.drained().await;
        provider.mishap("to", Mishap::DoneAndLost);
        let bucket = world.bucket().await;
        let source =
            CopySource { bucket: bucket.clone(), key: key("from"), conditions: Conditions::default() };
        let request = CopyRequest {
            source,
            key: key("to"),
            meta: None,
            tags: None,
            checksum: None,
            attributes: Attributes::default(),
            conditions: WriteConditions::default(),
        };
        let copied = world.engine.copy(&bucket, &caller(), request, Admission::ALL).await;
        assert_eq!(copied.is_ok(), write == WriteThrough::Async);
        through.drained().await;
        assert_eq!(through.waiting().await, (0, 0));
        let here = world.get("to").await.unwrap();
        assert_eq!(here.bytes, provider.kept("to").unwrap().bytes);
        assert_ne!(provider.kept("to").unwrap().etag.to_string(), etag);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_known_at_the_origin_by_what_it_is_called_there() {
    copied_unheard().await;
}

#[test]
fn planted_bugs_of_deliveries_are_caught() {
    assert!(caught(Mutant::AnyRefusalIsTheConditions, || alone(choked())));
    assert!(caught(Mutant::UnguardedForEver, || alone(for_a_while())));
    assert!(caught(Mutant::UploadsLeftThere, || alone(parts_cut_off())));
    assert!(caught(Mutant::CalledThereAsHere, || alone(copied_unheard())));
}
