//! The engine against a reference model: the same operations on both, answers compared after each. Among
//! the operations are the unhappy ones: the origin is down, somebody else changes it, the engine restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{RangeSpec, Timestamp};
use fallthrough_sim::Fault;
use proptest::prelude::*;

use super::world::{Got, World};
use crate::{BucketError, BucketMode, CacheWord, ListRequest};

#[derive(Clone, Debug)]
enum Op {
    Put(u8),
    Get(u8),
    Range(u8),
    Head(u8),
    Delete(u8),
    Purge(u8, bool),
    List,
    OriginChanges(u8),
    OriginForgets(u8),
    OriginDown,
    OriginUp,
    Wait(u8),
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let k = 0u8..4;
    let op = prop_oneof![
        3 => k.clone().prop_map(Op::Put),
        6 => k.clone().prop_map(Op::Get),
        2 => k.clone().prop_map(Op::Range),
        3 => k.clone().prop_map(Op::Head),
        3 => k.clone().prop_map(Op::Delete),
        2 => (k.clone(), any::<bool>()).prop_map(|(k, written)| Op::Purge(k, written)),
        2 => Just(Op::List),
        3 => k.clone().prop_map(Op::OriginChanges),
        1 => k.prop_map(Op::OriginForgets),
        1 => Just(Op::OriginDown),
        2 => Just(Op::OriginUp),
        2 => (1u8..40).prop_map(Op::Wait),
        1 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 1..60)
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Written(Bytes),
    Filled(Bytes),
    Known(u64, Timestamp),
    Absent(Timestamp),
    Tombstone,
}

/// What a read must answer.
#[derive(Clone, Debug, PartialEq)]
enum Want {
    Bytes(Bytes),
    Size(u64),
    Absent,
    CannotAsk,
}

#[derive(Default)]
struct Model {
    compute: bool,
    here: BTreeMap<u8, State>,
    origin: BTreeMap<u8, Bytes>,
    down: bool,
}

const BELIEVED: Duration = Duration::from_secs(30);

impl Model {
    fn fill(&mut self, k: u8, now: Timestamp) -> Want {
        match (self.down, self.origin.get(&k)) {
            (true, _) => Want::CannotAsk,
            (false, Some(bytes)) => {
                let bytes = bytes.clone();
                self.here.insert(k, State::Filled(bytes.clone()));
                Want::Bytes(bytes)
            }
            (false, None) => {
                self.here.insert(k, State::Absent(now.plus(BELIEVED)));
                Want::Absent
            }
        }
    }

    fn get(&mut self, k: u8, now: Timestamp) -> Want {
        match self.here.get(&k) {
            Some(State::Written(bytes) | State::Filled(bytes)) => Want::Bytes(bytes.clone()),
            Some(State::Tombstone) => Want::Absent,
            Some(State::Absent(until)) if now < *until => Want::Absent,
            Some(State::Absent(_) | State::Known(..)) | None => self.fill(k, now),
        }
    }

    /// A range is passed through; a fill happens only if what was known of the object no longer holds.
    fn range(&mut self, k: u8, now: Timestamp) -> Want {
        let cold = match self.here.get(&k) {
            None | Some(State::Known(..)) => true,
            Some(State::Absent(until)) => now >= *until,
            Some(State::Written(_) | State::Filled(_) | State::Tombstone) => false,
        };
        let passes = cold && !self.compute && !self.down && self.origin.contains_key(&k);
        let changed = matches!(self.here.get(&k), Some(State::Known(..)));
        if passes && !changed {
            return Want::Bytes(self.origin[&k].clone());
        }
        self.get(k, now)
    }

    fn head(&mut self, k: u8, now: Timestamp) -> Want {
        let size = |want| match want {
            Want::Bytes(bytes) => Want::Size(bytes.len() as u64),
            other => other,
        };
        let cold = match self.here.get(&k) {
            None => None,
            Some(State::Known(size, until)) if now < *until => return Want::Size(*size),
            Some(State::Known(size, _)) => Some(*size),
            Some(State::Absent(until)) if now >= *until => None,
            Some(State::Written(_) | State::Filled(_) | State::Absent(_) | State::Tombstone) => {
                return size(self.get(k, now));
            }
        };
        if self.compute {
            return size(self.fill(k, now));
        }
        match (self.down, self.origin.get(&k)) {
            // While the origin cannot be asked, what it said before still answers.
            (true, _) => cold.map_or(Want::CannotAsk, Want::Size),
            (false, Some(bytes)) => {
                let size = bytes.len() as u64;
                self.here.insert(k, State::Known(size, now.plus(BELIEVED)));
                Want::Size(size)
            }
            (false, None) => {
                self.here.insert(k, State::Absent(now.plus(BELIEVED)));
                Want::Absent
            }
        }
    }

    fn delete(&mut self, k: u8) {
        let tombstone =
            !self.compute || matches!(self.here.get(&k), Some(State::Written(_) | State::Tombstone));
        if tombstone {
            self.here.insert(k, State::Tombstone);
        } else {
            self.here.remove(&k);
        }
    }

    /// `None`: refused.
    fn purge(&mut self, k: u8, written_too: bool) -> Option<bool> {
        match self.here.get(&k) {
            Some(State::Written(_) | State::Tombstone) if !written_too => None,
            _ => Some(self.here.remove(&k).is_some()),
        }
    }

