//! The operations of a history, and how they are drawn.

use proptest::prelude::*;

use super::machine::Moment;
use super::reference::KEYS;
use crate::BucketMode;

/// What is asked of keys; what depends on the history is chosen when it is played.
#[derive(Clone, Debug)]
pub(super) enum Draw {
    Get,
    Range,
    Head,
    Put(usize),
    PutIf(usize, Cond),
    Delete,
    DeleteIf(Cond),
    Purge,
    PurgeWritten,
    Tag,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cond {
    IfAbsent,
    /// If-Match of what the key may be here, or else of nobody's object.
    MatchesHere,
    MatchesOrigin,
    MatchesNobodys,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Of one key.
    One(u8, Draw),
    /// A batch: key after key, as DeleteObjects does.
    DeleteBatch(Vec<u8>),
    Copy(u8, u8),
    List,
    /// Somebody else changes the shadow.
    OriginChanges(u8),
    OriginForgets(u8),
    /// The next answer of the origin for the key is damaged on its way.
    OriginLies(u8, Lie),
    OriginDown,
    OriginUp,
    ClearShadow,
    SetShadow,
    Wait(u8),
    Reopen,
    /// Without waiting for anything, what operations before have left under way included.
    Crash(Vec<Under>, Moment, u64),
}

/// Where the origin's bytes are damaged: behind the range that is asked for, which nothing could verify.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lie {
    Flip,
    EndEarly,
}

/// Under way when the machine crashes.
#[derive(Clone, Debug)]
pub(super) enum Under {
    One(u8, Draw),
    DeleteBatch(Vec<u8>),
    TurnShadow,
}

/// The kinds of operations: each must have happened in every run.
pub(super) const KINDS: [&str; 24] = [
    "Get",
    "Range",
    "Head",
    "Put",
    "PutIf",
    "Delete",
    "DeleteIf",
    "Purge",
    "PurgeWritten",
    "Tag",
    "DeleteBatch",
    "Copy",
    "List",
    "OriginChanges",
    "OriginForgets",
    "OriginLies",
    "OriginDown",
    "OriginUp",
    "ClearShadow",
    "SetShadow",
    "Wait",
    "Reopen",
    "Crash",
    "TurnShadow",
];

/// What operations under way had come to when the machine crashed.
pub(super) const BEFORE_CRASH: [&str; 2] = ["answered", "in doubt"];

fn draws() -> impl Strategy<Value = Draw> {
    let size = || prop::sample::select(vec![0usize, 40, 40, 300]);
    let cond = prop::sample::select(vec![
        Cond::IfAbsent,
        Cond::MatchesHere,
        Cond::MatchesHere,
        Cond::MatchesOrigin,
        Cond::MatchesNobodys,
    ]);
    prop_oneof![
        8 => Just(Draw::Get),
        2 => Just(Draw::Range),
        3 => Just(Draw::Head),
        3 => size().prop_map(Draw::Put),
        3 => (size(), cond.clone()).prop_map(|(size, cond)| Draw::PutIf(size, cond)),
        2 => Just(Draw::Delete),
        2 => cond.prop_map(Draw::DeleteIf),
        2 => Just(Draw::Purge),
        1 => Just(Draw::PurgeWritten),
        1 => Just(Draw::Tag),
    ]
}

pub(super) fn ops() -> impl Strategy<Value = (BucketMode, Vec<Op>)> {
    let k = || 0..KEYS;
    let batch = || prop::sample::subsequence((0..KEYS).collect::<Vec<_>>(), 1..=3);
    let mode = prop::sample::select(vec![BucketMode::Migrate, BucketMode::Cache, BucketMode::Compute]);
    let lie = prop::sample::select(vec![Lie::Flip, Lie::EndEarly, Lie::EndEarly]);
    let moment = prop_oneof![
        3 => (0u8..16).prop_map(Moment::Turns),
        1 => (0u8..15).prop_map(Moment::Millis),
        3 => (0u8..16).prop_map(Moment::Change),
    ];
    let under = prop_oneof![
        8 => (k(), draws()).prop_map(|(k, draw)| Under::One(k, draw)),
        1 => batch().prop_map(Under::DeleteBatch),
    ];
    let under = prop_oneof![
        1 => Just(vec![Under::TurnShadow]),
        6 => prop::collection::vec(under, 0..4),
    ];
    let crash = (under, moment, any::<u64>());
    let op = prop_oneof![
        27 => (k(), draws()).prop_map(|(k, draw)| Op::One(k, draw)),
        1 => batch().prop_map(Op::DeleteBatch),
        1 => (k(), k()).prop_map(|(from, to)| Op::Copy(from, to)),
        3 => Just(Op::List),
        4 => k().prop_map(Op::OriginChanges),
        2 => k().prop_map(Op::OriginForgets),
        1 => (k(), lie).prop_map(|(k, lie)| Op::OriginLies(k, lie)),
        1 => Just(Op::OriginDown),
        2 => Just(Op::OriginUp),
        1 => Just(Op::ClearShadow),
        2 => Just(Op::SetShadow),
        4 => (1u8..40).prop_map(Op::Wait),
        1 => Just(Op::Reopen),
        2 => crash.prop_map(|(under, moment, seed)| Op::Crash(under, moment, seed)),
    ];
    (mode, prop::collection::vec(op, 1..80))
}
