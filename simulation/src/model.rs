//! The reference model: what one key of a fall-through bucket may answer, operation by operation.
//!
//! It is what `docs/semantics.md` promises, without time, fills, or caches: a register that holds what a client
//! wrote, a tombstone, or nothing of ours, with the shadow's object shining through. Where the promise
//! leaves a choice (a copy of a detached shadow may have been kept or not) the model follows every branch.

use std::collections::{BTreeMap, BTreeSet};

use crate::checker::Machine;
use crate::did::{Bytes, Condition, Did, Mode, Object, Seen, Tags};
use crate::history::{Moment, Operation, VersionId};
use crate::rules::{Days, Rule};

/// What is known about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Local {
    /// Nothing of ours; a copy of what one of these shadows (a bit each) had may have been kept, besides a copy
    /// of what the present one has.
    /// The second has those whose copies were replaced for readers, though perhaps not here: what a fill delivers is not kept
    /// if the shadow is cleared before it is whole.
    Open(u8, u8),
    /// A copy of a shadow's object that is no longer attached, or was replaced there.
    Filled(VersionId),
    /// A client's, and from which day on its age counts.
    Written(Object, u8),
    Tombstone,
}

/// The model's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) bucket: bool,
    pub(crate) attached: Option<u8>,
    pub(crate) local: Local,
    /// The number of the lifecycle rules.
    pub(crate) rules: u8,
    /// Uploads that were completed, a bit each.
    pub(crate) completed: u64,
}

/// What the origins had, and the rules of the run.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The bucket's mode.
    pub mode: Mode,
    /// How long a copy may be older than the origin's object, in nanoseconds.
    pub staleness: u64,
    /// Whether a write may be refused since somebody else has changed the object at the shadow.
    pub others_refuse: bool,
    /// Whether an upload may be there, and be completed again, after it was completed.
    pub uploads_stay: bool,
    /// Whether copies may go at any time, so that the origin's object is to be seen again.
    pub evicts: bool,
    /// Sizes of versions in bytes.
    pub sizes: BTreeMap<VersionId, u64>,
    /// For each origin, what it had under this key since when (nanoseconds), in order; before the first: nothing.
    pub origins: Vec<Vec<(u64, Option<VersionId>)>>,
    /// Whether the bucket existed at the beginning, and its shadow.
    pub start: Option<Option<u8>>,
    /// What a copy of each other key may be, by that key's number: versions of this key that the other had as well.
    pub copies: BTreeMap<u8, BTreeSet<VersionId>>,
    /// When days began.
    pub days: Days,
    /// Lifecycle rules by number, as far as they are for this key.
    pub rules: Vec<Vec<Rule>>,
}

/// From this day on the age of an origin's object counts: it was modified at the very beginning.
const ORIGINS: u8 = 0;

