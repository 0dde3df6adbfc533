//! The checker refuses what must not be, and accepts what may be: histories made by hand.

use std::collections::{BTreeMap, BTreeSet};

use fallthrough_simulation::{
    Bytes, Condition, Days, Did, Mode, Model, Moment, Object, Operation, Rule, Seen, Tags, Verdict,
    VersionId, When, check,
};

const SHADOWS: VersionId = VersionId(0);
const NEXT_SHADOWS: VersionId = VersionId(1);
const ONE: VersionId = VersionId(11);
const TWO: VersionId = VersionId(12);

/// A bucket with the first of two origins behind it, which has the key.
fn model(mode: Mode) -> Model {
    Model {
        mode,
        staleness: 0,
        sizes: BTreeMap::from([(SHADOWS, 10), (NEXT_SHADOWS, 15), (ONE, 20), (TWO, 0)]),
        origins: vec![vec![(0, Some(SHADOWS))], vec![(0, None)]],
        start: Some((mode != Mode::Plain).then_some(0)),
        ..Model::default()
    }
}

fn at(n: u64) -> Moment {
    Moment { nanos: n, event: n }
}

/// Operations one after the other.
fn in_order(did: &[Did]) -> Vec<Operation> {
    let at_its_time = |(n, did): (usize, &Did)| {
        let n = 10 * n as u64;
        Operation { client: 1, from: at(n), to: at(n + 5), did: *did, certain: true }
    };
    did.iter().enumerate().map(at_its_time).collect()
}

fn put(version: VersionId) -> Did {
    Did::Put(Object::of(version), Condition::Always)
}

fn read(version: VersionId) -> Did {
    Did::Read(Seen::Object(version))
}

const GONE: Did = Did::Read(Seen::Nothing);

#[track_caller]
fn refused(mode: Mode, what: &str, did: &[Did]) {
    let verdict = check(&model(mode), &in_order(did));
    assert!(matches!(verdict, Verdict::Violation(_)), "{what}: {verdict:?}");
}

#[track_caller]
fn accepted(mode: Mode, what: &str, did: &[Did]) {
    assert_eq!(check(&model(mode), &in_order(did)), Verdict::Linearizable, "{what}");
}

#[test]
fn what_must_not_be_is_refused() {
    use Mode::{Cache, Compute, Migrate, Plain};
    refused(Plain, "a lost write", &[put(ONE), GONE]);
    refused(Plain, "a stale read", &[put(ONE), put(TWO), read(ONE)]);
    refused(Plain, "a value from nowhere", &[read(ONE)]);
    refused(Plain, "a read that goes back", &[put(ONE), put(TWO), read(TWO), read(ONE)]);
    refused(Plain, "a delete that is undone", &[put(ONE), Did::Delete, read(ONE)]);
    refused(Migrate, "failure told as absence", &[GONE]);
    refused(Migrate, "a HEAD that does not fall through", &[Did::NotFound]);
    refused(Migrate, "a resurrected key", &[read(SHADOWS), Did::Delete, read(SHADOWS)]);
    refused(Migrate, "a fill over a write", &[put(ONE), read(SHADOWS)]);
    refused(Cache, "a tombstone that the shadow undoes", &[put(ONE), Did::Delete, read(SHADOWS)]);
    refused(Compute, "a fill over a write", &[put(ONE), read(ONE), read(SHADOWS)]);
    refused(Migrate, "a purge that takes what was written", &[put(ONE), Did::Purge]);
    refused(Migrate, "a purge that is refused for a copy", &[read(SHADOWS), Did::PurgeRefused]);
    refused(Migrate, "a list without the shadow's key", &[Did::Listed(Seen::Nothing)]);
    refused(Migrate, "a list that shows a deleted key", &[Did::Delete, Did::Listed(Seen::Object(SHADOWS))]);
    refused(Plain, "a list with an old ETag", &[put(ONE), put(TWO), Did::Listed(Seen::Object(ONE))]);
    refused(Migrate, "a shadow that is gone and still asked", &[Did::Delete, Did::Detach, read(SHADOWS)]);
    refused(Migrate, "a copy that comes and goes", &[Did::Detach, read(SHADOWS), GONE]);
    refused(Migrate, "a copy that goes and comes", &[Did::Detach, GONE, read(SHADOWS)]);
    refused(
        Cache,
        "a copy that comes back while its shadow's successor is there",
        &[read(SHADOWS), Did::Attach(1), Did::NotFound, read(SHADOWS)],
    );
    refused(Migrate, "a replaced shadow's absence", &[Did::Attach(1), read(NEXT_SHADOWS)]);
    refused(Migrate, "a bucket deleted with an object in it", &[Did::DropBucket]);
    refused(
        Plain,
        "an object of a bucket before this one",
        &[put(ONE), Did::Delete, Did::DropBucket, Did::MakeBucket(None), read(ONE)],
    );
    refused(Plain, "a bucket that is there and not", &[Did::BucketSeen, Did::NoBucket]);
    refused(Plain, "a write upon nothing", &[put(ONE), Did::Put(Object::of(TWO), Condition::IfAbsent)]);
    refused(
        Plain,
        "a match of what was replaced",
        &[put(ONE), put(TWO), Did::Put(Object::of(TWO), Condition::IfMatch(ONE))],
    );
    refused(
        Plain,
        "a refusal without a reason",
        &[put(ONE), Did::PutRefused { condition: Condition::IfMatch(ONE), absent: false }],
    );
    refused(Plain, "304 for another version", &[put(ONE), put(TWO), read(ONE)]);
    refused(Plain, "412 for the same version", &[put(ONE), Did::Read(Seen::Another(ONE))]);
    refused(Plain, "416 within the object", &[put(ONE), Did::Read(Seen::EndsBefore(3))]);
}

