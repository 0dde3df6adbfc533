//! What is known about a key, and why, for people.

use std::sync::Arc;

use fallthrough_object::Key;
use fallthrough_store::{BlobRef, Bucket, EntryState, ShadowRule};

use crate::api::{BucketError, Explanation};
use crate::behind::Fall;
use crate::core::keystate::{Decision, RuleView, Situation, believed, on_get};
use crate::engine::Engine;
use crate::reader::Stage;
use crate::waiting::WaitingChange;

impl Engine {
    /// What is known about a key and why; asks no origin.
    ///
    /// # Errors
    /// The store's; [`BucketError::ShadowMisconfigured`] if the rule's target is no longer declared.
    pub async fn explain(&self, bucket: &Arc<Bucket>, key: &Key) -> Result<Explanation, BucketError> {
        self.verified_are_committed(bucket, Some(key)).await;
        let entry = self.inner.store.lookup(bucket.id, key).await?;
        let state = entry.as_ref().map(|entry| &entry.state);
        let fall = self.behind(bucket)?.fall(key);
        let behind = match &fall {
            Fall::Through(cold) => Some(&cold.behind),
            Fall::Impossible | Fall::Nowhere => None,
        };
        let situation = Situation {
            mode: bucket.settings.mode,
            rule: behind.map(|behind| RuleView { edition: behind.rule.settings.edition.as_deref() }),
            now: self.inner.clock.now(),
        };
        let (name, object, provenance) = match state {
            None => ("unknown", None, None),
            Some(EntryState::Written(stored)) => ("written", Some(&stored.info), None),
            Some(EntryState::Filled(stored, provenance)) => ("filled", Some(&stored.info), Some(provenance)),
            Some(EntryState::Known(info, provenance)) => ("known", Some(info), Some(provenance)),
            Some(EntryState::Absent { .. }) => ("absent", None, None),
            Some(EntryState::Tombstone) => ("tombstone", None, None),
        };
        let blob = state.and_then(EntryState::stored).map(|stored| match &stored.blob {
            BlobRef::Empty => "empty",
            BlobRef::Row(_) => "row",
            BlobRef::File(_) => "file",
            BlobRef::Parts(_) => "parts",
        });
        let fill = self.running(bucket, key).map(|fill| {
            let progress = fill.progress.last();
            let secs = self.inner.clock.monotonic().since(fill.started).as_secs();
            let stage = match &progress.stage {
                Stage::Asking => "waiting for the origin",
                Stage::Headers(_) => "headers are here",
                Stage::Streaming(..) => "streaming",
                Stage::Verified(..) => "verified, being committed",
                Stage::Unchanged(_) => "unchanged at the origin",
                Stage::Overtaken(_) => "overtaken: the key was settled otherwise",
                Stage::Failed(_) => "failed",
            };
            let origin = &fill.origin;
            let (readable, readers) = (progress.readable, fill.progress.listeners());
            format!("{stage}; origin {origin}, {secs} s, {readable} bytes readable, {readers} readers")
        });
        let last_fill = {
            let memory = self.inner.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            memory.recall(&Self::slot(bucket, key)).map(str::to_owned)
        };
        let told = entry.as_deref().and_then(|entry| believed(entry, bucket.gate_version));
        let origin = behind.map_or("its origin", |behind| &behind.origin);
        let next_get = match (on_get(state, situation), &fall) {
            (Decision::Serve, _) => "is served from here".to_owned(),
            (Decision::ServeStaleRevalidate, _) => {
                format!("is served from here though stale, while {origin} is asked whether it is still good")
            }
            (Decision::Revalidate { .. }, _) => {
                format!("asks {origin} whether the stored copy is still good")
            }
            (Decision::Tombstone, _) => "answers 404: it was deleted here".to_owned(),
            (Decision::Negative { invalid: false }, _) => {
                format!("answers 404 without asking: {origin} said so lately")
            }
            (Decision::Negative { invalid: true }, _) => {
                format!("answers 400 without asking: {origin} said that this key can never exist")
            }
            (Decision::Fill, Fall::Through(cold))
                if self.is_absent_by_inventory(bucket, cold, told).await =>
            {
                format!("answers 404 without asking: the inventory of {origin} does not have it")
            }
            (Decision::Fill, _) => format!("falls through to {origin}"),
            (Decision::NotHere, Fall::Impossible) => {
                "answers 404: by the shadow's rule this key can never exist".to_owned()
            }
            (Decision::NotHere, _) if bucket.settings.shadow.is_empty() => {
                "answers 404: the bucket has no shadow".to_owned()
            }
            (Decision::NotHere, _) => "answers 404: no shadow rule is for this key".to_owned(),
        };
        let waiting = match self.inner.store.has_intents(bucket.id) {
            true => self.inner.store.intent(bucket.id, key).await?,
            false => None,
        };
        Ok(Explanation {
            state: name,
            revision: entry.as_ref().map(|entry| entry.revision.0),
            object: object.map(|info| (**info).clone()),
            provenance: provenance.cloned(),
            blob,
            rule: behind.map(|behind| (behind.number, origin.to_owned())),
            passes_on: behind
                .map(|behind| &behind.rule.settings)
                .filter(|rule| rule.passes_on())
                .map(passes_on),
            members: behind
                .map(|behind| behind.gate.members.states())
                .filter(|members| members.len() > 1)
                .unwrap_or_default(),
            blocks: self.explain_blocks(bucket, key).await?,
            fill,
            last_fill,
            waiting: waiting.map(|intent| WaitingChange::of(&intent)),
            next_get,
        })
    }
}

impl Engine {
    /// What is kept in blocks of the object behind a key.
    async fn explain_blocks(&self, bucket: &Bucket, key: &Key) -> Result<Option<String>, BucketError> {
        let set = self.inner.store.block_set(bucket.id, key).await?;
        let set = set.filter(|set| set.gate_version == bucket.gate_version);
        Ok(set.map(|set| {
            let (info, from) = (&set.info, &set.provenance);
            let all = info.size_bytes.div_ceil(set.block_bytes.max(1));
            let etag = info.etag.as_ref().map(ToString::to_string).unwrap_or_default();
            let now = self.inner.clock.now();
            let believed = match from.fresh_until.filter(|until| now < *until) {
                Some(until) => format!("believed for {} s", until.since(now).as_secs()),
                None => "to be asked for before they are read".to_owned(),
            };
            format!(
                "{} of {all} blocks, {} of {} bytes, of {etag} at {}, not verified as a whole; {believed}",
                set.blocks, set.bytes, info.size_bytes, from.origin
            )
        }))
    }
}

/// What of a client's request goes to the origin with it.
fn passes_on(rule: &ShadowRule) -> String {
    let of =
        |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
    let both = [of("parameters", &rule.pass_query), of("headers", &rule.pass_headers)];
    let both = both.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let kept = if rule.passed_alike {
        "the object is the same with or without them"
    } else {
        "answers to them are not kept"
    };
    format!("{both}: {kept}")
}
