//! What is in front of each origin: admission, the breaker, the rest that it asked for, and their metrics. One
//! gate for each origin, shared by all buckets that fall through to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::{Clock, Monotonic};
use tokio::sync::oneshot;

use crate::api::BucketError;
use crate::core::admission::{Admission, Admitted, Limits, Priority, Ticket};
use crate::core::breaker::{Breaker, Circuit, Sent, Subject};
use crate::core::mutants::{Mutant, planted};
use crate::core::rest::Rest;
use crate::core::sighting::Sighting;

/// Between two looks at a budget.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
/// And where it is not what is waited for.
const OTHERS_FIRST: Duration = Duration::from_millis(250);

/// The gate of one origin.
#[derive(Debug)]
pub(crate) struct OriginGate {
    /// The origin's name for people and metrics.
    pub(crate) name: Arc<str>,
    clock: Arc<dyn Clock>,
    line: Mutex<Line>,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Line {
    admission: Admission,
    // Bounded by the admission's queue: one for each waiting ticket.
    wakers: BTreeMap<Ticket, oneshot::Sender<()>>,
}

/// What the origin's answers said of itself.
#[derive(Debug, Default)]
struct Health {
    breaker: Breaker,
    rest: Rest,
    bucket: Sighting,
}

/// A place in front of an origin, admitted or not yet. Dropping it gives the place up, so that time-out and
/// cancellation take one path.
#[derive(Debug)]
pub(crate) struct Entrance {
    gate: Arc<OriginGate>,
    client: Arc<str>,
    ticket: Ticket,
    asked: Monotonic,
    /// Told when it is admitted; `None`: it was at once.
    woken: Option<oneshot::Receiver<()>>,
    taken: bool,
}

/// The right to have one request in flight. Dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<OriginGate>,
    ticket: Ticket,
    admitted: Monotonic,
    service: Option<Duration>,
    /// How long it had to wait for admission.
    pub(crate) queued: Duration,
}

/// The right to send one request through the breaker. Dropping it without a verdict says nothing about the
/// origin.
#[derive(Debug)]
pub(crate) struct Passage<'a> {
    gate: &'a OriginGate,
    sent: Sent,
    subject: Subject,
    decided: bool,
}

/// Why a request may not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The origin asked to be left alone, for so much longer.
    Resting(Duration),
    /// The breaker is open, for so much longer.
    Open(Duration),
}

impl OriginGate {
    /// A gate with nobody at it.
    pub(crate) fn new(name: Arc<str>, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let line = Line { admission: Admission::new(limits), wakers: BTreeMap::new() };
        Self { name, clock, line: Mutex::new(line), health: Mutex::default() }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for admission, at most `longest`.
    ///
    /// # Errors
    /// As [`OriginGate::enter`] and [`Entrance::admitted`].
    ///
    /// # Cancellation
    /// Safe: a dropped wait leaves the queue.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        client: &Arc<str>,
        longest: Duration,
    ) -> Result<Permit, BucketError> {
        self.enter(client, Priority::Client)?.admitted(longest).await
    }

    /// Takes a place in front of the origin.
    ///
    /// # Errors
    /// [`BucketError::SlowDown`] if the origin asked to be left alone, or there is no room in the queue.
    pub(crate) fn enter(
        self: &Arc<Self>,
        client: &Arc<str>,
        priority: Priority,
    ) -> Result<Entrance, BucketError> {
        let asked = self.clock.monotonic();
        if let Some(rest) = self.resting() {
            return Err(self.busy(client, rest));
        }
        let mut line = self.line();
        self.admit_waiting(&mut line, asked);
        let asked_for = match priority {
            Priority::Client => line.admission.ask(client, asked),
            Priority::Background => line.admission.ask_in_background(client, asked),
        };
        let (ticket, woken) = match asked_for {
            Admitted::Now(ticket) => (ticket, None),
            Admitted::Queued(ticket) => {
                let (wake, woken) = oneshot::channel();
                line.wakers.insert(ticket, wake);
                self.show(&line);
                (ticket, Some(woken))
            }
            Admitted::Shed(why, retry_after) => {
                metrics::counter!("fallthrough_admission_rejections_total", "reason" => why.as_str())
                    .increment(1);
                return Err(BucketError::SlowDown { reason: why.as_str(), retry_after });
            }
        };
        drop(line);
        Ok(Entrance { gate: self.clone(), client: client.clone(), ticket, asked, woken, taken: false })
    }

