//! The reference model: what one key of a fall-through bucket may answer, operation by operation.
//!
//! It is what `docs/semantics.md` promises, without time, fills, or caches: a register that holds what a client
//! wrote, a tombstone, or nothing of ours, with the shadow's object shining through. Where the promise
//! leaves a choice (a copy of a detached shadow may have been kept or not) the model follows every branch.

use std::collections::BTreeMap;

use crate::history::{Moment, Operation, VersionId};

/// How the bucket of a run treats its shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// No shadow.
    Plain,
    /// What is here wins for ever.
    Migrate,
    /// The origin wins, after the time to live.
    Cache,
    /// The origin computes.
    Compute,
}

/// The condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// None.
    Always,
    /// `If-None-Match: *`.
    IfAbsent,
    /// `If-Match`.
    IfMatch(VersionId),
}

/// What a read showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// This version.
    Object(VersionId),
    /// A version, not known which.
    SomeObject,
    /// There is no such object.
    Nothing,
    /// An object that is not this version.
    Another(VersionId),
    /// An object that ends before this byte.
    EndsBefore(u64),
}

/// What an operation did, or showed, as far as one key is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// GET or HEAD.
    Read(Seen),
    /// A page of LIST.
    Listed(Seen),
    /// 404 without a word of what is missing: the object or the bucket.
    NotFound,
    /// PUT.
    Put(VersionId, Condition),
    /// PUT was refused with 412, or with 404 if `absent`.
    PutRefused {
        /// The condition.
        condition: Condition,
        /// There was nothing to match.
        absent: bool,
    },
    /// DELETE.
    Delete,
    /// Purge.
    Purge,
    /// Purge was refused: a client wrote or deleted this.
    PurgeRefused,
    /// The shadow was set to this origin.
    Attach(u8),
    /// The shadow was cleared.
    Detach,
    /// The bucket was deleted, being empty.
    DropBucket,
    /// The bucket was created, with this shadow.
    MakeBucket(Option<u8>),
    /// The bucket was there.
    BucketSeen,
    /// There was no bucket.
    NoBucket,
}

impl Did {
    /// Whether it changes nothing, whatever the state.
    pub(crate) fn only_shows(self) -> bool {
        match self {
            Self::Read(_)
            | Self::Listed(_)
            | Self::NotFound
            | Self::PutRefused { .. }
            | Self::PurgeRefused
            | Self::BucketSeen
            | Self::NoBucket => true,
            Self::Put(..)
            | Self::Delete
            | Self::Purge
            | Self::Attach(_)
            | Self::Detach
            | Self::DropBucket
            | Self::MakeBucket(_) => false,
        }
    }
}

/// What is known about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Local {
    /// Nothing of ours; a copy of what one of these shadows (a bit each) had may have been kept, besides a copy
    /// of what the present one has.
    Open(u8),
    /// A copy of a shadow's object that is no longer attached, or was replaced there.
    Filled(VersionId),
    Written(VersionId),
    Tombstone,
}

/// The model's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) bucket: bool,
    pub(crate) attached: Option<u8>,
    pub(crate) local: Local,
}

/// What the origins had, and the rules of the run.
#[derive(Clone, Debug)]
pub struct Model {
    /// The bucket's mode.
    pub mode: Mode,
    /// How long a copy may be older than the origin's object, in nanoseconds.
    pub staleness: u64,
    /// Sizes of versions in bytes.
    pub sizes: BTreeMap<VersionId, u64>,
    /// For each origin, what it had under this key since when (nanoseconds), in order; before the first: nothing.
    pub origins: Vec<Vec<(u64, Option<VersionId>)>>,
    /// Whether the bucket existed at the beginning, and its shadow.
    pub start: Option<Option<u8>>,
}

impl Model {
    /// The state at the beginning.
    pub(crate) fn initial(&self) -> State {
        State { bucket: self.start.is_some(), attached: self.start.flatten(), local: Local::Open(0) }
    }

    /// What the origin may have had at some time between the two, a copy's age included.
    fn had(&self, origin: u8, from: Moment, to: Moment) -> Vec<Option<VersionId>> {
        let timeline = &self.origins[usize::from(origin)];
        let from = from.nanos.saturating_sub(self.staleness);
        let mut had = Vec::new();
        for (n, (since, what)) in timeline.iter().enumerate() {
            let until = timeline.get(n + 1).map_or(u64::MAX, |(next, _)| *next);
            if *since <= to.nanos && until >= from && !had.contains(what) {
                had.push(*what);
            }
        }
        had
    }

