//! What is behind a bucket: for each of its rules the client that leads there and the gate in front of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::{Key, Monotonic};
use fallthrough_shadow::{Dialect, Shadow};
use fallthrough_store::{Bucket, BucketId, BucketMode, ShadowRule, Treat403As};

use crate::api::BucketError;
use crate::core::admission::Limits;
use crate::core::mutants::{Mutant, planted};
use crate::core::rule::{Match, Rule, identity, merged_list, place_name};
use crate::engine::{Engine, OriginKind, OriginTraits, ShadowRefused};
use crate::origins::OriginGate;

/// One rule of a bucket, the clients that lead where it says, and the gate in front of them.
#[derive(Debug)]
pub(crate) struct Behind {
    /// Its place among the bucket's rules, from 0.
    pub(crate) number: usize,
    pub(crate) rule: Rule,
    /// The clients of its members, in their order; at least one.
    pub(crate) shadows: Vec<Arc<dyn Shadow>>,
    pub(crate) gate: Arc<OriginGate>,
    pub(crate) dialect: Dialect,
    pub(crate) kind: OriginKind,
    pub(crate) seekable: bool,
    /// Whether LIST merges the keys that it has.
    pub(crate) lists: bool,
    pub(crate) origin: Arc<str>,
    /// Names of the headers that what it answers depends on; `None`: none.
    pub(crate) varies_by: Option<Arc<str>>,
    /// Until when it is taken for one that takes no conditions on writes; then it is tried with one again.
    unguarded: Mutex<Option<Monotonic>>,
}

/// The rules of a bucket, in order: the first one that takes a key decides.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Arc<Behind>>);

/// What the rules say of a key.
#[derive(Clone, Debug)]
pub(crate) enum Fall {
    /// It falls through, under this name.
    Through(Cold),
    /// It belongs to a rule by which it can never exist.
    Impossible,
    /// It belongs to no rule.
    Nowhere,
}

/// Where a key falls through to.
#[derive(Clone, Debug)]
pub(crate) struct Cold {
    pub(crate) behind: Arc<Behind>,
    /// Its name there.
    pub(crate) origin_key: Key,
}

/// What is behind each bucket as it was last used, by the version of its gate. Bounded by the number of buckets with
/// a shadow; entries of removed buckets go with them.
pub(crate) type BehindMap = BTreeMap<BucketId, (u64, Arc<Rules>)>;

/// How long an origin is believed that it takes no conditions.
const UNGUARDED_FOR: Duration = Duration::from_secs(600);

impl Behind {
    /// Whether it is known to take no conditions on writes.
    pub(crate) fn takes_no_conditions(&self, now: Monotonic) -> bool {
        let until = *self.unguarded.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| now < until || planted(Mutant::UnguardedForEver))
    }

    /// It has said that it takes none.
    pub(crate) fn refused_conditions(&self, now: Monotonic) {
        let until = Some(now.plus(UNGUARDED_FOR));
        *self.unguarded.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Whether all that is there under the rule's prefix can be listed by the names of here, whatever LIST shows.
    pub(crate) fn can_list(&self) -> bool {
        matches!(self.dialect, Dialect::S3 { .. }) && self.rule.renaming().is_some()
    }
}

impl Rules {
    /// All of them, in order.
    pub(crate) fn all(&self) -> &[Arc<Behind>] {
        &self.0
    }

    /// What they say of `key`.
    pub(crate) fn fall(&self, key: &Key) -> Fall {
        for (number, behind) in self.0.iter().enumerate() {
            let mut later = self.0[number + 1..].iter();
            if planted(Mutant::LastRuleDecides) && later.any(|later| later.rule.takes(key)) {
                continue;
            }
            match behind.rule.matches(key) {
                Match::As(origin_key) => return Fall::Through(Cold { behind: behind.clone(), origin_key }),
                Match::Impossible => return Fall::Impossible,
                Match::No => {}
            }
        }
        Fall::Nowhere
    }

    /// Those whose keys LIST shows.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Arc<Behind>> {
        self.0.iter().filter(|behind| behind.lists)
    }

    /// Whether `key` is the business of a rule before `behind`.
    pub(crate) fn takes_before(&self, behind: &Behind, key: &Key) -> bool {
        self.0[..behind.number].iter().any(|earlier| earlier.rule.takes(key))
    }

    /// Whether all that begins with `prefix` is the business of a rule before `behind`.
    pub(crate) fn takes_all_before(&self, behind: &Behind, prefix: &str) -> bool {
        self.0[..behind.number].iter().any(|earlier| earlier.rule.takes_all(prefix))
    }
}

/// Forgets what is behind a bucket that is removed, however the removal ends: whoever needs it makes it again.
pub(crate) struct ForgetsBehind<'a>(pub(crate) &'a Engine, pub(crate) BucketId);

impl Drop for ForgetsBehind<'_> {
    fn drop(&mut self) {
        self.0.behind_map().remove(&self.1);
    }
}

