//! What is in front of each origin: admission, its members with their breakers, and their metrics. One gate for each
//! origin, shared by all buckets that fall through to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::{Clock, Monotonic};
use tokio::sync::oneshot;

use crate::api::BucketError;
use crate::core::admission::{Admission, Admitted, Limits, Priority, Ticket};
use crate::core::mutants::{Mutant, planted};
use crate::members::Members;

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
    /// Who can be asked behind it.
    pub(crate) members: Arc<Members>,
}

#[derive(Debug)]
struct Line {
    admission: Admission,
    // Bounded by the admission's queue: one for each waiting ticket.
    wakers: BTreeMap<Ticket, oneshot::Sender<()>>,
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

impl OriginGate {
    /// A gate with nobody at it. `members`: the names of those behind it.
    pub(crate) fn new(name: Arc<str>, members: Vec<Arc<str>>, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let line = Line { admission: Admission::new(limits), wakers: BTreeMap::new() };
        let members = Arc::new(Members::new(members, clock.clone()));
        Self { name, clock, line: Mutex::new(line), members }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// How much is left of the rest that the origin asked for.
    pub(crate) fn resting(&self) -> Option<Duration> {
        self.members.resting()
    }

    /// What a client is told of an origin that asked to be left alone for `theirs`: the larger of its time and ours.
    pub(crate) fn busy(&self, client: &Arc<str>, theirs: Duration) -> BucketError {
        BucketError::SlowDown { reason: "origin-busy", retry_after: theirs.max(self.retry_after(client)) }
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
