//! What is not set is told in its own words, and what is not offered is refused at once.

use crate::call::{Call, bucket, call, get, put};
use crate::case::{Modes, Table};

/// Reads of configuration that fails where nothing is set.
const UNSET: &[(&str, u16, &str)] = &[
    ("tagging", 404, "NoSuchTagSet"),
    ("cors", 404, "NoSuchCORSConfiguration"),
    ("policy", 404, "NoSuchBucketPolicy"),
    ("lifecycle", 404, "NoSuchLifecycleConfiguration"),
    ("encryption", 404, "ServerSideEncryptionConfigurationNotFoundError"),
    ("replication", 404, "ReplicationConfigurationNotFoundError"),
    ("website", 404, "NoSuchWebsiteConfiguration"),
    ("publicAccessBlock", 404, "NoSuchPublicAccessBlockConfiguration"),
    ("ownershipControls", 404, "OwnershipControlsNotFoundError"),
    ("object-lock", 404, "ObjectLockConfigurationNotFoundError"),
    ("metadataConfiguration", 404, "MetadataConfigurationNotFound"),
    ("metadataTable", 404, "MetadataConfigurationNotFound"),
];

/// Reads of configuration that is empty, or has a value of its own, where nothing is set.
const EMPTY: &[(&str, &str)] = &[
    ("versioning", "VersioningConfiguration"),
    ("logging", "BucketLoggingStatus"),
    ("notification", "NotificationConfiguration"),
    ("accelerate", "AccelerateConfiguration"),
    ("requestPayment", "RequestPaymentConfiguration"),
    ("acl", "AccessControlPolicy"),
    ("location", "LocationConstraint"),
    ("abac", "AbacStatus"),
];

/// Writes of what is not offered, each with a body that says something.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
    ("policy", r#"{"Version":"2012-10-17","Statement":[]}"#),
    ("replication", "<ReplicationConfiguration><Role>r</Role></ReplicationConfiguration>"),
    (
        "logging",
        "<BucketLoggingStatus><LoggingEnabled><TargetBucket>b</TargetBucket><TargetPrefix/></LoggingEnabled></BucketLoggingStatus>",
    ),
    (
        "notification",
        "<NotificationConfiguration><TopicConfiguration><Topic>t</Topic><Event>s3:ObjectCreated:*</Event></TopicConfiguration></NotificationConfiguration>",
    ),
    ("accelerate", "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>"),
    ("requestPayment", "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>"),
    ("abac", "<AbacStatus><Status>Enabled</Status></AbacStatus>"),
    ("metadataInventoryTable", "<InventoryTableConfiguration/>"),
    ("metadataJournalTable", "<JournalTableConfiguration/>"),
    ("metadataAnnotationTable", "<AnnotationTableConfiguration/>"),
    ("inventory&id=i", "<InventoryConfiguration><Id>i</Id></InventoryConfiguration>"),
    ("analytics&id=a", "<AnalyticsConfiguration><Id>a</Id></AnalyticsConfiguration>"),
    ("metrics&id=m", "<MetricsConfiguration><Id>m</Id></MetricsConfiguration>"),
    (
        "intelligent-tiering&id=t",
        "<IntelligentTieringConfiguration><Id>t</Id></IntelligentTieringConfiguration>",
    ),
];

pub(super) fn cases(table: &mut Table) {
    for (name, status, code) in UNSET {
        table.case(format!("not set: {name}")).ask(bucket("GET", name).fails(*status, code));
        table
            .case(format!("not set, asked with an equals sign: {name}"))
            .ask(bucket("GET", &format!("{name}=")).fails(*status, code));
    }
    for (name, root) in EMPTY {
        table.case(format!("not set: {name}")).ask(bucket("GET", name).gives(200).root(root));
    }
    for (name, _) in UNSET.iter().map(|(name, ..)| (*name, "")).chain(EMPTY.iter().copied()) {
        table
            .case(format!("of no bucket: {name}"))
            .ask(call("GET", "/{other}").query(name).fails(404, "NoSuchBucket"));
        table
            .case(format!("not somebody else's to read: {name}"))
            .ask(bucket("GET", name).by_second().fails(403, "AccessDenied"));
    }
    values(table);
    writes(table);
    deletes(table);
    objects(table);
}

