//! The core under a scheduler that tries interleavings: at random, and all of them for three actors.
//!
//! At random, actors are interrupted at every lock, too. For all orders they are interrupted wherever they
//! wait: no lock is held across that, so what runs between two waits is seen by others as a whole or not at
//! all but for the order of its sections, which the lookup's own wait takes apart.
//!
//! A model ledger orders transactions when they are submitted and makes them visible later, as the store's
//! writer does. Actors run the very functions that the engine runs. The ledger checks each commit as it
//! applies it: a fill may replace only what may be filled, and nothing it could have been superseded by may
//! have been ordered since it began. A reader who joins a fill checks that it is no older than what had been
//! acknowledged before the reader came.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fallthrough_object::Key;
use fallthrough_store::{BucketId, Revision};
use shuttle::future::{block_on, spawn};
use shuttle::sync::Arc;

use crate::core::commit::{
    ChangeRefused, FillCommit, Ledger, Refused, TableLock, commit_change, commit_fill,
};
use crate::core::fills::{FillId, FillTable, Joined, Slot};
use crate::core::mutants::{Mutant, caught};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Written(u32),
    Filled(u32),
    Tombstone,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u32),
    /// A fill's value, the gate it was fetched under, and the order number at which it began.
    Fill {
        value: u32,
        began: u64,
    },
    Delete,
    Purge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    revision: u64,
    cell: Cell,
}

#[derive(Clone, Debug)]
struct Bucket {
    id: u64,
    gate: u64,
    /// What its shadow has.
    shadow: u32,
}

/// What readers of a fill are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fetched {
    value: u32,
    /// The order number at which the fill began.
    began: u64,
}

/// What had been acknowledged when a reader came.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    /// Order number of the last write, delete or purge of the bucket's key.
    change: u64,
    shadow: u32,
}

struct Transaction {
    ticket: u64,
    bucket: Bucket,
    found: Option<Row>,
    change: Change,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    Done,
    Conflict,
    Gate,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<u64, Row>,
    gates: BTreeMap<u64, u64>,
    current_bucket: u64,
    shadow_value: u32,
    next_order: u64,
    next_revision: u64,
    queue: Vec<Transaction>,
    results: BTreeMap<u64, Applied>,
    /// Order number of the last write, delete or purge of each bucket's key.
    last_change: BTreeMap<u64, u64>,
    /// The same, of those that somebody was told of.
    acknowledged: BTreeMap<u64, u64>,
    acknowledged_shadow: u32,
}

impl State {
    /// Applies everything that was submitted, in order, and checks each fill.
    fn drain(&mut self) {
        for t in std::mem::take(&mut self.queue) {
            let row = self.rows.get(&t.bucket.id);
            let applied = if self.gates.get(&t.bucket.id) != Some(&t.bucket.gate) {
                Applied::Gate
            } else if row != t.found.as_ref() {
                Applied::Conflict
            } else {
                Applied::Done
            };
            self.results.insert(t.ticket, applied);
            if applied != Applied::Done {
                continue;
            }
            let cell = match t.change {
                Change::Write(value) => Some(Cell::Written(value)),
                Change::Delete => Some(Cell::Tombstone),
                Change::Purge => None,
                Change::Fill { value, began } => {
                    assert!(
                        !matches!(row.map(|r| r.cell), Some(Cell::Written(_) | Cell::Tombstone)),
                        "a fill replaced {row:?}"
                    );
                    let last = self.last_change.get(&t.bucket.id).copied().unwrap_or(0);
                    // Ordered before that change, a fill is fine; this one was ordered after it.
                    assert!(
                        began > last || t.ticket < last,
                        "a fill that began at {began} was ordered after the change {last}"
                    );
                    assert_eq!(value, self.shadow_value, "a fill of a shadow that was replaced");
                    Some(Cell::Filled(value))
                }
            };
            self.next_revision += 1;
            match cell {
                Some(cell) => {
                    self.rows.insert(t.bucket.id, Row { revision: self.next_revision, cell });
                }
                None => {
                    self.rows.remove(&t.bucket.id);
                }
            }
        }
    }
}

