//! Which S3 operation a request asks for, and what that needs.

use fallthrough_wire::uri::Query;
use fallthrough_wire::{S3Code, S3Error};
use http::{HeaderMap, Method};

use crate::address::Address;

macro_rules! operations {
    ($($name:ident $need:ident;)*) => {
        /// The operations that are told apart, as AWS names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation {
            $(#[doc = concat!("`", stringify!($name), "`.")] $name,)*
        }

        impl Operation {
            /// How many there are.
            pub(crate) const COUNT: usize = [$(Self::$name,)*].len();

            /// The name, as metrics and logs show it.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What the caller must be allowed to do.
            pub(crate) fn need(self) -> Need {
                match self { $(Self::$name => Need::$need,)* }
            }
        }
    };
}

/// What an operation needs the caller to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing.
    Anyone,
    /// A verified identity, nothing else.
    Identity,
    /// To create a bucket of this name.
    Create,
    /// To see which objects there are.
    List,
    /// To read an object; everybody may in a public bucket.
    ReadObject,
    /// To read the ACL of an object.
    ReadObjectAcp,
    /// To write the ACL of an object.
    WriteObjectAcp,
    /// To read the tags of an object.
    ReadTags,
    /// To write the tags of an object.
    WriteTags,
    /// To read how the bucket is set up.
    ReadBucket,
    /// To read the bucket's ACL.
    ReadAcp,
    /// To write the bucket's ACL.
    WriteAcp,
    /// To write and delete objects.
    Write,
    /// To own the bucket.
    Own,
}

operations! {
    ListBuckets Anyone;
    CreateBucket Create;
    HeadBucket List;
    DeleteBucket Own;
    GetBucketLocation List;
    ListObjects List;
    ListObjectsV2 List;
    ListObjectVersions List;
    ListMultipartUploads List;
    CreateMultipartUpload Write;
    UploadPart Write;
    UploadPartCopy Write;
    CompleteMultipartUpload Write;
    AbortMultipartUpload Write;
    ListParts Write;
    CopyObject Write;
    GetObjectAttributes ReadObject;
    DeleteObjects Write;
    GetObject ReadObject;
    HeadObject ReadObject;
    PutObject Write;
    DeleteObject Write;
    GetObjectTagging ReadTags;
    PutObjectTagging WriteTags;
    DeleteObjectTagging WriteTags;
    GetObjectAcl ReadObjectAcp;
    PutObjectAcl WriteObjectAcp;
    GetObjectRetention ReadBucket;
    GetObjectLegalHold ReadBucket;
    GetObjectTorrent ReadBucket;
    PutObjectRetention Write;
    PutObjectLegalHold Write;
    PutObjectLockConfiguration Own;
    GetBucketAcl ReadAcp;
    PutBucketAcl WriteAcp;
    GetBucketVersioning ReadBucket;
    GetBucketTagging ReadBucket;
    PutBucketTagging Own;
    DeleteBucketTagging Own;
    GetBucketCors ReadBucket;
    GetBucketPolicy ReadBucket;
    DeleteBucketPolicy Own;
    DeleteBucketEncryption Own;
    DeletePublicAccessBlock Own;
    DeleteBucketOwnershipControls Own;
    DeleteBucketReplication Own;
    DeleteBucketMetadataConfiguration Own;
    DeleteBucketMetadataTableConfiguration Own;
    GetBucketMetadataConfiguration ReadBucket;
    GetBucketMetadataTableConfiguration ReadBucket;
    GetBucketAbac ReadBucket;
    GetBucketPolicyStatus ReadBucket;
    GetBucketLifecycleConfiguration ReadBucket;
    GetBucketEncryption ReadBucket;
    GetBucketLogging ReadBucket;
    GetBucketNotificationConfiguration ReadBucket;
    GetBucketReplication ReadBucket;
    GetBucketRequestPayment ReadBucket;
    GetBucketWebsite ReadBucket;
    GetBucketAccelerateConfiguration ReadBucket;
    GetPublicAccessBlock ReadBucket;
    GetBucketOwnershipControls ReadBucket;
    GetObjectLockConfiguration ReadBucket;
    ListBucketAnalyticsConfigurations ReadBucket;
    GetBucketAnalyticsConfiguration ReadBucket;
    DeleteBucketAnalyticsConfiguration Own;
    ListBucketIntelligentTieringConfigurations ReadBucket;
    GetBucketIntelligentTieringConfiguration ReadBucket;
    DeleteBucketIntelligentTieringConfiguration Own;
    ListBucketInventoryConfigurations ReadBucket;
    GetBucketInventoryConfiguration ReadBucket;
    DeleteBucketInventoryConfiguration Own;
    ListBucketMetricsConfigurations ReadBucket;
    GetBucketMetricsConfiguration ReadBucket;
    DeleteBucketMetricsConfiguration Own;
    PostObject Write;
    PutBucketCors Own;
    DeleteBucketCors Own;
    PutBucketLifecycleConfiguration Own;
    DeleteBucketLifecycle Own;
    PutBucketWebsite Own;
    DeleteBucketWebsite Own;
    Preflight Identity;
    Page Identity;
    Unsupported Identity;
    Unknown Identity;
}

