//! How S3 names whom a grant is for: in headers, and in the documents of ACLs.

use fallthrough_object::{Grantee, Permission};

use crate::error::{S3Code, S3Error};

/// Most grants of one ACL, as S3 has it.
pub const GRANTS_MAX: usize = 100;

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// The headers that grant, with what each grants, in the order in which clients expect to see the grants again.
pub const GRANT_HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// Whom a grant is for, as a client names it. Whether there is such an account is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GranteeName {
    /// An account by its canonical id.
    Id(String),
    /// An account by its address.
    Email(String),
    /// A group: everybody, or everybody who signs. Never an account.
    Group(Grantee),
}

/// Reads the name of a group.
///
/// # Errors
/// `NotImplemented` for the group that S3's logs are written as, `InvalidArgument` for any other.
pub fn parse_group(uri: &str) -> Result<Grantee, S3Error> {
    match uri {
        ALL_USERS => Ok(Grantee::AllUsers),
        AUTHENTICATED_USERS => Ok(Grantee::AuthenticatedUsers),
        LOG_DELIVERY => Err(S3Error::with_message(
            S3Code::NotImplemented,
            "Nobody here delivers logs: grants to LogDelivery are not offered.",
        )),
        _ => Err(invalid("Invalid group uri", uri)),
    }
}

/// The name of a group; `None` for an account.
pub fn group_uri(grantee: &Grantee) -> Option<&'static str> {
    match grantee {
        Grantee::AllUsers => Some(ALL_USERS),
        Grantee::AuthenticatedUsers => Some(AUTHENTICATED_USERS),
        Grantee::Account(_) => None,
    }
}

/// Reads the value of one of [`GRANT_HEADERS`]: `id="…", uri="…", emailAddress="…"`, with or without the quotes.
///
/// # Errors
/// `InvalidArgument`; those of [`parse_group`].
pub fn parse_header(value: &str) -> Result<Vec<GranteeName>, S3Error> {
    let mut names = Vec::new();
    for one in value.split(',') {
        let (kind, name) =
            one.split_once('=').ok_or_else(|| invalid("Argument format not recognized", one))?;
        let name = name.trim();
        let unquoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        if unquoted.is_empty() || unquoted.contains('"') {
            return Err(invalid("Argument format not recognized", one));
        }
        if names.len() == GRANTS_MAX {
            return Err(invalid("There are too many grants", ""));
        }
        names.push(match kind.trim().to_ascii_lowercase().as_str() {
            "id" => GranteeName::Id(unquoted.to_owned()),
            "emailaddress" => GranteeName::Email(unquoted.to_owned()),
            "uri" => GranteeName::Group(parse_group(unquoted)?),
            _ => return Err(invalid("Argument format not recognized", one)),
        });
    }
    Ok(names)
}

fn invalid(message: &'static str, value: &str) -> S3Error {
    S3Error::with_message(S3Code::InvalidArgument, message).and("ArgumentValue", value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_accounts_and_groups() {
        let id = |text: &str| GranteeName::Id(text.to_owned());
        let rows = [
            ("id=a", Some(vec![id("a")])),
            (" id=\"a\" , ID = \"b=c\"", Some(vec![id("a"), id("b=c")])),
            ("emailAddress=\"a@b\"", Some(vec![GranteeName::Email("a@b".to_owned())])),
            (
                "uri=http://acs.amazonaws.com/groups/global/AllUsers",
                Some(vec![GranteeName::Group(Grantee::AllUsers)]),
            ),
            ("uri=\"http://acs.amazonaws.com/groups/global/Nobody\"", None),
            ("uri=\"http://acs.amazonaws.com/groups/s3/LogDelivery\"", None),
            ("", None),
            ("a", None),
            ("id=", None),
            ("id=\"\"", None),
            ("id=\"a", None),
            ("id=a,", None),
            ("name=a", None),
        ];
        for (value, want) in rows {
            assert_eq!(parse_header(value).ok(), want, "{value}");
        }
        assert!(parse_header(&vec!["id=a"; GRANTS_MAX].join(",")).is_ok());
        assert!(parse_header(&vec!["id=a"; GRANTS_MAX + 1].join(",")).is_err());
    }

    #[test]
    fn groups_read_back() {
        for group in [Grantee::AllUsers, Grantee::AuthenticatedUsers] {
            assert_eq!(parse_group(group_uri(&group).unwrap()).unwrap(), group);
        }
        assert_eq!(group_uri(&Grantee::Account("a".to_owned())), None);
    }
}