    /// A place that is free now and that nobody waits for, for work in the background; without a word to who waits.
    pub(crate) fn spare(self: &Arc<Self>, client: &Arc<str>) -> Option<Permit> {
        if self.resting().is_some() {
            return None;
        }
        let mut line = self.line();
        let ticket = match line.admission.ask_in_background(client, self.clock.monotonic()) {
            Admitted::Now(ticket) => ticket,
            Admitted::Queued(ticket) => {
                line.admission.leave(ticket);
                return None;
            }
            Admitted::Shed(..) => return None,
        };
        drop(line);
        let admitted = self.clock.monotonic();
        Some(Permit { gate: self.clone(), ticket, admitted, service: None, queued: Duration::ZERO })
    }

    fn release(&self, ticket: Ticket, service: Option<Duration>) {
        let mut line = self.line();
        let woken = line.admission.release(ticket, service, self.clock.monotonic());
        self.wake(&mut line, woken);
    }

    /// A client waits from now on for what entered in the background.
    pub(crate) fn promote(&self, ticket: Ticket, client: &Arc<str>) {
        let mut line = self.line();
        let woken = line.admission.promote(ticket, client, self.clock.monotonic());
        self.wake(&mut line, woken);
    }

    /// Lets in who waited for the budget alone.
    fn admit_waiting(&self, line: &mut Line, now: Monotonic) {
        let woken = line.admission.admit_waiting(now);
        if !woken.is_empty() {
            self.wake(line, woken);
        }
    }

    /// How long until the budget may let this one in; `None`: there is none.
    fn budget_wait(&self, ticket: Ticket) -> Option<Duration> {
        self.line().admission.budget_wait(ticket, self.clock.monotonic())
    }

    fn wake(&self, line: &mut Line, mut woken: Vec<Ticket>) {
        // A ticket whose owner is gone is released in its turn, or its place would be lost.
        while let Some(next) = woken.pop() {
            let alive = line.wakers.remove(&next).is_some_and(|wake| wake.send(()).is_ok());
            if !alive {
                woken.extend(line.admission.unused(next, self.clock.monotonic()));
            }
        }
        self.show(line);
    }

    fn leave(&self, ticket: Ticket) {
        let mut line = self.line();
        let waited = line.wakers.remove(&ticket).is_some();
        let left = line.admission.leave(ticket);
        self.show(&line);
        drop(line);
        if !left && !waited {
            // Admitted between the end of the wait and now, and nobody will use it.
            let mut line = self.line();
            let woken = line.admission.unused(ticket, self.clock.monotonic());
            self.wake(&mut line, woken);
        }
    }

    fn show(&self, line: &Line) {
        metrics::gauge!("fallthrough_origin_queue_length", "origin" => self.name.to_string())
            .set(f64::from(line.admission.queue_len()));
    }

    /// Clients that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> u32 {
        self.line().admission.queue_len()
    }

    /// When `client`, if it is sent away now, should come back.
    pub(crate) fn retry_after(&self, client: &Arc<str>) -> Duration {
        self.line().admission.retry_after(client, self.clock.monotonic())
    }

    /// When a place in the queue will probably have its answer; as soon as may be for one that is in it no more.
    pub(crate) fn answered_after(&self, ticket: Ticket, client: &Arc<str>) -> Duration {
        self.line().admission.answered_after(ticket, client, self.clock.monotonic()).unwrap_or_default()
    }

    /// What is left of the mean time of an answer for one that was admitted at `since`.
    pub(crate) fn left_of_service(&self, since: Monotonic) -> Duration {
        let mean = self.line().admission.mean_service();
        mean.saturating_sub(self.clock.monotonic().since(since))
    }

    /// Asks whether the origin may be asked for `subject` now.
    ///
    /// # Errors
    /// [`NotSent`].
    pub(crate) fn pass(&self, subject: Subject) -> Result<Passage<'_>, NotSent> {
        let now = self.clock.monotonic();
        let mut health = self.health();
        if let Some(rest) = health.rest.left(now) {
            return Err(NotSent::Resting(rest));
        }
        let sent = health.breaker.ask(now).map_err(NotSent::Open)?;
        Ok(Passage { gate: self, sent, subject, decided: false })
    }

    /// How much is left of the rest that the origin asked for.
    pub(crate) fn resting(&self) -> Option<Duration> {
        self.health().rest.left(self.clock.monotonic())
    }

    /// What a client is told of an origin that asked to be left alone for `theirs`: the larger of its time and ours.
    pub(crate) fn busy(&self, client: &Arc<str>, theirs: Duration) -> BucketError {
        BucketError::SlowDown { reason: "origin-busy", retry_after: theirs.max(self.retry_after(client)) }
    }

    /// The provider answered as only a bucket that exists can, or refused everything.
    pub(crate) fn saw_bucket(&self, exists: bool) {
        let now = self.clock.monotonic();
        let mut health = self.health();
        if exists { health.bucket.seen(now) } else { health.bucket.lost() }
    }

    /// Whether the provider's bucket was seen lately.
    pub(crate) fn bucket_was_seen(&self) -> bool {
        self.health().bucket.is_fresh(self.clock.monotonic())
    }

    /// The breaker's state.
    pub(crate) fn circuit(&self) -> Circuit {
        self.health().breaker.circuit(self.clock.monotonic())
    }

    fn show_circuit(&self) {
        let state = match self.circuit() {
            Circuit::Closed => 0.0,
            Circuit::HalfOpen => 1.0,
            Circuit::Open => 2.0,
        };
        metrics::gauge!("fallthrough_origin_circuit_state", "origin" => self.name.to_string()).set(state);
    }
}