#[test]
fn what_may_be_is_accepted() {
    use Mode::{Cache, Compute, Migrate, Plain};
    accepted(Plain, "a register", &[GONE, put(ONE), read(ONE), put(TWO), read(TWO), Did::Delete, GONE]);
    accepted(Migrate, "the shadow's value first", &[read(SHADOWS), put(ONE), read(ONE), Did::Delete, GONE]);
    accepted(Cache, "a copy that is deleted comes again", &[read(SHADOWS), Did::Delete, read(SHADOWS)]);
    accepted(
        Compute,
        "a list of what was computed",
        &[Did::Listed(Seen::Nothing), read(SHADOWS), Did::Listed(Seen::Object(SHADOWS))],
    );
    accepted(Migrate, "a copy that was kept", &[read(SHADOWS), Did::Detach, read(SHADOWS), read(SHADOWS)]);
    accepted(Migrate, "a copy that was not", &[read(SHADOWS), Did::Detach, GONE, GONE]);
    accepted(
        Cache,
        "a copy that a fill would have replaced, had the shadow not been cleared",
        &[read(SHADOWS), Did::Attach(1), Did::NotFound, Did::Detach, read(SHADOWS)],
    );
    accepted(
        Migrate,
        "another shadow",
        &[read(SHADOWS), Did::Attach(1), GONE, Did::Attach(0), read(SHADOWS)],
    );
    accepted(
        Migrate,
        "a new bucket",
        &[Did::Delete, Did::DropBucket, Did::NoBucket, Did::MakeBucket(Some(0)), read(SHADOWS)],
    );
}

fn tagged(version: VersionId, tags: Tags) -> Did {
    Did::Put(Object::of(version).tagged(tags), Condition::Always)
}

fn completed(version: VersionId, upload: u8) -> Did {
    Did::Put(Object { upload: Some(upload), ..Object::of(version) }, Condition::Always)
}

fn tags(tags: Tags) -> Did {
    Did::Read(Seen::Tags(tags))
}

#[test]
fn tags_belong_to_the_version() {
    use Mode::{Migrate, Plain};
    let (one, other) = (Tags::Set(1), Tags::Set(2));
    accepted(Plain, "tags set and deleted", &[put(ONE), tags(Tags::None), Did::SetTags(one), tags(one)]);
    accepted(Plain, "counted", &[tagged(ONE, other), Did::Read(Seen::Counted(ONE, 2))]);
    accepted(Migrate, "a cold object is filled", &[Did::SetTags(one), tags(one), read(SHADOWS)]);
    accepted(Migrate, "and stays", &[Did::SetTags(one), Did::PurgeRefused, Did::Detach, read(SHADOWS)]);
    refused(Plain, "tags that outlive a PUT", &[tagged(ONE, one), put(TWO), tags(one)]);
    refused(Plain, "tags of nobody", &[tagged(ONE, one), tags(other)]);
    refused(Plain, "a count of other tags", &[tagged(ONE, other), Did::Read(Seen::Counted(ONE, 1))]);
    refused(Plain, "tags of nothing", &[Did::SetTags(one)]);
    refused(Plain, "lost tags", &[put(ONE), Did::SetTags(one), tags(Tags::None)]);
    refused(Migrate, "a purge of what was said", &[Did::SetTags(one), Did::Purge]);
}