fn values(table: &mut Table) {
    table.case("versioning has no status").ask(bucket("GET", "versioning").gives(200).none("Status"));
    table.case("logging is off").ask(bucket("GET", "logging").gives(200).none("LoggingEnabled"));
    table
        .case("the owner pays for requests")
        .ask(bucket("GET", "requestPayment").gives(200).one("Payer", "BucketOwner"));
    table
        .case("tags of the bucket say nothing of who may do what")
        .ask(bucket("GET", "abac").gives(200).one("Status", "Disabled"));
    table
        .case("the policy makes nothing public")
        .ask(bucket("GET", "policyStatus").gives(200).root("PolicyStatus").one("IsPublic", "false"));
    table
        .case("an acl that makes the bucket public is told by the policy's status")
        .without_bucket()
        .ask(call("PUT", "/{bucket}").with("x-amz-acl", "public-read"))
        .ask(bucket("GET", "policyStatus").gives(200).one("IsPublic", "true"));
}

fn writes(table: &mut Table) {
    for (query, body) in NOT_OFFERED {
        let name = query.split('&').next().unwrap_or(query);
        table
            .case(format!("not offered: {name}"))
            .ask(put("key", "x"))
            .ask(bucket("PUT", query).body(*body).md5().fails(501, "NotImplemented"))
            .ask(get("key").gives(200));
    }
    table
        .case("versioning that was refused is not on")
        .ask(bucket("PUT", "versioning").body(NOT_OFFERED[0].1).md5().fails(501, "NotImplemented"))
        .ask(put("key", "x").gives(200).lacks("x-amz-version-id"))
        .ask(bucket("GET", "versioning").gives(200).none("Status"));
    let rows: [(&str, Call); 3] = [
        (
            "encryption with a key of the client's",
            put("key", "x").with("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ),
        ("a lock", put("key", "x").with("x-amz-object-lock-mode", "GOVERNANCE")),
        ("a legal hold", put("key", "x").with("x-amz-object-lock-legal-hold", "ON")),
    ];
    for (what, call) in rows {
        table
            .case(format!("an object is not put as if it had {what}"))
            .ask(call.fails(501, "NotImplemented"))
            .ask(get("key").fails(404, "NoSuchKey"));
    }
}

fn deletes(table: &mut Table) {
    for name in [
        "tagging",
        "cors",
        "policy",
        "lifecycle",
        "website",
        "encryption",
        "publicAccessBlock",
        "ownershipControls",
        "replication",
    ] {
        table
            .case(format!("what is not set can be deleted: {name}"))
            .ask(bucket("DELETE", name).gives(204).gives_body(""))
            .ask(call("HEAD", "/{bucket}").gives(200));
    }
    for name in ["metadataConfiguration", "metadataTable"] {
        table
            .case(format!("what is not set cannot be deleted: {name}"))
            .ask(put("key", "x"))
            .ask(bucket("DELETE", name).fails(404, "MetadataConfigurationNotFound"))
            .ask(bucket("POST", name).body("<MetadataConfiguration/>").md5().fails(501, "NotImplemented"))
            .ask(get("key").gives(200));
    }
}

fn objects(table: &mut Table) {
    table
        .case("an object in a bucket without locks has none")
        .modes_are(Modes::PlainAndS3)
        .place("key", "x")
        .ask(get("key").query("retention").fails(400, "InvalidRequest"))
        .ask(get("key").query("legal-hold").fails(400, "InvalidRequest"));
    table
        .case("a bucket without locks takes no rule for them")
        .ask(
            bucket("PUT", "object-lock")
                .body("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")
                .md5()
                .fails(409, "InvalidBucketState"),
        );
    table
        .case("an object has no torrent")
        .place("key", "x")
        .ask(get("key").query("torrent").fails(404, "NoSuchKey"));
    for (method, call) in [("GET", get("key")), ("HEAD", crate::call::head("key"))] {
        table
            .case(format!("{method} of the version null"))
            .modes_are(Modes::PlainAndS3)
            .place("key", "x")
            .ask(call.query("versionId=null").gives(200));
    }
}