impl Model {
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
        let of = (0..self.origins.len()).filter(|origin| origins & (1 << origin) != 0);
        of.flat_map(|origin| {
            let had = self.origins[origin].iter().filter(|(since, _)| *since <= to.nanos);
            had.filter_map(|(_, what)| *what).collect::<Vec<_>>()
        })
        .collect()
    }

    /// What a reader may see, and the state that this leaves.
    fn visible(&self, state: State, by: &Operation, in_list: bool) -> Vec<(Option<Object>, State)> {
        let with = |local| State { local, ..state };
        let of_origin = |origin: u8| {
            let had = self.had(origin, by.from, by.to);
            let replaced = match (self.mode, state.local) {
                (Mode::Cache, Local::Open(kept, replaced)) => (kept | replaced) & !(1 << origin),
                (Mode::Cache, Local::Filled(_)) => !(1 << origin),
                _ => 0,
            };
            let then = with(Local::Open(0, replaced));
            had.into_iter().map(|what| (what.map(Object::of), then)).collect::<Vec<_>>()
        };
        match (state.local, state.attached) {
            (Local::Written(object, _), _) => vec![(Some(object), state)],
            (Local::Tombstone, _) => vec![(None, state)],
            (Local::Filled(version), attached) => {
                let mut seen = vec![(Some(Object::of(version)), state)];
                if let (Mode::Cache, Some(origin)) = (self.mode, attached) {
                    seen.extend(of_origin(origin));
                }
                if let (Mode::Compute, true, Some(origin)) = (self.mode, self.evicts, attached) {
                    seen.extend(of_origin(origin));
                    if in_list {
                        seen.push((None, with(Local::Open(0, 0))));
                    }
                }
                seen
            }
            (Local::Open(kept, _), attached) => {
                let mut seen = match attached {
                    None => vec![(None, with(Local::Open(0, 0)))],
                    Some(origin) => of_origin(origin),
                };
                if in_list && self.mode == Mode::Compute && attached.is_some() {
                    // The list of what is computed is what has been computed.
                    seen.push((None, state));
                }
                let others = kept & !attached.map_or(0, |origin| 1 << origin);
                let copies = self.ever_had(others, by.to).into_iter();
                seen.extend(copies.map(|copy| (Some(Object::of(copy)), with(Local::Filled(copy)))));
                seen
            }
        }
    }

    /// What a condition may be judged on: what is here, or else what the shadow has.
    fn judged(&self, state: State, by: &Operation) -> Vec<Option<Bytes>> {
        match state.local {
            Local::Written(object, _) => vec![Some(object.bytes)],
            Local::Filled(version) => vec![Some(Bytes::Of(version))],
            Local::Tombstone => vec![None],
            Local::Open(kept, replaced) => {
                let origins = kept | replaced | state.attached.map_or(0, |origin| 1 << origin);
                let mut here: Vec<_> = self.ever_had(origins, by.to).into_iter().map(Some).collect();
                match state.attached {
                    // The shadow is asked, and has what it has meanwhile.
                    Some(origin) if matches!(self.mode, Mode::Migrate | Mode::Cache) => {
                        here.extend(self.had(origin, by.from, by.to));
                    }
                    Some(_) | None => here.push(None),
                }
                here.into_iter().map(|version| version.map(Bytes::Of)).collect()
            }
        }
    }

    fn may_be(&self, bytes: Bytes, version: VersionId) -> bool {
        match bytes {
            Bytes::Of(one) => one == version,
            Bytes::CopyOf(key) => self.copies.get(&key).is_some_and(|copies| copies.contains(&version)),
        }
    }

    fn may_not_be(bytes: Bytes, version: VersionId) -> bool {
        bytes != Bytes::Of(version)
    }

    /// The object as it is known after this was seen of it; `None` if it cannot have been.
    fn fits(&self, seen: Seen, object: Object) -> Option<Object> {
        let is = |version| {
            self.may_be(object.bytes, version).then_some(Object { bytes: Bytes::Of(version), ..object })
        };
        match seen {
            Seen::Object(version) => is(version),
            Seen::Counted(version, count) => is(version).filter(|object| {
                object.tags == Tags::Unknown || object.tags.pairs().len() == usize::from(count)
            }),
            Seen::SomeObject => Some(object),
            Seen::Tags(tags) => {
                (object.tags == Tags::Unknown || object.tags == tags).then_some(object.tagged(tags))
            }
            Seen::Nothing => None,
            Seen::Another(version) => Self::may_not_be(object.bytes, version).then_some(object),
            Seen::EndsBefore(byte) => match object.bytes {
                Bytes::Of(version) => self.sizes.get(&version).is_some_and(|size| *size <= byte),
                Bytes::CopyOf(_) => true,
            }
            .then_some(object),
        }
    }

    fn read(&self, state: State, by: &Operation, seen: Seen, in_list: bool) -> Vec<State> {
        let mut after = Vec::new();
        for (value, then) in self.visible(state, by, in_list) {
            let known = match (value, seen) {
                (None, Seen::Nothing) => then,
                (None, _) => continue,
                (Some(object), seen) => match (self.fits(seen, object), then.local) {
                    (Some(object), Local::Written(_, day)) => {
                        State { local: Local::Written(object, day), ..then }
                    }
                    (Some(_), Local::Open(..) | Local::Filled(_) | Local::Tombstone) => then,
                    (None, _) => continue,
                },
            };
            after.push(known);
        }
        distinct(after)
    }

    fn put(&self, state: State, by: &Operation, object: Object, condition: Condition) -> Vec<State> {
        let bit = object.upload.map_or(0, |number| 1 << number);
        if state.completed & bit != 0 {
            // Done before: it says what stands here, and changes nothing.
            let stands = matches!(state.local, Local::Written(there, _)
                if there.upload == object.upload && there.bytes == object.bytes);
            if !self.uploads_stay || stands {
                return stands.then_some(state).into_iter().collect();
            }
        }
        if !self.may_hold(state, by, condition) {
            return Vec::new();
        }
        let completed = state.completed | bit;
        let on = |day| State { local: Local::Written(object, day + 1), completed, ..state };
        self.days.within(by.from, by.to).map(on).collect()
    }

    fn may_hold(&self, state: State, by: &Operation, condition: Condition) -> bool {
        let holds = |here: &Option<Bytes>| match (condition, here) {
            (Condition::Always, _) | (Condition::IfAbsent, None) => true,
            (Condition::IfMatch(version), Some(here)) => self.may_be(*here, version),
            (Condition::IfAbsent, Some(_)) | (Condition::IfMatch(_), None) => false,
        };
        condition == Condition::Always || self.judged(state, by).iter().any(holds)
    }

    /// What a copy onto itself leaves: the bytes that were to be seen, as written today.
    fn rewrite(
        &self,
        state: State,
        by: &Operation,
        version: Option<VersionId>,
        tags: Option<Tags>,
    ) -> Vec<State> {
        let seen = version.map_or(Seen::SomeObject, Seen::Object);
        let mut after = Vec::new();
        for (value, then) in self.visible(state, by, false) {
            let Some(object) = value.and_then(|object| self.fits(seen, object)) else { continue };
            let object = Object { tags: tags.unwrap_or(object.tags), upload: None, ..object };
            let on = |day| State { local: Local::Written(object, day + 1), ..then };
            after.extend(self.days.within(by.from, by.to).map(on));
        }
        after
    }

    fn set_tags(&self, state: State, by: &Operation, tags: Tags) -> Vec<State> {
        let tag = |(value, then): (Option<Object>, State)| {
            let day = if let Local::Written(_, day) = then.local { day } else { ORIGINS };
            Some(State { local: Local::Written(value?.tagged(tags), day), ..then })
        };
        self.visible(state, by, false).into_iter().filter_map(tag).collect()
    }

    /// What a DELETE leaves.
    fn deleted(&self, state: State) -> State {
        let local = match (self.mode, state.attached, state.local) {
            (_, None, _) | (Mode::Plain, ..) => Local::Open(0, 0),
            (Mode::Migrate, ..) => Local::Tombstone,
            (Mode::Cache | Mode::Compute, _, Local::Written(..) | Local::Tombstone) => Local::Tombstone,
            (Mode::Cache | Mode::Compute, _, Local::Open(..) | Local::Filled(_)) => Local::Open(0, 0),
        };
        State { local, ..state }
    }

    fn delete_if(&self, state: State, by: &Operation, version: VersionId) -> Vec<State> {
        let end = |here: Option<Bytes>| match here {
            // What is not there is deleted already, and nothing changes.
            None => Some(state),
            Some(here) => self.may_be(here, version).then(|| self.deleted(state)),
        };
        distinct(self.judged(state, by).into_iter().filter_map(end).collect())
    }

    /// What the rules leave. Only what is here expires, and of a shadow's object nobody knows whether it is.
    fn expired(&self, state: State, by: &Operation) -> Vec<State> {
        let (object, since, is_here) = match state.local {
            Local::Tombstone => return vec![state],
            Local::Written(object, day) => (object.tags, day, true),
            Local::Open(..) | Local::Filled(_) => (Tags::None, ORIGINS, false),
        };
        let rules = self.rules.get(usize::from(state.rules)).map_or(&[][..], Vec::as_slice);
        // The earliest and the latest that it may be by the clock of whoever looked.
        let mut today = self.days.within(by.from, by.to);
        let (first, last) = (today.next().unwrap_or(0), today.last());
        let due = |day| rules.iter().filter_map(move |rule| rule.is_due(object, since, day));
        let may_be = due(last.unwrap_or(first)).any(|_| true);
        let is_due = is_here && due(first).any(|certain| certain);
        let gone = may_be.then(|| self.deleted(state));
        gone.into_iter().chain((!is_due).then_some(state)).collect()
    }

    /// The shadow is cleared after all that it has was copied, and compared since.
    fn cut_over(&self, state: State, by: &Operation) -> Vec<State> {
        match (state.local, state.attached) {
            (Local::Open(..), Some(origin)) if self.mode == Mode::Migrate => {
                let with = |local| State { attached: None, local, ..state };
                let here = |what: Option<VersionId>| match what {
                    Some(version) => vec![with(Local::Filled(version))],
                    None => self.detached(state),
                };
                distinct(self.had(origin, by.from, by.to).into_iter().flat_map(here).collect())
            }
            _ => self.detached(state),
        }
    }

    fn detached(&self, state: State) -> Vec<State> {
        let with = |local| State { attached: None, local, ..state };
        match (state.local, state.attached) {
            (Local::Open(kept, replaced), Some(origin)) => {
                vec![with(Local::Open(kept | replaced | 1 << origin, 0))]
            }
            // What the origin was replaced by may have been copied since.
            (Local::Filled(version), Some(origin)) if self.mode == Mode::Cache => {
                vec![with(Local::Filled(version)), with(Local::Open(1 << origin, 0))]
            }
            // A tombstone has done its duty; its row may still be there.
            (Local::Tombstone, Some(_)) => vec![with(Local::Tombstone), with(Local::Open(0, 0))],
            (local, _) => vec![with(local)],
        }
    }

    fn attached(&self, state: State, origin: u8) -> Vec<State> {
        let attach = |s: State| match (state.attached, state.local) {
            // One in the place of another: deleted is deleted.
            (Some(_), Local::Tombstone) => State { attached: Some(origin), ..state },
            // It hid what the shadow had that was cleared.
            (None, Local::Tombstone) => State { attached: Some(origin), local: Local::Open(0, 0), ..state },
            (_, Local::Open(..) | Local::Filled(_) | Local::Written(..)) => {
                State { attached: Some(origin), ..s }
            }
        };
        distinct(self.detached(state).into_iter().map(attach).collect())
    }
}