/// Bucket parameters that select a reading operation, in no particular order.
const BUCKET_READS: &[(&str, Operation)] = &[
    ("location", Operation::GetBucketLocation),
    ("versions", Operation::ListObjectVersions),
    ("versioning", Operation::GetBucketVersioning),
    ("acl", Operation::GetBucketAcl),
    ("uploads", Operation::ListMultipartUploads),
    ("tagging", Operation::GetBucketTagging),
    ("cors", Operation::GetBucketCors),
    ("policy", Operation::GetBucketPolicy),
    ("policyStatus", Operation::GetBucketPolicyStatus),
    ("lifecycle", Operation::GetBucketLifecycleConfiguration),
    ("encryption", Operation::GetBucketEncryption),
    ("logging", Operation::GetBucketLogging),
    ("notification", Operation::GetBucketNotificationConfiguration),
    ("replication", Operation::GetBucketReplication),
    ("requestPayment", Operation::GetBucketRequestPayment),
    ("website", Operation::GetBucketWebsite),
    ("accelerate", Operation::GetBucketAccelerateConfiguration),
    ("publicAccessBlock", Operation::GetPublicAccessBlock),
    ("ownershipControls", Operation::GetBucketOwnershipControls),
    ("object-lock", Operation::GetObjectLockConfiguration),
    ("metadataConfiguration", Operation::GetBucketMetadataConfiguration),
    ("metadataTable", Operation::GetBucketMetadataTableConfiguration),
    ("abac", Operation::GetBucketAbac),
];

/// Bucket parameters that select a writing operation.
const BUCKET_WRITES: &[(Method, &str, Operation)] = &[
    (Method::PUT, "acl", Operation::PutBucketAcl),
    (Method::PUT, "tagging", Operation::PutBucketTagging),
    (Method::DELETE, "tagging", Operation::DeleteBucketTagging),
    (Method::PUT, "cors", Operation::PutBucketCors),
    (Method::DELETE, "cors", Operation::DeleteBucketCors),
    (Method::PUT, "lifecycle", Operation::PutBucketLifecycleConfiguration),
    (Method::DELETE, "lifecycle", Operation::DeleteBucketLifecycle),
    (Method::PUT, "website", Operation::PutBucketWebsite),
    (Method::DELETE, "website", Operation::DeleteBucketWebsite),
    (Method::PUT, "object-lock", Operation::PutObjectLockConfiguration),
    (Method::DELETE, "policy", Operation::DeleteBucketPolicy),
    (Method::DELETE, "encryption", Operation::DeleteBucketEncryption),
    (Method::DELETE, "publicAccessBlock", Operation::DeletePublicAccessBlock),
    (Method::DELETE, "ownershipControls", Operation::DeleteBucketOwnershipControls),
    (Method::DELETE, "replication", Operation::DeleteBucketReplication),
    (Method::DELETE, "metadataConfiguration", Operation::DeleteBucketMetadataConfiguration),
    (Method::DELETE, "metadataTable", Operation::DeleteBucketMetadataTableConfiguration),
];

