//! The pool's decisions under virtual time: backends are numbers, and a run is a list of events.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const HASH: &str = "6ce0161689";

/// A backend of the world: works on one job at a time, for so many seconds per (step × megapixel).
#[derive(Clone, Debug)]
struct Fake {
    secs_per_unit: f64,
    hash: &'static str,
    alive: bool,
    busy_until: Monotonic,
}

#[derive(Clone, Debug)]
enum Event {
    Ends(AttemptId, End),
    Probe(usize),
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Done(&'static str),
    Failed,
    Refused(Refusal),
}

struct World {
    core: Core,
    limits: Limits,
    now: Monotonic,
    fakes: Vec<Fake>,
    events: BTreeMap<(Monotonic, u64), Event>,
    number: u64,
    /// Every start: when, which job, where.
    starts: Vec<(Monotonic, JobId, usize, Duration)>,
    at: BTreeMap<AttemptId, (JobId, usize)>,
    fates: BTreeMap<JobId, Fate>,
    stopped: usize,
}

fn limits() -> Limits {
    Limits {
        in_flight: 1,
        queue: 64,
        hedge: false,
        timeout_min: Duration::from_secs(60),
        wait_max: Duration::from_secs(3_600),
    }
}

fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}

/// A job of so many steps at one megapixel.
fn job(client: &str, steps: u32) -> Wanted {
    Wanted { client: Arc::from(client), model: Arc::from(""), load: Load { steps, pixels: 1_000_000 } }
}

impl World {
    fn new(speeds: &[f64], limits: Limits) -> Self {
        let fake = |secs_per_unit: &f64| Fake {
            secs_per_unit: *secs_per_unit,
            hash: HASH,
            alive: true,
            busy_until: Monotonic(0),
        };
        Self {
            core: Core::new(speeds.len(), limits),
            limits,
            now: Monotonic(1),
            fakes: speeds.iter().map(fake).collect(),
            events: BTreeMap::new(),
            number: 0,
            starts: Vec::new(),
            at: BTreeMap::new(),
            fates: BTreeMap::new(),
            stopped: 0,
        }
    }

