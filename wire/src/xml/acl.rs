//! AccessControlPolicy: the ACL of a bucket or an object.

use fallthrough_object::Permission;

use super::tree::{self, Element};
use super::write::XmlWriter;
use super::{Owner, XmlError};
use crate::error::{S3Code, S3Error};
use crate::grants::{GRANTS_MAX, GranteeName, group_uri, parse_group};

/// Largest document that is read: a hundred grants of names that are as long as they may be fit.
const DOCUMENT_BYTES_MAX: usize = 128 << 10;

/// One line of an ACL as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedGrant {
    /// Whom it is for.
    pub grantee: GranteeName,
    /// Of an account, for people; not read.
    pub display_name: Option<String>,
    /// What it allows.
    pub permission: Permission,
}

/// An ACL as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessControlPolicy {
    /// Whose bucket or object it is.
    pub owner: Owner,
    /// At most [`GRANTS_MAX`].
    pub grants: Vec<NamedGrant>,
}

impl AccessControlPolicy {
    /// The document.
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::with_capacity(512 + 256 * self.grants.len());
        xml.open_root("AccessControlPolicy");
        xml.open("Owner");
        xml.element("ID", &self.owner.id);
        xml.element("DisplayName", &self.owner.display_name);
        xml.close("Owner");
        xml.open("AccessControlList");
        for grant in &self.grants {
            write_grant(&mut xml, grant);
        }
        xml.close("AccessControlList");
        xml.close("AccessControlPolicy");
        xml.finish()
    }

    /// Reads the body of PutBucketAcl and PutObjectAcl. Of whom a grant is for, what stands in it decides, not the
    /// type that it says to be of.
    ///
    /// # Errors
    /// `MalformedACLError` for what is no such document, or has more than [`GRANTS_MAX`] grants; those of
    /// [`parse_group`].
    pub fn parse(body: &[u8]) -> Result<Self, S3Error> {
        let root = tree::parse(body, DOCUMENT_BYTES_MAX).map_err(|error| match error {
            XmlError::Malformed(_) | XmlError::Unexpected(_) => malformed(),
        })?;
        if root.name != "AccessControlPolicy" {
            return Err(malformed());
        }
        let owner = root.only("Owner").ok_or_else(malformed)?;
        let list = root.only("AccessControlList").ok_or_else(malformed)?;
        if list.children.len() > GRANTS_MAX {
            return Err(malformed());
        }
        let owner = Owner {
            id: owner.only("ID").ok_or_else(malformed)?.text.trim().to_owned(),
            display_name: owner.child_text("DisplayName").unwrap_or("").to_owned(),
        };
        let grants = list.children.iter().map(read_grant).collect::<Result<_, _>>()?;
        Ok(Self { owner, grants })
    }
}

fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedAcl)
}

fn read_grant(grant: &Element) -> Result<NamedGrant, S3Error> {
    if grant.name != "Grant" {
        return Err(malformed());
    }
    let grantee = grant.only("Grantee").ok_or_else(malformed)?;
    let permission = grant.only("Permission").ok_or_else(malformed)?.text.trim();
    let permission = Permission::ALL.into_iter().find(|known| known.as_str() == permission);
    let text = |name| grantee.only(name).map(|child| child.text.trim()).filter(|text| !text.is_empty());
    let grantee = match (text("ID"), text("EmailAddress"), text("URI")) {
        (Some(id), None, None) => GranteeName::Id(id.to_owned()),
        (None, Some(email), None) => GranteeName::Email(email.to_owned()),
        (None, None, Some(uri)) => GranteeName::Group(parse_group(uri)?),
        _ => return Err(malformed()),
    };
    Ok(NamedGrant { grantee, display_name: None, permission: permission.ok_or_else(malformed)? })
}

