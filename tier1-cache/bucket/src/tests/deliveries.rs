//! What attempts at a delivery leave behind, and how they are told from what somebody else did.

use std::time::Duration;

use fallthrough_sim::Mishap;
use fallthrough_store::WriteThrough;

use super::eviction::alone;
use super::outbox::Through;
use crate::core::mutants::{Mutant, caught};

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

#[test]
fn planted_bugs_of_deliveries_are_caught() {
    assert!(caught(Mutant::UnguardedForEver, || alone(for_a_while())));
}
