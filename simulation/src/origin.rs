//! The origins of a run: what they have, how they misbehave, and a watch on how they are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fallthrough_bucket::{ShadowFactory, ShadowRefused, ShadowRule, ShadowTarget};
use fallthrough_object::BucketName;
use fallthrough_shadow::{
    ListQuery, ListedPage, Method, RawAnswer, Request, Shadow, ShadowError, WriteRequest,
};
use fallthrough_sim::{Content, ListFault, Script, ScriptedShadow};
use futures::StreamExt as _;

use crate::dice::Dice;
use crate::did::Mode;
use crate::history::{Journal, Moment, VersionId};
use crate::misfortune;
use crate::plan::Plan;
use crate::provider::{self, Taken};

/// The origins of a run, which outlive every crash of the store in front of them.
#[derive(Debug)]
pub(crate) struct Origins {
    pub(crate) plan: Plan,
    pub(crate) journal: Journal,
    pub(crate) dice: Dice,
    pub(crate) scripts: Vec<Arc<Script>>,
    /// Percentage of requests that go wrong.
    weather: AtomicU64,
    timelines: Mutex<Vec<Vec<Timeline>>>,
    watch: Arc<Mutex<Watch>>,
    /// Lengths that an origin has said wrongly, by key.
    lies: Mutex<BTreeMap<String, BTreeSet<u64>>>,
    /// What was written to them.
    pub(crate) taken: Mutex<Taken>,
}

/// Which origin a key is of, where the rules are these: all to the first, all to the second, or one for what begins with
/// `d/` and the other for the rest.
pub(crate) fn origin_of(layout: u8, key: &str) -> u8 {
    match layout {
        0 | 1 => layout,
        _ => (layout % 2) ^ u8::from(key.starts_with("d/")),
    }
}

/// What one origin had under one key, since when.
pub(crate) type Timeline = Vec<(u64, Option<VersionId>)>;

/// Fills under way, and what may let a second one of the same key begin.
#[derive(Debug, Default)]
struct Watch {
    /// By origin and key: when each began.
    fills: BTreeMap<(usize, usize), Vec<Moment>>,
    /// When the first attempt of each fill began, by its key and its request's id.
    first: BTreeMap<(usize, String), Moment>,
    /// Changes of a key under way, and when the last one ended.
    changing: BTreeMap<usize, u64>,
    changed: BTreeMap<usize, Moment>,
}

impl Origins {
    pub(crate) fn new(plan: &Plan, journal: &Journal, dice: Dice) -> Arc<Self> {
        let scripts: Vec<_> = (0..plan.origins).map(|_| Script::new()).collect();
        let timelines = scripts
            .iter()
            .map(|script| {
                let keys = plan.keys.iter().enumerate();
                keys.map(|(n, key)| {
                    if !dice.chance(65) {
                        return vec![(0, None)];
                    }
                    let size = plan.size(&dice);
                    vec![(0, Some(give(script, journal, n, key, size)))]
                })
                .collect()
            })
            .collect();
        Arc::new(Self {
            plan: plan.clone(),
            journal: journal.clone(),
            dice,
            scripts,
            weather: AtomicU64::new(0),
            timelines: Mutex::new(timelines),
            watch: Arc::default(),
            lies: Mutex::default(),
            taken: Mutex::default(),
        })
    }

    /// Percentage of requests that go wrong now.
    pub(crate) fn weather(&self) -> u64 {
        self.weather.load(Ordering::Relaxed)
    }

    pub(crate) fn set_weather(&self, percent: u64) {
        self.journal.note(&format!("weather {percent}"));
        self.weather.store(percent, Ordering::Relaxed);
    }

    /// What each origin had under a key.
    pub(crate) fn timelines(&self, key: usize) -> Vec<Timeline> {
        let timelines = self.timelines.lock().unwrap_or_else(PoisonError::into_inner);
        timelines.iter().map(|of_origin| of_origin[key].clone()).collect()
    }

    /// Somebody changes or removes an object behind everybody's back.
    pub(crate) fn change(&self, origin: usize, key: usize, remove: bool) {
        let script = &self.scripts[origin];
        let name = self.plan.keys[key];
        let what = if remove {
            script.remove(name);
            None
        } else {
            Some(give(script, &self.journal, key, name, self.plan.size(&self.dice)))
        };
        self.journal.note(&format!("origin {origin} key {key} becomes {what:?}"));
        self.journal.count("changes behind our back");
        self.became(origin, key, what);
        self.taken().changed_by_others(origin, key);
    }

