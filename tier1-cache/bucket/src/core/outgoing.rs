//! What is done at an origin about a key, given what is known of the two. `docs/semantics.md`, "Write-through".

use std::time::Duration;

use fallthrough_object::{Checksum, ChecksumKind, ETag, Meta, Timestamp};
use fallthrough_shadow::{Found, WriteGuard, Written};
use fallthrough_store::{Entry, EntryState, Intent, IntentRow, ObjectInfo, Seen, WriteConflict};

use crate::core::mutants::{Mutant, planted};

/// The pause behind the first failure; it doubles with each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// What the origin's HEAD said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// Nothing. `proven`: it is the key that is missing, not the bucket.
    Nothing { proven: bool },
    /// An object.
    Object(Box<Described>),
}

/// An object at the origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) etag: Option<ETag>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) meta: Meta,
    pub(crate) checksums: Vec<Checksum>,
}

impl There {
    pub(crate) fn object(found: &Found) -> Self {
        Self::Object(Box::new(Described {
            etag: found.etag.clone(),
            size_bytes: found.size_bytes,
            meta: found.meta.clone(),
            checksums: found.expected.checksums.clone(),
        }))
    }

    /// As it can be asked for again.
    pub(crate) fn seen(&self) -> Seen {
        match self {
            Self::Nothing { .. } => Seen::Absent,
            Self::Object(object) => seen_object(object.etag.as_ref()),
        }
    }

    /// Whether a write under this condition would find it to hold.
    pub(crate) fn keeps(&self, guard: &WriteGuard) -> bool {
        match (guard, self) {
            (WriteGuard::None, _) | (WriteGuard::Absent, Self::Nothing { .. }) => true,
            (WriteGuard::Match(wanted), Self::Object(there)) => {
                there.etag.as_ref().is_some_and(|etag| etag.strong_eq(wanted))
            }
            (WriteGuard::Absent, Self::Object(_)) | (WriteGuard::Match(_), Self::Nothing { .. }) => false,
        }
    }

    /// Whether this is what the intent would leave there.
    pub(crate) fn is_of(&self, intent: &Intent) -> bool {
        match (self, &intent.object) {
            (Self::Nothing { proven }, None) => *proven,
            (Self::Object(there), Some(wanted)) => there.is(&wanted.info, called(intent)),
            (Self::Nothing { .. }, Some(_)) | (Self::Object(_), None) => false,
        }
    }
}

impl Described {
    fn is(&self, wanted: &ObjectInfo, called: Option<&ETag>) -> bool {
        let same_tag = match (&self.etag, called) {
            (Some(there), Some(called)) => there.strong_eq(called),
            _ => false,
        };
        let same_sum = || {
            let whole = |sum: &&Checksum| sum.kind == ChecksumKind::FullObject;
            wanted.checksums.iter().filter(whole).any(|sum| self.checksums.contains(sum))
        };
        let kind = |meta: &Meta| match meta.content_type.as_deref() {
            // What providers make of no type at all.
            None | Some("binary/octet-stream" | "application/octet-stream") => None,
            Some(kind) => Some(kind.to_owned()),
        };
        let rest = |meta: &Meta| Meta { content_type: None, ..meta.clone() };
        // Not every answer to HEAD has a length, and what is not said does not speak against it.
        self.size_bytes.is_none_or(|size_bytes| size_bytes == wanted.size_bytes)
            && (same_tag || same_sum())
            && kind(&self.meta) == kind(&wanted.meta)
            && rest(&self.meta) == rest(&wanted.meta)
    }
}

pub(crate) fn seen_object(etag: Option<&ETag>) -> Seen {
    etag.filter(|etag| !etag.is_weak()).map_or(Seen::Never, |etag| Seen::Object(etag.clone()))
}

