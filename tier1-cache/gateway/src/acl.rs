//! ACLs: as requests ask for them in headers, and the operations that read and write them.

use bytes::Bytes;
use fallthrough_bucket::{Admission, BucketError, Engine, GetRequest, ObjectInfo};
use fallthrough_object::{Acl, AclGrant, Grantee, Mutant, Permission, planted};
use fallthrough_wire::grants::{GRANT_HEADERS, GRANTS_MAX, GranteeName, parse_header};
use fallthrough_wire::xml::{AccessControlPolicy, NamedGrant};
use fallthrough_wire::{S3Code, S3Error};
use http::HeaderMap;

use crate::document;
use crate::exchange::Exchange;
use crate::people::People;
use crate::refusal::Refusal;
use crate::report::Reported;

/// Whose the bucket or the object is that an ACL is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owners<'a> {
    /// The account that owns it.
    pub(crate) owner: &'a str,
    /// The account that owns the bucket of an object; `None`: it is a bucket.
    pub(crate) bucket_owner: Option<&'a str>,
}

/// The ACL that the headers of a request ask for: `x-amz-acl`, or `x-amz-grant-*`. `None`: they ask for none, or for
/// what goes without saying.
///
/// The fields of a form can be asked in the same way, as headers.
///
/// # Errors
/// `InvalidRequest` for both at once; `InvalidArgument` for an ACL or an account that there is not,
/// `UnresolvableGrantByEmailAddress`; `NotImplemented` for one that is not offered; the store's.
pub(crate) async fn acl_of_request(
    headers: &HeaderMap,
    owners: Owners<'_>,
    engine: &Engine,
) -> Result<Option<Acl>, Refusal> {
    Ok(asked(headers, owners, engine).await?.filter(|acl| !acl.is_private_to(owners.owner)))
}

/// The ACL that headers ask for, also where it is `private`; `None`: they ask for none.
async fn asked(headers: &HeaderMap, owners: Owners<'_>, engine: &Engine) -> Result<Option<Acl>, Refusal> {
    // Some clients send the header with nothing in it.
    let canned = text(headers, "x-amz-acl")?.filter(|name| !name.is_empty());
    let people = People::new(engine);
    let mut grants = Vec::new();
    let mut granting = false;
    for (header, permission) in GRANT_HEADERS {
        for value in headers.get_all(header) {
            granting = true;
            let value = value.to_str().map_err(|_| invalid(header, ""))?;
            for name in parse_header(value)? {
                if grants.len() == GRANTS_MAX {
                    return Err(invalid(header, "There are too many grants").into());
                }
                grants.push(AclGrant { grantee: people.resolve(name).await?, permission });
            }
        }
    }
    match (canned, granting) {
        (Some(_), true) => {
            let message = "Specifying both Canned ACLs and Header Grants is not allowed";
            Err(S3Error::with_message(S3Code::InvalidRequest, message).into())
        }
        (Some(name), false) => Ok(Some(canned_acl(name, owners)?)),
        (None, true) => Ok(Some(Acl { grants })),
        (None, false) => Ok(None),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, S3Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.to_str().map_err(|_| invalid(name, ""))?)),
        (Some(_), Some(_)) => Err(invalid(name, "")),
    }
}

fn invalid(name: &str, value: &str) -> S3Error {
    S3Error::new(S3Code::InvalidArgument).and("ArgumentName", name).and("ArgumentValue", value)
}