    /// From now on this is what an origin has.
    pub(crate) fn became(&self, origin: usize, key: usize, what: Option<VersionId>) -> Moment {
        let now = self.journal.now();
        let mut timelines = self.timelines.lock().unwrap_or_else(PoisonError::into_inner);
        timelines[origin][key].push((now.nanos, what));
        now
    }

    /// An origin is about to say a length of a key that it may not have.
    pub(crate) fn lied(&self, key: &str, length: u64) {
        let mut lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        lies.entry(key.to_owned()).or_default().insert(length);
    }

    /// Whether an origin has said this length of a key.
    pub(crate) fn has_lied(&self, key: &str, length: &str) -> bool {
        let lies = self.lies.lock().unwrap_or_else(PoisonError::into_inner);
        lies.get(key).is_some_and(|lies| lies.iter().any(|lie| lie.to_string() == length))
    }

    /// Says that a change of a key is on its way, which lets a second fill of the key begin.
    pub(crate) fn changing(&self, key: usize) {
        *self.lock().changing.entry(key).or_default() += 1;
    }

    /// The change has ended.
    pub(crate) fn changed(&self, key: usize) {
        let now = self.journal.now();
        let mut watch = self.lock();
        *watch.changing.entry(key).or_default() -= 1;
        watch.changed.insert(key, now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers that have begun and not ended.
    pub(crate) fn in_flight(&self) -> usize {
        self.scripts.iter().map(|script| script.in_flight()).sum()
    }

    pub(crate) fn requests(&self) -> usize {
        self.scripts.iter().map(|script| script.total_calls() + script.list_calls()).sum()
    }

    /// The rules of a layout.
    pub(crate) fn rules(&self, layout: u8, through: bool) -> Vec<ShadowRule> {
        let rest = self.rule(origin_of(layout, ""), through);
        if layout < 2 {
            return vec![rest];
        }
        let prefix = Some("d/".to_owned());
        vec![ShadowRule { prefix, ..self.rule(origin_of(layout, "d/"), through) }, rest]
    }

    /// The rule that leads to an origin.
    fn rule(&self, origin: u8, through: bool) -> ShadowRule {
        let mut rule = if self.plan.mode == Mode::Compute {
            ShadowRule::to(ShadowTarget::Origin { origin: format!("o{origin}") })
        } else {
            ShadowRule::to(ShadowTarget::S3 {
                endpoint: "http://origin.test".to_owned(),
                name: format!("o{origin}"),
                region: "us-east-1".to_owned(),
                addressing: Default::default(),
                credentials: None,
            })
        };
        if self.plan.mode == Mode::Cache {
            rule.ttl_secs = Some(self.plan.ttl.as_secs());
        }
        rule.negative_ttl_secs = Some(self.plan.ttl.as_secs());
        rule.inventory_secs = self.plan.inventory;
        rule.inventory_absent = self.plan.inventory.is_some() && self.plan.inventory_absent;
        if let Some(way) = self.plan.through.filter(|_| through) {
            rule.write_through = way.write;
            rule.delete_through = way.deletes;
            rule.write_conflict = way.conflict;
        }
        rule
    }
}

/// Gives an origin the next version of an object.
fn give(script: &Script, journal: &Journal, key: usize, name: &str, size: u64) -> VersionId {
    let version = journal.version(key, |edition| Content::generated(name, edition, size));
    script.object_of(name, journal.of(version).content.bytes());
    version
}

/// Makes the watched clients of the origins.
#[derive(Debug)]
pub(crate) struct Factory(pub(crate) Arc<Origins>);

impl ShadowFactory for Factory {
    fn shadow(&self, _: &BucketName, rule: &ShadowRule) -> Result<Arc<dyn Shadow>, ShadowRefused> {
        let name = match &rule.target {
            ShadowTarget::Origin { origin } => origin,
            ShadowTarget::S3 { name, .. } => name,
            ShadowTarget::Http { url } => url,
        };
        let number = name.strip_prefix('o').and_then(|n| n.parse::<usize>().ok());
        let number = number.ok_or_else(|| ShadowRefused("no such origin".to_owned()))?;
        let inner = ScriptedShadow::of(self.0.scripts[number].clone());
        Ok(Arc::new(WatchedShadow { inner, origin: number, origins: self.0.clone() }))
    }
}

/// A client of an origin that misbehaves as the weather says, and tells when a key is asked for twice at once.
#[derive(Debug)]
struct WatchedShadow {
    inner: ScriptedShadow,
    origin: usize,
    origins: Arc<Origins>,
}

/// Counts a fill out when its answer is over.
struct FillUnderWay {
    watch: Arc<Mutex<Watch>>,
    of: (usize, usize),
    began: Moment,
}

impl Drop for FillUnderWay {
    fn drop(&mut self) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fills) = watch.fills.get_mut(&self.of) {
            let one = fills.iter().position(|began| *began == self.began);
            one.map(|one| fills.remove(one));
        }
    }
}