/// What was last seen at the origin of a key that is like this here, in a bucket whose gate was last raised by the commit
/// `gate_version`: of an earlier shadow nothing is believed.
pub(crate) fn seen_of(entry: Option<&Entry>, gate_version: u64) -> Seen {
    let Some(entry) = entry.filter(|entry| entry.row_version >= gate_version) else { return Seen::Never };
    match (&entry.delivered, &entry.state) {
        (Some(seen), _) => seen.clone(),
        (None, EntryState::Filled(_, from) | EntryState::Known(_, from)) => {
            seen_object(from.origin_etag.as_ref())
        }
        (None, EntryState::Absent { .. }) => Seen::Absent,
        (None, EntryState::Written(_) | EntryState::Tombstone) => Seen::Never,
    }
}

/// The intent that takes the place of `found`, or is the first one of a key of which `seen` was seen.
pub(crate) fn next_intent(found: Option<&Intent>, seen: Seen, hops: u32, now: Timestamp) -> IntentRow {
    let fresh = IntentRow { hops, first: now, next: now, ..IntentRow::default() };
    let Some(found) = found else { return IntentRow { seen, ..fresh } };
    let mut maybe = found.row.maybe.clone();
    if found.row.sent && !planted(Mutant::CollapseForgetsSent) {
        // It may have reached the origin, or may still reach it: that will be no stranger there.
        maybe.push(left_by(found));
    }
    let (seen, uploads) = (found.row.seen.clone(), found.row.uploads.clone());
    IntentRow { seen, maybe, first: found.row.first, uploads, ..fresh }
}

/// What the origin calls the object of an intent, as far as that is known.
fn called(intent: &Intent) -> Option<&ETag> {
    let here = intent.object.as_ref().and_then(|stored| stored.info.etag.as_ref());
    intent.row.called.as_ref().filter(|_| !planted(Mutant::CalledThereAsHere)).or(here)
}

/// What the origin is left with by an intent.
pub(crate) fn left_by(intent: &Intent) -> Seen {
    intent.object.as_ref().map_or(Seen::Absent, |_| seen_object(called(intent)))
}

/// What to do about an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send it, if the origin has this.
    Send(Seen),
    /// The origin has it already, and is left with this.
    Delivered(Seen),
    /// Somebody else has changed the object at the origin: this is there.
    Conflict(Seen),
}

/// Whether the origin has to be asked what it has before the intent is sent.
pub(crate) fn ask_first(intent: &Intent) -> bool {
    let row = &intent.row;
    // Many providers do not know conditions of DELETE, and do not say so.
    row.seen == Seen::Never || row.sent || !row.maybe.is_empty() || intent.object.is_none()
}

/// What to do, where the origin said this.
pub(crate) fn judge(intent: &Intent, there: &There) -> Step {
    let row = &intent.row;
    let (at, ours) = (there.seen(), there.is_of(intent));
    // An object with the same bytes may have been there before: only what was sent can have been delivered.
    let may_be_done = intent.object.is_none() || (row.sent && at != row.seen);
    if ours && may_be_done {
        return Step::Delivered(at);
    }
    // Whether there is nothing is not certain: a DELETE takes nothing from anybody then, and its answer tells.
    let unproven = intent.object.is_none()
        && matches!(there, There::Nothing { proven: false })
        && !planted(Mutant::UnprovenIsConflict);
    if row.seen == Seen::Never || at == row.seen || row.maybe.contains(&at) || ours || unproven {
        return Step::Send(at);
    }
    Step::Conflict(at)
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Done; the origin is left with this.
    Delivered(Seen),
    /// What is there is not what was expected: ask.
    Changed,
    /// The origin does not take conditions.
    NoConditions,
    /// To be tried again. Nothing was done for certain, unless `in_doubt`.
    Retry { reason: String, after: Option<Duration>, in_doubt: bool },
    /// Not before somebody mends something. Nothing was done.
    Dead(String),
}

