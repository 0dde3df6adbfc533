//! Buckets: create, head, delete, list, location, names.

use crate::call::{bucket, call, head, put};
use crate::case::Table;

/// Names that S3 refuses (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>).
const BAD_NAMES: &[(&str, &str)] = &[
    ("too short", "ab"),
    ("64 letters", "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff1234"),
    ("upper case", "Suite-Upper-Case"),
    ("an underscore", "suite_under_score"),
    ("a dash in front", "-suite-dash"),
    ("a dash behind", "suite-dash-"),
    ("a dot in front", ".suite-dot"),
    ("a dot behind", "suite-dot."),
    ("two dots", "suite..dots"),
    ("an address", "192.168.5.4"),
    ("a letter beyond ASCII", "suite-caf\u{e9}"),
    ("a space", "suite space"),
    ("a star", "suite*star"),
];

pub(super) fn cases(table: &mut Table) {
    creating(table);
    deleting(table);
    listing(table);
    table
        .case("head of a bucket")
        .ask(call("HEAD", "/{bucket}").gives(200).present("x-amz-bucket-region").gives_body(""));
    table
        .case("head of a bucket with a slash behind it")
        .ask(call("HEAD", "/{bucket}/").gives(200).gives_body(""));
    table.case("head of no bucket").ask(call("HEAD", "/{other}").gives(404).gives_body(""));
    table
        .case("location of a bucket in us-east-1")
        .ask(bucket("GET", "location").gives(200).root("LocationConstraint").without("us-east-1"));
    table
        .case("location of no bucket")
        .ask(call("GET", "/{other}").query("location").fails(404, "NoSuchBucket"));
    table
        .case("location asked with an equals sign")
        .ask(bucket("GET", "location=").gives(200).root("LocationConstraint"));
    for (method, path) in
        [("GET", "/{other}"), ("GET", "/{other}/key"), ("PUT", "/{other}/key"), ("DELETE", "/{other}/key")]
    {
        let name = format!("{method} in no bucket{}", if path.ends_with("key") { " of a key" } else { "" });
        table.case(name).ask(call(method, path).fails(404, "NoSuchBucket").one("BucketName", "{other}"));
    }
    table.case("head in no bucket of a key").ask(call("HEAD", "/{other}/key").gives(404).gives_body(""));
}

fn creating(table: &mut Table) {
    table
        .case("create")
        .without_bucket()
        .ask(call("PUT", "/{bucket}").gives(200).has("location", "/{bucket}").gives_body(""))
        .ask(call("HEAD", "/{bucket}").gives(200));
    table
        .case("create one's own again")
        .ask(put("key", "kept"))
        .ask(call("PUT", "/{bucket}").gives(200))
        .ask(head("key").gives(200));
    table
        .case("create somebody else's")
        .ask(call("PUT", "/{bucket}").by_second().fails(409, "BucketAlreadyExists"));
    table.case("create with an empty configuration").without_bucket().ask(
        call("PUT", "/{bucket}")
            .body("<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>")
            .gives(200),
    );
    table
        .case("create with a slash behind the name")
        .without_bucket()
        .ask(call("PUT", "/{bucket}/").gives(200))
        .ask(call("HEAD", "/{bucket}").gives(200));
    table
        .case("create with a body that is no XML")
        .without_bucket()
        .ask(call("PUT", "/{bucket}").body("hello").fails(400, "MalformedXML"))
        .ask(call("HEAD", "/{bucket}").gives(404));
    table
        .case("create anonymously")
        .without_bucket()
        .ask(call("PUT", "/{bucket}").anonymous().fails(403, "AccessDenied"));
    for (what, name) in BAD_NAMES {
        table
            .case(format!("create with a name with {what}"))
            .without_bucket()
            .ask(call("PUT", format!("/{name}")).fails(400, "InvalidBucketName"));
    }
    for (what, name) in [
        ("dots and digits", "s.{run}.1"),
        ("63 letters", "s{run}.aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeefff"),
    ] {
        table
            .case(format!("create with a name of {what}"))
            .without_bucket()
            .ask(call("PUT", format!("/{name}")).gives(200))
            .ask(call("DELETE", format!("/{name}")).gives(204));
    }
}

fn deleting(table: &mut Table) {
    table
        .case("delete")
        .ask(call("DELETE", "/{bucket}").gives(204).gives_body(""))
        .ask(call("HEAD", "/{bucket}").gives(404))
        .ask(call("DELETE", "/{bucket}").fails(404, "NoSuchBucket"));
    table
        .case("delete what is not empty")
        .ask(put("key", "x"))
        .ask(call("DELETE", "/{bucket}").fails(409, "BucketNotEmpty"))
        .ask(call("DELETE", "/{bucket}/key").gives(204))
        .ask(call("DELETE", "/{bucket}").gives(204));
    table
        .case("delete somebody else's")
        .ask(call("DELETE", "/{bucket}").by_second().fails(403, "AccessDenied"));
    table
        .case("delete and make again: it is empty")
        .ask(put("key", "x"))
        .ask(call("DELETE", "/{bucket}/key").gives(204))
        .ask(call("DELETE", "/{bucket}").gives(204))
        .ask(call("PUT", "/{bucket}").gives(200))
        .ask(bucket("GET", "list-type=2").gives(200).none("Contents"));
}

fn listing(table: &mut Table) {
    let list = || call("GET", "/").gives(200).root("ListAllMyBucketsResult");
    table.case("list").with_other().ask(
        list()
            .param("prefix", "{bucket}")
            .all("Buckets/Bucket/Name", ["{bucket}"])
            .count("Buckets/Bucket/CreationDate", 1)
            .one("Owner/ID", "{owner}"),
    );
    table
        .case("list does not show somebody else's")
        .ask(call("GET", "/").by_second().param("prefix", "{bucket}").gives(200).none("Buckets/Bucket/Name"));
    table
        .case("list anonymously: nobody has none")
        .ask(list().anonymous().count("Buckets", 1).none("Buckets/Bucket"));
    table
        .case("list in pages")
        .with_other()
        .ask(call("PUT", "/{third}"))
        .ask(
            list()
                .query("max-buckets=2")
                .param("prefix", "{pages}")
                .count("Buckets/Bucket/Name", 2)
                .save_xml("token", "ContinuationToken"),
        )
        .ask(
            list()
                .query("max-buckets=2")
                .param("prefix", "{pages}")
                .param("continuation-token", "{token}")
                .count("Buckets/Bucket/Name", 1)
                .none("ContinuationToken"),
        );
    for bad in ["0", "10001", "-1", "x"] {
        table
            .case(format!("list with max-buckets={bad}"))
            .ask(call("GET", "/").param("max-buckets", bad).fails(400, "InvalidArgument"));
    }
    table
        .case("list with a prefix that nothing has")
        .ask(list().param("prefix", "{bucket}-none").none("Buckets/Bucket/Name"));
    table.case("list by region").ask(
        list().param("prefix", "{bucket}").param("bucket-region", "eu-west-1").none("Buckets/Bucket/Name"),
    );
}