    fn list(&self) -> Option<Vec<String>> {
        if self.down && !self.compute {
            return None;
        }
        let here = |k: &u8| match self.here.get(k) {
            Some(State::Written(_) | State::Filled(_)) => Some(true),
            Some(State::Tombstone) => Some(false),
            Some(State::Known(..) | State::Absent(_)) | None => None,
        };
        let shows = |k: &u8| here(k).unwrap_or(!self.compute && self.origin.contains_key(k));
        Some((0..4).filter(shows).map(name).collect())
    }
}

fn name(k: u8) -> String {
    format!("k{k}")
}

fn seen(got: Result<Got, (CacheWord, BucketError)>, head: bool) -> Want {
    match got {
        Ok(got) if head => Want::Size(got.object.size_bytes.unwrap()),
        Ok(got) => Want::Bytes(got.bytes),
        Err((_, BucketError::NoSuchKey)) => Want::Absent,
        Err((_, BucketError::OriginFailing { .. })) => Want::CannotAsk,
        Err(other) => panic!("{other:?}"),
    }
}

async fn run(compute: bool, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mode = if compute { BucketMode::Compute } else { BucketMode::Migrate };
    let mut world = World::new(mode).await;
    let mut model = Model { compute, ..Model::default() };
    for k in 0..2u8 {
        model.origin.insert(k, world.origin.object(&name(k), 100 + u64::from(k)).bytes());
    }
    for (at, op) in ops.into_iter().enumerate() {
        let now = world.now();
        let what = format!("step {at}: {op:?}");
        match op {
            Op::Put(k) => {
                let bytes = Bytes::from(format!("written at step {at}"));
                world.put(&name(k), bytes.clone()).await.unwrap();
                model.here.insert(k, State::Written(bytes));
            }
            Op::Get(k) => {
                let want = model.get(k, now);
                prop_assert_eq!(seen(world.get(&name(k)).await, false), want, "{}", what);
            }
            Op::Range(k) => {
                let known = matches!(model.here.get(&k), Some(State::Known(..)));
                let before = model.here.get(&k).cloned();
                let want = match model.range(k, now) {
                    Want::Bytes(bytes) => Want::Bytes(bytes.slice(3..7)),
                    other => other,
                };
                let got = seen(world.range(&name(k), RangeSpec::FromTo { first: 3, last: 6 }).await, false);
                world.settled().await;
                // What was known may still hold: then the range was passed, and nothing was kept.
                if known
                    && world.state(&name(k)).await == "known"
                    && let Some(before) = before
                {
                    model.here.insert(k, before);
                }
                prop_assert_eq!(got, want, "{}", what);
            }
            Op::Head(k) => {
                let want = model.head(k, now);
                prop_assert_eq!(seen(world.head(&name(k)).await, true), want, "{}", what);
            }
            Op::Delete(k) => {
                world.delete(&name(k)).await;
                model.delete(k);
            }
            Op::Purge(k, written_too) => {
                let got = match world.purge(&name(k), written_too).await {
                    Ok(had) => Some(had),
                    Err(BucketError::WouldLoseWritten) => None,
                    Err(other) => panic!("{other:?}"),
                };
                prop_assert_eq!(got, model.purge(k, written_too), "{}", what);
            }
            Op::List => match model.list() {
                Some(want) => {
                    let request = ListRequest { max_keys: 2, ..ListRequest::default() };
                    prop_assert_eq!(world.names(request).await, want, "{}", what);
                }
                None => {
                    let request = ListRequest { max_keys: 2, ..ListRequest::default() };
                    let bucket = world.bucket().await;
                    let refused = world.engine.list(&bucket, &super::world::caller(), request).await.result;
                    let cannot = matches!(refused, Err(BucketError::OriginFailing { .. }));
                    prop_assert!(cannot, "{}", what);
                }
            },
            Op::OriginChanges(k) => {
                let content = if world.origin.content(&name(k)).is_some() {
                    world.origin.replace(&name(k))
                } else {
                    world.origin.object(&name(k), 200 + u64::from(k))
                };
                model.origin.insert(k, content.bytes());
            }
            Op::OriginForgets(k) => {
                world.origin.remove(&name(k));
                model.origin.remove(&k);
            }
            Op::OriginDown => {
                world.origin.fault_for_all(Fault::HangUp);
                world.origin.list_fault(fallthrough_sim::ListFault::Status(500));
                model.down = true;
            }
            Op::OriginUp => {
                world.origin.heal_all();
                model.down = false;
                // Longer than the breaker's longest pause.
                tokio::time::advance(Duration::from_secs(31)).await;
            }
            Op::Wait(secs) => tokio::time::advance(Duration::from_secs(u64::from(secs))).await,
            Op::Restart => {
                world.settled().await;
                world.restart();
            }
        }
        world.settled().await;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("FALLTHROUGH_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_agrees_with_the_model(compute in any::<bool>(), ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(compute, ops))?;
    }
}

/// The model finds a planted bug, so it could find a real one.
#[test]
fn a_planted_bug_is_caught() {
    use crate::core::mutants::{Mutant, caught};
    let found = caught(Mutant::NoTombstoneCheck, || {
        let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = proptest::test_runner::TestRunner::new(config);
        let outcome = runner.run(&ops(), |ops| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(run(false, ops))
        });
        outcome.unwrap();
    });
    assert!(found);
}