/// What an answer means. `guarded`: a condition was sent.
pub(crate) fn read_answer(written: Written, intent: &Intent, guarded: bool) -> Attempt {
    let deletes = intent.object.is_none();
    let retry = |reason: &str, after, in_doubt| Attempt::Retry { reason: reason.to_owned(), after, in_doubt };
    match written {
        Written::Done { .. } | Written::Absent if deletes => Attempt::Delivered(Seen::Absent),
        Written::Done { etag, .. } => Attempt::Delivered(seen_object(etag.as_ref())),
        // Some providers answer so to a condition on an object that is gone.
        Written::Absent if guarded => Attempt::Changed,
        Written::Absent => Attempt::Dead("the origin says that there is no such object".to_owned()),
        Written::Changed => Attempt::Changed,
        Written::Contended => retry("somebody else writes it at the same time", None, false),
        Written::NoSuchUpload => retry("the origin has lost the upload", None, false),
        Written::NotOffered if guarded => Attempt::NoConditions,
        Written::NotOffered => Attempt::Dead("the origin does not offer this".to_owned()),
        Written::Busy { retry_after } => retry("the origin is busy", retry_after, false),
        Written::Failing { reason } => Attempt::Retry { reason, after: None, in_doubt: true },
        Written::Refused { .. } if deletes && planted(Mutant::RefusedDeleteIsDone) => {
            Attempt::Delivered(Seen::Absent)
        }
        Written::Refused { .. } if guarded && planted(Mutant::AnyRefusalIsTheConditions) => {
            Attempt::NoConditions
        }
        Written::Refused { reason } => Attempt::Dead(reason),
    }
}

/// What a conflict leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// It stays, undelivered.
    Dead(String),
    /// It is sent over what is there.
    Overwrite(Seen),
    /// It is given up here.
    Yield,
}

pub(crate) fn resolve(policy: WriteConflict, there: Seen) -> Resolution {
    match policy {
        WriteConflict::Fail if planted(Mutant::ConflictOverwrites) => Resolution::Overwrite(there),
        WriteConflict::Fail => Resolution::Dead(match there {
            Seen::Absent => "somebody else has deleted it at the origin".to_owned(),
            Seen::Never | Seen::Object(_) => "somebody else has changed it at the origin".to_owned(),
        }),
        WriteConflict::Local => Resolution::Overwrite(there),
        WriteConflict::Origin => Resolution::Yield,
    }
}