/// What S3's names of ACLs stand for.
fn canned_acl(name: &str, owners: Owners<'_>) -> Result<Acl, S3Error> {
    let mut acl = Acl::private(owners.owner);
    let mut grant = |grantee, permission| acl.grants.push(AclGrant { grantee, permission });
    // Of a bucket, what is for the bucket's owner says nothing; neither does it of an object of the owner's own.
    let other_owner = owners.bucket_owner.filter(|bucket_owner| *bucket_owner != owners.owner);
    match name {
        "private" => {}
        "public-read" => grant(Grantee::AllUsers, Permission::Read),
        "public-read-write" => {
            grant(Grantee::AllUsers, Permission::Read);
            grant(Grantee::AllUsers, Permission::Write);
        }
        "authenticated-read" => grant(Grantee::AuthenticatedUsers, Permission::Read),
        "bucket-owner-read" | "bucket-owner-full-control" => {
            if let Some(owner) = other_owner {
                let full = name == "bucket-owner-full-control";
                let permission = if full { Permission::FullControl } else { Permission::Read };
                grant(Grantee::Account(owner.to_owned()), permission);
            }
        }
        "log-delivery-write" | "aws-exec-read" => {
            let message = "This ACL is for services of AWS, which are not here.";
            return Err(S3Error::with_message(S3Code::NotImplemented, message).and("Header", "x-amz-acl"));
        }
        _ => return Err(invalid("x-amz-acl", name)),
    }
    Ok(acl)
}

/// Answers GetBucketAcl.
pub(crate) async fn get_bucket(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    let bucket = exchange.bucket()?;
    shown(&bucket.settings.owner, bucket.configuration.acl.as_ref(), engine).await
}

/// Answers GetObjectAcl. Of a key that is not here, as a HEAD finds it.
pub(crate) async fn get_object(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    exchange.check_version()?;
    let info = read_info(exchange, engine).await?;
    let owner = info.owner.as_deref().unwrap_or(&exchange.bucket()?.settings.owner);
    shown(owner, info.acl.as_ref(), engine).await
}

/// What is known of the object, if the request may have it.
pub(crate) async fn read_info(
    exchange: &Exchange<'_>,
    engine: &Engine,
) -> Result<std::sync::Arc<ObjectInfo>, Refusal> {
    let request = GetRequest { head: true, ..GetRequest::of(exchange.key()?.clone()) };
    let bucket = exchange.bucket()?;
    let read = async |admission: Admission<'_>| {
        engine.get_admitted(bucket, &exchange.caller, request, admission).await
    };
    let found = exchange.admitted(read).await?.result;
    let found = found.and_then(|object| match object.is_kept || !planted(Mutant::ColdHasNoAttributes) {
        true => Ok(object),
        false => Err(BucketError::NoSuchKey),
    });
    Ok(found.map_err(|error| exchange.refusal(error).0)?.info)
}

async fn shown(owner: &str, acl: Option<&Acl>, engine: &Engine) -> Result<Reported, Refusal> {
    let mut people = People::new(engine);
    let private = Acl::private(owner);
    let mut grants = Vec::new();
    for grant in &acl.unwrap_or(&private).grants {
        let (grantee, display_name) = match &grant.grantee {
            Grantee::Account(id) => (GranteeName::Id(id.clone()), Some(people.owner(id).await?.display_name)),
            group => (GranteeName::Group(group.clone()), None),
        };
        grants.push(NamedGrant { grantee, display_name, permission: grant.permission });
    }
    // Groups first: clients take a list that begins with an account for one of accounts alone.
    grants.sort_by_key(|grant| grant.display_name.is_some());
    let policy = AccessControlPolicy { owner: people.owner(owner).await?, grants };
    Ok(document::xml(policy.to_xml()))
}

/// Answers PutBucketAcl.
pub(crate) async fn put_bucket(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &Bytes,
) -> Result<Reported, Refusal> {
    let bucket = exchange.bucket()?;
    let owners = Owners { owner: &bucket.settings.owner, bucket_owner: None };
    let acl = wanted(exchange, engine, body, owners).await?;
    let acl = acl.filter(|acl| !acl.is_private_to(owners.owner));
    engine.configure(bucket, &|configuration| configuration.acl.clone_from(&acl)).await?;
    Ok(document::nothing())
}

