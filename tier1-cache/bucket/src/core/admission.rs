//! Admission in front of an origin: so many fills in flight, a bounded queue that is fair between clients,
//! budgets in time for all and for each client, and a Retry-After from the measured rate. What nobody waits for comes behind all clients.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fallthrough_object::{Monotonic, Rate};

use crate::core::budget::{Budget, ClientBudgets};
use crate::core::mutants::{Mutant, planted};

/// The bounds of one origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Requests that wait.
    pub(crate) queue: u32,
    /// Requests in flight for one client.
    pub(crate) per_client: u32,
    /// Requests in a stretch of time.
    pub(crate) budget: Option<Rate>,
    /// Requests that one client may cause in a stretch of time.
    pub(crate) client_budget: Option<Rate>,
}

/// Names a request that asked to be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub u64);

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A client waits.
    Client,
    /// Nobody waits: it goes when no client could, and never takes the last quarter of the origin's places.
    Background,
}

/// The answer to a request for admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Go; give the ticket back with [`Admission::release`].
    Now(Ticket),
    /// Wait until the ticket comes out of [`Admission::release`], or leave with [`Admission::leave`].
    Queued(Ticket),
    /// No room: come back after so long.
    Shed(Shed, Duration),
}

/// Why a request was shed; the label of `admission_rejections_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shed {
    /// The queue is full.
    QueueFull,
    /// The client has its share of the queue.
    ClientShare,
    /// The budget is spent, for longer than anybody would wait.
    Budget,
    /// The client's budget is spent.
    ClientBudget,
}

impl Shed {
    /// For metrics and messages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::ClientShare => "client-share",
            Self::Budget => "budget",
            Self::ClientBudget => "client-budget",
        }
    }
}

#[derive(Debug, Default)]
struct Client {
    in_flight: u32,
    waiting: VecDeque<Ticket>,
}

/// Who is in flight and who waits, for one origin.
///
/// Invariant: a client is in `clients` only while it has requests in flight or waiting, so the map is bounded
/// by `in_flight + queue`. `turn` holds each client with waiting requests once.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    in_flight: BTreeMap<Ticket, Arc<str>>,
    clients: BTreeMap<Arc<str>, Client>,
    turn: VecDeque<Arc<str>>,
    waiting: u32,
    // Bounded by `limits.queue`.
    background: VecDeque<(Ticket, Arc<str>)>,
    next: u64,
    service_secs: f64,
    budget: Option<Budget>,
    /// Who has spent for a ticket that waits or is in flight.
    paid: BTreeMap<Ticket, Arc<str>>,
    client_budgets: Option<ClientBudgets>,
}

/// Who would have to wait longer for the budget is sent away at once.
const BUDGET_PATIENCE: Duration = Duration::from_secs(60);

/// Weight of the newest sample in the mean service time.
const EWMA_WEIGHT: f64 = 0.2;