/// A lock at which the scheduler may let others go first, or one at which it does not.
enum Lock<T> {
    Seen(shuttle::sync::Mutex<T>),
    Unseen(std::sync::Mutex<T>),
}

impl<T> Lock<T> {
    fn new(value: T, grain: Grain) -> Self {
        match grain {
            Grain::Locks => Self::Seen(shuttle::sync::Mutex::new(value)),
            Grain::Waits => Self::Unseen(std::sync::Mutex::new(value)),
        }
    }

    fn with<R>(&self, section: impl FnOnce(&mut T) -> R) -> R {
        match self {
            Self::Seen(mutex) => section(&mut mutex.lock().unwrap()),
            Self::Unseen(mutex) => section(&mut mutex.lock().unwrap()),
        }
    }
}

/// Where actors may be interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    /// At every lock and wherever they wait.
    Locks,
    /// Wherever they wait.
    Waits,
}

#[derive(Clone)]
struct Model(Arc<Lock<State>>);

impl Model {
    fn new(grain: Grain) -> Self {
        let state = State {
            gates: BTreeMap::from([(1, 1)]),
            current_bucket: 1,
            shadow_value: 100,
            acknowledged_shadow: 100,
            ..State::default()
        };
        Self(Arc::new(Lock::new(state, grain)))
    }

    fn bucket(&self) -> Bucket {
        self.0.with(|state| Bucket {
            id: state.current_bucket,
            gate: state.gates[&state.current_bucket],
            shadow: state.shadow_value,
        })
    }

    fn acknowledged(&self) -> Acknowledged {
        self.0.with(|state| Acknowledged {
            change: state.acknowledged.get(&state.current_bucket).copied().unwrap_or(0),
            shadow: state.acknowledged_shadow,
        })
    }
}

impl Ledger for Model {
    type Bucket = Bucket;
    type Row = Option<Row>;
    type Change = Change;
    /// The order number.
    type Done = u64;
    type Error = ();

    async fn lookup(&self, bucket: &Bucket, _: &Key) -> Result<Option<Row>, ()> {
        let found = self.0.with(|state| state.rows.get(&bucket.id).cloned());
        // What was found may be old by the time that it is used.
        shuttle::future::yield_now().await;
        Ok(found)
    }

    fn revision(row: &Option<Row>) -> Revision {
        Revision(row.as_ref().map_or(0, |row| row.revision))
    }

    fn submit(
        &self,
        bucket: &Bucket,
        _: &Key,
        found: &Option<Row>,
        change: Change,
    ) -> impl Future<Output = Result<u64, Refused<()>>> + Send {
        let ticket = self.0.with(|state| {
            state.next_order += 1;
            let ticket = state.next_order;
            if !matches!(change, Change::Fill { .. }) {
                state.last_change.insert(bucket.id, ticket);
            }
            state.queue.push(Transaction { ticket, bucket: bucket.clone(), found: found.clone(), change });
            ticket
        });
        let model = self.clone();
        async move {
            shuttle::future::yield_now().await;
            let applied = model.0.with(|state| {
                state.drain();
                state.results.remove(&ticket)
            });
            match applied {
                Some(Applied::Done) => Ok(ticket),
                Some(Applied::Gate) => Err(Refused::Gate),
                Some(Applied::Conflict) | None => Err(Refused::Conflict),
            }
        }
    }
}

/// The lock of the real engine, under the scheduler's eye.
#[derive(Clone)]
struct Table(Arc<Lock<FillTable<Fetched>>>);

impl TableLock<Fetched> for Table {
    fn with<R>(&self, section: impl FnOnce(&mut FillTable<Fetched>) -> R) -> R {
        self.0.with(section)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Get,
    Put(u32),
    Delete,
    Purge,
    PutThenPurge(u32),
    ReplaceShadow,
    Recreate,
}

#[derive(Clone)]
struct World {
    model: Model,
    table: Table,
    key: StdArc<Key>,
}

impl World {
    fn new(grain: Grain) -> Self {
        Self {
            model: Model::new(grain),
            table: Table(Arc::new(Lock::new(FillTable::new(16), grain))),
            key: StdArc::new(Key::parse("k").unwrap()),
        }
    }