/// Answers PutObjectAcl. An object that is not here is filled first, and is a written one from then on.
pub(crate) async fn put_object(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &Bytes,
) -> Result<Reported, Refusal> {
    exchange.check_version()?;
    let bucket = exchange.bucket()?;
    let bucket_owner = bucket.settings.owner.as_str();
    // An object that is overwritten meanwhile by somebody else has another owner, and the ACL was not meant for it.
    let owner = read_info(exchange, engine).await?.owner.clone();
    let owners = Owners { owner: owner.as_deref().unwrap_or(bucket_owner), bucket_owner: Some(bucket_owner) };
    let acl = wanted(exchange, engine, body, owners).await?;
    let acl = acl.filter(|acl| !acl.is_private_to(owners.owner));
    let change = |info: &mut ObjectInfo| {
        if info.owner != owner {
            return Err(BucketError::Conflict);
        }
        info.acl.clone_from(&acl);
        Ok(())
    };
    let key = exchange.key()?;
    let write = async |admission: Admission<'_>| {
        engine.annotate(bucket, &exchange.caller, key, admission, &change).await
    };
    let changed = exchange.admitted(write).await?;
    changed.map_err(|error| exchange.refusal(error).0)?;
    Ok(document::nothing())
}

/// The ACL that is to be written: of the headers or of the body.
async fn wanted(
    exchange: &Exchange<'_>,
    engine: &Engine,
    body: &Bytes,
    owners: Owners<'_>,
) -> Result<Option<Acl>, Refusal> {
    match asked(&exchange.parts.headers, owners, engine).await? {
        Some(_) if !body.is_empty() => Err(S3Code::UnexpectedContent.into()),
        Some(acl) => Ok(Some(acl)),
        None if body.is_empty() => {
            Err(S3Error::new(S3Code::MissingSecurityHeader).and("MissingHeaderName", "x-amz-acl").into())
        }
        None => {
            let policy = AccessControlPolicy::parse(body)?;
            if policy.owner.id != owners.owner {
                // Whose it is cannot be changed.
                return Err(Refusal::denied());
            }
            let people = People::new(engine);
            let mut grants = Vec::with_capacity(policy.grants.len());
            for NamedGrant { grantee, permission, .. } in policy.grants {
                grants.push(AclGrant { grantee: people.resolve(grantee).await?, permission });
            }
            Ok(Some(Acl { grants }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_acls_stand_for_grants() {
        let object = Owners { owner: "w", bucket_owner: Some("b") };
        let own = Owners { owner: "b", bucket_owner: Some("b") };
        let bucket = Owners { owner: "b", bucket_owner: None };
        let says = |name: &str, owners| {
            canned_acl(name, owners).map_err(|error| error.code).map(|acl| {
                let mut lines = Vec::new();
                for AclGrant { grantee, permission } in acl.grants {
                    let who = match grantee {
                        Grantee::Account(id) => id,
                        Grantee::AllUsers => "*".to_owned(),
                        Grantee::AuthenticatedUsers => "+".to_owned(),
                    };
                    lines.push(format!("{who} {}", permission.as_str()));
                }
                lines.join(", ")
            })
        };
        let rows = [
            ("private", object, Ok("w FULL_CONTROL")),
            ("public-read", object, Ok("w FULL_CONTROL, * READ")),
            ("public-read-write", bucket, Ok("b FULL_CONTROL, * READ, * WRITE")),
            ("authenticated-read", object, Ok("w FULL_CONTROL, + READ")),
            ("bucket-owner-read", object, Ok("w FULL_CONTROL, b READ")),
            ("bucket-owner-full-control", object, Ok("w FULL_CONTROL, b FULL_CONTROL")),
            ("bucket-owner-full-control", own, Ok("b FULL_CONTROL")),
            ("bucket-owner-read", bucket, Ok("b FULL_CONTROL")),
            ("log-delivery-write", bucket, Err(S3Code::NotImplemented)),
            ("public", bucket, Err(S3Code::InvalidArgument)),
            ("", bucket, Err(S3Code::InvalidArgument)),
        ];
        for (name, owners, want) in rows {
            assert_eq!(says(name, owners), want.map(str::to_owned), "{name} {owners:?}");
        }
    }
}