impl WatchedShadow {
    fn watch_fill(&self, request: &Request) -> Option<FillUnderWay> {
        let origins = &self.origins;
        let is_fill = request.method == Method::Get && (request.range.is_none() || request.attempt > 1);
        let key = origins.plan.keys.iter().position(|key| *key == request.key.as_str())?;
        if !is_fill {
            return None;
        }
        let mut watch = origins.lock();
        // Later attempts of a fill belong to its first, also after something has superseded it.
        let first = (key, request.request_id.clone());
        let now = origins.journal.now();
        let began = if request.attempt > 1 { watch.first.get(&first).copied().unwrap_or(now) } else { now };
        watch.first.insert(first, began);
        let changing = watch.changing.get(&key).is_some_and(|changing| *changing > 0);
        let changed = watch.changed.get(&key).copied().unwrap_or_default();
        // Another origin is another shadow: a reader who saw the one before may still be served from that.
        let of = (self.origin, key);
        let fills = watch.fills.entry(of).or_default();
        // What something has superseded goes on for the readers that it has.
        let twice = !changing && began > changed && fills.iter().any(|other| *other > changed);
        let others = fills.len();
        fills.push(began);
        drop(watch);
        if twice {
            origins.journal.violation(format!("key {key} is fetched while {others} fills of it run"));
        }
        Some(FillUnderWay { watch: origins.watch.clone(), of, began })
    }
}

#[async_trait]
impl Shadow for WatchedShadow {
    async fn fetch(&self, request: Request) -> Result<RawAnswer, ShadowError> {
        provider::noticed(&self.origins, self.origin, request.key.as_str());
        if request.tagging {
            // No fill, and nothing to fail in: a provider without tags.
            let (status, headers) = (http::StatusCode::NOT_IMPLEMENTED, http::HeaderMap::new());
            return Ok(RawAnswer { status, headers, body: futures::stream::empty().boxed() });
        }
        let under_way = self.watch_fill(&request);
        let size = self.inner.content(request.key.as_str()).map(|content| content.size_bytes());
        let (faults, misfortune) = misfortune::draw(&self.origins, &request, size);
        self.origins.journal.note(&format!(
            "origin is asked: {:?} {} {:?} attempt {} {faults:?}",
            request.method,
            request.key.as_str(),
            request.range,
            request.attempt,
        ));
        let key = request.key.as_str().to_owned();
        for fault in faults {
            self.inner.fault_times(&key, 1, fault);
        }
        let journal = &self.origins.journal;
        misfortune.iter().for_each(|misfortune| misfortune.asked(journal));
        // The script takes the faults in its first step, before anybody else can run.
        let answer = self.inner.fetch(request).await?;
        Ok(misfortune::watched(answer, misfortune, journal, under_way))
    }

    async fn write(&self, request: WriteRequest) -> Result<RawAnswer, ShadowError> {
        provider::take(&self.origins, self.origin, request).await
    }

    async fn list(&self, query: ListQuery) -> Result<ListedPage, ShadowError> {
        let (origins, dice) = (&self.origins, &self.origins.dice);
        if dice.chance(60) {
            self.inner.list_fault_times(1, ListFault::Delay(Duration::from_micros(dice.below(30_000))));
        }
        if dice.chance(origins.weather.load(Ordering::Relaxed)) {
            origins.journal.count("list fault");
            let fault = match dice.below(5) {
                0 => ListFault::Status(503),
                1 => ListFault::OutOfOrder,
                2 => ListFault::Malformed,
                3 => ListFault::NoAnswer,
                _ => ListFault::Delay(Duration::from_millis(dice.between(500, 3000))),
            };
            self.inner.list_fault_times(1, fault);
        }
        self.inner.list(query).await
    }
}