fn write_grant(xml: &mut XmlWriter, grant: &NamedGrant) {
    let kind = match &grant.grantee {
        GranteeName::Id(_) => "CanonicalUser",
        GranteeName::Email(_) => "AmazonCustomerByEmail",
        GranteeName::Group(_) => "Group",
    };
    xml.open("Grant");
    xml.open(&format!("Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\""));
    match &grant.grantee {
        GranteeName::Id(id) => {
            xml.element("ID", id);
            xml.optional("DisplayName", grant.display_name.as_deref());
        }
        GranteeName::Email(email) => xml.element("EmailAddress", email),
        GranteeName::Group(group) => xml.optional("URI", group_uri(group)),
    }
    xml.close("Grantee");
    xml.element("Permission", grant.permission.as_str());
    xml.close("Grant");
}

#[cfg(test)]
mod tests {
    use fallthrough_object::Grantee;

    use super::*;

    fn grant(grantee: GranteeName, permission: Permission) -> NamedGrant {
        NamedGrant { grantee, display_name: None, permission }
    }

    #[test]
    fn what_is_written_reads_back() {
        let policy = AccessControlPolicy {
            owner: Owner { id: "a&b".into(), display_name: "<A>".into() },
            grants: vec![
                grant(GranteeName::Id("a&b".into()), Permission::FullControl),
                grant(GranteeName::Group(Grantee::AllUsers), Permission::Read),
                grant(GranteeName::Email("x@y".into()), Permission::WriteAcp),
            ],
        };
        assert_eq!(AccessControlPolicy::parse(policy.to_xml().as_bytes()).unwrap(), policy);
        let none = AccessControlPolicy { grants: Vec::new(), ..policy };
        assert_eq!(AccessControlPolicy::parse(none.to_xml().as_bytes()).unwrap(), none);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let owner = "<Owner><ID>a</ID></Owner>";
        let policy = |list: &str| format!("<AccessControlPolicy>{owner}{list}</AccessControlPolicy>");
        let of = |grants: &str| policy(&format!("<AccessControlList>{grants}</AccessControlList>"));
        let line = |grantee: &str, permission: &str| {
            format!("<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>")
        };
        let good = line("<ID>a</ID>", "READ");
        let (many, full) = (good.repeat(GRANTS_MAX + 1), good.repeat(GRANTS_MAX));
        assert!(AccessControlPolicy::parse(of(&full).as_bytes()).is_ok());
        let malformed = [
            String::new(),
            "<a>".to_owned(),
            "<AccessControlPolicy/>".to_owned(),
            policy(""),
            format!("<AccessControlPolicy>{owner}{owner}<AccessControlList/></AccessControlPolicy>"),
            policy("<AccessControlList/><AccessControlList/>"),
            "<AccessControlPolicy><AccessControlList/></AccessControlPolicy>".to_owned(),
            of("<Other/>"),
            of("<Grant/>"),
            of(&line("", "READ")),
            of(&line("<ID></ID>", "READ")),
            of(&line("<ID>a</ID><ID>b</ID>", "READ")),
            of(&line("<ID>a</ID><EmailAddress>b</EmailAddress>", "READ")),
            of(&line("<ID>a</ID>", "read")),
            of(&line("<ID>a</ID>", "OWN")),
            of(&many),
            format!("<!DOCTYPE a [<!ENTITY x \"y\">]>{}", of(&good)),
            of(&"<a>".repeat(100)),
            format!("{}{}", of(&good), " ".repeat(DOCUMENT_BYTES_MAX)),
        ];
        for body in &malformed {
            let got = AccessControlPolicy::parse(body.as_bytes()).map_err(|error| error.code);
            assert_eq!(got, Err(S3Code::MalformedAcl), "{}", &body[..body.len().min(200)]);
        }
        let unknown = of(&line("<URI>http://acs.amazonaws.com/groups/global/X</URI>", "READ"));
        let got = AccessControlPolicy::parse(unknown.as_bytes()).map_err(|error| error.code);
        assert_eq!(got, Err(S3Code::InvalidArgument));
    }
}