#[test]
fn an_upload_is_completed_once() {
    let plain = Mode::Plain;
    accepted(plain, "again", &[completed(ONE, 3), completed(ONE, 3), read(ONE)]);
    accepted(plain, "another", &[completed(ONE, 3), completed(TWO, 4), Did::UploadGone(3), read(TWO)]);
    refused(plain, "again over a write", &[completed(ONE, 3), put(TWO), completed(ONE, 3)]);
    refused(plain, "forgotten", &[completed(ONE, 3), Did::UploadGone(3)]);
    let again = Did::Rewrite { version: Some(ONE), tags: None, condition: Condition::Always };
    accepted(plain, "a copy onto itself is another object", &[completed(ONE, 3), again, Did::UploadGone(3)]);
    refused(plain, "a copy of what is not there", &[put(TWO), again]);
}

#[test]
fn a_copy_whose_answer_was_lost_is_what_its_source_had() {
    let copies = BTreeMap::from([(4, BTreeSet::from([ONE]))]);
    let model = Model { copies, ..model(Mode::Plain) };
    let copy =
        Did::Put(Object { bytes: Bytes::CopyOf(4), tags: Tags::Unknown, upload: None }, Condition::Always);
    let judge = |did: &[Did]| check(&model, &in_order(did));
    assert_eq!(judge(&[copy, read(ONE), tags(Tags::Set(7)), tags(Tags::Set(7))]), Verdict::Linearizable);
    assert!(matches!(judge(&[copy, read(TWO)]), Verdict::Violation(_)));
    assert!(matches!(judge(&[copy, GONE]), Verdict::Violation(_)));
    assert!(matches!(judge(&[copy, tags(Tags::Set(7)), tags(Tags::Set(8))]), Verdict::Violation(_)));
}

#[test]
fn a_delete_with_a_condition_deletes_that_or_nothing() {
    use Mode::{Migrate, Plain};
    accepted(Plain, "that", &[put(ONE), Did::DeleteIf(ONE), GONE]);
    accepted(Plain, "nothing", &[Did::DeleteIf(ONE), put(ONE), Did::DeleteRefused(TWO), read(ONE)]);
    accepted(Migrate, "what the shadow has", &[Did::DeleteIf(SHADOWS), GONE]);
    refused(Plain, "another", &[put(ONE), Did::DeleteIf(TWO)]);
    refused(Plain, "a refusal without a reason", &[put(ONE), Did::DeleteRefused(ONE)]);
    refused(Migrate, "a cold object that is not that", &[Did::DeleteIf(ONE)]);
    refused(Migrate, "a delete that the shadow undoes", &[Did::DeleteIf(SHADOWS), read(SHADOWS)]);
}

