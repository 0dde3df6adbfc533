//! What a read of a key does, given what is known about the key. `docs/semantics.md`, sections 1, 2 and 6.

use fallthrough_object::Timestamp;
use fallthrough_store::{BucketMode, Entry, EntryState, Provenance};

use crate::core::mutants::{Mutant, planted};

/// What the decision depends on besides the entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'a> {
    /// The bucket's mode.
    pub(crate) mode: BucketMode,
    /// The edition that the matching rule names, if a rule matches; `None`: no rule, nothing to fall to.
    pub(crate) rule: Option<RuleView<'a>>,
    /// Civil time.
    pub(crate) now: Timestamp,
}

/// What the decision needs of the rule that a key falls through by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleView<'a> {
    /// The edition, for `compute`.
    pub(crate) edition: Option<&'a str>,
}

/// What a GET does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Serve the stored object.
    Serve,
    /// Serve the stored object although it is stale, and revalidate it in the background.
    ServeStaleRevalidate,
    /// Ask the origin whether the stored object is still good; it may be served if the origin fails, if
    /// `stale_if_error`.
    Revalidate {
        /// The stored object may be served if the origin cannot be asked.
        stale_if_error: bool,
    },
    /// Fetch it.
    Fill,
    /// Deleted here.
    Tombstone,
    /// Known to be absent, or, if `invalid`, impossible.
    Negative {
        /// The origin said that the key can never exist.
        invalid: bool,
    },
    /// Not here, and nothing to fall through to.
    NotHere,
}

/// What an entry says in a bucket whose gate was last raised by the commit `gate_version`. That a shadow has an
/// object, or has none, is believed of that shadow alone: what was noted before it was replaced says nothing of
/// the one there is now. (Rows and gates take their versions from one sequence.)
pub(crate) fn believed(entry: &Entry, gate_version: u64) -> Option<&EntryState> {
    match &entry.state {
        EntryState::Known(..) | EntryState::Absent { .. } if entry.row_version < gate_version => None,
        state @ (EntryState::Written(_)
        | EntryState::Filled(..)
        | EntryState::Known(..)
        | EntryState::Absent { .. }
        | EntryState::Tombstone) => Some(state),
    }
}

/// What somebody who is about to ask an origin wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The object.
    Fill,
    /// Whether the stored object is still good.
    Revalidate,
    /// What the object is like.
    Head,
}

/// Whether the origin need not be asked any more: between the lookup of a reader, which found `seen`, and `now`
/// somebody else wrote, deleted or filled the key, or learnt what this one wants to know. The reader then has to
/// look again.
pub(crate) fn overtaken(
    seen: Option<&Entry>,
    now: Option<&Entry>,
    gate_version: u64,
    situation: Situation<'_>,
    purpose: Purpose,
) -> bool {
    let revision = |entry: Option<&Entry>| entry.map(|entry| entry.revision).filter(|r| r.0 > 0);
    let row = |entry: Option<&Entry>| entry.map(|entry| entry.row_version);
    if planted(Mutant::AskedThoughSettled) {
        return false;
    }
    if revision(seen) != revision(now) {
        return true;
    }
    if row(seen) == row(now) {
        return false;
    }
    // Observed anew: an absence, a description, or freshness.
    let state = now.and_then(|entry| believed(entry, gate_version));
    match (on_get(state, situation), purpose) {
        // The copy itself is the old one, which its reader has found wanting.
        (Decision::Serve, Purpose::Fill) => false,
        (Decision::Serve, Purpose::Revalidate | Purpose::Head) => true,
        (Decision::Tombstone | Decision::Negative { .. } | Decision::NotHere, _) => true,
        (Decision::Fill, Purpose::Head) => on_cold_head(state, situation) == ColdHead::Known,
        (Decision::Fill, Purpose::Fill | Purpose::Revalidate)
        | (Decision::Revalidate { .. } | Decision::ServeStaleRevalidate, _) => false,
    }
}

/// Decides a GET.
pub(crate) fn on_get(entry: Option<&EntryState>, situation: Situation<'_>) -> Decision {
    let fall = if situation.rule.is_some() { Decision::Fill } else { Decision::NotHere };
    match entry {
        None | Some(EntryState::Known(..)) => fall,
        Some(EntryState::Written(_)) => Decision::Serve,
        Some(EntryState::Tombstone) => Decision::Tombstone,
        Some(EntryState::Absent { until, invalid }) => {
            let believed = situation.now < *until || planted(Mutant::NegativeForEver);
            if situation.rule.is_some() && believed { Decision::Negative { invalid: *invalid } } else { fall }
        }
        Some(EntryState::Filled(_, provenance)) => on_filled(provenance, situation),
    }
}

