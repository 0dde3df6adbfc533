//! The members of a rule: places with the same objects, most often one alone. Each has a breaker, a rest and a load of
//! its own; here it is decided which one is asked next.
//!
//! What a member's answer means for the others, and when the next one is asked, is `ask`'s to say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fallthrough_object::{Clock, Monotonic};

use crate::core::breaker::{Breaker, Circuit, Sent, Subject};
use crate::core::load::Load;
use crate::core::mutants::{Mutant, planted};
use crate::core::rest::Rest;
use crate::core::sighting::Sighting;

/// Which member of a rule, from 0.
pub(crate) type MemberNumber = usize;
/// The one that is written to.
pub(crate) const FIRST: MemberNumber = 0;

/// The members of one rule.
#[derive(Debug)]
pub(crate) struct Members {
    clock: Arc<dyn Clock>,
    all: Box<[Member]>,
}

#[derive(Debug)]
struct Member {
    /// For people and metrics: never an address.
    name: Arc<str>,
    health: Mutex<Health>,
}

/// What a member's answers said of it.
#[derive(Debug, Default)]
struct Health {
    breaker: Breaker,
    rest: Rest,
    bucket: Sighting,
    load: Load,
}

/// Whom a request may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The one that will answer soonest.
    Any,
    /// So, and to this one only after all others: it has just failed at this.
    AnyBefore(MemberNumber),
    /// The first one that may be asked, in the order of the rule.
    InOrder,
    /// The first one alone.
    First,
}

/// Members that were asked already for one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tried(Vec<MemberNumber>);

/// The right to send one request through a member's breaker. Dropping it without a verdict says nothing about the
/// member.
#[derive(Debug)]
pub(crate) struct Passage {
    members: Arc<Members>,
    /// To this one.
    pub(crate) member: MemberNumber,
    in_flight: Option<InFlight>,
    sent: Sent,
    subject: Subject,
    began: Monotonic,
    decided: bool,
}

/// A request to a member, or its answer, is on its way until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    members: Arc<Members>,
    member: MemberNumber,
}

/// Why a request may not be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// The origin asked to be left alone, for so much longer.
    Resting(Duration),
    /// The breaker is open, for so much longer.
    Open(Duration),
}

impl NotSent {
    fn wait(self) -> Duration {
        match self {
            Self::Resting(left) | Self::Open(left) => left,
        }
    }
}

/// A member as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MemberState {
    /// Its name: never an address.
    pub name: String,
    /// `asked`, `resting` (it asked to be left alone), `failing` (its breaker is open) or `probed` (one request finds out
    /// whether it still fails).
    pub state: &'static str,
    /// Requests on their way, and answers that are being read.
    pub in_flight: u32,
    /// Mean time to an answer, in milliseconds, the later ones counting more; none if nothing was measured.
    pub answer_ms: Option<u64>,
}

impl Tried {
    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, member: MemberNumber) {
        self.0.push(member);
    }
}

impl Members {
    /// Members of these names, in the order of the rule.
    pub(crate) fn new(names: Vec<Arc<str>>, clock: Arc<dyn Clock>) -> Self {
        let all = names.into_iter().map(|name| Member { name, health: Mutex::default() });
        Self { clock, all: all.collect() }
    }

    fn health(&self, member: MemberNumber) -> MutexGuard<'_, Health> {
        self.all[member].health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The member's name for people and metrics.
    pub(crate) fn name(&self, member: MemberNumber) -> &Arc<str> {
        &self.all[member].name
    }

    /// Asks which member may be asked for `subject` now, of those that were not tried.
    ///
    /// # Errors
    /// [`NotSent`] of the one that may be asked soonest.
    pub(crate) fn pass(
        self: &Arc<Self>,
        subject: Subject,
        whom: Whom,
        tried: &Tried,
    ) -> Result<Passage, NotSent> {
        let now = self.clock.monotonic();
        let mut soonest: Option<NotSent> = None;
        for member in self.in_turn(whom, tried, now) {
            let mut health = self.health(member);
            let asked = match health.rest.left(now) {
                Some(rest) => Err(NotSent::Resting(rest)),
                None => health.breaker.ask(now).map_err(NotSent::Open),
            };
            let asked = match asked {
                Err(NotSent::Open(_)) if self.count() > 1 && planted(Mutant::FailingMemberAsked) => {
                    Ok(Sent::Freely)
                }
                asked => asked,
            };
            match asked {
                Ok(sent) => {
                    health.load.begin();
                    drop(health);
                    let members = self.clone();
                    let in_flight = Some(InFlight { members: members.clone(), member });
                    return Ok(Passage {
                        members,
                        member,
                        in_flight,
                        sent,
                        subject,
                        began: now,
                        decided: false,
                    });
                }
                Err(not_sent) if soonest.is_none_or(|soonest| not_sent.wait() < soonest.wait()) => {
                    soonest = Some(not_sent);
                }
                Err(_) => {}
            }
        }
        Err(soonest.unwrap_or(NotSent::Open(Duration::ZERO)))
    }

