//! Who may do what: the one place where that is decided.
//!
//! A key can do what its account may, within its grants if it has any. An account may do everything with the
//! buckets it owns and, of other accounts' buckets, read the objects of those that are public. Nobody else
//! is more: root's further powers are those of the admin API.

use fallthrough_bucket::{Grant, PublicAccess, Right};
use fallthrough_object::{Mutant, planted};

use crate::operation::Need;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Identity<'a> {
    /// Nobody: the request is not signed.
    Anonymous,
    /// The bearer of an access key.
    Key {
        /// The account that the key belongs to.
        account: &'a str,
        /// What the key is limited to; `None`: all that its account may.
        grants: Option<&'a [Grant]>,
    },
}

/// A bucket, as far as access to it is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The account that owns it.
    pub(crate) owner: &'a str,
    /// Who may read without signing.
    pub(crate) public: PublicAccess,
}

/// The request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// It may also cause fills. For the public, the bucket's `public-fill` decides on top of this.
    pub(crate) may_fill: bool,
}

/// The request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied;

/// Whether a request that needs `need` in `place` may go on. For [`Need::Create`], `place` has the name that
/// the bucket would get and the caller as its owner; for [`Need::Identity`] it is not looked at.
pub(crate) fn decide(identity: Identity<'_>, need: Need, place: Place<'_>) -> Result<Allowed, Denied> {
    let (account, grants) = match identity {
        Identity::Anonymous => return public(need, place),
        Identity::Key { account, grants } => (account, grants),
    };
    let granted = |right| {
        grants.is_none_or(|grants| grants.iter().any(|grant| covers(grant, place.name, right)))
            || planted(Mutant::GrantsIgnored)
    };
    let owns = account == place.owner || planted(Mutant::OwnerIgnored);
    let allowed = match need {
        Need::Identity => true,
        Need::Create => granted(Right::Owner),
        Need::ReadObject | Need::ReadBucket => owns && granted(Right::Read),
        Need::Write => owns && granted(Right::Write),
        Need::Own => owns && granted(Right::Owner),
    };
    if allowed {
        return Ok(Allowed { may_fill: granted(Right::Fill) });
    }
    public(need, place)
}

/// A grant to own includes every right; a grant to fill is of no use without reading, and includes it.
fn covers(grant: &Grant, bucket: &str, right: Right) -> bool {
    let here = grant.bucket == "*" || grant.bucket == bucket;
    let enough = match grant.right {
        Right::Owner => true,
        Right::Fill => right == Right::Fill || right == Right::Read,
        Right::Read | Right::Write => right == grant.right,
    };
    here && enough
}

fn public(need: Need, place: Place<'_>) -> Result<Allowed, Denied> {
    match (need, place.public) {
        (Need::ReadObject, PublicAccess::Read) => Ok(Allowed { may_fill: true }),
        (Need::Write, PublicAccess::Read) if planted(Mutant::PublicMayWrite) => {
            Ok(Allowed { may_fill: true })
        }
        (Need::ReadObject, PublicAccess::None)
        | (Need::Identity | Need::Create | Need::ReadBucket | Need::Write | Need::Own, _) => Err(Denied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(bucket: &str, right: Right) -> Grant {
        Grant { bucket: bucket.to_owned(), right }
    }

    /// `-` denied, `r` allowed without fills, `f` allowed with fills; in the order of `NEEDS`.
    const NEEDS: [Need; 6] =
        [Need::Identity, Need::Create, Need::ReadObject, Need::ReadBucket, Need::Write, Need::Own];

    #[test]
    fn the_table_of_rights() {
        let all = [grant("*", Right::Owner)];
        let read = [grant("photos", Right::Read)];
        let fill = [grant("photos", Right::Fill)];
        let write = [grant("photos", Right::Write)];
        let other = [grant("videos", Right::Owner)];
        let none: [Grant; 0] = [];
        let key = |account, grants| Identity::Key { account, grants };
        let rows: [(&str, Identity<'_>, &str, &str); 11] = [
            ("anonymous", Identity::Anonymous, "------", "--f---"),
            ("owner", key("main", None), "ffffff", "ffffff"),
            ("owner, all granted", key("main", Some(&all)), "ffffff", "ffffff"),
            ("owner, read", key("main", Some(&read)), "r-rr--", "r-rr--"),
            ("owner, fill", key("main", Some(&fill)), "f-ff--", "f-ff--"),
            ("owner, write", key("main", Some(&write)), "r---r-", "r-f-r-"),
            ("owner, elsewhere", key("main", Some(&other)), "r-----", "r-f---"),
            ("owner, nothing", key("main", Some(&none)), "r-----", "r-f---"),
            ("stranger", key("alt", None), "ff----", "fff---"),
            ("stranger, all granted", key("alt", Some(&all)), "ff----", "fff---"),
            ("stranger, read", key("alt", Some(&read)), "r-----", "r-f---"),
        ];
        for (who, identity, private, public) in rows {
            for (access, want) in [(PublicAccess::None, private), (PublicAccess::Read, public)] {
                let place = Place { name: "photos", owner: "main", public: access };
                let got: String = NEEDS
                    .iter()
                    .map(|need| match decide(identity, *need, place) {
                        Err(Denied) => '-',
                        Ok(Allowed { may_fill: false }) => 'r',
                        Ok(Allowed { may_fill: true }) => 'f',
                    })
                    .collect();
                assert_eq!(got, want, "{who}, {access:?}");
            }
        }
    }

    #[test]
    fn a_grant_does_not_reach_buckets_whose_name_only_begins_alike() {
        let read = [grant("photos", Right::Read)];
        let identity = Identity::Key { account: "main", grants: Some(&read) };
        for name in ["photos2", "photo", "PHOTOS", "*"] {
            let place = Place { name, owner: "main", public: PublicAccess::None };
            assert_eq!(decide(identity, Need::ReadObject, place), Err(Denied), "{name}");
        }
    }
}