    /// What the origin ever had until then.
    fn ever_had(&self, origins: u8, to: Moment) -> Vec<VersionId> {
        let of = (0..8).filter(|origin| origins & (1 << origin) != 0);
        of.flat_map(|origin| {
            let had = self.origins[origin].iter().filter(|(since, _)| *since <= to.nanos);
            had.filter_map(|(_, what)| *what).collect::<Vec<_>>()
        })
        .collect()
    }

    /// What a reader may see, and the state that this leaves.
    fn visible(&self, state: State, by: &Operation, in_list: bool) -> Vec<(Option<VersionId>, State)> {
        let with = |local| State { local, ..state };
        let of_origin = |origin: u8| {
            let had = self.had(origin, by.from, by.to);
            had.into_iter().map(|what| (what, with(Local::Open(0)))).collect::<Vec<_>>()
        };
        match (state.local, state.attached) {
            (Local::Written(version), _) => vec![(Some(version), state)],
            (Local::Tombstone, _) => vec![(None, state)],
            (Local::Filled(version), attached) => {
                let mut seen = vec![(Some(version), state)];
                if let (Mode::Cache, Some(origin)) = (self.mode, attached) {
                    seen.extend(of_origin(origin));
                }
                seen
            }
            (Local::Open(kept), attached) => {
                let mut seen = match attached {
                    None => vec![(None, with(Local::Open(0)))],
                    Some(origin) => of_origin(origin),
                };
                if in_list && self.mode == Mode::Compute && attached.is_some() {
                    // The list of what is computed is what has been computed.
                    seen.push((None, state));
                }
                let others = kept & !attached.map_or(0, |origin| 1 << origin);
                let copies = self.ever_had(others, by.to).into_iter();
                seen.extend(copies.map(|copy| (Some(copy), with(Local::Filled(copy)))));
                seen
            }
        }
    }

    /// What a condition may be judged on: what is here, or else what the shadow has.
    fn judged(&self, state: State, by: &Operation) -> Vec<Option<VersionId>> {
        match state.local {
            Local::Written(version) | Local::Filled(version) => vec![Some(version)],
            Local::Tombstone => vec![None],
            Local::Open(kept) => {
                let origins = kept | state.attached.map_or(0, |origin| 1 << origin);
                let mut here: Vec<_> = self.ever_had(origins, by.to).into_iter().map(Some).collect();
                match state.attached {
                    // The shadow is asked, and has what it has meanwhile.
                    Some(origin) if matches!(self.mode, Mode::Migrate | Mode::Cache) => {
                        here.extend(self.had(origin, by.from, by.to));
                    }
                    Some(_) | None => here.push(None),
                }
                here
            }
        }
    }

    fn fits(&self, seen: Seen, value: Option<VersionId>) -> bool {
        match (seen, value) {
            (Seen::Object(seen), Some(value)) => seen == value,
            (Seen::SomeObject, Some(_)) | (Seen::Nothing, None) => true,
            (Seen::Another(not), Some(value)) => not != value,
            (Seen::EndsBefore(byte), Some(value)) => self.sizes.get(&value).is_some_and(|size| *size <= byte),
            (Seen::Nothing, Some(_))
            | (Seen::Object(_) | Seen::SomeObject | Seen::Another(_) | Seen::EndsBefore(_), None) => false,
        }
    }

    fn read(&self, state: State, by: &Operation, seen: Seen, in_list: bool) -> Vec<State> {
        let fitting =
            self.visible(state, by, in_list).into_iter().filter(|(value, _)| self.fits(seen, *value));
        let mut after: Vec<State> = fitting.map(|(_, after)| after).collect();
        after.sort_by_key(|state| format!("{state:?}"));
        after.dedup();
        after
    }

