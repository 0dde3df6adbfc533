//! Who may do what: the one place where that is decided.
//!
//! A key can do what its account may, within its grants if it has any. An account may do everything with the
//! buckets it owns and with the objects it owns, whatever their ACLs say; with other accounts' buckets and objects,
//! what their ACLs say; and read the objects of buckets that are public. Whatever anybody may do who does not
//! sign, every key may. Nobody else is more: root's further powers are those of the admin API.
//!
//! What stands in a bucket's row is decided before a request goes on. What an object says is decided on the very object
//! that is read or changed: [`Reach::admits`]. A key that is not here has no ACL, and is had only by who may have
//! everything in its bucket.

use fallthrough_bucket::{Bucket, Grant, ObjectInfo, PublicAccess, Right};
use fallthrough_object::{Acl, Mutant, Permission, planted};

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
    /// Its ACL; `None`: private to its owner.
    pub(crate) acl: Option<&'a Acl>,
}

impl<'a> Place<'a> {
    /// A bucket that there is.
    pub(crate) fn of(bucket: &'a Bucket) -> Self {
        Self {
            name: bucket.name.as_str(),
            owner: &bucket.settings.owner,
            public: bucket.settings.public,
            acl: bucket.configuration.acl.as_ref(),
        }
    }
}

/// The request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed<'a> {
    /// It may also cause fills. For the public, the bucket's `public-fill` decides on top of this.
    pub(crate) may_fill: bool,
    /// Which of the bucket's objects it may have.
    pub(crate) reach: Reach<'a>,
}

/// Which objects of a bucket a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach<'a> {
    need: Need,
    /// Whose objects are its own; `None`: nobody's.
    account: Option<&'a str>,
    /// Every object, whatever its ACL says.
    all: bool,
}

impl Reach<'_> {
    /// Whether it includes keys that are not here, in a bucket of this account.
    pub(crate) fn cold(&self, bucket_owner: &str) -> bool {
        self.all || self.account == Some(bucket_owner) || planted(Mutant::OwnerIgnored)
    }

    /// Whether the tags of this object are its asker's to read: who owns it, and nobody by an ACL.
    pub(crate) fn owns(&self, bucket_owner: &str, info: &ObjectInfo) -> bool {
        self.account == Some(info.owner.as_deref().unwrap_or(bucket_owner))
            || planted(Mutant::ObjectAclIgnored)
    }

    /// Whether it includes this object of a bucket of this account, which owns all objects that name no owner.
    pub(crate) fn admits(&self, bucket_owner: &str, info: &ObjectInfo) -> bool {
        if self.all || planted(Mutant::ObjectAclIgnored) {
            return true;
        }
        let owner = info.owner.as_deref().unwrap_or(bucket_owner);
        if self.account == Some(owner) || (self.account.is_some() && planted(Mutant::OwnerIgnored)) {
            return true;
        }
        let allows = |wanted| info.acl.as_ref().is_some_and(|acl| acl.allows(self.account, wanted));
        match self.need {
            Need::ReadObject => allows(Permission::Read),
            Need::ReadObjectAcp => allows(Permission::ReadAcp),
            Need::WriteObjectAcp => allows(Permission::WriteAcp),
            Need::ReadTags | Need::WriteTags => false,
            // Decided by the bucket alone.
            Need::Anyone
            | Need::Identity
            | Need::Create
            | Need::List
            | Need::ReadBucket
            | Need::ReadAcp
            | Need::WriteAcp
            | Need::Write
            | Need::Own => true,
        }
    }
}

/// The request may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied;

