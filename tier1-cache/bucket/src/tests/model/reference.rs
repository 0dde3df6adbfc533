//! What a bucket over a shadow answers, in two pages: what the engine is compared with.
//!
//! Some things only a later answer can tell: whether a copy outlived a crash, whether a write arrived that nobody
//! acknowledged. So the model holds every state that a key may be in; an answer leaves those that it agrees with, and
//! where none is left the engine has done something that it must not.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{ETag, Timestamp};
use md5::{Digest as _, Md5};

use crate::BucketMode;

/// The keys are the numbers below this.
pub(super) const KEYS: u8 = 4;
/// How long what the origin does not have, and what its HEAD says, is believed.
pub(super) const BELIEVED: Duration = Duration::from_secs(30);
/// How long a copy is fresh where the origin wins.
pub(super) const FRESH: Duration = Duration::from_secs(20);

/// Between two moments: something was asked then, or is believed until then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct When {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl When {
    fn plus(self, by: Duration) -> Self {
        Self { from: self.from.plus(by), to: self.to.plus(by) }
    }

    fn may_be_before(self, until: Self) -> bool {
        self.from < until.to
    }

    fn may_be_after(self, until: Self) -> bool {
        self.to >= until.from
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Unknown,
    Written(Bytes),
    Filled(Bytes, When),
    Known(Bytes, When),
    Absent(When),
    Tombstone,
}

/// The condition of a write.
#[derive(Clone, Debug)]
pub(super) enum Only {
    Always,
    IfAbsent,
    IfMatch(ETag),
}

/// What is asked of one key.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Get,
    /// The bytes 3 to 6.
    Range,
    Head,
    Put(Bytes, Only),
    Delete(Only),
    /// Also of what a client wrote or deleted?
    Purge(bool),
    /// Tags are set.
    Tag,
    /// As the source of a copy.
    CopyFrom,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Bytes(Bytes),
    /// ETag and size in bytes.
    Described(ETag, u64),
    NoSuchRange,
    Absent,
    CannotAsk,
    Done,
    /// The condition does not hold.
    Refused,
    /// Nothing that a client has said is purged.
    Kept,
}

pub(super) fn tag_of(bytes: &Bytes) -> ETag {
    ETag::from_md5(Md5::digest(bytes).into())
}

fn described(bytes: &Bytes) -> Answer {
    Answer::Described(tag_of(bytes), bytes.len() as u64)
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) mode: BucketMode,
    pub(super) shadow: bool,
    pub(super) down: bool,
    pub(super) origin: BTreeMap<u8, Bytes>,
    /// What each key may be.
    pub(super) may: Vec<Vec<State>>,
}

type Ends = Vec<(Answer, State)>;

impl Model {
    pub(super) fn new(mode: BucketMode) -> Self {
        let may = vec![vec![State::Unknown]; usize::from(KEYS)];
        Self { mode, shadow: true, down: false, origin: BTreeMap::new(), may }
    }

    /// What may be answered, and what the key is then.
    fn step(&self, k: u8, state: &State, ask: &Ask, at: When) -> Ends {
        match ask {
            Ask::Get => self.get(k, state, at),
            Ask::Range => self.range(k, state, at),
            Ask::Head => self.head(k, state, at),
            Ask::Put(bytes, only) => match self.judge(k, state, only, at) {
                (Ok(()), _) => vec![(Answer::Done, State::Written(bytes.clone()))],
                (Err(refusal), state) => vec![(refusal, state)],
            },
            Ask::Delete(only) => match self.judge(k, state, only, at) {
                (Ok(()), state) => vec![(Answer::Done, self.deleted(&state))],
                // What is not there is deleted already.
                (Err(Answer::Absent), state) => vec![(Answer::Done, state)],
                (Err(refusal), state) => vec![(refusal, state)],
            },
            Ask::Purge(written_too) => match state {
                State::Written(_) | State::Tombstone if !written_too => vec![(Answer::Kept, state.clone())],
                _ => vec![(Answer::Done, State::Unknown)],
            },
            // What a client has said something about counts as written.
            Ask::Tag => of_bytes(self.get(k, state, at), |b, _| (Answer::Done, State::Written(b))),
            Ask::CopyFrom => of_bytes(self.get(k, state, at), |b, s| (described(&b), s)),
        }
    }

    /// Whether the origin answers for what is not here.
    fn merged(&self) -> bool {
        self.shadow && self.mode != BucketMode::Compute
    }

    /// The key is fetched from the origin. `gone`: what it is if the origin does not have it.
    fn fall(&self, k: u8, state: &State, gone: State, at: When) -> Ends {
        match (self.shadow, self.down, self.origin.get(&k)) {
            (false, ..) => vec![(Answer::Absent, state.clone())],
            (true, true, _) => vec![(Answer::CannotAsk, state.clone())],
            (true, false, None) => vec![(Answer::Absent, gone)],
            (true, false, Some(b)) => {
                vec![(Answer::Bytes(b.clone()), State::Filled(b.clone(), at.plus(FRESH)))]
            }
        }
    }

