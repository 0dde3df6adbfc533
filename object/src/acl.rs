//! Access control lists, as far as S3's canned ACLs and grants to accounts and groups go.

use serde::{Deserialize, Serialize};

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Of a bucket: to list it. Of an object: to read it.
    Read,
    /// Of a bucket: to write and delete objects in it. Says nothing of an object.
    Write,
    /// To read the ACL.
    ReadAcp,
    /// To write the ACL.
    WriteAcp,
    /// All of these.
    FullControl,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::ReadAcp, Self::WriteAcp, Self::FullControl];

    /// The name in S3's documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
            Self::FullControl => "FULL_CONTROL",
        }
    }
}

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grantee {
    /// One account, by its canonical id.
    Account(String),
    /// Everybody who signs.
    AuthenticatedUsers,
    /// Everybody.
    AllUsers,
}

/// One line of an ACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclGrant {
    /// Whom it is for.
    pub grantee: Grantee,
    /// What it allows.
    pub permission: Permission,
}

/// An ACL: all that is granted, the owner's own rights among it. An owner may always read and write the ACL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Acl {
    /// The grants, in the order in which they came.
    pub grants: Vec<AclGrant>,
}

impl Acl {
    /// The ACL `private`: the owner has full control, and nobody else anything.
    pub fn private(owner: &str) -> Self {
        let grantee = Grantee::Account(owner.to_owned());
        Self { grants: vec![AclGrant { grantee, permission: Permission::FullControl }] }
    }

    /// Whether it says no more than that it is private to `owner`.
    pub fn is_private_to(&self, owner: &str) -> bool {
        let [only] = self.grants.as_slice() else { return false };
        only.permission == Permission::FullControl
            && matches!(&only.grantee, Grantee::Account(id) if id == owner)
    }

    /// The same, with what was granted to `old` granted to `new`: whose it is has changed.
    #[must_use]
    pub fn inherited(mut self, old: &str, new: &str) -> Self {
        for grant in &mut self.grants {
            if matches!(&grant.grantee, Grantee::Account(id) if id == old) {
                grant.grantee = Grantee::Account(new.to_owned());
            }
        }
        self
    }

    /// Whether somebody may do what `wanted` allows. `account`: who asks; `None`: somebody who does not sign.
    pub fn allows(&self, account: Option<&str>, wanted: Permission) -> bool {
        self.grants.iter().any(|grant| {
            let meant = match &grant.grantee {
                Grantee::Account(id) => account == Some(id),
                Grantee::AuthenticatedUsers => account.is_some(),
                Grantee::AllUsers => true,
            };
            meant && (grant.permission == wanted || grant.permission == Permission::FullControl)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_reach_whom_they_name() {
        let grant = |grantee, permission| AclGrant { grantee, permission };
        let acl = Acl {
            grants: vec![
                grant(Grantee::Account("a".into()), Permission::FullControl),
                grant(Grantee::AuthenticatedUsers, Permission::Read),
                grant(Grantee::AllUsers, Permission::ReadAcp),
            ],
        };
        let rows = [
            (Some("a"), Permission::Write, true),
            (Some("b"), Permission::Write, false),
            (Some("b"), Permission::Read, true),
            (None, Permission::Read, false),
            (None, Permission::ReadAcp, true),
            (None, Permission::WriteAcp, false),
        ];
        for (who, wanted, want) in rows {
            assert_eq!(acl.allows(who, wanted), want, "{who:?} {wanted:?}");
        }
        assert!(!Acl::private("a").allows(None, Permission::Read));
        assert!(Acl::private("a").is_private_to("a") && !Acl::private("a").is_private_to("b"));
        assert!(!acl.is_private_to("a") && !Acl::default().is_private_to("a"));
        assert!(Acl::private("a").inherited("a", "b").is_private_to("b"));
    }
}