impl Engine {
    fn behind_map(&self) -> MutexGuard<'_, BehindMap> {
        self.inner.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is behind `bucket`.
    ///
    /// # Errors
    /// [`BucketError::ShadowMisconfigured`] if a rule's target is no longer declared.
    pub(crate) fn behind(&self, bucket: &Bucket) -> Result<Arc<Rules>, BucketError> {
        if let Some((gate_version, rules)) = self.behind_map().get(&bucket.id)
            && *gate_version == bucket.gate_version
        {
            return Ok(rules.clone());
        }
        let rules = &bucket.settings.shadow;
        let rules = rules.iter().enumerate().map(|(number, rule)| self.make_behind(bucket, number, rule));
        let rules = Arc::new(Rules(rules.collect::<Result<_, _>>()?));
        if !rules.0.is_empty() {
            let mut map = self.behind_map();
            // A slower caller with an older bucket must not put the old shadow back.
            if map.get(&bucket.id).is_none_or(|(version, _)| *version < bucket.gate_version) {
                map.insert(bucket.id, (bucket.gate_version, rules.clone()));
            }
        }
        Ok(rules)
    }

    /// Where `key` falls through to, if it does.
    ///
    /// # Errors
    /// As [`Engine::behind`].
    pub(crate) fn cold(&self, bucket: &Bucket, key: &Key) -> Result<Option<Cold>, BucketError> {
        Ok(match self.behind(bucket)?.fall(key) {
            Fall::Through(cold) => Some(cold),
            Fall::Impossible | Fall::Nowhere => None,
        })
    }

    fn make_behind(
        &self,
        bucket: &Bucket,
        number: usize,
        settings: &ShadowRule,
    ) -> Result<Arc<Behind>, BucketError> {
        let mend = |mend: String| BucketError::ShadowMisconfigured { mend };
        let shadows = &self.inner.shadows;
        let clients = settings.each_place().map(|place| shadows.shadow(&bucket.name, &place));
        let clients: Result<Vec<_>, _> = clients.collect();
        let clients = clients.map_err(|ShadowRefused(reason)| mend(reason))?;
        let mut traits = shadows.traits(settings);
        let mut settings = settings.clone();
        if settings.keys.is_none() && settings.key.is_none() {
            settings.keys = traits.keys.map(str::to_owned);
        }
        let rule = Rule::check(&settings).map_err(mend)?;
        if bucket.settings.mode == BucketMode::Compute {
            // The mode says it: what is behind makes objects, by whichever protocol it is asked.
            traits.kind = OriginKind::Program;
        }
        let absent_on_403 = settings.treat_403_as == Treat403As::Absent;
        let dialect = match traits.kind {
            OriginKind::Provider => Dialect::S3 { absent_on_403 },
            OriginKind::Http | OriginKind::Program => Dialect::Http { absent_on_403 },
        };
        Ok(Arc::new(Behind {
            number,
            seekable: settings.seekable.unwrap_or(traits.kind != OriginKind::Program),
            lists: merged_list(&bucket.settings, &rule, traits.kind),
            kind: traits.kind,
            gate: self.gate(&settings, traits, &rule.origin),
            origin: Arc::from(rule.origin.as_str()),
            varies_by: (!settings.pass_headers.is_empty() && !settings.passed_alike)
                .then(|| Arc::from(settings.pass_headers.join(", "))),
            unguarded: Mutex::default(),
            rule,
            shadows: clients,
            dialect,
        }))
    }

    fn gate(&self, settings: &ShadowRule, traits: OriginTraits, name: &str) -> Arc<OriginGate> {
        let options = &self.inner.options;
        let limits = Limits {
            in_flight: settings
                .max_in_flight
                .or(traits.max_in_flight)
                .unwrap_or(options.max_in_flight)
                .max(1),
            queue: options.max_queue,
            per_client: settings.per_client.or(traits.per_client).unwrap_or(options.per_client).max(1),
            budget: settings.budget.or(options.budget),
            client_budget: settings.client_budget.or(options.client_budget),
        };
        let places: Vec<_> = settings.places().map(identity).collect();
        let known_by = format!("{} {limits:?}", places.join(" or "));
        let mut gates = self.inner.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates
            .entry(known_by)
            .or_insert_with(|| {
                let (name, members) = (Arc::from(name), member_names(settings));
                Arc::new(OriginGate::new(name, members, limits, self.inner.clock.clone()))
            })
            .clone()
    }
}

/// The names of a rule's members for people: numbered from 0 where there are several, since they may be named alike.
fn member_names(settings: &ShadowRule) -> Vec<Arc<str>> {
    let several = !settings.members.is_empty();
    let names = settings.places().map(place_name).enumerate();
    names
        .map(|(number, name)| if several { format!("{name}#{number}") } else { name })
        .map(Arc::from)
        .collect()
}