fn on_filled(provenance: &Provenance, situation: Situation<'_>) -> Decision {
    let Some(rule) = situation.rule else { return Decision::Serve };
    match situation.mode {
        // What is here wins for ever; a plain bucket has kept it from a shadow that was detached.
        BucketMode::Plain | BucketMode::Migrate => Decision::Serve,
        BucketMode::Compute => {
            if provenance.edition.as_deref() == rule.edition || planted(Mutant::EditionIgnored) {
                Decision::Serve
            } else {
                Decision::Fill
            }
        }
        BucketMode::Cache => {
            let now = situation.now;
            let within = |limit: Option<Timestamp>| limit.is_some_and(|limit| now < limit);
            if provenance.fresh_until.is_none()
                || within(provenance.fresh_until)
                || planted(Mutant::StaleServed)
            {
                Decision::Serve
            } else if within(provenance.stale_while_revalidate_until) {
                Decision::ServeStaleRevalidate
            } else {
                Decision::Revalidate { stale_if_error: within(provenance.stale_if_error_until) }
            }
        }
    }
}

/// What a HEAD of a key does that is neither here nor deleted nor known to be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColdHead {
    /// What the origin's HEAD said lately still answers.
    Known,
    /// Ask the origin with HEAD; no body moves.
    Ask,
    /// Only a fill can tell: the origin computes its answers.
    Fill,
}

/// Decides a HEAD of a cold key.
pub(crate) fn on_cold_head(entry: Option<&EntryState>, situation: Situation<'_>) -> ColdHead {
    match (situation.mode, entry) {
        (BucketMode::Compute, _) => ColdHead::Fill,
        (_, Some(EntryState::Known(_, provenance)))
            if provenance.fresh_until.is_some_and(|limit| situation.now < limit) =>
        {
            ColdHead::Known
        }
        _ => ColdHead::Ask,
    }
}

