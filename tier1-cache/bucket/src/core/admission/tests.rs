//! Who goes when, and what they are told.

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
        let limits = Limits { budget: budget("2/s"), client_budget: budget("9/day"), ..limits(99, 99, 99) };
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
        let spent = (0..).take_while(|_| !matches!(a.ask(&greedy, after(9000)), Admitted::Shed(..))).count();
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
    assert!(matches!(a.ask(&reader, later), Admitted::Shed(Shed::ClientBudget, _)), "nothing was given back");
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