/// Bucket parameters of which there may be many configurations: they are listed, and one is named by `id`.
const BUCKET_LISTED: &[(&str, [Operation; 3])] = &[
    (
        "analytics",
        [
            Operation::ListBucketAnalyticsConfigurations,
            Operation::GetBucketAnalyticsConfiguration,
            Operation::DeleteBucketAnalyticsConfiguration,
        ],
    ),
    (
        "intelligent-tiering",
        [
            Operation::ListBucketIntelligentTieringConfigurations,
            Operation::GetBucketIntelligentTieringConfiguration,
            Operation::DeleteBucketIntelligentTieringConfiguration,
        ],
    ),
    (
        "inventory",
        [
            Operation::ListBucketInventoryConfigurations,
            Operation::GetBucketInventoryConfiguration,
            Operation::DeleteBucketInventoryConfiguration,
        ],
    ),
    (
        "metrics",
        [
            Operation::ListBucketMetricsConfigurations,
            Operation::GetBucketMetricsConfiguration,
            Operation::DeleteBucketMetricsConfiguration,
        ],
    ),
];

/// Bucket parameters that select operations which are not offered, besides those of [`BUCKET_READS`] and
/// [`BUCKET_LISTED`].
const BUCKET_OTHERS: &[&str] =
    &["metadataInventoryTable", "metadataJournalTable", "metadataAnnotationTable", "session", "delete"];

const OBJECT_READS: &[(&str, Operation)] = &[
    ("tagging", Operation::GetObjectTagging),
    ("acl", Operation::GetObjectAcl),
    ("retention", Operation::GetObjectRetention),
    ("legal-hold", Operation::GetObjectLegalHold),
    ("attributes", Operation::GetObjectAttributes),
    ("torrent", Operation::GetObjectTorrent),
    ("uploadId", Operation::ListParts),
];

/// Object parameters that select a writing operation.
const OBJECT_WRITES: &[(Method, &str, Operation)] = &[
    (Method::PUT, "acl", Operation::PutObjectAcl),
    (Method::PUT, "tagging", Operation::PutObjectTagging),
    (Method::DELETE, "tagging", Operation::DeleteObjectTagging),
    (Method::PUT, "retention", Operation::PutObjectRetention),
    (Method::PUT, "legal-hold", Operation::PutObjectLegalHold),
];

/// Object parameters that select operations which are not offered, besides those of [`OBJECT_READS`].
const OBJECT_OTHERS: &[&str] =
    &["uploads", "restore", "select", "renameObject", "encryption", "annotation", "append"];

/// Parameters that have to be there once, or what is meant is anybody's guess.
const ONCE: [&str; 4] = ["versionId", "uploadId", "partNumber", "id"];

/// Whether this request would change something else than its parameter is of: an object where that is a bucket's, or a
/// bucket where it is an object's.
fn is_misplaced(query: &Query, on_bucket: bool) -> bool {
    let of_buckets = |name: &str| {
        BUCKET_READS.iter().any(|(read, _)| *read == name)
            || BUCKET_LISTED.iter().any(|(listed, _)| *listed == name)
            || BUCKET_OTHERS.contains(&name)
    };
    let of_objects = |name: &str| {
        OBJECT_READS.iter().any(|(read, _)| *read == name)
            || OBJECT_OTHERS.contains(&name)
            || name == "partNumber"
    };
    query.iter().any(|(name, _)| match on_bucket {
        true => of_objects(name) && !of_buckets(name),
        false => of_buckets(name) && !of_objects(name),
    })
}