/// Whether DELETE leaves a tombstone (`docs/semantics.md`, section 3): what a client wrote does in every mode
/// that has a shadow, and in `migrate` every delete does, also of keys never seen here.
pub(crate) fn delete_leaves_tombstone(
    entry: Option<&EntryState>,
    mode: BucketMode,
    has_shadow: bool,
) -> bool {
    let unseen = entry.is_none() && planted(Mutant::UnseenDeleteForgotten);
    if !has_shadow || unseen || planted(Mutant::TombstoneNotLeft) {
        return false;
    }
    match mode {
        BucketMode::Plain => false,
        BucketMode::Migrate => true,
        BucketMode::Cache | BucketMode::Compute => {
            matches!(entry, Some(EntryState::Written(_) | EntryState::Tombstone))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fallthrough_store::{BlobRef, ObjectInfo, Revision, Stored};

    use super::*;
    use crate::core::mutants::caught;

    fn stored() -> Stored {
        let info = ObjectInfo::default();
        Stored { info: Arc::new(info), blob: BlobRef::Empty }
    }

    fn provenance() -> Provenance {
        Provenance {
            origin: "o".into(),
            origin_etag: None,
            origin_last_modified: None,
            asked_at: Timestamp(0),
            verified: vec![],
            fresh_until: None,
            stale_if_error_until: None,
            stale_while_revalidate_until: None,
            edition: Some("v1".into()),
        }
    }

    fn at(mode: BucketMode, now: u64, edition: Option<&str>) -> Situation<'_> {
        Situation { mode, rule: Some(RuleView { edition }), now: Timestamp(now) }
    }

    #[test]
    fn every_state_has_its_read() {
        let migrate = at(BucketMode::Migrate, 100, None);
        let alone = Situation { rule: None, ..migrate };
        let absent = EntryState::Absent { until: Timestamp(200), invalid: false };
        let expired = EntryState::Absent { until: Timestamp(100), invalid: false };
        let never = EntryState::Absent { until: Timestamp(200), invalid: true };
        let written = EntryState::Written(stored());
        let filled = EntryState::Filled(stored(), provenance());
        let known = EntryState::Known(stored().info, provenance());
        let cases = [
            (None, migrate, Decision::Fill),
            (None, alone, Decision::NotHere),
            (Some(&known), migrate, Decision::Fill),
            (Some(&known), alone, Decision::NotHere),
            (Some(&written), migrate, Decision::Serve),
            (Some(&written), alone, Decision::Serve),
            (Some(&filled), migrate, Decision::Serve),
            (Some(&filled), alone, Decision::Serve),
            (Some(&EntryState::Tombstone), migrate, Decision::Tombstone),
            (Some(&EntryState::Tombstone), alone, Decision::Tombstone),
            (Some(&absent), migrate, Decision::Negative { invalid: false }),
            (Some(&never), migrate, Decision::Negative { invalid: true }),
            (Some(&expired), migrate, Decision::Fill),
            // A negative of a shadow that is gone means nothing.
            (Some(&absent), alone, Decision::NotHere),
        ];
        for (entry, situation, want) in cases {
            assert_eq!(on_get(entry, situation), want, "{entry:?} {situation:?}");
        }
    }

    #[test]
    fn another_edition_is_a_miss_only_where_the_origin_computes() {
        let filled = EntryState::Filled(stored(), provenance());
        assert_eq!(on_get(Some(&filled), at(BucketMode::Compute, 0, Some("v1"))), Decision::Serve);
        assert_eq!(on_get(Some(&filled), at(BucketMode::Compute, 0, Some("v2"))), Decision::Fill);
        assert_eq!(on_get(Some(&filled), at(BucketMode::Compute, 0, None)), Decision::Fill);
        assert_eq!(on_get(Some(&filled), at(BucketMode::Migrate, 0, Some("v2"))), Decision::Serve);
    }

    #[test]
    fn freshness_decides_in_cache_mode() {
        let aged = Provenance {
            fresh_until: Some(Timestamp(10)),
            stale_while_revalidate_until: Some(Timestamp(20)),
            stale_if_error_until: Some(Timestamp(30)),
            ..provenance()
        };
        let filled = EntryState::Filled(stored(), aged);
        for (now, want) in [
            (9, Decision::Serve),
            (10, Decision::ServeStaleRevalidate),
            (20, Decision::Revalidate { stale_if_error: true }),
            (30, Decision::Revalidate { stale_if_error: false }),
        ] {
            assert_eq!(on_get(Some(&filled), at(BucketMode::Cache, now, None)), want, "at {now}");
        }
        // A written object is never refreshed over.
        assert_eq!(
            on_get(Some(&EntryState::Written(stored())), at(BucketMode::Cache, 99, None)),
            Decision::Serve
        );
    }

    /// A row of some revision, version and state, now and as a reader found it.
    #[test]
    fn a_reader_is_overtaken_by_whatever_answers_it() {
        let aged = |fresh| Provenance { fresh_until: Some(Timestamp(fresh)), ..provenance() };
        let row = |revision, row_version, state| Entry {
            revision: Revision(revision),
            row_version,
            state,
            delivered: None,
        };
        let filled = |version, fresh| row(5, version, EntryState::Filled(stored(), aged(fresh)));
        let known = |version, fresh| row(0, version, EntryState::Known(stored().info, aged(fresh)));
        let absent = |until| row(0, 9, EntryState::Absent { until: Timestamp(until), invalid: false });
        let cases = [
            (None, None, Purpose::Fill, false),
            // Filled, written, forgotten.
            (None, Some(filled(9, 200)), Purpose::Fill, true),
            (None, Some(row(5, 9, EntryState::Written(stored()))), Purpose::Head, true),
            (Some(filled(8, 10)), None, Purpose::Fill, true),
            // Somebody else revalidated it; somebody else tried and it is as stale as before.
            (Some(filled(8, 10)), Some(filled(9, 200)), Purpose::Revalidate, true),
            (Some(filled(8, 10)), Some(filled(9, 20)), Purpose::Revalidate, false),
            (Some(filled(8, 10)), Some(filled(8, 10)), Purpose::Revalidate, false),
            // Whoever fills a damaged copy again is not served by its renewed freshness.
            (Some(filled(8, 10)), Some(filled(9, 200)), Purpose::Fill, false),
            (None, Some(absent(200)), Purpose::Fill, true),
            (None, Some(absent(200)), Purpose::Head, true),
            (None, Some(absent(10)), Purpose::Fill, false),
            (None, Some(known(9, 200)), Purpose::Head, true),
            (Some(known(8, 10)), Some(known(9, 200)), Purpose::Head, true),
            (None, Some(known(9, 10)), Purpose::Head, false),
            (None, Some(known(9, 200)), Purpose::Fill, false),
            // Noted of a shadow that was replaced since.
            (None, Some(row(0, 3, EntryState::Known(stored().info, aged(200)))), Purpose::Head, false),
        ];
        let all = || {
            for (seen, now, purpose, want) in &cases {
                let situation = at(BucketMode::Cache, 100, None);
                let got = overtaken(seen.as_ref(), now.as_ref(), 4, situation, *purpose);
                assert_eq!(got, *want, "{seen:?} {now:?} {purpose:?}");
            }
        };
        all();
        assert!(caught(Mutant::AskedThoughSettled, std::panic::AssertUnwindSafe(all)));
    }

    #[test]
    fn deletes_leave_a_tombstone_where_the_shadow_could_undo_them() {
        let written = EntryState::Written(stored());
        let filled = EntryState::Filled(stored(), provenance());
        for (entry, mode, shadow, want) in [
            (None, BucketMode::Plain, false, false),
            (Some(&written), BucketMode::Migrate, false, false),
            (None, BucketMode::Migrate, true, true),
            (Some(&filled), BucketMode::Migrate, true, true),
            (None, BucketMode::Cache, true, false),
            (Some(&filled), BucketMode::Compute, true, false),
            (Some(&written), BucketMode::Cache, true, true),
            (Some(&written), BucketMode::Compute, true, true),
            (Some(&EntryState::Tombstone), BucketMode::Cache, true, true),
        ] {
            assert_eq!(delete_leaves_tombstone(entry, mode, shadow), want, "{entry:?} {mode:?} {shadow}");
        }
    }
}