    fn get(&self, k: u8, state: &State, at: When) -> Ends {
        let absent = State::Absent(at.plus(BELIEVED));
        let ages = self.shadow && self.mode == BucketMode::Cache;
        let mut ends = Vec::new();
        match state {
            State::Written(b) => ends.push((Answer::Bytes(b.clone()), state.clone())),
            State::Tombstone => ends.push((Answer::Absent, state.clone())),
            State::Filled(b, until) => {
                if !ages || at.may_be_before(*until) {
                    ends.push((Answer::Bytes(b.clone()), state.clone()));
                }
                if ages && at.may_be_after(*until) {
                    ends.extend(self.fall(k, state, State::Unknown, at));
                }
            }
            State::Absent(until) => {
                if at.may_be_before(*until) {
                    ends.push((Answer::Absent, state.clone()));
                }
                if at.may_be_after(*until) {
                    ends.extend(self.fall(k, state, absent, at));
                }
            }
            State::Known(..) | State::Unknown => ends.extend(self.fall(k, state, absent, at)),
        }
        ends
    }

    /// A range of a cold key is passed through and not kept, as long as it is of what is known.
    fn range(&self, k: u8, state: &State, at: When) -> Ends {
        let cut = |b: &Bytes| {
            if b.len() > 3 { Answer::Bytes(b.slice(3..b.len().min(7))) } else { Answer::NoSuchRange }
        };
        let passes = |known: Option<&Bytes>| match self.origin.get(&k) {
            Some(b) => self.merged() && !self.down && known.is_none_or(|known| known == b),
            None => false,
        };
        let (passes, may_fill) = match state {
            State::Unknown => (passes(None), !passes(None)),
            State::Known(known, _) => (passes(Some(known)), !passes(Some(known))),
            State::Absent(until) if at.may_be_after(*until) => {
                (passes(None), !passes(None) || at.may_be_before(*until))
            }
            _ => (false, true),
        };
        let mut ends = Vec::new();
        if passes {
            ends.push((cut(&self.origin[&k]), state.clone()));
        }
        if may_fill {
            let mut whole = of_bytes(self.get(k, state, at), |b, s| (cut(&b), s));
            // Where it may be passed it is not filled.
            whole.retain(|(answer, _)| !passes || *answer == Answer::Absent);
            ends.extend(whole);
        }
        ends
    }

    /// Of a cold key the origin's HEAD is asked, and believed for a while; while it is down for as long as that takes.
    fn head(&self, k: u8, state: &State, at: When) -> Ends {
        let as_get = || of_bytes(self.get(k, state, at), |b, s| (described(&b), s));
        let mut ends = Vec::new();
        match state {
            _ if !self.merged() => return as_get(),
            State::Written(_) | State::Filled(..) | State::Tombstone => return as_get(),
            State::Known(b, until) if at.may_be_before(*until) || self.down => {
                ends.push((described(b), state.clone()));
                if self.down || !at.may_be_after(*until) {
                    return ends;
                }
            }
            State::Absent(until) if at.may_be_before(*until) => {
                ends.push((Answer::Absent, state.clone()));
                if !at.may_be_after(*until) {
                    return ends;
                }
            }
            State::Unknown | State::Known(..) | State::Absent(_) => {}
        }
        let (said, state) = self.described(k, state, at);
        ends.push((said.map_or_else(|a| a, |b| b.map_or(Answer::Absent, |b| described(&b))), state));
        ends
    }

    /// What the origin's HEAD says of a key, which is noted.
    fn described(&self, k: u8, state: &State, at: When) -> (Result<Option<Bytes>, Answer>, State) {
        match (self.down, self.origin.get(&k)) {
            (true, _) => (Err(Answer::CannotAsk), state.clone()),
            (false, Some(b)) => (Ok(Some(b.clone())), State::Known(b.clone(), at.plus(BELIEVED))),
            (false, None) => (Ok(None), State::Absent(at.plus(BELIEVED))),
        }
    }

    /// Judges a condition on what is here; of a cold key the origin is asked, whatever it said before.
    fn judge(&self, k: u8, state: &State, only: &Only, at: When) -> (Result<(), Answer>, State) {
        let (current, state) = match (only, state) {
            (Only::Always, _) => return (Ok(()), state.clone()),
            (_, State::Written(b) | State::Filled(b, _)) => (Ok(Some(b.clone())), state.clone()),
            (_, State::Unknown | State::Known(..) | State::Absent(_)) if self.merged() => {
                self.described(k, state, at)
            }
            (_, State::Unknown | State::Known(..) | State::Absent(_) | State::Tombstone) => {
                (Ok(None), state.clone())
            }
        };
        let holds = match (only, current) {
            (_, Err(refusal)) => Err(refusal),
            (Only::Always | Only::IfAbsent, Ok(None)) => Ok(()),
            (Only::IfMatch(wanted), Ok(Some(b))) if *wanted == tag_of(&b) => Ok(()),
            (Only::IfMatch(_), Ok(None)) => Err(Answer::Absent),
            (_, Ok(Some(_))) => Err(Answer::Refused),
        };
        (holds, state)
    }