impl Entrance {
    /// Names the place.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Waits for admission, at most `longest`.
    ///
    /// # Errors
    /// [`BucketError::SlowDown`] if the wait was too long.
    ///
    /// # Cancellation
    /// Safe: a dropped wait leaves the queue.
    pub(crate) async fn admitted(mut self, longest: Duration) -> Result<Permit, BucketError> {
        if let Some(woken) = self.woken.take()
            && tokio::time::timeout(longest, self.wait(woken)).await.is_err()
        {
            metrics::counter!("fallthrough_admission_rejections_total", "reason" => "deadline").increment(1);
            let retry_after = self.gate.retry_after(&self.client);
            return Err(BucketError::SlowDown { reason: "queue-deadline", retry_after });
        }
        self.taken = true;
        let admitted = self.gate.clock.monotonic();
        let queued = admitted.since(self.asked);
        metrics::histogram!("fallthrough_origin_queue_wait_seconds").record(queued.as_secs_f64());
        Ok(Permit { gate: self.gate.clone(), ticket: self.ticket, admitted, service: None, queued })
    }
}

impl Entrance {
    /// Waits until it is woken. Nothing tells that a budget has grown: each who waits looks when it may be its turn, and lets in
    /// whoever's turn it is.
    async fn wait(&self, mut woken: oneshot::Receiver<()>) {
        loop {
            let Some(wait) = self.gate.budget_wait(self.ticket) else {
                // Nobody drops a waker without waking but by the end of the gate.
                let _woken_or_over = woken.await;
                return;
            };
            // Who waits for others to end is woken by them, unless the budget was spent just then.
            let wait = if wait.is_zero() { OTHERS_FIRST } else { wait.max(SHORTEST_WAIT) };
            if tokio::time::timeout(wait, &mut woken).await.is_ok() {
                return;
            }
            let now = self.gate.clock.monotonic();
            self.gate.admit_waiting(&mut self.gate.line(), now);
        }
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        if !self.taken {
            self.gate.leave(self.ticket);
        }
    }
}

impl Permit {
    /// When it was given.
    pub(crate) fn since(&self) -> Monotonic {
        self.admitted
    }

    /// Whether somebody waits for a place.
    pub(crate) fn is_awaited(&self) -> bool {
        self.gate.line().admission.queue_len() > 0
    }

    /// The fill ended in the ordinary way: its time says something about the rate.
    pub(crate) fn served(&mut self) {
        self.service = Some(self.gate.clock.monotonic().since(self.admitted));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if planted(Mutant::PermitLeaked) {
            return;
        }
        self.gate.release(self.ticket, self.service);
    }
}

impl Passage<'_> {
    /// The origin answered.
    pub(crate) fn succeeded(mut self) {
        self.decided = true;
        self.gate.health().breaker.succeeded();
        self.gate.show_circuit();
    }

    /// The origin failed. `rest`: how long it asked to be left alone.
    pub(crate) fn failed(mut self, rest: Option<Duration>) {
        self.decided = true;
        let now = self.gate.clock.monotonic();
        let mut health = self.gate.health();
        health.breaker.failed(now, self.sent, &self.subject);
        health.rest.wanted(now, rest.unwrap_or_default());
        drop(health);
        self.gate.show_circuit();
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if !self.decided {
            self.gate.health().breaker.abandoned(self.sent);
        }
    }
}
