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
mod tests;
