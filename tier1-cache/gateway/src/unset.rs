//! Reads of configuration that nobody can have set: the exact answers for "not set".
//!
//! Tools ask for these as a matter of course, and a 501 would stop them.

use fallthrough_bucket::{Bucket, Engine, GetRequest, PublicAccess};
use fallthrough_object::Grantee;
use fallthrough_wire::xml::write::XmlWriter;
use fallthrough_wire::{S3Code, S3Error};

use crate::document;
use crate::exchange::Exchange;
use crate::operation::Operation;
use crate::refusal::Refusal;
use crate::report::Reported;

/// Answers a read of configuration of a bucket; `None` if the operation is something else.
pub(crate) fn of_bucket(operation: Operation, bucket: &Bucket) -> Option<Result<Reported, Refusal>> {
    let absent = match operation {
        Operation::GetBucketPolicy => S3Code::NoSuchBucketPolicy,
        Operation::GetBucketEncryption => S3Code::ServerSideEncryptionConfigurationNotFound,
        Operation::GetBucketReplication => S3Code::ReplicationConfigurationNotFound,
        Operation::GetPublicAccessBlock => S3Code::NoSuchPublicAccessBlockConfiguration,
        Operation::GetBucketOwnershipControls => S3Code::OwnershipControlsNotFound,
        // To delete what is not set is an error of these two alone.
        Operation::GetBucketMetadataConfiguration
        | Operation::GetBucketMetadataTableConfiguration
        | Operation::DeleteBucketMetadataConfiguration
        | Operation::DeleteBucketMetadataTableConfiguration => S3Code::MetadataConfigurationNotFound,
        Operation::GetBucketAbac => {
            return Some(Ok(filled("AbacStatus", |xml| xml.element("Status", "Disabled"))));
        }
        Operation::GetObjectLockConfiguration => S3Code::ObjectLockConfigurationNotFound,
        Operation::GetBucketPolicyStatus => {
            let by_file = bucket.settings.public != PublicAccess::None;
            let by_acl = bucket.configuration.acl.as_ref().is_some_and(|acl| {
                acl.grants.iter().any(|grant| !matches!(grant.grantee, Grantee::Account(_)))
            });
            return Some(Ok(filled("PolicyStatus", |xml| xml.flag("IsPublic", by_file || by_acl))));
        }
        Operation::GetBucketAnalyticsConfiguration
        | Operation::GetBucketIntelligentTieringConfiguration
        | Operation::GetBucketInventoryConfiguration
        | Operation::GetBucketMetricsConfiguration
        | Operation::DeleteBucketAnalyticsConfiguration
        | Operation::DeleteBucketIntelligentTieringConfiguration
        | Operation::DeleteBucketInventoryConfiguration
        | Operation::DeleteBucketMetricsConfiguration => S3Code::NoSuchConfiguration,
        Operation::ListBucketAnalyticsConfigurations => {
            return Some(Ok(none_of("ListBucketAnalyticsConfigurationResult")));
        }
        Operation::ListBucketIntelligentTieringConfigurations => {
            return Some(Ok(none_of("ListBucketIntelligentTieringConfigurationsOutput")));
        }
        Operation::ListBucketInventoryConfigurations => {
            return Some(Ok(none_of("ListInventoryConfigurationsResult")));
        }
        Operation::ListBucketMetricsConfigurations => {
            return Some(Ok(none_of("ListMetricsConfigurationsResult")));
        }
        Operation::GetBucketVersioning => return Some(Ok(empty("VersioningConfiguration"))),
        Operation::GetBucketLogging => return Some(Ok(empty("BucketLoggingStatus"))),
        Operation::GetBucketNotificationConfiguration => return Some(Ok(empty("NotificationConfiguration"))),
        Operation::GetBucketAccelerateConfiguration => return Some(Ok(empty("AccelerateConfiguration"))),
        Operation::GetBucketRequestPayment => {
            let payer = |xml: &mut XmlWriter| xml.element("Payer", "BucketOwner");
            return Some(Ok(filled("RequestPaymentConfiguration", payer)));
        }
        _ => return None,
    };
    Some(Err(absent.into()))
}

/// Answers a read of configuration of an object, which must exist.
///
/// # Errors
/// As a HEAD of the object, and the code for what is not set.
pub(crate) async fn of_object(exchange: &Exchange<'_>, engine: &Engine) -> Result<Reported, Refusal> {
    exchange.check_version()?;
    let bucket = exchange.bucket()?;
    let request = GetRequest { head: true, ..GetRequest::of(exchange.key()?.clone()) };
    engine.get(bucket, &exchange.caller, request).await.result?;
    match exchange.operation {
        // There are no torrents: what is asked for does not exist.
        Operation::GetObjectTorrent => Err(S3Code::NoSuchKey.into()),
        _ => Err(no_object_lock(S3Code::InvalidRequest).into()),
    }
}

/// What is said to who would lock objects of a bucket that was not made for it: none is.
pub(crate) fn no_object_lock(code: S3Code) -> S3Error {
    S3Error::with_message(code, "Bucket is missing Object Lock Configuration")
}

/// A list of configurations of which there are none.
fn none_of(root: &str) -> Reported {
    filled(root, |xml| xml.flag("IsTruncated", false))
}

fn empty(root: &str) -> Reported {
    filled(root, |_| {})
}

/// A document whose root has what `fill` writes.
fn filled(root: &str, fill: impl FnOnce(&mut XmlWriter)) -> Reported {
    let mut xml = XmlWriter::new();
    xml.open_root(root);
    fill(&mut xml);
    xml.close(root);
    document::xml(xml.finish())
}