/// Whether a request that needs `need` in `place` may go on. For [`Need::Create`], `place` has the name that
/// the bucket would get and the caller as its owner; for [`Need::Identity`] it is not looked at.
pub(crate) fn decide<'a>(
    identity: Identity<'a>,
    need: Need,
    place: Place<'_>,
) -> Result<Allowed<'a>, Denied> {
    let (account, grants) = match identity {
        Identity::Anonymous => return public(need, place),
        Identity::Key { account, grants } => (account, grants),
    };
    let granted = |right| {
        grants.is_none_or(|grants| grants.iter().any(|grant| covers(grant, place.name, right)))
            || planted(Mutant::GrantsIgnored)
    };
    let owns = account == place.owner || planted(Mutant::OwnerIgnored);
    // A bucket's owner can always list, write and clean up in it, whatever its ACL says.
    let by_acl = |wanted| owns || place.acl.is_some_and(|acl| acl.allows(Some(account), wanted));
    let allowed = match need {
        Need::Anyone | Need::Identity => true,
        Need::Create => granted(Right::Owner),
        Need::List => granted(Right::Read) && by_acl(Permission::Read),
        Need::ReadBucket => granted(Right::Read) && owns,
        Need::ReadAcp => granted(Right::Read) && by_acl(Permission::ReadAcp),
        Need::WriteAcp => granted(Right::Owner) && by_acl(Permission::WriteAcp),
        Need::Write => granted(Right::Write) && by_acl(Permission::Write),
        Need::Own => granted(Right::Owner) && owns,
        Need::ReadObject | Need::ReadObjectAcp | Need::ReadTags => granted(Right::Read),
        Need::WriteTags => granted(Right::Write),
        // Who could open what it may not read would read it.
        Need::WriteObjectAcp => {
            granted(Right::Owner) || (granted(Right::Write) && planted(Mutant::WritersChangeAcls))
        }
    };
    if !allowed {
        return public(need, place);
    }
    let all = need == Need::ReadObject && place.public == PublicAccess::Read;
    let may_fill = granted(Right::Fill) && owns || all && !owns;
    let reach = Reach { need, account: Some(account), all };
    Ok(Allowed { may_fill, reach })
}

/// Whether who writes an object may open it to others in the same breath. A limited key may where it may change ACLs of
/// what is there: else one that can read and write could open what its account keeps to itself.
pub(crate) fn may_open(identity: Identity<'_>, bucket: &str) -> bool {
    match identity {
        Identity::Anonymous | Identity::Key { grants: None, .. } => true,
        Identity::Key { grants: Some(grants), .. } => {
            grants.iter().any(|grant| covers(grant, bucket, Right::Owner))
        }
    }
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

/// What anybody may who does not sign.
fn public<'a>(need: Need, place: Place<'_>) -> Result<Allowed<'a>, Denied> {
    let by_acl = |wanted| place.acl.is_some_and(|acl| acl.allows(None, wanted));
    let all = need == Need::ReadObject && place.public == PublicAccess::Read;
    let allowed = match need {
        Need::List => by_acl(Permission::Read),
        Need::Write => {
            by_acl(Permission::Write)
                || (place.public == PublicAccess::Read && planted(Mutant::PublicMayWrite))
        }
        Need::ReadAcp => by_acl(Permission::ReadAcp),
        Need::WriteAcp => by_acl(Permission::WriteAcp),
        // An object may say so.
        Need::ReadObject | Need::ReadObjectAcp | Need::WriteObjectAcp | Need::Anyone => true,
        Need::Identity | Need::Create | Need::ReadBucket | Need::Own | Need::ReadTags | Need::WriteTags => {
            false
        }
    };
    let reach = Reach { need, account: None, all };
    if allowed { Ok(Allowed { may_fill: all, reach }) } else { Err(Denied) }
}

#[cfg(test)]
mod tests {
    use fallthrough_object::{AclGrant, Grantee};

    use super::*;

    fn grant(bucket: &str, right: Right) -> Grant {
        Grant { bucket: bucket.to_owned(), right }
    }

    fn key<'a>(account: &'a str, grants: Option<&'a [Grant]>) -> Identity<'a> {
        Identity::Key { account, grants }
    }

