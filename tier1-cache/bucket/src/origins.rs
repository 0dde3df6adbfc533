//! What is in front of each origin: admission, the breaker, and their metrics. One gate for each origin,
//! shared by all buckets that fall through to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::{Clock, Monotonic};
use tokio::sync::oneshot;

use crate::api::BucketError;
use crate::core::admission::{Admission, Admitted, Limits, Ticket};
use crate::core::breaker::{Allowed, Breaker, Circuit};
use crate::core::mutants::{Mutant, planted};

/// The gate of one origin.
#[derive(Debug)]
pub(crate) struct OriginGate {
    /// The origin's name for people and metrics.
    pub(crate) name: Arc<str>,
    clock: Arc<dyn Clock>,
    line: Mutex<Line>,
    breaker: Mutex<Breaker>,
}

#[derive(Debug)]
struct Line {
    admission: Admission,
    // Bounded by the admission's queue: one for each waiting ticket.
    wakers: BTreeMap<Ticket, oneshot::Sender<()>>,
}

/// The right to have one fill in flight. Dropping it lets the next one in.
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
    decided: bool,
}

impl OriginGate {
    /// A gate with nobody at it.
    pub(crate) fn new(name: Arc<str>, limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let line = Line { admission: Admission::new(limits), wakers: BTreeMap::new() };
        Self { name, clock, line: Mutex::new(line), breaker: Mutex::new(Breaker::default()) }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for admission, at most `longest`.
    ///
    /// # Errors
    /// [`BucketError::SlowDown`] if there is no room in the queue or the wait was too long.
    ///
    /// # Cancellation
    /// Safe: a dropped wait leaves the queue.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        client: &Arc<str>,
        longest: Duration,
    ) -> Result<Permit, BucketError> {
        let asked = self.clock.monotonic();
        let (ticket, woken) = {
            let mut line = self.line();
            match line.admission.ask(client) {
                Admitted::Now(ticket) => {
                    drop(line);
                    return Ok(self.permit(ticket, asked));
                }
                Admitted::Shed(why, retry_after) => {
                    metrics::counter!("fallthrough_admission_rejections_total", "reason" => why.as_str())
                        .increment(1);
                    return Err(BucketError::SlowDown { reason: why.as_str(), retry_after });
                }
                Admitted::Queued(ticket) => {
                    let (wake, woken) = oneshot::channel();
                    line.wakers.insert(ticket, wake);
                    self.show(&line);
                    (ticket, woken)
                }
            }
        };
        let place = Place { gate: self, ticket, client, taken: false };
        match tokio::time::timeout(longest, woken).await {
            Ok(_) => {
                let mut place = place;
                place.taken = true;
                Ok(self.permit(ticket, asked))
            }
            Err(_) => {
                drop(place);
                metrics::counter!("fallthrough_admission_rejections_total", "reason" => "deadline")
                    .increment(1);
                Err(BucketError::SlowDown { reason: "queue-deadline", retry_after: self.retry_after() })
            }
        }
    }

    fn permit(self: &Arc<Self>, ticket: Ticket, asked: Monotonic) -> Permit {
        let admitted = self.clock.monotonic();
        let queued = admitted.since(asked);
        metrics::histogram!("fallthrough_origin_queue_wait_seconds").record(queued.as_secs_f64());
        Permit { gate: self.clone(), ticket, admitted, service: None, queued }
    }

    fn release(&self, ticket: Ticket, service: Option<Duration>) {
        let mut line = self.line();
        let mut woken = line.admission.release(ticket, service);
        // A ticket whose owner is gone is released in its turn, or its place would be lost.
        while let Some(next) = woken.pop() {
            let alive = line.wakers.remove(&next).is_some_and(|wake| wake.send(()).is_ok());
            if !alive {
                woken.extend(line.admission.release(next, None));
            }
        }
        self.show(&line);
    }

    fn leave(&self, ticket: Ticket, client: &Arc<str>) {
        let mut line = self.line();
        let waited = line.wakers.remove(&ticket).is_some();
        let left = line.admission.leave(ticket, client);
        self.show(&line);
        drop(line);
        if !left && !waited {
            // Admitted between the end of the wait and now, and nobody will use it.
            self.release(ticket, None);
        }
    }

    fn show(&self, line: &Line) {
        metrics::gauge!("fallthrough_origin_queue_length", "origin" => self.name.to_string())
            .set(f64::from(line.admission.queue_len()));
    }

    /// When somebody who is sent away now should come back.
    pub(crate) fn retry_after(&self) -> Duration {
        self.line().admission.retry_after()
    }

    /// Asks the breaker.
    ///
    /// # Errors
    /// [`BucketError::OriginFailing`] while it is open.
    pub(crate) fn pass(&self) -> Result<Passage<'_>, BucketError> {
        let allowed = self.breaker().ask(self.clock.monotonic());
        match allowed {
            Allowed::Yes | Allowed::Probe => Ok(Passage { gate: self, decided: false }),
            Allowed::No(wait) => Err(BucketError::OriginFailing {
                reason: "it failed repeatedly and is given a pause".to_owned(),
                retry_after: wait.max(Duration::from_secs(1)),
            }),
        }
    }

    /// The breaker's state.
    pub(crate) fn circuit(&self) -> Circuit {
        self.breaker().circuit(self.clock.monotonic())
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

impl Permit {
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

/// A place in the queue; leaving it is undone in `Drop`, so that time-out and cancellation take one path.
struct Place<'a> {
    gate: &'a Arc<OriginGate>,
    ticket: Ticket,
    client: &'a Arc<str>,
    taken: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.taken {
            self.gate.leave(self.ticket, self.client);
        }
    }
}

impl Passage<'_> {
    /// The origin answered.
    pub(crate) fn succeeded(mut self) {
        self.decided = true;
        self.gate.breaker().succeeded();
        self.gate.show_circuit();
    }

    /// The origin failed.
    pub(crate) fn failed(mut self, retry_after: Option<Duration>) {
        self.decided = true;
        self.gate.breaker().failed(self.gate.clock.monotonic(), retry_after);
        self.gate.show_circuit();
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if !self.decided {
            self.gate.breaker().abandoned();
        }
    }
}