impl Operation {
    /// Reads what a request asks for. A parameter that selects an operation which is not offered makes it
    /// [`Operation::Unsupported`]: it is never ignored, or a tagging would overwrite an object.
    ///
    /// # Errors
    /// `MethodNotAllowed` where no operation uses the method.
    pub(crate) fn of(
        method: &Method,
        address: &Address,
        query: &Query,
        headers: &HeaderMap,
    ) -> Result<Self, S3Error> {
        let selected = |reads: &[(&str, Self)], others: &[&str]| {
            let read = reads.iter().find(|(name, _)| query.has(name)).map(|(_, operation)| *operation);
            read.or_else(|| others.iter().any(|name| query.has(name)).then_some(Self::Unsupported))
        };
        let writes = |writes: &[(Method, &str, Self)]| {
            let found = writes.iter().find(|(with, name, _)| with == method && query.has(name));
            found.map(|(_, _, operation)| *operation)
        };
        let refused = || {
            Err(S3Error::new(S3Code::MethodNotAllowed)
                .and("Method", method.as_str().chars().take(32).collect::<String>())
                .and("ResourceType", resource_type(address)))
        };
        if let Some(name) =
            ONCE.iter().find(|name| query.iter().filter(|(given, _)| given == *name).count() > 1)
        {
            let message = "This parameter may be given once.";
            return Err(S3Error::with_message(S3Code::InvalidArgument, message).and("ArgumentName", *name));
        }
        let changes = !matches!(*method, Method::GET | Method::HEAD);
        match address {
            Address::Bucket(_) | Address::Object(..)
                if changes && is_misplaced(query, matches!(address, Address::Bucket(_))) =>
            {
                Ok(Self::Unsupported)
            }
            Address::Service => match *method {
                Method::GET | Method::HEAD => Ok(Self::ListBuckets),
                _ => refused(),
            },
            Address::Bucket(_) => {
                let selected = selected(BUCKET_READS, BUCKET_OTHERS);
                let listed = BUCKET_LISTED.iter().find(|(name, _)| query.has(name)).map(|(_, of)| *of);
                if let Some([list, get, delete]) = listed {
                    match (method.as_str(), query.has("id")) {
                        ("GET", false) => return Ok(list),
                        ("GET", true) => return Ok(get),
                        ("DELETE", true) => return Ok(delete),
                        ("PUT" | "POST" | "DELETE", _) => return Ok(Self::Unsupported),
                        _ => {}
                    }
                }
                match *method {
                    Method::HEAD => Ok(Self::HeadBucket),
                    Method::GET => Ok(selected.unwrap_or(if query.get("list-type") == Some("2") {
                        Self::ListObjectsV2
                    } else {
                        Self::ListObjects
                    })),
                    Method::POST if query.has("delete") => Ok(Self::DeleteObjects),
                    Method::POST => Ok(selected.map_or(Self::PostObject, |_| Self::Unsupported)),
                    Method::PUT => Ok(writes(BUCKET_WRITES)
                        .unwrap_or_else(|| selected.map_or(Self::CreateBucket, |_| Self::Unsupported))),
                    Method::DELETE => Ok(writes(BUCKET_WRITES)
                        .unwrap_or_else(|| selected.map_or(Self::DeleteBucket, |_| Self::Unsupported))),
                    _ => refused(),
                }
            }
            Address::Object(..) => {
                let copies = headers.contains_key("x-amz-copy-source");
                let is_part = query.has("uploadId") || query.has("partNumber");
                let selected = selected(OBJECT_READS, OBJECT_OTHERS);
                match *method {
                    Method::POST if query.has("uploads") => Ok(Self::CreateMultipartUpload),
                    Method::POST if query.has("uploadId") => Ok(Self::CompleteMultipartUpload),
                    Method::PUT if is_part && copies => Ok(Self::UploadPartCopy),
                    Method::PUT if is_part => Ok(Self::UploadPart),
                    Method::DELETE if query.has("uploadId") => Ok(Self::AbortMultipartUpload),
                    Method::PUT if copies && selected.is_none() => Ok(Self::CopyObject),
                    Method::GET => Ok(selected.unwrap_or(Self::GetObject)),
                    Method::HEAD => Ok(selected.map_or(Self::HeadObject, |_| Self::Unsupported)),
                    Method::PUT => Ok(writes(OBJECT_WRITES)
                        .unwrap_or_else(|| selected.map_or(Self::PutObject, |_| Self::Unsupported))),
                    Method::DELETE => Ok(writes(OBJECT_WRITES)
                        .unwrap_or_else(|| selected.map_or(Self::DeleteObject, |_| Self::Unsupported))),
                    Method::POST => match selected {
                        Some(_) => Ok(Self::Unsupported),
                        None => refused(),
                    },
                    _ => refused(),
                }
            }
        }
    }
}