    fn plan(&mut self, at: Monotonic, event: Event) {
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    fn submit(&mut self, wanted: Wanted) -> Result<JobId, Refusal> {
        let id = self.core.submit(wanted, self.now);
        self.turn();
        id
    }

    fn withdraw(&mut self, job: JobId) {
        self.core.withdraw(job);
        self.turn();
    }

    /// Does what the core orders.
    fn turn(&mut self) {
        for order in self.core.step(self.now) {
            match order {
                Order::Start { attempt, job, backend, timeout } => self.start(attempt, job, backend, timeout),
                Order::Stop { attempt } => {
                    self.stopped += 1;
                    let ends = |event: &Event| matches!(event, Event::Ends(of, _) if *of == attempt);
                    let at = self.events.iter().find(|(_, event)| ends(event)).map(|(at, _)| *at).unwrap();
                    self.events.remove(&at);
                    let (_, backend) = self.at[&attempt];
                    self.fakes[backend].busy_until = self.now;
                    self.plan(self.now.plus(secs(0.1)), Event::Ends(attempt, End::Stopped));
                }
                Order::Refuse { job, refusal } => {
                    assert_eq!(self.fates.insert(job, Fate::Refused(refusal)), None, "two fates");
                }
                Order::Probe { backend } => self.plan(self.now, Event::Probe(backend)),
            }
        }
        for backend in self.core.backends() {
            assert!(backend.running.len() <= self.limits.in_flight, "past the bound of jobs in flight");
        }
        // What is tried again goes back into the queue, however full it is: at most as many as there are places.
        let again = self.limits.in_flight * self.fakes.len();
        assert!(self.core.waiting() <= self.limits.queue + again, "past the bound of the queue");
    }

    fn start(&mut self, attempt: AttemptId, job: JobId, backend: usize, timeout: Duration) {
        self.starts.push((self.now, job, backend, timeout));
        self.at.insert(attempt, (job, backend));
        let units = self.core.wanted(job).unwrap().0.load.units();
        let fake = &mut self.fakes[backend];
        if !fake.alive {
            self.plan(self.now, Event::Ends(attempt, End::Unreachable("gone".to_owned())));
            return;
        }
        fake.busy_until = fake.busy_until.max(self.now).plus(secs(units * fake.secs_per_unit));
        let (at, identity) = (fake.busy_until, fake.hash.to_owned());
        self.plan(at, Event::Ends(attempt, End::Done { identity }));
    }

    /// What `backend` works on ends in this way now.
    fn end_now(&mut self, backend: usize, end: &End) {
        let at = |event: &Event| matches!(event, Event::Ends(of, _) if self.at[of].1 == backend);
        let running: Vec<_> = self.events.iter().filter(|(_, event)| at(event)).map(|(at, _)| *at).collect();
        assert!(!running.is_empty(), "nothing runs there");
        for at in running {
            let Some(Event::Ends(attempt, _)) = self.events.remove(&at) else { continue };
            self.plan(self.now, Event::Ends(attempt, end.clone()));
        }
        self.fakes[backend].busy_until = self.now;
    }

    /// One event, or the core's next own moment.
    fn advance(&mut self) -> bool {
        let next = self.events.first_key_value().map(|((at, _), _)| *at);
        let wake = self.core.wake_at(self.now);
        if wake.is_some_and(|wake| next.is_none_or(|next| wake < next)) {
            self.now = wake.unwrap().max(self.now);
            self.turn();
            return true;
        }
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = at.max(self.now);
        match event {
            Event::Probe(backend) => {
                let sign =
                    if self.fakes[backend].alive { Ok(Sign::default()) } else { Err("gone".to_owned()) };
                self.core.probed(backend, sign, self.now);
            }
            Event::Ends(attempt, end) => {
                let (job, backend) = self.at[&attempt];
                let hash = self.fakes[backend].hash;
                let fate = match (self.core.ended(attempt, end.clone(), self.now), end) {
                    (Verdict::Nothing, _) => None,
                    (Verdict::Deliver, End::Done { .. }) => Some(Fate::Done(hash)),
                    (Verdict::Deliver, _) => Some(Fate::Failed),
                    (Verdict::Refuse(why), _) => Some(Fate::Refused(Refusal::Nobody(why))),
                };
                if let Some(fate) = fate {
                    assert_eq!(self.fates.insert(job, fate), None, "two fates");
                }
            }
        }
        self.turn();
        true
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..200_000 {
            if done(self) {
                return;
            }
            assert!(self.advance(), "nothing happens any more");
        }
        panic!("no end");
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now.plus(time);
        self.run_until(|world| {
            let next = world.events.first_key_value().map(|((at, _), _)| *at);
            next.into_iter().chain(world.core.wake_at(world.now)).min().is_none_or(|at| at > until)
        });
        self.now = until;
        self.turn();
    }

    fn run_idle(&mut self) {
        self.run_until(|world| world.core.jobs.is_empty() && world.core.attempts.is_empty());
    }

    /// Two jobs at each backend, so that all speeds are known.
    fn warm(&mut self) {
        for _ in 0..2 {
            let all = self.fakes.len();
            for _ in 0..all {
                self.submit(job("warm", 1)).unwrap();
            }
            self.run_idle();
        }
        self.starts.clear();
        self.fates.clear();
    }

    fn places_of(&self, job: JobId) -> Vec<usize> {
        self.starts.iter().filter(|start| start.1 == job).map(|start| start.2).collect()
    }
}

#[test]
fn three_backends_of_different_speed_give_nine_tenths_of_their_sum() {
    let mut world = World::new(&[1.0, 2.0, 4.0], limits());
    let (from, jobs) = (world.now, 400);
    let mut sent = 0;
    // Twelve callers who come back at once: nobody helps by knowing how fast which one is.
    while world.fates.len() < jobs {
        while sent < jobs && world.core.jobs.len() < 12 {
            world.submit(job(&format!("client {}", sent % 3), 2)).unwrap();
            sent += 1;
        }
        world.advance();
    }
    let took = world.now.since(from).as_secs_f64();
    let (rate, sum) = (jobs as f64 * 2.0 / took, 1.0 + 0.5 + 0.25);
    assert!(world.fates.values().all(|fate| *fate == Fate::Done(HASH)));
    assert!(rate >= 0.9 * sum, "{rate} of {sum}");
    let by = |at: usize| world.starts.iter().filter(|start| start.2 == at).count();
    assert!(by(0) > by(1) && by(1) > by(2) && by(2) > jobs / 10, "{} {} {}", by(0), by(1), by(2));
}

#[test]
fn few_jobs_go_where_they_are_done_first() {
    let mut world = World::new(&[10.0, 1.0], limits());
    world.warm();
    let jobs: Vec<JobId> = (0..3).map(|_| world.submit(job("a", 1)).unwrap()).collect();
    world.run_idle();
    // The slow one has nothing to do, and each is done sooner behind the others at the fast one.
    assert!(jobs.iter().all(|job| world.places_of(*job) == [1]), "{:?}", world.starts);
}

#[test]
fn a_backend_that_dies_in_the_middle_fails_nobody() {
    let mut world = World::new(&[1.0, 1.0, 1.0], limits());
    world.warm();
    let jobs: Vec<JobId> = (0..12).map(|_| world.submit(job("a", 4)).unwrap()).collect();
    world.run_for(secs(2.0));
    world.fakes[1].alive = false;
    world.end_now(1, &End::Unreachable("gone".to_owned()));
    world.run_idle();
    assert!(jobs.iter().all(|job| world.fates[job] == Fate::Done(HASH)), "{:?}", world.fates);
    let again: Vec<JobId> = jobs.iter().copied().filter(|job| world.places_of(*job).len() > 1).collect();
    let [again] = again[..] else { panic!("one job was on it: {again:?}") };
    assert_ne!(world.places_of(again)[0], world.places_of(again)[1]);
    // It keeps its turn: it goes before those that were behind it.
    let second = world.starts.iter().position(|start| start.1 == again && start.2 != 1).unwrap();
    assert!(second <= 4, "{:?}", world.starts);
}

#[test]
fn a_failure_is_tried_once_at_each_other_backend() {
    for end in [
        End::Failed("500".to_owned()),
        End::OutOfMemory,
        End::SetUpWrongly("401".to_owned()),
        End::LacksModel("no".to_owned()),
    ] {
        let mut world = World::new(&[1.0, 1.0, 1.0], limits());
        let id = world.submit(job("a", 1)).unwrap();
        for attempt in 1..=3 {
            assert_eq!(world.places_of(id).len(), attempt, "{end:?}");
            world.end_now(*world.places_of(id).last().unwrap(), &end);
            world.run_for(secs(0.0));
        }
        assert_eq!(world.places_of(id).iter().collect::<BTreeSet<_>>().len(), 3, "{end:?}");
        let refused = matches!(world.fates[&id], Fate::Refused(Refusal::Nobody(_)) | Fate::Failed);
        assert!(refused, "{end:?} {:?}", world.fates);
    }
    // What can succeed nowhere is not tried elsewhere.
    let mut world = World::new(&[1.0, 1.0], limits());
    let id = world.submit(job("a", 1)).unwrap();
    world.end_now(world.places_of(id)[0], &End::Invalid);
    world.run_idle();
    assert_eq!((world.places_of(id).len(), &world.fates[&id]), (1, &Fate::Failed));
}

#[test]
fn a_thousand_new_keys_wait_in_bounds_and_the_rest_learn_when() {
    let mut world = World::new(&[1.0], limits());
    world.warm();
    let from = world.now;
    let (mut taken, mut told) = (Vec::new(), Vec::new());
    for _ in 0..1_000 {
        match world.submit(job("a", 2)) {
            Ok(job) => taken.push(job),
            Err(Refusal::Busy(retry_after)) => told.push(retry_after),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((taken.len(), told.len()), (65, 935));
    // A second wave in the middle, while a job is half done.
    world.run_for(secs(41.0));
    let mut later = Vec::new();
    while let Ok(job) = world.submit(job("a", 2)) {
        taken.push(job);
    }
    if let Err(Refusal::Busy(retry_after)) = world.submit(job("a", 2)) {
        later.push((world.now, retry_after));
    }
    world.run_until(|world| world.fates.len() >= 65);
    let first_wave =
        taken[..65].iter().map(|job| world.starts.iter().find(|start| start.1 == *job).unwrap().0);
    // Whoever comes when the last of those in front has been served has its turn.
    let free = first_wave.max().unwrap().plus(secs(2.0)).since(from).as_secs_f64();
    for retry_after in told {
        assert!((retry_after.as_secs_f64() - free).abs() <= 0.1 * free, "{retry_after:?} instead of {free}");
    }
    world.run_idle();
    let (at, retry_after) = later[0];
    let last = world.starts.iter().map(|start| start.0).max().unwrap();
    let free = last.plus(secs(2.0)).since(at).as_secs_f64();
    assert!((retry_after.as_secs_f64() - free).abs() <= 0.1 * free, "{retry_after:?} instead of {free}");
    assert!(world.fates.values().all(|fate| *fate == Fate::Done(HASH)));
}

#[test]
fn places_and_times_are_told_to_those_who_wait() {
    let mut world = World::new(&[1.0, 2.0], limits());
    world.warm();
    let jobs: Vec<JobId> = (0..5).map(|_| world.submit(job("a", 4)).unwrap()).collect();
    let told = world.core.jobs(world.now);
    assert_eq!(told.len(), 5);
    let places: Vec<_> = jobs.iter().map(|job| told.iter().find(|s| s.job == *job).unwrap().place).collect();
    assert_eq!(places, [None, None, Some(1), Some(2), Some(3)]);
    let from = world.now;
    world.run_idle();
    // Nothing came in between, so what was foretold is what happened.
    let last = told.iter().filter_map(|standing| standing.left_secs).fold(0.0, f64::max);
    assert!((world.now.since(from).as_secs_f64() - last).abs() < 0.2, "{last}");
}

#[test]
fn another_hash_than_the_pools_is_refused() {
    let mut world = World::new(&[1.0, 1.0, 1.0], limits());
    world.warm();
    world.fakes[2].hash = "ffffffffff";
    let jobs: Vec<JobId> = (0..30).map(|_| world.submit(job("a", 1)).unwrap()).collect();
    world.run_idle();
    assert!(jobs.iter().all(|job| world.fates[job] == Fate::Done(HASH)), "{:?}", world.fates);
    // It is left alone for a minute, not asked thirty times.
    assert_eq!(world.starts.iter().filter(|start| start.2 == 2 && start.1 >= jobs[0]).count(), 1);
    world.fakes.iter_mut().for_each(|fake| fake.hash = "ffffffffff");
    let id = world.submit(job("a", 1)).unwrap();
    world.run_idle();
    assert!(matches!(&world.fates[&id], Fate::Refused(Refusal::Nobody(why)) if why.contains(HASH)));
    // Ten digits and all of them are the same hash.
    assert!(same_hash("6CE0161689", "6ce0161689aa") && !same_hash("6ce", "6ce") && !same_hash("", ""));
}

#[test]
fn who_hangs_up_takes_the_job_along() {
    let mut world = World::new(&[10.0], limits());
    let (running, waiting, next) = (
        world.submit(job("a", 10)).unwrap(),
        world.submit(job("a", 1)).unwrap(),
        world.submit(job("a", 1)).unwrap(),
    );
    world.withdraw(waiting);
    assert_eq!((world.core.waiting(), world.stopped), (1, 0));
    world.withdraw(running);
    assert_eq!(world.stopped, 1);
    // Its place is free once the backend has stopped, not before.
    assert!(world.places_of(next).is_empty());
    world.run_for(secs(0.2));
    assert_eq!(world.places_of(next), [0]);
    world.run_idle();
    assert_eq!(world.fates.len(), 1);
    assert!(world.places_of(waiting).is_empty());
}

#[test]
fn clients_take_turns_and_make_room_for_others() {
    let mut world = World::new(&[1.0], Limits { queue: 4, ..limits() });
    let loud: Vec<JobId> = (0..5).map(|_| world.submit(job("loud", 1)).unwrap()).collect();
    assert!(matches!(world.submit(job("loud", 1)), Err(Refusal::Busy(_))));
    let quiet = [world.submit(job("quiet", 1)).unwrap(), world.submit(job("quiet", 1)).unwrap()];
    assert!(matches!(world.submit(job("quiet", 1)), Err(Refusal::Busy(_))));
    // Those that came last gave up their places.
    assert!(loud[3..].iter().all(|job| matches!(world.fates[job], Fate::Refused(Refusal::Busy(_)))));
    assert_eq!(world.core.shed(), 4);
    world.run_idle();
    let order: Vec<JobId> = world.starts.iter().map(|start| start.1).collect();
    assert_eq!(order, [loud[0], loud[1], quiet[0], loud[2], quiet[1]]);
}

#[test]
fn one_slow_picture_does_not_change_the_speed_much() {
    let mut world = World::new(&[1.0], limits());
    // The first job pays for the backend's start; the second one's speed is believed.
    world.fakes[0].secs_per_unit = 20.0;
    world.submit(job("a", 1)).unwrap();
    world.run_idle();
    world.fakes[0].secs_per_unit = 1.0;
    world.submit(job("a", 1)).unwrap();
    world.run_idle();
    let speed = |world: &World| world.core.backends()[0].speed(world.now).unwrap();
    assert!((speed(&world) - 1.0).abs() < 1e-6, "{}", speed(&world));
    world.fakes[0].secs_per_unit = 11.0;
    world.submit(job("a", 1)).unwrap();
    world.run_idle();
    assert!((speed(&world) - 3.0).abs() < 1e-6, "{}", speed(&world));
    // What was measured long ago says nothing.
    world.run_for(Duration::from_secs(601));
    assert_eq!(world.core.backends()[0].speed(world.now), None);
}

#[test]
fn a_backend_without_a_sign_of_life_is_down_until_it_gives_one() {
    let mut world = World::new(&[1.0, 1.0], limits());
    world.warm();
    world.fakes[0].alive = false;
    world.run_for(secs(7.0));
    assert!(world.core.backends()[0].down().is_some() && world.core.backends()[1].down().is_none());
    world.starts.clear();
    for _ in 0..4 {
        world.submit(job("a", 1)).unwrap();
    }
    world.run_idle();
    assert!(world.starts.iter().all(|start| start.2 == 1), "{:?}", world.starts);
    world.fakes[1].alive = false;
    world.run_for(secs(7.0));
    assert!(matches!(world.submit(job("a", 1)), Err(Refusal::Nobody(why)) if why.contains("gone")));
    world.fakes[0].alive = true;
    world.run_for(secs(4.0));
    let id = world.submit(job("a", 1)).unwrap();
    world.run_idle();
    assert_eq!(world.fates[&id], Fate::Done(HASH));
}

#[test]
fn the_checkpoint_that_is_loaded_decides_between_equals() {
    let mut world = World::new(&[1.0, 1.0], limits());
    let of = |model: &str| Wanted { model: Arc::from(model), ..job("a", 2) };
    // Each has one of them loaded.
    let (a, b) = (world.submit(of("dreams")).unwrap(), world.submit(of("photos")).unwrap());
    world.run_idle();
    let (dreams, photos) = (world.places_of(a), world.places_of(b));
    assert_ne!(dreams, photos);
    for (model, place) in [("photos", &photos), ("dreams", &dreams), ("dreams", &dreams), ("photos", &photos)]
    {
        let id = world.submit(of(model)).unwrap();
        world.run_idle();
        assert_eq!(&world.places_of(id), place, "{model}");
    }
    // Loading another one is worth it where waiting would take longer.
    let many: Vec<JobId> = (0..20).map(|_| world.submit(of("dreams")).unwrap()).collect();
    world.run_idle();
    assert!(many.iter().any(|job| world.places_of(*job) == photos));
}

#[test]
fn a_job_that_hangs_is_hedged_only_if_it_may_be() {
    for hedge in [false, true] {
        let mut world = World::new(&[1.0, 1.0], Limits { hedge, ..limits() });
        world.warm();
        let id = world.submit(job("a", 2)).unwrap();
        let at = world.places_of(id)[0];
        let hangs =
            world.events.iter().find(|(_, event)| matches!(event, Event::Ends(..))).map(|(at, _)| *at);
        let event = world.events.remove(&hangs.unwrap()).unwrap();
        world.plan(world.now.plus(secs(1_000.0)), event);
        world.run_for(secs(5.9));
        assert_eq!(world.places_of(id).len(), 1);
        world.run_for(secs(30.0));
        assert_eq!(world.places_of(id).len(), if hedge { 2 } else { 1 });
        if hedge {
            assert_eq!(world.places_of(id), [at, 1 - at]);
            // The one that is done first is the answer, and the other one is told to stop.
            assert_eq!((&world.fates[&id], world.stopped), (&Fate::Done(HASH), 1));
        }
    }
}

#[test]
fn nobody_waits_for_a_backend_that_hangs() {
    let mut world = World::new(&[1.0, 3.0], limits());
    world.warm();
    let hangs = world.submit(job("a", 2)).unwrap();
    assert_eq!(world.places_of(hangs), [0]);
    let at =
        world.events.iter().find(|(_, event)| matches!(event, Event::Ends(..))).map(|(at, _)| *at).unwrap();
    let event = world.events.remove(&at).unwrap();
    world.plan(world.now.plus(secs(10_000.0)), event);
    // Behind the fast one it would be done sooner, if that one went on as it used to.
    let behind = world.submit(job("a", 2)).unwrap();
    assert!(world.places_of(behind).is_empty());
    world.run_for(secs(30.0));
    assert_eq!((world.places_of(behind), &world.fates[&behind]), (vec![1], &Fate::Done(HASH)));
}

#[test]
fn a_backend_that_is_busy_is_left_alone_as_long_as_it_asks() {
    let mut world = World::new(&[1.0], limits());
    world.warm();
    let id = world.submit(job("a", 1)).unwrap();
    world.end_now(0, &End::Busy(Duration::from_secs(9)));
    world.run_for(secs(8.9));
    assert_eq!(world.places_of(id).len(), 1);
    let retry_after = world.core.retry_after(&Arc::from("b"), world.now);
    assert_eq!(retry_after, Duration::from_secs(2), "the rest, and the one that waits");
    world.run_idle();
    assert_eq!((world.places_of(id).len(), &world.fates[&id]), (2, &Fate::Done(HASH)));
}

#[test]
fn what_does_not_fit_one_memory_goes_to_another() {
    let mut world = World::new(&[1.0, 5.0], limits());
    world.warm();
    let large = |pixels| Wanted { load: Load { steps: 1, pixels }, ..job("a", 1) };
    let id = world.submit(large(1_048_576)).unwrap();
    world.end_now(0, &End::OutOfMemory);
    world.run_idle();
    assert_eq!(world.places_of(id), [0, 1]);
    let (again, small) = (world.submit(large(1_048_576)).unwrap(), world.submit(large(262_144)).unwrap());
    world.run_idle();
    assert_eq!((world.places_of(again), world.places_of(small)), (vec![1], vec![0]));
}

#[test]
fn a_job_gets_a_minute_or_five_times_what_it_takes() {
    let mut world = World::new(&[1.0], limits());
    world.warm();
    for (steps, expected) in [(2, 60.0), (12, 60.0), (40, 200.0)] {
        world.submit(job("a", steps)).unwrap();
        assert!((world.starts.last().unwrap().3.as_secs_f64() - expected).abs() < 1e-6, "{steps}");
        world.run_idle();
    }
}

#[test]
fn nobody_waits_for_ever() {
    let mut world = World::new(&[1.0], Limits { wait_max: Duration::from_secs(30), ..limits() });
    world.submit(job("a", 100)).unwrap();
    let late = world.submit(job("a", 1)).unwrap();
    world.run_for(secs(31.0));
    assert!(matches!(world.fates[&late], Fate::Refused(Refusal::Busy(_))));
}

#[test]
fn jobs_of_others_count() {
    let mut world = World::new(&[1.0, 1.5], limits());
    world.warm();
    world.core.probed(0, Ok(Sign { jobs: 3, ..Sign::default() }), world.now);
    let id = world.submit(job("a", 2)).unwrap();
    assert_eq!(world.places_of(id), [1]);
}

proptest! {
    /// Whatever happens: bounds hold (the world looks after each event), every job that was taken has one fate, and
    /// nothing is remembered in the end.
    #[test]
    fn every_job_has_one_fate(
        speeds in proptest::collection::vec(0.1f64..5.0, 1..4),
        in_flight in 1usize..3,
        queue in 0usize..6,
        hedge: bool,
        plays in proptest::collection::vec((0u8..8, 0usize..8, 1u32..6), 1..60),
    ) {
        let mut world = World::new(&speeds, Limits { in_flight, queue, hedge, ..limits() });
        let (mut taken, mut left) = (Vec::new(), BTreeSet::new());
        for (what, which, steps) in plays {
            let backend = which % world.fakes.len();
            let runs = |world: &World| world.core.backends()[backend].running.keys().next().is_some();
            match what {
                0..=2 => taken.extend(world.submit(job(["a", "b", "c"][which % 3], steps))),
                3 if !taken.is_empty() => {
                    let job = taken[which % taken.len()];
                    if !world.fates.contains_key(&job) {
                        left.insert(job);
                        world.withdraw(job);
                    }
                }
                4 if runs(&world) => world.end_now(backend, &End::Failed("500".to_owned())),
                5 => world.fakes[backend].alive ^= true,
                6 if runs(&world) => world.end_now(backend, &End::Busy(Duration::from_secs(3))),
                _ => world.run_for(secs(f64::from(steps) * 0.7)),
            }
        }
        world.run_idle();
        for job in &taken {
            prop_assert!(world.fates.contains_key(job) != left.contains(job), "{job:?}");
        }
        prop_assert_eq!(world.core.waiting(), 0);
        prop_assert!(world.core.attempts.is_empty());
    }
}
