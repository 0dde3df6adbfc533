//! The checker refuses what must not be of an upload, and accepts what may be: histories made by hand.

use fallthrough_simulation::{
    Days, Moment, Operation, Rule, UNKNOWN_PART, UploadDid, UploadModel, Verdict, When, check,
};

use UploadDid::{
    Abort, Alive, Begin, BucketGone, Complete, Completed, Expire, Gone, Listed, OtherParts, Part, Refused,
    Rules,
};

fn at(n: u64) -> Moment {
    Moment { nanos: n, event: n }
}

fn judge(did: &[UploadDid]) -> Verdict {
    let rules = vec![vec![], vec![Rule { prefix: "", even_only: false, when: When::Upload(1) }]];
    // Days begin behind the third operation, and behind the fourth.
    let model = UploadModel { days: Days(vec![at(28), at(38)]), rules, stays: false };
    let at_its_time = |(n, did): (usize, &UploadDid)| {
        let n = 10 * n as u64;
        Operation { client: 1, from: at(n), to: at(n + 5), did: *did, certain: true }
    };
    check(&model, &did.iter().enumerate().map(at_its_time).collect::<Vec<_>>())
}

#[test]
fn what_may_be_is_accepted() {
    for did in [
        &[Begin, Part(0, 1), Part(2, 3), Complete([1, 0, 3]), Complete([1, 0, 3]), Completed, Gone][..],
        &[Begin, Part(0, 1), Part(0, 2), OtherParts([1, 0, 0]), Listed([2, 0, 0]), Complete([2, 0, 0])],
        &[Begin, Part(0, 1), Refused([1, 0, 0]), Alive, Abort, Gone],
        &[Begin, Part(0, UNKNOWN_PART), Listed([9, 0, 0]), Complete([9, 0, 0])],
        &[Begin, BucketGone, Gone],
        &[Begin, Rules(1), Alive, Alive, Expire, Gone],
        &[Begin, Rules(1), Part(0, 1), Complete([1, 0, 0]), Expire, Completed],
    ] {
        assert_eq!(judge(did), Verdict::Linearizable, "{did:?}");
    }
}

#[test]
fn what_must_not_be_is_refused() {
    for did in [
        &[Part(0, 1)][..],
        &[Begin, Part(0, 1), Part(0, 2), Complete([1, 0, 0])],
        &[Begin, Part(0, 1), Complete([1, 2, 0])],
        &[Begin, Part(0, 1), OtherParts([1, 0, 0])],
        &[Begin, Part(0, 1), Part(1, 2), Listed([1, 0, 0])],
        &[Begin, Gone],
        &[Begin, Abort, Alive],
        &[Begin, Part(0, 1), Abort, Complete([1, 0, 0])],
        &[Begin, Abort, Part(0, 1)],
        &[Begin, Part(0, 1), Complete([1, 0, 0]), Abort],
        &[Begin, BucketGone, Alive],
        // A day too early; without a rule; due, and still there.
        &[Begin, Rules(1), Alive, Expire, Gone],
        &[Begin, Alive, Alive, Alive, Expire, Gone],
        &[Begin, Rules(1), Alive, Alive, Expire, Alive],
    ] {
        assert!(matches!(judge(did), Verdict::Violation(_)), "{did:?}");
    }
}