fn resource_type(address: &Address) -> &'static str {
    match address {
        Address::Service => "SERVICE",
        Address::Bucket(_) => "BUCKET",
        Address::Object(..) => "OBJECT",
    }
}

#[cfg(test)]
mod tests {
    use fallthrough_object::{BucketName, Key};

    use super::*;

    #[test]
    fn requests_select_their_operation() {
        let bucket = BucketName::parse("photos").unwrap();
        let places = [
            Address::Service,
            Address::Bucket(bucket.clone()),
            Address::Object(bucket, Key::parse("k").unwrap()),
        ];
        let rows = [
            (0, "GET", "", Some(Operation::ListBuckets)),
            (0, "PUT", "", None),
            (1, "GET", "", Some(Operation::ListObjects)),
            (1, "GET", "list-type=2&prefix=a", Some(Operation::ListObjectsV2)),
            (1, "GET", "location", Some(Operation::GetBucketLocation)),
            (1, "GET", "uploads=", Some(Operation::ListMultipartUploads)),
            (1, "GET", "versions", Some(Operation::ListObjectVersions)),
            (1, "PUT", "versioning", Some(Operation::Unsupported)),
            (1, "PUT", "", Some(Operation::CreateBucket)),
            (1, "PUT", "cors", Some(Operation::PutBucketCors)),
            (1, "DELETE", "lifecycle=", Some(Operation::DeleteBucketLifecycle)),
            (1, "DELETE", "", Some(Operation::DeleteBucket)),
            (1, "DELETE", "policy", Some(Operation::DeleteBucketPolicy)),
            (1, "GET", "metadataTable", Some(Operation::GetBucketMetadataTableConfiguration)),
            (1, "GET", "metadataConfiguration=", Some(Operation::GetBucketMetadataConfiguration)),
            (1, "POST", "metadataConfiguration", Some(Operation::Unsupported)),
            (1, "DELETE", "metadataTable", Some(Operation::DeleteBucketMetadataTableConfiguration)),
            (1, "GET", "abac", Some(Operation::GetBucketAbac)),
            (1, "PUT", "abac", Some(Operation::Unsupported)),
            (1, "PUT", "metadataAnnotationTable", Some(Operation::Unsupported)),
            (2, "DELETE", "abac", Some(Operation::Unsupported)),
            (1, "POST", "delete", Some(Operation::DeleteObjects)),
            (1, "POST", "delete=&x-id=DeleteObjects", Some(Operation::DeleteObjects)),
            (1, "POST", "", Some(Operation::PostObject)),
            (1, "POST", "acl", Some(Operation::Unsupported)),
            (1, "PATCH", "", None),
            (2, "GET", "x-id=GetObject", Some(Operation::GetObject)),
            (2, "HEAD", "", Some(Operation::HeadObject)),
            (2, "PUT", "x-id=PutObject", Some(Operation::PutObject)),
            (2, "PUT", "tagging", Some(Operation::PutObjectTagging)),
            (2, "PUT", "partNumber=1&uploadId=x", Some(Operation::UploadPart)),
            (2, "PUT", "partNumber=1", Some(Operation::UploadPart)),
            (2, "GET", "partNumber=1", Some(Operation::GetObject)),
            (2, "GET", "uploadId=x", Some(Operation::ListParts)),
            (2, "POST", "uploadId=x", Some(Operation::CompleteMultipartUpload)),
            (2, "DELETE", "tagging=", Some(Operation::DeleteObjectTagging)),
            (2, "POST", "tagging", Some(Operation::Unsupported)),
            (1, "PUT", "acl", Some(Operation::PutBucketAcl)),
            (1, "DELETE", "acl", Some(Operation::Unsupported)),
            (2, "DELETE", "uploadId=x", Some(Operation::AbortMultipartUpload)),
            (2, "DELETE", "", Some(Operation::DeleteObject)),
            (2, "POST", "uploads", Some(Operation::CreateMultipartUpload)),
            (2, "POST", "", None),
            (2, "TRACE", "", None),
            (1, "GET", "inventory", Some(Operation::ListBucketInventoryConfigurations)),
            (1, "GET", "metrics&id=a", Some(Operation::GetBucketMetricsConfiguration)),
            (1, "DELETE", "analytics&id=a", Some(Operation::DeleteBucketAnalyticsConfiguration)),
            (1, "DELETE", "analytics", Some(Operation::Unsupported)),
            (1, "PUT", "inventory&id=a", Some(Operation::Unsupported)),
            // Never ignored, where something would be changed or lost; nothing is, by a read.
            (2, "PUT", "policy", Some(Operation::Unsupported)),
            (2, "DELETE", "lifecycle", Some(Operation::Unsupported)),
            (2, "DELETE", "versions", Some(Operation::Unsupported)),
            (2, "PUT", "append", Some(Operation::Unsupported)),
            (2, "POST", "delete", Some(Operation::Unsupported)),
            (2, "GET", "policy", Some(Operation::GetObject)),
            (1, "DELETE", "uploadId=x", Some(Operation::Unsupported)),
            (1, "DELETE", "attributes", Some(Operation::Unsupported)),
            (1, "DELETE", "delete", Some(Operation::Unsupported)),
            (1, "PUT", "restore", Some(Operation::Unsupported)),
            (1, "PUT", "partNumber=1", Some(Operation::Unsupported)),
        ];
        for (place, method, query, want) in rows {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let query = Query::parse(query).unwrap();
            let got = Operation::of(&method, &places[place], &query, &HeaderMap::new());
            assert_eq!(got.as_ref().ok().copied(), want, "{method} {place} {query:?}");
            assert_eq!(want.is_none(), got.is_err_and(|e| e.code == S3Code::MethodNotAllowed));
        }
    }

    #[test]
    fn what_is_given_twice_is_nobodys_guess() {
        let object = Address::Object(BucketName::parse("photos").unwrap(), Key::parse("k").unwrap());
        for query in ["versionId=null&versionId=x", "uploadId=a&uploadId=a&partNumber=1"] {
            let query = Query::parse(query).unwrap();
            let got = Operation::of(&Method::DELETE, &object, &query, &HeaderMap::new());
            assert_eq!(got.unwrap_err().code, S3Code::InvalidArgument);
        }
    }

    #[test]
    fn a_copy_is_never_taken_for_a_put() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-copy-source", "/a/b".parse().unwrap());
        let object = Address::Object(BucketName::parse("photos").unwrap(), Key::parse("k").unwrap());
        let got = Operation::of(&Method::PUT, &object, &Query::default(), &headers).unwrap();
        assert_eq!(got, Operation::CopyObject);
    }
}