    fn in_turn(&self, whom: Whom, tried: &Tried, now: Monotonic) -> Vec<MemberNumber> {
        if self.count() == 1 || (whom == Whom::First && !planted(Mutant::AnyMemberWritten)) {
            return if tried.count() == 0 { vec![FIRST] } else { Vec::new() };
        }
        let mut turn: Vec<_> = (0..self.count()).filter(|member| !tried.0.contains(member)).collect();
        match whom {
            Whom::InOrder => {}
            // Stable: of those that are expected to answer at the same time the first is asked.
            Whom::Any | Whom::First => turn.sort_by_key(|member| self.health(*member).load.expected(now)),
            Whom::AnyBefore(last) => {
                turn.sort_by_key(|member| (*member == last, self.health(*member).load.expected(now)));
            }
        }
        turn
    }

    /// Whether one that was not tried, besides `member`, could be asked now.
    pub(crate) fn others(&self, member: MemberNumber, tried: &Tried) -> bool {
        let now = self.clock.monotonic();
        (0..self.count()).filter(|other| *other != member && !tried.0.contains(other)).any(|other| {
            let health = self.health(other);
            health.rest.left(now).is_none() && health.breaker.circuit(now) != Circuit::Open
        })
    }

    /// How much is left of the rest that all of them asked for.
    pub(crate) fn resting(&self) -> Option<Duration> {
        let now = self.clock.monotonic();
        let rests = (0..self.count()).map(|member| self.health(member).rest.left(now));
        rests.min_by_key(|rest| rest.unwrap_or_default()).flatten()
    }

    /// The member answered as only a bucket that exists can, or refused everything.
    pub(crate) fn saw_bucket(&self, member: MemberNumber, exists: bool) {
        let now = self.clock.monotonic();
        let mut health = self.health(member);
        if exists { health.bucket.seen(now) } else { health.bucket.lost() }
    }

    /// Whether the member's bucket was seen lately.
    pub(crate) fn bucket_was_seen(&self, member: MemberNumber) -> bool {
        self.health(member).bucket.is_fresh(self.clock.monotonic())
    }

    /// Each of them, for people.
    pub(crate) fn states(&self) -> Vec<MemberState> {
        let now = self.clock.monotonic();
        let state = |(number, member): (MemberNumber, &Member)| {
            let health = self.health(number);
            let state = match (health.rest.left(now), health.breaker.circuit(now)) {
                (Some(_), _) => "resting",
                (None, Circuit::Closed) => "asked",
                (None, Circuit::HalfOpen) => "probed",
                (None, Circuit::Open) => "failing",
            };
            let mean = health.load.mean(now);
            MemberState {
                name: member.name.to_string(),
                state,
                in_flight: health.load.in_flight(),
                answer_ms: mean.map(|mean| u64::try_from(mean.as_millis()).unwrap_or(u64::MAX)),
            }
        };
        self.all.iter().enumerate().map(state).collect()
    }

    fn show_circuit(&self, member: MemberNumber) {
        let state = match self.health(member).breaker.circuit(self.clock.monotonic()) {
            Circuit::Closed => 0.0,
            Circuit::HalfOpen => 1.0,
            Circuit::Open => 2.0,
        };
        metrics::gauge!("fallthrough_origin_circuit_state", "origin" => self.name(member).to_string())
            .set(state);
    }
}

impl Passage {
    /// Notes what the end of the request says of the member.
    fn end(&mut self, note: impl FnOnce(&mut Health, Monotonic, Duration)) {
        self.decided = true;
        let now = self.members.clock.monotonic();
        note(&mut self.members.health(self.member), now, now.since(self.began));
        self.members.show_circuit(self.member);
    }

    /// The member answered. It has something to do until what is returned is dropped.
    pub(crate) fn succeeded(mut self) -> Option<InFlight> {
        self.end(|health, now, took| {
            health.breaker.succeeded();
            health.load.answered(now, took);
        });
        self.in_flight.take()
    }

    /// The member answered, but refuses us: that is no failure, and others are asked rather.
    pub(crate) fn refused(mut self) {
        self.end(|health, now, took| {
            health.breaker.succeeded();
            health.load.failed(now, took);
        });
    }

    /// The member failed. `rest`: how long it asked to be left alone.
    pub(crate) fn failed(mut self, rest: Option<Duration>) {
        let (sent, subject) = (self.sent, self.subject.clone());
        self.end(|health, now, took| {
            health.breaker.failed(now, sent, &subject);
            health.rest.wanted(now, rest.unwrap_or_default());
            health.load.failed(now, took);
        });
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if !self.decided {
            self.members.health(self.member).breaker.abandoned(self.sent);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.members.health(self.member).load.end();
    }
}
