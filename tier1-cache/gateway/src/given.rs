//! What a request gives the object that it writes, besides its bytes and its headers.

use fallthrough_bucket::{Attributes, Engine};
use fallthrough_object::{Acl, Grantee};
use http::HeaderMap;

use crate::access::may_open;
use crate::acl::{Owners, acl_of_request};
use crate::exchange::Exchange;
use crate::put::check_redirect;
use crate::refusal::Refusal;
use crate::tagging::tags_of_request;

/// Owner, ACL and tags of what this request writes. `headers`: those of the request, or the fields of its form.
///
/// # Errors
/// Those of [`acl_of_request`], [`tags_of_request`] and [`check_redirect`].
pub(crate) async fn given_by_request(
    exchange: &Exchange<'_>,
    headers: &HeaderMap,
    engine: &Engine,
) -> Result<Attributes, Refusal> {
    let bucket_owner = exchange.bucket()?.settings.owner.as_str();
    let owner = exchange.writer()?;
    let owners = Owners { owner: owner.as_deref().unwrap_or(bucket_owner), bucket_owner: Some(bucket_owner) };
    let acl = acl_of_request(headers, owners, engine).await?;
    let opens = |acl: &Acl| {
        let mut grantees = acl.grants.iter().map(|grant| &grant.grantee);
        // To the owner of the bucket it is as good as open.
        grantees.any(|grantee| !matches!(grantee, Grantee::Account(id) if id == bucket_owner))
    };
    let name = exchange.bucket()?.name.as_str();
    if acl.as_ref().is_some_and(opens) && !may_open(exchange.sender.identity(), name) {
        return Err(Refusal::denied());
    }
    let tags = tags_of_request(headers)?;
    let website_redirect = check_redirect(headers)?;
    Ok(Attributes { tags, owner, acl, website_redirect })
}
