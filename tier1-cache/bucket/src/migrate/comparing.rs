//! Comparing what is here with what the shadow lists: both lists are in order, and are read side by side.

use std::ops::Bound;
use std::sync::Arc;

use fallthrough_object::Key;
use fallthrough_shadow::ListedObject;
use fallthrough_store::{Bucket, Entry, EntryState, MigrationNote, MigrationPhase, MigrationRow, Walk};

use crate::api::BucketError;
use crate::behind::{Behind, Fall, Rules};
use crate::core::mutants::{Mutant, planted};
use crate::migrate::copying::note;
use crate::migrate::walk::advance;
use crate::migrate::worker::{Mover, Step, Trouble};
use crate::migrate::{NOTES_MAX, outcome};

/// Rows of what is here that one step looks at.
const ROWS: usize = 2000;

type Notes = Vec<(Key, Option<MigrationNote>)>;

impl Mover {
    pub(super) async fn compare_step(
        &mut self,
        bucket: &Arc<Bucket>,
        row: MigrationRow,
    ) -> Result<Step, Trouble> {
        let rules = self.engine.behind(bucket)?;
        let mut walk = row.compared;
        let mut notes = Vec::new();
        let page = self.engine.walk_page(&rules, &walk, &row.options.prefix).await?;
        let mut until = page.until;
        if let Some(behind) = &page.behind {
            let (ours, more) =
                self.ours(bucket, behind, &walk, &row.options.prefix, until.as_deref()).await?;
            if more.is_some() {
                until = more;
            }
            let theirs =
                page.listed.iter().filter(|(key, _)| until.as_deref().is_none_or(|u| key.as_str() <= u));
            compare(&mut walk, &mut notes, theirs, &ours, |key| is_of(&rules, behind, key));
        }
        advance(&mut walk, until.as_deref(), rules.all().len());
        let now = self.engine.inner.clock.now();
        self.keep(bucket, &notes, |row| {
            row.compared = walk.clone();
            if walk.done && row.phase == MigrationPhase::Comparing {
                (row.phase, row.verified_at) = (MigrationPhase::Idle, Some(now));
            }
        })
        .await?;
        Ok(Step::Went)
    }

    /// What is here behind the walk, up to `until`; and where it was cut short, if it was.
    async fn ours(
        &self,
        bucket: &Bucket,
        behind: &Behind,
        walk: &Walk,
        asked: &str,
        until: Option<&str>,
    ) -> Result<(Vec<(Key, Entry)>, Option<String>), Trouble> {
        let from =
            if walk.after.is_empty() { Bound::Unbounded } else { Bound::Excluded(walk.after.as_str()) };
        let prefix = behind.rule.common_prefix(asked).unwrap_or_default();
        let rows = self.engine.inner.store.scan(bucket.id, from, prefix, ROWS).await;
        let mut rows = rows.map_err(BucketError::from)?;
        let cut = (rows.len() == ROWS).then(|| rows.last().map(|(key, _)| key.as_str().to_owned())).flatten();
        let cut = cut.filter(|cut| until.is_none_or(|until| cut.as_str() < until));
        rows.retain(|(key, _)| until.is_none_or(|until| key.as_str() <= until));
        Ok((rows, cut))
    }
}

fn is_of(rules: &Rules, behind: &Behind, key: &Key) -> bool {
    match rules.fall(key) {
        Fall::Through(cold) => cold.behind.number == behind.number,
        Fall::Impossible | Fall::Nowhere => false,
    }
}

/// Judges every key of either list. `is_ours`: whether a key that the shadow does not list is this rule's.
fn compare<'a>(
    walk: &mut Walk,
    notes: &mut Notes,
    theirs: impl Iterator<Item = &'a (Key, ListedObject)>,
    ours: &[(Key, Entry)],
    is_ours: impl Fn(&Key) -> bool,
) {
    let (mut theirs, mut ours) = (theirs.peekable(), ours.iter().peekable());
    loop {
        let (take_theirs, take_ours) = match (theirs.peek(), ours.peek()) {
            (None, None) => return,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some((t, _)), Some((o, _))) => (t <= o, o <= t),
        };
        let their = if take_theirs { theirs.next() } else { None };
        let our = if take_ours { ours.next() } else { None };
        let (key, word, detail, bytes) = match (their, our) {
            (Some((key, object)), our) => {
                let (word, detail) = judge(object, our.map(|(_, entry)| &entry.state));
                (key, word, detail, object.size_bytes)
            }
            (None, Some((key, entry))) => match entry.state.stored() {
                Some(stored) if is_ours(key) => {
                    (key, outcome::EXTRA, "it is here alone".to_owned(), stored.info.size_bytes)
                }
                Some(_) | None => continue,
            },
            (None, None) => continue,
        };
        walk.objects += 1;
        walk.bytes += bytes;
        walk.count(word, bytes);
        if word != outcome::SAME && walk.of(word).objects <= NOTES_MAX {
            notes.push((key.clone(), Some(note(word, &detail, bytes))));
        }
    }
}

/// What the shadow's object is to what is known of the key here.
fn judge(theirs: &ListedObject, ours: Option<&EntryState>) -> (&'static str, String) {
    let strong = theirs.etag.as_ref().filter(|etag| !etag.is_weak());
    let told = |what: &str, here: u64| format!("{what}: {} bytes there, {here} here", theirs.size_bytes);
    match ours {
        Some(EntryState::Filled(stored, provenance)) => {
            let here = stored.info.size_bytes;
            let known = provenance.origin_etag.as_ref().filter(|etag| !etag.is_weak());
            if here != theirs.size_bytes {
                return (outcome::DIFFERENT, told("another size", here));
            }
            match (strong, known) {
                (Some(there), Some(known)) if there == known || planted(Mutant::ComparedBySize) => {
                    (outcome::SAME, String::new())
                }
                (Some(there), Some(known)) => {
                    (outcome::DIFFERENT, format!("another ETag: {there} there, {known} when it was copied"))
                }
                (None, _) | (_, None) => {
                    (outcome::UNVERIFIABLE, "of the same size; there is no strong ETag to compare".to_owned())
                }
            }
        }
        Some(EntryState::Written(stored)) => {
            let here = stored.info.size_bytes;
            if here == theirs.size_bytes && strong.is_some() && strong == stored.info.etag.as_ref() {
                (outcome::SAME, String::new())
            } else {
                (outcome::CHANGED, told("written here", here))
            }
        }
        Some(EntryState::Tombstone) => (outcome::TOMBSTONED, "deleted here".to_owned()),
        Some(EntryState::Known(..) | EntryState::Absent { .. }) | None => {
            (outcome::MISSING, "it is not here".to_owned())
        }
    }
}
