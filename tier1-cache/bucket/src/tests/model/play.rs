//! Plays a history on the engine and on its reference, and compares them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::ETag;
use fallthrough_sim::{Fault, ListFault};
use proptest::prelude::*;

use super::machine::{Machine, Moment, name, text};
use super::operations::{Cond, Draw, Lie, Op, Under};
use super::reference::{Answer, Ask, KEYS, Model, Only, State, tag_of};
use crate::BucketMode;

/// What happened, by kind.
pub(super) type Tally = BTreeMap<&'static str, u64>;

struct Play<'a> {
    machine: Machine,
    model: Model,
    tally: &'a RefCell<Tally>,
    /// Keys whose fills may still be under way: what they have come to cannot be told yet.
    unsettled: Vec<u8>,
    /// Counts what is written, so that no two bodies are the same.
    bodies: u64,
}

/// Something is asked of keys, one after the other.
type Asked = (Vec<u8>, Ask);

impl Play<'_> {
    fn count(&self, kind: &'static str) {
        *self.tally.borrow_mut().entry(kind).or_default() += 1;
    }

    fn resolve(&mut self, k: u8, draw: &Draw) -> Ask {
        self.bodies += 1;
        let body = |size: &usize| text(&format!("{} of {}, ", self.bodies, name(k)), *size);
        let (kind, ask) = match draw {
            Draw::Get => ("Get", Ask::Get),
            Draw::Range => ("Range", Ask::Range),
            Draw::Head => ("Head", Ask::Head),
            Draw::Put(size) => ("Put", Ask::Put(body(size), Only::Always)),
            Draw::PutIf(size, cond) => ("PutIf", Ask::Put(body(size), self.only(k, *cond))),
            Draw::Delete => ("Delete", Ask::Delete(Only::Always)),
            Draw::DeleteIf(cond) => ("DeleteIf", Ask::Delete(self.only(k, *cond))),
            Draw::Purge => ("Purge", Ask::Purge(false)),
            Draw::PurgeWritten => ("PurgeWritten", Ask::Purge(true)),
            Draw::Tag => ("Tag", Ask::Tag),
        };
        self.count(kind);
        ask
    }

    fn only(&self, k: u8, cond: Cond) -> Only {
        let here = || {
            self.model.may[usize::from(k)].iter().find_map(|state| match state {
                State::Written(b) | State::Filled(b, _) | State::Known(b, _) => Some(tag_of(b)),
                State::Unknown | State::Absent(_) | State::Tombstone => None,
            })
        };
        let found: Option<ETag> = match cond {
            Cond::IfAbsent => return Only::IfAbsent,
            Cond::MatchesHere => here(),
            Cond::MatchesOrigin => self.model.origin.get(&k).map(tag_of),
            Cond::MatchesNobodys => None,
        };
        Only::IfMatch(found.unwrap_or_else(|| tag_of(&Bytes::from_static(b"nobody's"))))
    }

    fn differs(&self, k: u8, ask: &Ask, got: &dyn std::fmt::Debug) -> TestCaseError {
        let (may, model) = (&self.model.may[usize::from(k)], &self.model);
        TestCaseError::fail(format!(
            "{ask:?} of {} answered {got:?}, but it may be {may:?}; {:?}, shadow {}, down {}, the origin has {:?}",
            name(k),
            model.mode,
            model.shadow,
            model.down,
            model.origin.get(&k),
        ))
    }

    /// `settles`: whether what is left under way may end before the next operation.
    async fn ask(&mut self, k: u8, ask: &Ask, settles: bool) -> Result<(), TestCaseError> {
        let from = self.machine.world.now();
        let got = self.machine.ask(k, ask).await.map_err(|error| self.differs(k, ask, &error))?;
        let at = self.machine.since(from);
        let agrees = match settles {
            true => self.model.saw(k, ask, at, &got),
            false => self.model.saw_before_crash(k, ask, at, &got),
        };
        if agrees { Ok(()) } else { Err(self.differs(k, ask, &got)) }
    }

    async fn copy(&mut self, from: u8, to: u8) -> Result<(), TestCaseError> {
        let began = self.machine.world.now();
        let ask = Ask::CopyFrom;
        let got = self.machine.copy(from, to).await.map_err(|error| self.differs(from, &ask, &error))?;
        if !self.model.saw(from, &ask, self.machine.since(began), &got) {
            return Err(self.differs(from, &ask, &got));
        }
        let Answer::Described(tag, _) = got else { return Ok(()) };
        let copied = self.model.may[usize::from(from)].iter().find_map(|state| match state {
            State::Written(b) | State::Filled(b, _) if tag_of(b) == tag => Some(b.clone()),
            _ => None,
        });
        self.model.may[usize::from(to)] = vec![State::Written(copied.expect("what was described is here"))];
        Ok(())
    }

    /// The machine crashes while all this is under way. What was answered holds; what was not is in doubt; and so is
    /// every error of a machine whose disk has stopped.
    async fn crash(&mut self, under: &[Under], moment: Moment, seed: u64) -> Result<(), TestCaseError> {
        // One thing of each key: what two do to each other is for the tests of races.
        let unsettled = std::mem::take(&mut self.unsettled);
        let mut free: Vec<u8> = (0..KEYS).filter(|k| !unsettled.contains(k)).collect();
        let mut asked: Vec<Asked> = Vec::new();
        let turns_shadow = matches!(under, [Under::TurnShadow]);
        for under in under {
            let mut take = |wanted: &[u8]| {
                let got: Vec<u8> = wanted.iter().copied().filter(|k| free.contains(k)).collect();
                free.retain(|k| !got.contains(k));
                got
            };
            match under {
                Under::One(k, draw) => {
                    let keys = take(&[*k]);
                    if !keys.is_empty() {
                        asked.push((keys, self.resolve(*k, draw)));
                    }
                }
                Under::DeleteBatch(keys) => {
                    let keys = take(keys);
                    if !keys.is_empty() {
                        asked.push((keys, Ask::Delete(Only::Always)));
                        self.count("DeleteBatch");
                    }
                }
                // It changes what the others mean, so it is alone.
                Under::TurnShadow => self.count("TurnShadow"),
            }
        }
        let from = self.machine.world.now();
        let answers: RefCell<BTreeMap<u8, Result<Answer, String>>> = RefCell::default();
        let (machine, turned) = (&self.machine, !self.model.shadow);
        let acknowledged = Cell::new(false);
        let left = if turns_shadow {
            let turning = async {
                let done = machine.set_shadow(turned).await;
                assert!(done.is_ok() || machine.is_dead(), "{done:?}");
                acknowledged.set(done.is_ok());
            };
            machine.crash([turning], moment, seed).await
        } else {
            let answers = &answers;
            let running = asked.iter().map(|(keys, ask)| async move {
                for k in keys {
                    let answer = machine.ask(*k, ask).await;
                    let certain = !machine.is_dead() || !matches!(answer, Err(_) | Ok(Answer::CannotAsk));
                    if certain {
                        answers.borrow_mut().insert(*k, answer);
                    }
                }
            });
            machine.crash(running, moment, seed).await
        };
        let at = self.machine.since(from);
        self.machine.start_after_crash(left).await;
        let mut answers = answers.into_inner();
        for (keys, ask) in &asked {
            for k in keys {
                match answers.remove(k) {
                    Some(Ok(got)) if self.model.saw_before_crash(*k, ask, at, &got) => self.count("answered"),
                    Some(got) => return Err(self.differs(*k, ask, &got)),
                    None => {
                        self.count("in doubt");
                        self.model.in_doubt(*k, ask, at);
                    }
                }
            }
        }
        let has_shadow = self.machine.has_shadow().await;
        let may_have_turned = turns_shadow && has_shadow == turned;
        prop_assert!(
            may_have_turned || (has_shadow != turned && !acknowledged.get()),
            "the shadow outlives a crash"
        );
        self.model.set_shadow(has_shadow);
        Ok(())
    }

    async fn take(&mut self, op: &Op, settles: bool) -> Result<(), TestCaseError> {
        let origin = self.machine.world.origin.clone();
        let kind = match op {
            Op::One(k, draw) => {
                let ask = self.resolve(*k, draw);
                self.unsettled.extend((!settles).then_some(*k));
                return self.ask(*k, &ask, settles).await;
            }
            Op::DeleteBatch(keys) => {
                for k in keys {
                    self.ask(*k, &Ask::Delete(Only::Always), settles).await?;
                }
                "DeleteBatch"
            }
            Op::Copy(from, to) => {
                self.copy(*from, *to).await?;
                "Copy"
            }
            Op::List => {
                let list = self.machine.list().await;
                let (may, has) = (self.model.may.clone(), &self.model.origin.clone());
                prop_assert!(
                    self.model.saw_list(list.as_ref()),
                    "{:?} of {:?}, the origin has {:?}",
                    list,
                    may,
                    has
                );
                "List"
            }
            Op::OriginChanges(k) => {
                let content = match origin.content(&name(*k)) {
                    Some(_) => origin.replace(&name(*k)),
                    None => origin.object(&name(*k), 50 + 200 * u64::from(*k)),
                };
                self.model.origin.insert(*k, content.bytes());
                "OriginChanges"
            }
            Op::OriginForgets(k) => {
                origin.remove(&name(*k));
                origin.heal(&name(*k));
                self.model.origin.remove(k);
                "OriginForgets"
            }
            // It is about the body of an object: where there is none, nothing can be said of what is answered.
            Op::OriginLies(k, _) if !self.model.origin.contains_key(k) => return Ok(()),
            Op::OriginLies(k, lie) => {
                let lies = match lie {
                    // Of a compute origin an ETag says nothing of the bytes.
                    Lie::Flip => vec![Fault::FlipByteAt(20), Fault::ContentMd5],
                    Lie::EndEarly => vec![Fault::EndAt(20)],
                };
                lies.into_iter().for_each(|lie| origin.fault_times(&name(*k), 1, lie));
                "OriginLies"
            }
            Op::OriginDown => {
                origin.fault_for_all(Fault::HangUp);
                origin.list_fault(ListFault::Status(500));
                self.model.down = true;
                "OriginDown"
            }
            Op::OriginUp => {
                origin.heal_all();
                self.model.down = false;
                // Longer than the breaker's longest pause.
                tokio::time::advance(Duration::from_secs(31)).await;
                "OriginUp"
            }
            Op::ClearShadow | Op::SetShadow => {
                let shadow = matches!(op, Op::SetShadow);
                self.machine.set_shadow(shadow).await.map_err(TestCaseError::fail)?;
                self.model.set_shadow(shadow);
                if shadow { "SetShadow" } else { "ClearShadow" }
            }
            Op::Wait(secs) => {
                tokio::time::advance(Duration::from_secs(u64::from(*secs))).await;
                "Wait"
            }
            Op::Reopen => {
                self.machine.reopen().await;
                "Reopen"
            }
            Op::Crash(under, moment, seed) => {
                self.crash(under, *moment, *seed).await?;
                "Crash"
            }
        };
        self.count(kind);
        Ok(())
    }
}

/// Plays a history to its end; an error is the first difference.
pub(super) async fn run(
    mode: BucketMode,
    ops: &[Op],
    honest_disk: bool,
    tally: &RefCell<Tally>,
) -> Result<(), TestCaseError> {
    let (machine, mut model) = (Machine::new(mode, honest_disk).await, Model::new(mode));
    for k in 0..2u8 {
        model.origin.insert(k, machine.world.origin.object(&name(k), 100 + u64::from(k)).bytes());
    }
    let mut play = Play { machine, model, tally, unsettled: Vec::new(), bodies: 0 };
    for (at, op) in ops.iter().enumerate() {
        // A crash waits for nothing.
        let settles = !matches!(ops.get(at + 1), Some(Op::Crash(..)));
        let taken = play.take(op, settles).await;
        taken.map_err(|error| TestCaseError::fail(format!("step {at}, {op:?}: {error}")))?;
        if settles {
            play.machine.world.settled().await;
        }
    }
    play.machine.leaves_nothing().await;
    Ok(())
}