#[test]
fn rules_expire_what_is_due_and_nothing_else() {
    let rule = |even_only, when| Rule { prefix: "", even_only, when };
    let rules = vec![vec![], vec![rule(false, When::Age(1))], vec![rule(true, When::Day(1))]];
    // Days begin between the operations of `in_order`.
    let days = Days(vec![at(18), at(28)]);
    let on = |mode| Model { rules: rules.clone(), days: days.clone(), ..model(mode) };
    let judge = |mode, did: &[Did]| check(&on(mode), &in_order(did));
    let (by_age, by_day) = (Did::Rules(1), Did::Rules(2));
    assert_eq!(judge(Mode::Plain, &[by_age, put(ONE), read(ONE), Did::Expire, GONE]), Verdict::Linearizable);
    let early = [by_age, put(ONE), Did::Expire, GONE];
    assert!(matches!(judge(Mode::Plain, &early), Verdict::Violation(_)), "a day too early");
    let kept = [by_age, put(ONE), read(ONE), Did::Expire, read(ONE)];
    assert!(matches!(judge(Mode::Plain, &kept), Verdict::Violation(_)), "due and still there");
    let removed = [by_age, put(ONE), Did::Rules(0), Did::Expire, GONE];
    assert!(matches!(judge(Mode::Plain, &removed), Verdict::Violation(_)), "no rule any more");
    let even = [by_day, tagged(ONE, Tags::Set(2)), Did::Expire, GONE];
    assert_eq!(judge(Mode::Plain, &even), Verdict::Linearizable);
    let odd = [by_day, tagged(ONE, Tags::Set(3)), Did::Expire, GONE];
    assert!(matches!(judge(Mode::Plain, &odd), Verdict::Violation(_)), "not one of the rule's");
    let copy = [by_age, read(SHADOWS), Did::Expire, GONE, GONE];
    assert_eq!(judge(Mode::Migrate, &copy), Verdict::Linearizable);
    let cold = [by_age, Did::Expire, read(SHADOWS)];
    assert_eq!(judge(Mode::Migrate, &cold), Verdict::Linearizable);
    let resurrected = [by_age, read(SHADOWS), Did::Expire, GONE, read(SHADOWS)];
    assert!(matches!(judge(Mode::Migrate, &resurrected), Verdict::Violation(_)));
}

#[test]
fn an_operation_takes_effect_between_its_call_and_its_return() {
    let op = |from, to, did| Operation { client: 1, from: at(from), to: at(to), did, certain: true };
    let overlapping = [op(0, 10, put(ONE)), op(5, 15, put(TWO)), op(20, 25, read(ONE))];
    assert_eq!(check(&model(Mode::Plain), &overlapping), Verdict::Linearizable);
    let apart = [op(0, 10, put(ONE)), op(11, 15, put(TWO)), op(20, 25, read(ONE))];
    assert!(matches!(check(&model(Mode::Plain), &apart), Verdict::Violation(_)));
    // Two readers that see two writes in two orders.
    let split = [
        op(0, 100, put(ONE)),
        op(0, 100, put(TWO)),
        op(10, 12, read(ONE)),
        op(13, 15, read(TWO)),
        op(16, 18, read(ONE)),
    ];
    assert!(matches!(check(&model(Mode::Plain), &split), Verdict::Violation(_)));
}

#[test]
fn an_operation_whose_end_was_lost_happened_or_did_not() {
    let op = |from, to, did, certain| Operation { client: 1, from: at(from), to: at(to), did, certain };
    let lost = |then: &[Operation]| {
        let mut all = vec![op(0, 5, put(ONE), true), op(10, 100, put(TWO), false)];
        all.extend_from_slice(then);
        check(&model(Mode::Plain), &all)
    };
    assert_eq!(lost(&[op(20, 25, read(ONE), true), op(200, 205, read(ONE), true)]), Verdict::Linearizable);
    assert_eq!(lost(&[op(20, 25, read(ONE), true), op(200, 205, read(TWO), true)]), Verdict::Linearizable);
    let back = lost(&[op(20, 25, read(TWO), true), op(30, 35, read(ONE), true)]);
    assert!(matches!(back, Verdict::Violation(_)), "{back:?}");
    // It had ended for certain by then.
    let late = lost(&[op(150, 155, read(ONE), true), op(200, 205, read(TWO), true)]);
    assert!(matches!(late, Verdict::Violation(_)), "{late:?}");
}

#[test]
fn an_origin_that_changes_is_seen_as_it_was_not_long_ago() {
    let mut model = model(Mode::Cache);
    model.staleness = 100;
    model.origins[0] = vec![(0, Some(SHADOWS)), (1_000, Some(NEXT_SHADOWS))];
    let op = |from: u64, did| Operation { client: 1, from: at(from), to: at(from + 5), did, certain: true };
    let both = [op(1_050, read(SHADOWS)), op(1_060, read(NEXT_SHADOWS))];
    assert_eq!(check(&model, &both), Verdict::Linearizable);
    assert!(matches!(check(&model, &[op(900, read(NEXT_SHADOWS))]), Verdict::Violation(_)), "too early");
    assert!(matches!(check(&model, &[op(1_200, read(SHADOWS))]), Verdict::Violation(_)), "too late");
}