    /// Whom a line of an ACL is for (`*` everybody, `+` who signs, else an account), and what it allows.
    type Line = (&'static str, Permission);

    /// Who owns an object, its ACL, and what the three who ask may.
    type Say = (Option<&'static str>, Option<&'static [Line]>, [&'static str; 3]);

    fn acl(grants: &[Line]) -> Acl {
        let grantee = |who: &str| match who {
            "*" => Grantee::AllUsers,
            "+" => Grantee::AuthenticatedUsers,
            id => Grantee::Account(id.to_owned()),
        };
        let line = |(who, permission): &Line| AclGrant { grantee: grantee(who), permission: *permission };
        Acl { grants: grants.iter().map(line).collect() }
    }

    /// `-` denied, `r` allowed without fills, `f` allowed with fills; in the order of `NEEDS`. Where an object has a
    /// say, `?`: only if it says so; `a`: every object.
    const NEEDS: [Need; 12] = [
        Need::Identity,
        Need::Create,
        Need::List,
        Need::ReadBucket,
        Need::ReadAcp,
        Need::WriteAcp,
        Need::Write,
        Need::Own,
        Need::ReadObject,
        Need::WriteObjectAcp,
        Need::ReadTags,
        Need::WriteTags,
    ];

    fn row(identity: Identity<'_>, place: Place<'_>) -> String {
        let of = |need: &Need| match decide(identity, *need, place) {
            Err(Denied) => '-',
            Ok(Allowed { reach, may_fill }) if reach.all => {
                if may_fill {
                    'a'
                } else {
                    'r'
                }
            }
            Ok(Allowed { reach, .. }) if !reach.admits("main", &ObjectInfo::default()) => '?',
            Ok(Allowed { may_fill: false, .. }) => 'r',
            Ok(Allowed { may_fill: true, .. }) => 'f',
        };
        NEEDS.iter().map(of).collect()
    }

    #[test]
    fn the_table_of_rights() {
        let all = [grant("*", Right::Owner)];
        let read = [grant("photos", Right::Read)];
        let fill = [grant("photos", Right::Fill)];
        let write = [grant("photos", Right::Write)];
        let other = [grant("videos", Right::Owner)];
        let none: [Grant; 0] = [];
        let rows: [(&str, Identity<'_>, &str, &str); 11] = [
            ("anonymous", Identity::Anonymous, "--------??--", "--------a?--"),
            ("owner", key("main", None), "ffffffffffff", "ffffffffafff"),
            ("owner, all granted", key("main", Some(&all)), "ffffffffffff", "ffffffffafff"),
            ("owner, read", key("main", Some(&read)), "r-rrr---r?r-", "r-rrr---r?r-"),
            ("owner, fill", key("main", Some(&fill)), "f-fff---f?f-", "f-fff---a?f-"),
            ("owner, write", key("main", Some(&write)), "r-----r-??-r", "r-----r-a?-r"),
            ("owner, elsewhere", key("main", Some(&other)), "r-------??--", "r-------a?--"),
            ("owner, nothing", key("main", Some(&none)), "r-------??--", "r-------a?--"),
            ("stranger", key("alt", None), "rr------????", "rr------a???"),
            ("stranger, all granted", key("alt", Some(&all)), "rr------????", "rr------a???"),
            ("stranger, read", key("alt", Some(&read)), "r-------???-", "r-------a??-"),
        ];
        for (who, identity, private, public) in rows {
            for (access, want) in [(PublicAccess::None, private), (PublicAccess::Read, public)] {
                let place = Place { name: "photos", owner: "main", public: access, acl: None };
                assert_eq!(row(identity, place), want, "{who}, {access:?}");
            }
        }
    }

    #[test]
    fn the_acl_of_a_bucket_says_who_lists_and_writes() {
        use Permission::{FullControl, Read, ReadAcp, Write, WriteAcp};
        let read = [grant("photos", Right::Read)];
        // List, ReadAcp, WriteAcp, Write, and whether it may be removed.
        let needs = [Need::List, Need::ReadAcp, Need::WriteAcp, Need::Write, Need::Own];
        let rows: [(&[Line], [&str; 4]); 9] = [
            // The owner, alt, alt with a key that may read alone, nobody in particular.
            (&[("main", FullControl)], ["+++++", "-----", "-----", "-----"]),
            (&[], ["+++++", "-----", "-----", "-----"]),
            (&[("main", FullControl), ("alt", Read)], ["+++++", "+----", "+----", "-----"]),
            (&[("main", FullControl), ("alt", Write)], ["+++++", "---+-", "-----", "-----"]),
            (&[("main", FullControl), ("alt", FullControl)], ["+++++", "++++-", "++---", "-----"]),
            (&[("alt", ReadAcp), ("alt", WriteAcp)], ["+++++", "-++--", "-+---", "-----"]),
            (&[("+", Read)], ["+++++", "+----", "+----", "-----"]),
            (&[("*", Read), ("*", Write)], ["+++++", "+--+-", "+--+-", "+--+-"]),
            (&[("other", FullControl)], ["+++++", "-----", "-----", "-----"]),
        ];
        for (grants, want) in rows {
            let acl = acl(grants);
            let place = Place { name: "photos", owner: "main", public: PublicAccess::None, acl: Some(&acl) };
            let who = [key("main", None), key("alt", None), key("alt", Some(&read)), Identity::Anonymous];
            for (identity, want) in who.into_iter().zip(want) {
                let got: String = needs
                    .iter()
                    .map(|need| if decide(identity, *need, place).is_ok() { '+' } else { '-' })
                    .collect();
                assert_eq!(got, want, "{grants:?} {identity:?}");
            }
        }
    }

    #[test]
    fn an_object_has_its_own_say() {
        use Permission::{FullControl, Read, ReadAcp, WriteAcp};
        let place = Place { name: "photos", owner: "main", public: PublicAccess::None, acl: None };
        // ReadObject, ReadObjectAcp, WriteObjectAcp, ReadTags.
        let needs = [Need::ReadObject, Need::ReadObjectAcp, Need::WriteObjectAcp, Need::ReadTags];
        let rows: [Say; 8] = [
            // The bucket's owner, alt, nobody in particular.
            (None, None, ["++++", "----", "----"]),
            (None, Some(&[]), ["++++", "----", "----"]),
            (None, Some(&[("*", Read)]), ["++++", "+---", "+---"]),
            (None, Some(&[("+", ReadAcp)]), ["++++", "-+--", "----"]),
            (Some("alt"), None, ["----", "++++", "----"]),
            (Some("alt"), Some(&[("main", FullControl)]), ["+++-", "++++", "----"]),
            (Some("alt"), Some(&[("main", WriteAcp)]), ["--+-", "++++", "----"]),
            (Some("other"), Some(&[("alt", Read)]), ["----", "+---", "----"]),
        ];
        for (owner, grants, want) in rows {
            let info =
                ObjectInfo { owner: owner.map(str::to_owned), acl: grants.map(acl), ..ObjectInfo::default() };
            let who = [key("main", None), key("alt", None), Identity::Anonymous];
            for (identity, want) in who.into_iter().zip(want) {
                let admits = |need: &Need| {
                    decide(identity, *need, place).is_ok_and(|allowed| allowed.reach.admits("main", &info))
                };
                let got: String = needs.iter().map(|need| if admits(need) { '+' } else { '-' }).collect();
                assert_eq!(got, want, "{owner:?} {grants:?} {identity:?}");
            }
        }
    }

    #[test]
    fn cold_keys_are_for_who_may_have_the_whole_bucket() {
        let acl = acl(&[("*", Permission::FullControl)]);
        let rows = [
            (key("main", None), PublicAccess::None, true),
            (key("alt", None), PublicAccess::None, false),
            (Identity::Anonymous, PublicAccess::None, false),
            (key("alt", None), PublicAccess::Read, true),
            (Identity::Anonymous, PublicAccess::Read, true),
        ];
        for (identity, public, want) in rows {
            let place = Place { name: "photos", owner: "main", public, acl: Some(&acl) };
            let reach = decide(identity, Need::ReadObject, place).unwrap().reach;
            assert_eq!(reach.cold("main"), want, "{identity:?} {public:?}");
        }
    }

    #[test]
    fn a_grant_does_not_reach_buckets_whose_name_only_begins_alike() {
        let read = [grant("photos", Right::Read)];
        let identity = Identity::Key { account: "main", grants: Some(&read) };
        for name in ["photos2", "photo", "PHOTOS", "photos.old", "*", ""] {
            let place = Place { name, owner: "main", public: PublicAccess::None, acl: None };
            assert_eq!(decide(identity, Need::List, place), Err(Denied), "{name}");
            let reach = decide(identity, Need::ReadObject, place).unwrap().reach;
            assert!(!reach.admits("main", &ObjectInfo::default()) && !reach.cold("main"), "{name}");
        }
    }
}