    fn slot(&self, bucket: &Bucket) -> Slot {
        Slot { bucket: BucketId(bucket.id), key: (*self.key).clone() }
    }

    async fn act(self, actor: Actor) {
        match actor {
            Actor::Get => self.get().await,
            Actor::Put(value) => self.change(Change::Write(value)).await,
            Actor::Delete => self.change(Change::Delete).await,
            Actor::Purge => self.change(Change::Purge).await,
            Actor::PutThenPurge(value) => {
                self.change(Change::Write(value)).await;
                self.change(Change::Purge).await;
            }
            Actor::ReplaceShadow => self.replace_shadow(),
            Actor::Recreate => self.recreate(),
        }
    }

    async fn get(&self) {
        let before = self.model.acknowledged();
        let bucket = self.model.bucket();
        let slot = self.slot(&bucket);
        let row = self.model.lookup(&bucket, &self.key).await.unwrap();
        if row.is_some() {
            return;
        }
        // The fill begins where it enters the table: what was ordered before is older than its question.
        let joined = self.table.with(|t| {
            t.join(&slot, Model::revision(&row), bucket.gate, |_| {
                let began = self.model.0.with(|state| {
                    state.next_order += 1;
                    state.next_order
                });
                Fetched { value: bucket.shadow, began }
            })
        });
        match joined {
            Ok(Joined::Started(id, fetched)) => self.fill(&bucket, &slot, id, fetched).await,
            Ok(Joined::Running(_, fetched)) => assert!(
                fetched.value >= before.shadow && fetched.began > before.change,
                "who came after {before:?} joined {fetched:?}"
            ),
            Err(full) => panic!("{full:?}"),
        }
    }

    async fn fill(&self, bucket: &Bucket, slot: &Slot, id: FillId, fetched: Fetched) {
        shuttle::future::yield_now().await;
        let change = Change::Fill { value: fetched.value, began: fetched.began };
        let outcome = commit_fill(&self.model, &self.table, bucket, slot, id, change).await;
        assert!(matches!(outcome, Ok(FillCommit::Stored(_) | FillCommit::Superseded)));
        self.table.with(|t| t.end(slot, id));
    }

    /// A change as the engine makes it: resolved anew if the shadow was replaced, given up if the bucket is
    /// another one.
    async fn change(&self, change: Change) {
        let mut bucket = self.model.bucket();
        loop {
            let slot = self.slot(&bucket);
            let outcome: Result<u64, ChangeRefused<(), ()>> =
                commit_change(&self.model, &self.table, &bucket, &slot, |_| Ok(change.clone())).await;
            match outcome {
                Ok(order) => {
                    return self.model.0.with(|state| {
                        let last = state.acknowledged.entry(bucket.id).or_default();
                        *last = order.max(*last);
                    });
                }
                Err(ChangeRefused::Gate) => {
                    let now = self.model.bucket();
                    if now.id != bucket.id {
                        return;
                    }
                    bucket = now;
                }
                Err(refused) => panic!("{refused:?}"),
            }
        }
    }

    fn replace_shadow(&self) {
        let id = self.model.0.with(|state| {
            state.drain();
            let id = state.current_bucket;
            if let Some(gate) = state.gates.get_mut(&id) {
                *gate += 1;
            }
            state.shadow_value += 1;
            id
        });
        self.table.with(|t| t.supersede_bucket(BucketId(id)));
        self.model.0.with(|state| state.acknowledged_shadow = state.shadow_value);
    }