    /// What a client wrote leaves a tombstone where there is a shadow, and so does every delete in `migrate`.
    fn deleted(&self, state: &State) -> State {
        let written = matches!(state, State::Written(_) | State::Tombstone);
        if self.shadow && (written || self.mode == BucketMode::Migrate) {
            State::Tombstone
        } else {
            State::Unknown
        }
    }

    /// What a list shows of a key; what is here wins, and tombstones hide.
    fn shown(&self, k: u8, state: &State) -> Option<(ETag, u64)> {
        let bytes = match state {
            State::Written(b) | State::Filled(b, _) => Some(b),
            State::Tombstone => None,
            State::Unknown | State::Known(..) | State::Absent(_) => {
                self.origin.get(&k).filter(|_| self.merged())
            }
        };
        bytes.map(|b| (tag_of(b), b.len() as u64))
    }

    /// Takes an answer: false if nothing that the key may have been explains it.
    #[must_use]
    pub(super) fn saw(&mut self, k: u8, ask: &Ask, at: When, got: &Answer) -> bool {
        let ends = self.may[usize::from(k)].iter().flat_map(|state| self.step(k, state, ask, at));
        self.leave(k, ends.filter(|(answer, _)| answer == got).map(|(_, state)| state).collect())
    }

    /// Takes an answer that a crash followed: what was only noted or copied may be gone with it, no acknowledged change.
    #[must_use]
    pub(super) fn saw_before_crash(&mut self, k: u8, ask: &Ask, at: When, got: &Answer) -> bool {
        let mut may = Vec::new();
        for state in &self.may[usize::from(k)] {
            for (_, after) in self.step(k, state, ask, at).into_iter().filter(|(answer, _)| answer == got) {
                if matches!(after, State::Filled(..) | State::Known(..) | State::Absent(_)) {
                    may.push(state.clone());
                }
                may.push(after);
            }
        }
        self.leave(k, may)
    }

    /// A crash came before an answer: it was done, or it was not.
    pub(super) fn in_doubt(&mut self, k: u8, ask: &Ask, at: When) {
        let mut may = self.may[usize::from(k)].clone();
        may.extend(
            self.may[usize::from(k)].iter().flat_map(|s| self.step(k, s, ask, at)).map(|(_, state)| state),
        );
        assert!(self.leave(k, may));
    }

    /// Takes a list, or `None`: it could not be had.
    #[must_use]
    pub(super) fn saw_list(&mut self, list: Option<&BTreeMap<u8, (ETag, u64)>>) -> bool {
        let Some(list) = list else { return self.down && self.merged() };
        (!self.down || !self.merged())
            && (0..KEYS).all(|k| {
                let states = self.may[usize::from(k)].clone().into_iter();
                let shown = states.filter(|state| self.shown(k, state).as_ref() == list.get(&k)).collect();
                self.leave(k, shown)
            })
    }

    /// The shadow is cleared, or set again: what it said is not believed of the next one. Tombstones go with it, at
    /// the latest before the next one is set.
    pub(super) fn set_shadow(&mut self, shadow: bool) {
        if self.shadow == shadow {
            return;
        }
        self.shadow = shadow;
        for may in &mut self.may {
            let after = may.drain(..).flat_map(|state| match state {
                State::Known(..) | State::Absent(_) => vec![State::Unknown],
                State::Tombstone if shadow => vec![State::Unknown],
                State::Tombstone => vec![State::Tombstone, State::Unknown],
                State::Unknown | State::Written(_) | State::Filled(..) => vec![state],
            });
            *may = after.collect();
        }
    }

    /// From now on the key is one of these, if there is any.
    fn leave(&mut self, k: u8, states: Vec<State>) -> bool {
        let mut distinct: Vec<State> = Vec::new();
        for state in states {
            if !distinct.contains(&state) {
                distinct.push(state);
            }
        }
        let any = !distinct.is_empty();
        if any {
            self.may[usize::from(k)] = distinct;
        }
        any
    }
}

fn of_bytes(ends: Ends, then: impl Fn(Bytes, State) -> (Answer, State)) -> Ends {
    let ends = ends.into_iter();
    ends.map(|(answer, state)| if let Answer::Bytes(b) = answer { then(b, state) } else { (answer, state) })
        .collect()
}