fn distinct(mut states: Vec<State>) -> Vec<State> {
    states.sort_by_key(|state| format!("{state:?}"));
    states.dedup();
    states
}

impl Machine for Model {
    type Did = Did;
    type State = State;

    fn initial(&self) -> State {
        State {
            bucket: self.start.is_some(),
            attached: self.start.flatten(),
            local: Local::Open(0, 0),
            rules: 0,
            completed: 0,
        }
    }

    fn only_shows(did: Did) -> bool {
        did.only_shows()
    }

    fn apply(&self, state: State, by: &Operation) -> Vec<State> {
        let with = |local| State { local, ..state };
        if !state.bucket {
            return match by.did {
                Did::NoBucket | Did::NotFound | Did::Expire => vec![state],
                Did::MakeBucket(attached) => {
                    vec![State { bucket: true, attached, local: Local::Open(0, 0), ..state }]
                }
                _ => Vec::new(),
            };
        }
        match by.did {
            Did::Read(seen) => self.read(state, by, seen, false),
            Did::Listed(seen) => self.read(state, by, seen, true),
            Did::NotFound => self.read(state, by, Seen::Nothing, false),
            Did::Put(object, condition) => self.put(state, by, object, condition),
            Did::PutRefused { .. } | Did::DeleteRefused(_) if self.others_refuse => vec![state],
            Did::PutRefused { condition, absent } => {
                let fails = |here: &Option<Bytes>| match (condition, here) {
                    (Condition::Always, _) => false,
                    (Condition::IfAbsent, here) => here.is_some() && !absent,
                    (Condition::IfMatch(_), None) => absent,
                    (Condition::IfMatch(version), Some(here)) => Self::may_not_be(*here, version) && !absent,
                };
                self.judged(state, by).iter().any(fails).then_some(state).into_iter().collect()
            }
            Did::UploadGone(number) => {
                let stands = matches!(state.local, Local::Written(there, _) if there.upload == Some(number));
                (!stands).then_some(state).into_iter().collect()
            }
            Did::Rewrite { condition, .. } if !self.may_hold(state, by, condition) => Vec::new(),
            Did::Rewrite { version, tags, .. } => self.rewrite(state, by, version, tags),
            Did::SetTags(tags) => self.set_tags(state, by, tags),
            Did::Delete => vec![self.deleted(state)],
            Did::DeleteIf(version) => self.delete_if(state, by, version),
            Did::DeleteRefused(version) => {
                let fails = |here: &Option<Bytes>| here.is_some_and(|here| Self::may_not_be(here, version));
                self.judged(state, by).iter().any(fails).then_some(state).into_iter().collect()
            }
            Did::Expire => self.expired(state, by),
            Did::Rules(rules) => vec![State { rules, ..state }],
            Did::Purge => match state.local {
                Local::Open(..) | Local::Filled(_) => vec![with(Local::Open(0, 0))],
                // Without a shadow a tombstone is swept at some time, after which there is nothing to refuse.
                Local::Tombstone if state.attached.is_none() => vec![with(Local::Open(0, 0))],
                Local::Written(..) | Local::Tombstone => Vec::new(),
            },
            Did::PurgeRefused => match state.local {
                Local::Open(..) | Local::Filled(_) => Vec::new(),
                Local::Written(..) | Local::Tombstone => vec![state],
            },
            Did::Attach(origin) if state.attached == Some(origin) => vec![state],
            Did::Attach(origin) => self.attached(state, origin),
            Did::Detach => self.detached(state),
            Did::CutOver => self.cut_over(state, by),
            Did::Yield => match state.local {
                Local::Written(..) | Local::Tombstone => vec![with(Local::Open(0, 0))],
                Local::Open(..) | Local::Filled(_) => Vec::new(),
            },
            Did::DropBucket => {
                let gone =
                    State { bucket: false, attached: None, local: Local::Open(0, 0), rules: 0, ..state };
                self.read(state, by, Seen::Nothing, true).first().map(|_| gone).into_iter().collect()
            }
            Did::BucketSeen => vec![state],
            Did::MakeBucket(_) | Did::NoBucket => Vec::new(),
        }
    }
}