    fn recreate(&self) {
        let old = self.model.0.with(|state| {
            state.drain();
            let old = state.current_bucket;
            state.gates.remove(&old);
            state.rows.remove(&old);
            state.current_bucket += 1;
            let new = state.current_bucket;
            state.gates.insert(new, 1);
            old
        });
        self.table.with(|t| t.supersede_bucket(BucketId(old)));
    }
}

/// How many schedules to try: `FALLTHROUGH_SCHEDULES` times as many for a long run.
fn schedules(usual: usize) -> usize {
    let times = std::env::var("FALLTHROUGH_SCHEDULES").ok().and_then(|times| times.parse().ok());
    usual * times.unwrap_or(1)
}

/// Runs the actors at once; afterwards checks what must be there.
fn run(actors: &[Actor], grain: Grain) {
    let world = World::new(grain);
    block_on(async {
        let tasks: Vec<_> = actors.iter().map(|actor| spawn(world.clone().act(*actor))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let (rows, bucket) = world.model.0.with(|state| {
        state.drain();
        (state.rows.clone(), state.current_bucket)
    });
    assert_eq!(rows.keys().filter(|id| **id != bucket).count(), 0, "a row of a bucket that is gone");
    let cell = rows.get(&bucket).map(|row| row.cell);
    let changes = |wanted: fn(&Actor) -> bool| actors.iter().filter(|a| wanted(a)).count();
    let purges = changes(|a| matches!(a, Actor::Purge | Actor::PutThenPurge(_) | Actor::Recreate));
    if purges == 0 && changes(|a| matches!(a, Actor::Put(_) | Actor::Delete)) > 0 {
        // Something was written or deleted for good: no fill may stand in its place.
        assert!(matches!(cell, Some(Cell::Written(_) | Cell::Tombstone)), "{cell:?} after {actors:?}");
    }
    assert!(world.table.0.with(|table| table.len()) == 0, "a fill was left in the table");
}

const OTHERS: [Actor; 6] = [
    Actor::Put(1),
    Actor::Delete,
    Actor::Purge,
    Actor::PutThenPurge(2),
    Actor::ReplaceShadow,
    Actor::Recreate,
];

#[test]
fn a_fill_against_each_pair_of_changes_at_random() {
    for first in OTHERS {
        for second in OTHERS {
            shuttle::check_random(
                move || run(&[Actor::Get, first, second, Actor::Get], Grain::Locks),
                schedules(150),
            );
        }
    }
}

/// Runs the actors in every order, but in at most `max`; how many there were.
fn in_order(actors: Vec<Actor>, max: usize) -> usize {
    let tried = StdArc::new(AtomicUsize::new(0));
    let count = StdArc::clone(&tried);
    let run = move || {
        count.fetch_add(1, Ordering::Relaxed);
        run(&actors, Grain::Waits);
    };
    shuttle::check_dfs(run, Some(max));
    tried.load(Ordering::Relaxed)
}

#[test]
fn a_fill_against_each_change_in_every_order() {
    let max = 100_000;
    for other in OTHERS {
        let orders = in_order(vec![Actor::Get, other], max);
        println!("a reader and {other:?}: {orders} orders");
        assert!(orders < max, "a reader and {other:?}: not all orders were tried");
        in_order(vec![Actor::Get, other, Actor::Get], schedules(3_000));
    }
}

#[test]
#[ignore = "20 million orders take minutes"]
fn a_fill_against_each_change_and_another_reader_in_every_order() {
    let max = 50_000_000;
    for other in OTHERS {
        let orders = in_order(vec![Actor::Get, other, Actor::Get], max);
        println!("two readers and {other:?}: {orders} orders");
        assert!(orders < max, "two readers and {other:?}: not all orders were tried");
    }
}

/// Which planted bugs the schedules above find; the others need the engine's tests.
#[test]
fn planted_bugs_are_caught() {
    let mut missed = Vec::new();
    for mutant in [
        Mutant::NoSupersession,
        Mutant::NoRevisionCheck,
        Mutant::OrderedOutsideTheSection,
        Mutant::OldGateJoined,
    ] {
        let found = caught(mutant, || {
            for first in OTHERS {
                for second in OTHERS {
                    shuttle::check_random(
                        move || run(&[Actor::Get, first, second, Actor::Get], Grain::Locks),
                        1_000,
                    );
                }
            }
        });
        if !found {
            missed.push(mutant);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