impl Admission {
    /// Nobody in flight, nobody waiting.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            in_flight: BTreeMap::new(),
            clients: BTreeMap::new(),
            turn: VecDeque::new(),
            waiting: 0,
            background: VecDeque::new(),
            next: 1,
            service_secs: 0.0,
            budget: limits.budget.map(Budget::new),
            paid: BTreeMap::new(),
            client_budgets: limits.client_budget.map(ClientBudgets::new),
        }
    }

    /// Asks for admission of a request of `client`. Who waited for the budget is let in before: see
    /// [`Admission::admit_waiting`].
    pub(crate) fn ask(&mut self, client: &Arc<str>, now: Monotonic) -> Admitted {
        let ticket = Ticket(self.next);
        let own_wait = self.client_wait(client, now);
        if !own_wait.is_zero() {
            return Admitted::Shed(Shed::ClientBudget, until_budget(own_wait));
        }
        let has = self.clients.get(client);
        let own_in_flight = has.map_or(0, |c| c.in_flight);
        let own_waiting = has.map_or(0, |c| c.waiting.len());
        let full = self.in_flight.len() >= self.limits.in_flight as usize;
        if !full && own_in_flight < self.limits.per_client && own_waiting == 0 && self.has_token(now) {
            self.next += 1;
            self.spend_own(ticket, client, now);
            self.start(ticket, client.clone(), now);
            return Admitted::Now(ticket);
        }
        if self.waiting >= self.limits.queue {
            return Admitted::Shed(Shed::QueueFull, self.retry_after(client, now));
        }
        if self.token_wait(now, self.ahead(client, own_waiting)) > BUDGET_PATIENCE {
            return Admitted::Shed(Shed::Budget, self.retry_after(client, now));
        }
        // One client may hold a quarter of the queue (at least what it may have in flight), so that the
        // others find room.
        let share = (self.limits.queue / 4).max(self.limits.per_client).max(1);
        if own_waiting >= share as usize {
            return Admitted::Shed(Shed::ClientShare, self.retry_after(client, now));
        }
        self.next += 1;
        self.spend_own(ticket, client, now);
        self.stand_in_line(ticket, client);
        Admitted::Queued(ticket)
    }

    /// How long until the client's own budget lets it ask.
    fn client_wait(&self, client: &Arc<str>, now: Monotonic) -> Duration {
        match &self.client_budgets {
            Some(budgets) if !is_own(client) && !planted(Mutant::ClientBudgetForgotten) => {
                budgets.wait(client, now)
            }
            Some(_) | None => Duration::ZERO,
        }
    }

    fn spend_own(&mut self, ticket: Ticket, client: &Arc<str>, now: Monotonic) {
        if let Some(budgets) = &mut self.client_budgets
            && !is_own(client)
        {
            budgets.spend(client, now);
            self.paid.insert(ticket, client.clone());
        }
    }

    /// What a ticket's client has spent is given back: nothing was sent for it.
    fn give_back(&mut self, ticket: Ticket) {
        if let (Some(client), Some(budgets)) = (self.paid.remove(&ticket), &mut self.client_budgets) {
            budgets.give_back(&client);
        }
    }

    /// A request that was admitted, and whose owner is gone before it was sent. Returns the tickets that go now.
    pub(crate) fn unused(&mut self, ticket: Ticket, now: Monotonic) -> Vec<Ticket> {
        if let Some(budget) = &mut self.budget
            && self.in_flight.contains_key(&ticket)
        {
            budget.give_back();
        }
        self.give_back(ticket);
        self.release(ticket, None, now)
    }

    fn has_token(&self, now: Monotonic) -> bool {
        self.token_wait(now, 0).is_zero()
    }

    /// How long until the budget has a token for who comes behind `ahead` others.
    fn token_wait(&self, now: Monotonic, ahead: usize) -> Duration {
        let tokens = u32::try_from(ahead + 1).unwrap_or(u32::MAX);
        self.budget.as_ref().map_or(Duration::ZERO, |budget| budget.wait(now, tokens))
    }

    /// How long until the budget may let in a request that waits, in whichever line it is; zero: it waits for others to
    /// end. `None`: there is no budget.
    pub(crate) fn budget_wait(&self, ticket: Ticket, now: Monotonic) -> Option<Duration> {
        self.budget.as_ref()?;
        let place = |line: &Client| line.waiting.iter().position(|waiting| *waiting == ticket);
        let own = self.clients.iter().find_map(|(client, line)| Some((client, place(line)?)));
        let ahead = match own {
            Some((client, before)) => self.ahead(client, before),
            None => {
                let place = self.background.iter().position(|(waiting, _)| *waiting == ticket);
                self.waiting as usize + place.unwrap_or_default()
            }
        };
        Some(self.token_wait(now, ahead))
    }

    fn stand_in_line(&mut self, ticket: Ticket, client: &Arc<str>) {
        let entry = self.clients.entry(client.clone()).or_default();
        if entry.waiting.is_empty() {
            self.turn.push_back(client.clone());
        }
        entry.waiting.push_back(ticket);
        self.waiting += 1;
    }

    /// Asks for admission of a request of `client` that nobody waits for.
    pub(crate) fn ask_in_background(&mut self, client: &Arc<str>, now: Monotonic) -> Admitted {
        let ticket = Ticket(self.next);
        if self.background.is_empty()
            && self.waiting == 0
            && self.has_background_place()
            && self.has_token(now)
        {
            self.next += 1;
            self.start(ticket, client.clone(), now);
            return Admitted::Now(ticket);
        }
        if self.background.len() >= self.limits.queue as usize {
            return Admitted::Shed(Shed::QueueFull, self.retry_after(client, now));
        }
        self.next += 1;
        self.background.push_back((ticket, client.clone()));
        Admitted::Queued(ticket)
    }

    fn has_background_place(&self) -> bool {
        let bound = (self.limits.in_flight - self.limits.in_flight / 4).max(1);
        self.in_flight.len() < bound as usize || planted(Mutant::BackgroundTakesAll)
    }

    /// A client waits from now on for what was asked in the background: it waits in that client's line, whose bounds
    /// held when it asked. Returns the tickets that go now.
    pub(crate) fn promote(&mut self, ticket: Ticket, client: &Arc<str>, now: Monotonic) -> Vec<Ticket> {
        let Some(place) = self.background.iter().position(|(waiting, _)| *waiting == ticket) else {
            return Vec::new();
        };
        self.background.remove(place);
        self.stand_in_line(ticket, client);
        self.admit_waiting(now)
    }

    /// A request in flight has ended after `service` (`None`: it says nothing about the rate). Returns the
    /// tickets that go now.
    pub(crate) fn release(
        &mut self,
        ticket: Ticket,
        service: Option<Duration>,
        now: Monotonic,
    ) -> Vec<Ticket> {
        let Some(client) = self.in_flight.remove(&ticket) else { return Vec::new() };
        self.paid.remove(&ticket);
        if let Some(entry) = self.clients.get_mut(&client) {
            entry.in_flight -= 1;
        }
        self.forget_if_idle(&client);
        if let Some(service) = service {
            let sample = service.as_secs_f64();
            self.service_secs = if self.service_secs == 0.0 {
                sample
            } else {
                self.service_secs + EWMA_WEIGHT * (sample - self.service_secs)
            };
        }
        self.admit_waiting(now)
    }

    /// A waiting request leaves the queue, in whichever line it is. Returns `false` if it was admitted meanwhile: then it
    /// must be released.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> bool {
        if let Some(place) = self.background.iter().position(|(waiting, _)| *waiting == ticket) {
            self.background.remove(place);
            return true;
        }
        let line = self.clients.iter_mut().find_map(|(client, line)| {
            let place = line.waiting.iter().position(|waiting| *waiting == ticket)?;
            Some((client.clone(), line, place))
        });
        let Some((client, line, place)) = line else { return !self.in_flight.contains_key(&ticket) };
        line.waiting.remove(place);
        self.waiting -= 1;
        let is_empty = line.waiting.is_empty();
        self.give_back(ticket);
        if is_empty {
            self.turn.retain(|other| *other != client);
        }
        self.forget_if_idle(&client);
        true
    }

    fn start(&mut self, ticket: Ticket, client: Arc<str>, now: Monotonic) {
        if let Some(budget) = &mut self.budget {
            budget.spend(now);
        }
        self.clients.entry(client.clone()).or_default().in_flight += 1;
        self.in_flight.insert(ticket, client);
    }

    fn forget_if_idle(&mut self, client: &Arc<str>) {
        if self.clients.get(client).is_some_and(|c| c.in_flight == 0 && c.waiting.is_empty()) {
            self.clients.remove(client);
        }
    }

    /// Lets clients take turns until the origin is full, the budget is spent, or everybody who waits is at the client's
    /// bound. Returns the tickets that go now.
    pub(crate) fn admit_waiting(&mut self, now: Monotonic) -> Vec<Ticket> {
        let mut go = Vec::new();
        let mut passed_over = 0;
        let may_go = |this: &Self| this.has_token(now) || planted(Mutant::BudgetOfTheQueueForgotten);
        while self.in_flight.len() < self.limits.in_flight as usize
            && passed_over < self.turn.len()
            && may_go(self)
        {
            let Some(client) = self.turn.pop_front() else { break };
            let Some(entry) = self.clients.get_mut(&client) else { continue };
            if entry.in_flight >= self.limits.per_client {
                passed_over += 1;
                self.turn.push_back(client);
                continue;
            }
            if let Some(ticket) = entry.waiting.pop_front() {
                self.waiting -= 1;
                if !entry.waiting.is_empty() {
                    self.turn.push_back(client.clone());
                }
                self.start(ticket, client, now);
                go.push(ticket);
                passed_over = 0;
            }
        }
        // Clients that still wait are at their own bounds.
        while self.has_background_place()
            && may_go(self)
            && let Some((ticket, client)) = self.background.pop_front()
        {
            self.start(ticket, client, now);
            go.push(ticket);
        }
        go
    }

    /// How long until a new request of `client` would have its turn, from the measured service time and the budgets; whole
    /// seconds, at least one.
    pub(crate) fn retry_after(&self, client: &Arc<str>, now: Monotonic) -> Duration {
        let before = self.clients.get(client).map_or(0, |own| own.waiting.len());
        let by_turns = whole_secs(self.turns(client, before) * self.service_secs);
        let by_budgets = self.token_wait(now, self.ahead(client, before)).max(self.client_wait(client, now));
        by_turns.max(until_budget(by_budgets))
    }

    /// How long until a request that waits will have its answer, as [`Admission::retry_after`]; `None` if it
    /// waits no more.
    pub(crate) fn answered_after(
        &self,
        ticket: Ticket,
        client: &Arc<str>,
        now: Monotonic,
    ) -> Option<Duration> {
        let before = self.clients.get(client)?.waiting.iter().position(|t| *t == ticket)?;
        let by_turns = whole_secs((self.turns(client, before) + 1.0) * self.service_secs);
        let by_budget = self.token_wait(now, self.ahead(client, before)).as_secs_f64() + self.service_secs;
        let has_budget = self.budget.is_some();
        Some(if has_budget {
            by_turns.max(until_budget(Duration::from_secs_f64(by_budget)))
        } else {
            by_turns
        })
    }

    /// The mean time of an answer; zero before the first.
    pub(crate) fn mean_service(&self) -> Duration {
        Duration::from_secs_f64(self.service_secs)
    }

    /// How many service times pass before a request of `client` has its turn that has `before` others of that
    /// client in front of it in the queue. Two bounds hold it up, the origin's and the client's own: the later one
    /// counts.
    fn turns(&self, client: &Arc<str>, before: usize) -> f64 {
        let ahead = (self.in_flight.len() + self.ahead(client, before)) as f64;
        let own = self.clients.get(client).map_or(0, |own| own.in_flight as usize) + before;
        let by_origin = ahead / f64::from(self.limits.in_flight.max(1));
        let by_client = own as f64 / f64::from(self.limits.per_client.max(1));
        if planted(Mutant::OwnBoundForgotten) { by_origin } else { by_origin.max(by_client) }
    }

    /// How many that wait go before a request of `client` that has `before` others of that client in front of it.
    fn ahead(&self, client: &Arc<str>, before: usize) -> usize {
        // Clients take turns: of each other one at most as many go first as of this one, and one.
        let others = self.clients.iter().filter(|(name, _)| *name != client);
        before + others.map(|(_, other)| other.waiting.len().min(before + 1)).sum::<usize>()
    }

    /// How many wait.
    pub(crate) fn queue_len(&self) -> u32 {
        self.waiting
    }
}

