//! What a seed decides before the run begins.

use std::time::Duration;

use fallthrough_bucket::{WriteConflict, WriteThrough};

use crate::dice::Dice;
use crate::did::Mode;

/// Keys that collide with each other, and with common prefixes, as often as possible.
const KEYS: [&str; 7] = ["a", "d", "d/1", "d/2/x", "d0", "e/1", "z z"];
/// Keys that are mostly read, so that there is something left to fill.
const COLD_KEYS: [&str; 12] =
    ["c1", "c2", "c3", "d/c4", "d/c5", "d/2/c6", "e/c7", "e/c8", "e/c9", "f", "f/c10", "y"];

/// What of clients' changes goes through to the origins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Through {
    /// What is written.
    pub(crate) write: WriteThrough,
    /// Whether what is deleted, too.
    pub(crate) deletes: bool,
    /// Whose object stays if somebody else has changed it.
    pub(crate) conflict: WriteConflict,
    /// Whether the operator leaves the bucket and its shadow alone.
    pub(crate) settled: bool,
    /// Percentage of the looks at the weather that have somebody else change an object.
    pub(crate) others: u64,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) keys: Vec<&'static str>,
    /// How many of the keys, from the first on, are written as often as they are read.
    pub(crate) hot: usize,
    pub(crate) origins: usize,
    pub(crate) clients: u32,
    pub(crate) operations_each: u64,
    /// Time to live of copies, and of an origin's "not found".
    pub(crate) ttl: Duration,
    /// Whether origins change behind our back.
    pub(crate) origins_change: bool,
    /// Percentage of requests to origins that go wrong in bad weather.
    pub(crate) storm: u64,
    /// Whether the operator deletes buckets and changes shadows.
    pub(crate) operator: bool,
    /// Whether the operator sets lifecycle rules, and days pass.
    pub(crate) lifecycle: bool,
    /// The most that copies may hold, in bytes: so little that there is always something to evict.
    pub(crate) cache_limit: Option<u64>,
    /// Crashes and restarts.
    pub(crate) crashes: u64,
    /// Whether the disk fails now and then.
    pub(crate) disk_faults: bool,
    /// Whether several rules lead to several origins, by prefix.
    pub(crate) layouts: bool,
    /// How long an inventory of an origin is believed, in seconds, if one is kept.
    pub(crate) inventory: Option<u64>,
    /// Whether what a believed inventory does not have is absent for readers.
    pub(crate) inventory_absent: bool,
    /// Whether the operator moves what the origins have here.
    pub(crate) migrates: bool,
    /// What goes through, if anything does.
    pub(crate) through: Option<Through>,
    /// Longest pause between two operations of a client.
    pub(crate) pause: Duration,
    /// Longest wait of a commit for its writer.
    pub(crate) commit_wait: Duration,
}

impl Through {
    fn of(dice: &Dice) -> Self {
        Self {
            write: dice.weighted(&[
                (6, WriteThrough::Async),
                (4, WriteThrough::Sync),
                (1, WriteThrough::Off),
            ]),
            deletes: dice.chance(75),
            conflict: dice.pick(&[WriteConflict::Fail, WriteConflict::Local, WriteConflict::Origin]),
            settled: dice.chance(60),
            others: dice.pick(&[0, 0, 0, 15, 50]),
        }
    }
}

impl Plan {
    pub(crate) fn of(dice: &Dice) -> Self {
        let mode =
            dice.weighted(&[(1, Mode::Plain), (6, Mode::Migrate), (4, Mode::Cache), (2, Mode::Compute)]);
        let first = dice.index(KEYS.len() - 2);
        let mut keys: Vec<_> = KEYS[first..].iter().copied().take(dice.pick(&[1, 2, 3, 5, 7])).collect();
        let hot = keys.len();
        keys.extend(COLD_KEYS.iter().take(dice.pick(&[0, 4, 12])));
        let mut plan = Self {
            mode,
            keys,
            hot,
            origins: if mode == Mode::Plain { 0 } else { 2 },
            clients: u32::try_from(dice.between(2, 5)).expect("a few"),
            operations_each: dice.between(15, 40),
            ttl: Duration::from_secs(dice.pick(&[1, 5, 20])),
            origins_change: mode == Mode::Cache && dice.chance(60),
            storm: dice.pick(&[0, 20, 40, 70]),
            operator: dice.chance(70),
            lifecycle: dice.chance(60),
            crashes: dice.weighted(&[(3, 0), (3, 1), (3, 2), (2, 5)]),
            disk_faults: dice.chance(25),
            pause: Duration::from_millis(dice.pick(&[2, 20, 200, 2000])),
            commit_wait: Duration::from_micros(dice.pick(&[0, 500, 3_000, 30_000])),
            // The last, so that the rest of a seed's plan is what it was.
            cache_limit: dice.pick(&[None, Some(30_000), Some(60_000), Some(90_000)]),
            layouts: matches!(mode, Mode::Migrate | Mode::Cache) && dice.chance(40),
            inventory: dice
                .pick(&[None, Some(60), Some(600)])
                .filter(|_| matches!(mode, Mode::Migrate | Mode::Cache)),
            inventory_absent: dice.chance(40),
            migrates: mode == Mode::Migrate && dice.chance(50),
            through: (mode == Mode::Migrate && dice.chance(75)).then(|| Through::of(dice)),
        };
        plan.origins_change |= plan.through.is_some_and(|through| through.others > 0);
        plan
    }

    /// How old what a cache shows may be where its origin changes: a copy ages, and may have taken long to come.
    pub(crate) fn longest_age(&self) -> Duration {
        let inventory = Duration::from_secs(self.inventory.unwrap_or(0));
        self.ttl.max(inventory) + Duration::from_secs(120)
    }

    /// Nothing is under way that no client waits for.
    pub(crate) fn is_quiet(&self) -> bool {
        self.through.is_none() && !self.migrates && self.inventory.is_none()
    }

    /// Whether the operator leaves the bucket and its shadow alone.
    pub(crate) fn is_settled(&self) -> bool {
        self.through.is_some_and(|through| through.settled)
    }

    /// Whether an origin must have what is written first.
    pub(crate) fn is_sync(&self) -> bool {
        self.through.is_some_and(|through| through.write == WriteThrough::Sync)
    }

    /// Whether the origin may refuse what a client writes, since somebody else was there.
    pub(crate) fn others_refuse(&self) -> bool {
        self.is_sync() && self.through.is_some_and(|through| through.others > 0)
    }

    /// A size for an object, such that each way through the store is taken.
    pub(crate) fn size(&self, dice: &Dice) -> u64 {
        let class = dice.weighted(&[
            (1, (0, 0)),
            (2, (1, 40)),
            (6, (41, 1_000)),
            (5, (1_001, 12_000)),
            (5, (12_001, 70_000)),
            (1, (262_000, 420_000)),
        ]);
        dice.between(class.0, class.1)
    }
}