/// The pause behind an attempt that failed; `attempts` from 1. Between a half of it and all of it, as `random` says.
pub(crate) fn pause(attempts: u32, random: u64) -> Duration {
    let doubled = PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let half = doubled / 2;
    let part = u32::try_from(random >> 40).unwrap_or(u32::MAX);
    half + half.mul_f64(f64::from(part) / f64::from(1u32 << 24))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fallthrough_object::Key;
    use fallthrough_store::{BlobRef, BucketId, Stored};

    use super::*;

    fn etag(text: &str) -> ETag {
        ETag::strong(text).unwrap()
    }

    fn seen(text: &str) -> Seen {
        Seen::Object(etag(text))
    }

    fn there(text: &str) -> There {
        sized(text, Some(3))
    }

    fn sized(text: &str, size_bytes: Option<u64>) -> There {
        let described = Described { etag: Some(etag(text)), size_bytes, ..Described::default() };
        There::Object(Box::new(described))
    }

    /// An intent for an object of this ETag, or for none.
    fn intent(object: Option<&str>, row: IntentRow) -> Intent {
        let object = object.map(|text| {
            let info = ObjectInfo { etag: Some(etag(text)), size_bytes: 3, ..ObjectInfo::default() };
            Stored { info: Arc::new(info), blob: BlobRef::Empty }
        });
        Intent { bucket: BucketId(1), key: Key::parse("k").unwrap(), object, row, version: 7 }
    }

    fn row(seen: Seen, sent: bool, maybe: &[&str]) -> IntentRow {
        let maybe = maybe.iter().map(|text| Seen::Object(etag(text))).collect();
        IntentRow { seen, sent, maybe, ..IntentRow::default() }
    }

    #[test]
    fn what_is_there_decides_what_is_done() {
        let (nothing, unproven) = (There::Nothing { proven: true }, There::Nothing { proven: false });
        let put = |row| intent(Some("new"), row);
        let delete = |row| intent(None, row);
        for (intent, there, step) in [
            // Nobody has looked before: whatever is there is what is expected.
            (put(row(Seen::Never, false, &[])), there("x"), Step::Send(seen("x"))),
            (put(row(Seen::Never, false, &[])), nothing.clone(), Step::Send(Seen::Absent)),
            // Ours, by somebody else's hand: sent all the same, since not all of it can be compared.
            (put(row(Seen::Never, false, &[])), there("new"), Step::Send(seen("new"))),
            (put(row(seen("old"), false, &[])), there("old"), Step::Send(seen("old"))),
            (put(row(seen("old"), false, &[])), there("x"), Step::Conflict(seen("x"))),
            (put(row(seen("old"), false, &[])), nothing.clone(), Step::Conflict(Seen::Absent)),
            (put(row(Seen::Absent, false, &[])), there("x"), Step::Conflict(seen("x"))),
            // In doubt.
            (put(row(seen("old"), true, &[])), there("new"), Step::Delivered(seen("new"))),
            // Known by its ETag where its length is not said, and not by that alone where it is another.
            (put(row(seen("old"), true, &[])), sized("new", None), Step::Delivered(seen("new"))),
            (put(row(seen("old"), true, &[])), sized("new", Some(4)), Step::Conflict(seen("new"))),
            (put(row(seen("old"), true, &[])), there("old"), Step::Send(seen("old"))),
            (put(row(seen("new"), true, &[])), there("new"), Step::Send(seen("new"))),
            (put(row(seen("old"), false, &["mid"])), there("mid"), Step::Send(seen("mid"))),
            (put(row(seen("old"), false, &["mid"])), there("x"), Step::Conflict(seen("x"))),
            (delete(row(seen("old"), false, &[])), nothing.clone(), Step::Delivered(Seen::Absent)),
            (delete(row(seen("old"), false, &[])), there("old"), Step::Send(seen("old"))),
            (delete(row(seen("old"), false, &[])), there("x"), Step::Conflict(seen("x"))),
            // That the key is missing is not certain: the DELETE tells.
            (delete(row(Seen::Absent, false, &[])), unproven.clone(), Step::Send(Seen::Absent)),
            (delete(row(seen("old"), true, &[])), unproven.clone(), Step::Send(Seen::Absent)),
        ] {
            assert_eq!(judge(&intent, &there), step, "{:?} {there:?}", intent.row);
        }
    }

    #[test]
    fn a_newer_intent_remembers_what_may_have_arrived() {
        let first = intent(Some("one"), IntentRow { first: Timestamp(3), ..row(seen("old"), true, &[]) });
        let next = next_intent(Some(&first), Seen::Never, 0, Timestamp(9));
        assert_eq!((next.seen.clone(), next.maybe.clone()), (seen("old"), vec![seen("one")]));
        assert_eq!((next.first, next.next, next.sent), (Timestamp(3), Timestamp(9), false));
        let unsent = intent(None, row(Seen::Absent, false, &["x"]));
        assert_eq!(next_intent(Some(&unsent), Seen::Never, 0, Timestamp(9)).maybe, [seen("x")]);
        assert_eq!(next_intent(None, seen("a"), 2, Timestamp(9)).seen, seen("a"));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_are_not_all_alike() {
        for (attempts, secs) in [(1, 1.0), (2, 2.0), (5, 16.0), (9, 256.0), (10, 300.0), (u32::MAX, 300.0)] {
            let (least, most) = (pause(attempts, 0).as_secs_f64(), pause(attempts, u64::MAX).as_secs_f64());
            assert!((least - secs / 2.0).abs() < 0.001 && (most - secs).abs() < 0.001, "{least} {most}");
        }
    }
}