/// Whether this is the server itself, whose work is nobody's request. Its names stand in brackets, which no access key's id
/// and no address does.
fn is_own(client: &str) -> bool {
    client.starts_with('(')
}

/// A budget can be for a day.
fn until_budget(wait: Duration) -> Duration {
    Duration::from_secs_f64(wait.as_secs_f64().ceil().clamp(1.0, 86_400.0))
}

fn whole_secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs.ceil().clamp(1.0, 300.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::mutants::caught;

    const NOW: Monotonic = Monotonic(1 << 40);

    fn limits(in_flight: u32, queue: u32, per_client: u32) -> Limits {
        Limits { in_flight, queue, per_client, budget: None, client_budget: None }
    }

    fn after(millis: u64) -> Monotonic {
        NOW.plus(Duration::from_millis(millis))
    }

    fn client(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    fn now(admitted: Admitted) -> Ticket {
        match admitted {
            Admitted::Now(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn queued(admitted: Admitted) -> Ticket {
        match admitted {
            Admitted::Queued(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn in_flight_then_queue_then_shed() {
        let mut a = Admission::new(limits(1, 2, 9));
        let first = now(a.ask(&client("x"), NOW));
        let second = queued(a.ask(&client("x"), NOW));
        let third = queued(a.ask(&client("y"), NOW));
        assert!(matches!(a.ask(&client("z"), NOW), Admitted::Shed(Shed::QueueFull, _)));
        assert_eq!(a.release(first, Some(Duration::from_secs(2)), NOW), vec![second]);
        assert_eq!(a.release(second, Some(Duration::from_secs(2)), NOW), vec![third]);
        assert!(a.release(third, None, NOW).is_empty());
        assert!(a.clients.is_empty() && a.turn.is_empty() && a.in_flight.is_empty() && a.waiting == 0);
    }

    #[test]
    fn clients_take_turns() {
        let mut a = Admission::new(limits(1, 100, 9));
        let mut running = now(a.ask(&client("greedy"), NOW));
        let greedy: Vec<_> = (0..20).map(|_| queued(a.ask(&client("greedy"), NOW))).collect();
        let modest = queued(a.ask(&client("modest"), NOW));
        let mut order = Vec::new();
        for _ in 0..3 {
            running = a.release(running, None, NOW)[0];
            order.push(running);
        }
        assert_eq!(order, vec![greedy[0], modest, greedy[1]]);
    }

    #[test]
    fn a_client_never_has_more_in_flight_than_its_bound() {
        let mut a = Admission::new(limits(4, 8, 2));
        let one = now(a.ask(&client("x"), NOW));
        now(a.ask(&client("x"), NOW));
        let waiting = queued(a.ask(&client("x"), NOW));
        // Others pass the one who waits for itself.
        let other = now(a.ask(&client("y"), NOW));
        assert!(a.release(other, None, NOW).is_empty());
        assert_eq!(a.release(one, None, NOW), vec![waiting]);
    }

    #[test]
    fn what_nobody_waits_for_comes_last_and_leaves_room() {
        let check = || {
            let mut a = Admission::new(limits(4, 4, 9));
            let background = client("background");
            let running: Vec<_> = (0..3).map(|_| now(a.ask_in_background(&background, NOW))).collect();
            let next = queued(a.ask_in_background(&background, NOW));
            // The last quarter is for clients, and who waits among them goes first.
            let reader = now(a.ask(&client("x"), NOW));
            let waiting = queued(a.ask(&client("x"), NOW));
            assert_eq!(a.release(running[0], None, NOW), vec![waiting]);
            assert!(
                a.release(reader, None, NOW).is_empty(),
                "three are in flight: that is the background's bound"
            );
            assert_eq!(a.release(waiting, None, NOW), vec![next]);
            for ticket in [running[1], running[2], next] {
                a.release(ticket, None, NOW);
            }
            assert!(a.clients.is_empty() && a.background.is_empty() && a.in_flight.is_empty());
        };
        check();
        assert!(caught(Mutant::BackgroundTakesAll, check));
    }

    #[test]
    fn what_a_client_comes_to_wait_for_takes_its_place_in_the_line() {
        let mut a = Admission::new(limits(1, 4, 9));
        let (background, reader) = (client("background"), client("x"));
        let running = now(a.ask(&client("y"), NOW));
        let first = queued(a.ask_in_background(&background, NOW));
        let second = queued(a.ask_in_background(&background, NOW));
        assert!(a.promote(second, &reader, NOW).is_empty());
        assert_eq!(a.queue_len(), 1);
        assert!(a.promote(second, &reader, NOW).is_empty() && a.queue_len() == 1, "once is enough");
        assert_eq!(a.release(running, None, NOW), vec![second]);
        assert!(a.leave(first));
        assert!(a.release(second, None, NOW).is_empty() && a.clients.is_empty());
    }

    #[test]
    fn one_client_cannot_fill_the_queue() {
        let mut a = Admission::new(limits(1, 8, 1));
        now(a.ask(&client("x"), NOW));
        queued(a.ask(&client("x"), NOW));
        queued(a.ask(&client("x"), NOW));
        assert!(matches!(a.ask(&client("x"), NOW), Admitted::Shed(Shed::ClientShare, _)));
        queued(a.ask(&client("y"), NOW));
    }

    #[test]
    fn leaving_the_queue_makes_room_and_a_late_leave_is_told() {
        let mut a = Admission::new(limits(1, 1, 9));
        let first = now(a.ask(&client("x"), NOW));
        let second = queued(a.ask(&client("y"), NOW));
        assert!(a.leave(second));
        let third = queued(a.ask(&client("z"), NOW));
        assert_eq!(a.release(first, None, NOW), vec![third]);
        assert!(!a.leave(third), "it was admitted: it must be released");
        a.release(third, None, NOW);
        assert!(a.clients.is_empty() && a.turn.is_empty());
    }

    #[test]
    fn retry_after_comes_from_the_measured_rate() {
        let mut a = Admission::new(limits(1, 10, 99));
        assert_eq!(a.retry_after(&client("z"), NOW), Duration::from_secs(1));
        let t = now(a.ask(&client("x"), NOW));
        a.release(t, Some(Duration::from_secs(2)), NOW);
        now(a.ask(&client("x"), NOW));
        for n in 0..4 {
            queued(a.ask(&client(&format!("c{n}")), NOW));
        }
        // Five ahead at two seconds each.
        assert_eq!(a.retry_after(&client("z"), NOW), Duration::from_secs(10));
    }

    /// One client with one request in flight at a time, at an origin that could take four.
    #[test]
    fn retry_after_counts_the_clients_own_bound_and_the_place_in_the_queue() {
        let waits = || {
            let mut a = Admission::new(limits(4, 40, 1));
            let (greedy, modest) = (client("greedy"), client("modest"));
            let t = now(a.ask(&greedy, NOW));
            a.release(t, Some(Duration::from_secs(8)), NOW);
            let running = now(a.ask(&greedy, NOW));
            let waiting: Vec<_> = (0..3).map(|_| queued(a.ask(&greedy, NOW))).collect();
            let secs = |n| Some(Duration::from_secs(n));
            // The one in flight, those in front, and its own eight seconds.
            assert_eq!(a.answered_after(waiting[0], &greedy, NOW), secs(16));
            assert_eq!(a.answered_after(waiting[2], &greedy, NOW), secs(32));
            assert_eq!(a.retry_after(&greedy, NOW), Duration::from_secs(32));
            // Of somebody else's three that wait at most one goes first.
            assert_eq!(a.retry_after(&modest, NOW), Duration::from_secs(4));
            assert_eq!(a.release(running, None, NOW), vec![waiting[0]]);
            assert_eq!(a.answered_after(waiting[0], &greedy, NOW), None, "it waits no more");
        };
        waits();
        assert!(caught(Mutant::OwnBoundForgotten, waits));
    }

    #[test]
    fn a_client_that_has_spent_its_budget_is_sent_away_and_the_others_are_not() {
        let check = || {
            let limits = Limits { client_budget: Some("3/min".parse().unwrap()), ..limits(9, 9, 9) };
            let mut a = Admission::new(limits);
            let (greedy, modest) = (client("greedy"), client("modest"));
            for _ in 0..3 {
                let ticket = now(a.ask(&greedy, NOW));
                a.release(ticket, Some(Duration::from_millis(1)), NOW);
            }
            let shed = Admitted::Shed(Shed::ClientBudget, Duration::from_secs(20));
            assert_eq!(a.ask(&greedy, NOW), shed);
            assert_eq!(a.retry_after(&greedy, NOW), Duration::from_secs(20));
            now(a.ask(&modest, NOW));
            now(a.ask(&greedy, after(20_000)));
        };
        check();
        assert!(caught(Mutant::ClientBudgetForgotten, check));
    }

    #[test]
    fn who_waits_for_the_budget_takes_turns_and_who_leaves_has_not_spent_it() {
        let check = || {
            let budget = |text: &str| Some(text.parse().unwrap());
            let limits =
                Limits { budget: budget("2/s"), client_budget: budget("9/day"), ..limits(99, 99, 99) };
            let mut a = Admission::new(limits);
            let (greedy, modest) = (client("greedy"), client("modest"));
            now(a.ask(&greedy, NOW));
            now(a.ask(&greedy, NOW));
            let waiting: Vec<_> = (0..7).map(|_| queued(a.ask(&greedy, NOW))).collect();
            let one = queued(a.ask(&modest, NOW));
            assert_eq!(a.budget_wait(waiting[0], NOW), Some(Duration::from_millis(1000)));
            assert_eq!(a.budget_wait(one, NOW), Some(Duration::from_millis(1000)));
            assert!(a.admit_waiting(after(499)).is_empty());
            assert_eq!(a.admit_waiting(after(500)), vec![waiting[0]]);
            assert!(a.leave(waiting[6]));
            assert_eq!(a.admit_waiting(after(1000)), vec![one]);
            assert_eq!(a.admit_waiting(after(2000)), vec![waiting[1], waiting[2]]);
            assert!(a.leave(waiting[5]) && a.leave(waiting[4]) && a.leave(waiting[3]));
            // Of nine in a day five were not given back.
            let spent =
                (0..).take_while(|_| !matches!(a.ask(&greedy, after(9000)), Admitted::Shed(..))).count();
            assert_eq!(spent, 4);
        };
        check();
        assert!(caught(Mutant::BudgetOfTheQueueForgotten, check));
    }

    /// A reader comes to what was asked in the background, and nobody has paid for that; what was admitted and has no owner any
    /// more is as if it had never been.
    #[test]
    fn what_is_given_back_was_paid() {
        let rate = |text: &str| Some(text.parse().unwrap());
        let limits = Limits { budget: rate("2/h"), client_budget: rate("1/h"), ..limits(9, 9, 9) };
        let mut a = Admission::new(limits);
        let (own, reader, other) = (client("(migration)"), client("reader"), client("other"));
        for _ in 0..2 {
            let ticket = now(a.ask_in_background(&own, NOW));
            a.release(ticket, None, NOW);
        }
        let background = queued(a.ask_in_background(&own, NOW));
        assert!(a.promote(background, &reader, NOW).is_empty());
        assert_eq!(a.budget_wait(background, NOW), Some(Duration::from_secs(1800)));
        assert!(a.leave(background));
        // The server's own work has no share of its own.
        let later = after(3_600_000);
        let ticket = now(a.ask(&reader, later));
        assert!(
            matches!(a.ask(&reader, later), Admitted::Shed(Shed::ClientBudget, _)),
            "nothing was given back"
        );
        a.unused(ticket, later);
        let ticket = now(a.ask(&reader, later));
        now(a.ask(&own, later));
        a.release(ticket, None, later);
        assert!(matches!(a.ask(&other, later), Admitted::Shed(Shed::Budget, _)), "both tokens are spent");
        assert!(a.paid.is_empty());
    }

    #[test]
    fn nobody_waits_for_a_budget_that_comes_back_tomorrow() {
        let limits = Limits { budget: Some("24/day".parse().unwrap()), ..limits(99, 99, 99) };
        let mut a = Admission::new(limits);
        for n in 0..24 {
            now(a.ask(&client(&format!("c{n}")), NOW));
        }
        let shed = Admitted::Shed(Shed::Budget, Duration::from_secs(3600));
        assert_eq!(a.ask(&client("late"), NOW), shed);
        let background = queued(a.ask_in_background(&client("background"), NOW));
        assert_eq!(a.admit_waiting(after(3_600_000)), vec![background]);
    }
}