    /// The states that `state` may turn into by an operation; none if it cannot have happened here.
    pub(crate) fn apply(&self, state: State, by: &Operation) -> Vec<State> {
        let with = |local| State { local, ..state };
        if !state.bucket {
            return match by.did {
                Did::NoBucket | Did::NotFound => vec![state],
                Did::MakeBucket(attached) => vec![State { bucket: true, attached, local: Local::Open(0) }],
                _ => Vec::new(),
            };
        }
        match by.did {
            Did::Read(seen) => self.read(state, by, seen, false),
            Did::Listed(seen) => self.read(state, by, seen, true),
            Did::NotFound => self.read(state, by, Seen::Nothing, false),
            Did::Put(version, condition) => {
                let holds = |here: &Option<VersionId>| match condition {
                    Condition::Always => true,
                    Condition::IfAbsent => here.is_none(),
                    Condition::IfMatch(version) => *here == Some(version),
                };
                let possible = condition == Condition::Always || self.judged(state, by).iter().any(holds);
                possible.then(|| with(Local::Written(version))).into_iter().collect()
            }
            Did::PutRefused { condition, absent } => {
                let fails = |here: &Option<VersionId>| match (condition, here) {
                    (Condition::Always, _) => false,
                    (Condition::IfAbsent, here) => here.is_some() && !absent,
                    (Condition::IfMatch(_), None) => absent,
                    (Condition::IfMatch(version), Some(here)) => version != *here && !absent,
                };
                self.judged(state, by).iter().any(fails).then_some(state).into_iter().collect()
            }
            Did::Delete => {
                let local = match (self.mode, state.attached, state.local) {
                    (_, None, _) | (Mode::Plain, ..) => Local::Open(0),
                    (Mode::Migrate, ..) => Local::Tombstone,
                    (Mode::Cache | Mode::Compute, _, Local::Written(_) | Local::Tombstone) => {
                        Local::Tombstone
                    }
                    (Mode::Cache | Mode::Compute, _, Local::Open(_) | Local::Filled(_)) => Local::Open(0),
                };
                vec![with(local)]
            }
            Did::Purge => match state.local {
                Local::Open(_) | Local::Filled(_) => vec![with(Local::Open(0))],
                // Without a shadow a tombstone is swept at some time, after which there is nothing to refuse.
                Local::Tombstone if state.attached.is_none() => vec![with(Local::Open(0))],
                Local::Written(_) | Local::Tombstone => Vec::new(),
            },
            Did::PurgeRefused => match state.local {
                Local::Open(_) | Local::Filled(_) => Vec::new(),
                Local::Written(_) | Local::Tombstone => vec![state],
            },
            Did::Attach(origin) if state.attached == Some(origin) => vec![state],
            Did::Attach(origin) => {
                let attach = |s: State| match (state.attached, state.local) {
                    // One in the place of another: deleted is deleted.
                    (Some(_), Local::Tombstone) => State { attached: Some(origin), ..state },
                    // It hid what the shadow had that was cleared.
                    (None, Local::Tombstone) => {
                        State { attached: Some(origin), local: Local::Open(0), ..state }
                    }
                    (_, Local::Open(_) | Local::Filled(_) | Local::Written(_)) => {
                        State { attached: Some(origin), ..s }
                    }
                };
                let mut after: Vec<State> = self.detached(state).into_iter().map(attach).collect();
                after.dedup();
                after
            }
            Did::Detach => self.detached(state),
            Did::DropBucket => {
                let gone = State { bucket: false, attached: None, local: Local::Open(0) };
                self.read(state, by, Seen::Nothing, true).first().map(|_| gone).into_iter().collect()
            }
            Did::BucketSeen => vec![state],
            Did::MakeBucket(_) | Did::NoBucket => Vec::new(),
        }
    }

    fn detached(&self, state: State) -> Vec<State> {
        let with = |local| State { attached: None, local, ..state };
        match (state.local, state.attached) {
            (Local::Open(kept), Some(origin)) => vec![with(Local::Open(kept | 1 << origin))],
            // What the origin was replaced by may have been copied since.
            (Local::Filled(version), Some(origin)) if self.mode == Mode::Cache => {
                vec![with(Local::Filled(version)), with(Local::Open(1 << origin))]
            }
            // A tombstone has done its duty; its row may still be there.
            (Local::Tombstone, Some(_)) => vec![with(Local::Tombstone), with(Local::Open(0))],
            (local, _) => vec![with(local)],
        }
    }
}
