//! Lists of objects: both versions, and versions of objects where there are none.

mod pages;
mod rows;
mod versions;

use crate::call::{Call, bucket, call, list_v1, list_v2};
use crate::case::{Modes, Table};

const TREE: &[&str] = &["a", "b/1", "b/2", "b/c/3", "d", "e/4"];

/// Both versions, with their names.
fn both() -> [(&'static str, Call); 2] {
    [("v1", list_v1()), ("v2", list_v2())]
}

pub(super) fn cases(table: &mut Table) {
    fields(table);
    for row in rows::ROWS {
        rows::write(table, row);
    }
    limits(table);
    pages::cases(table);
    versions::cases(table);
    encoding(table);
}

fn fields(table: &mut Table) {
    table.case("v2: nothing").ask(
        list_v2()
            .root("ListBucketResult")
            .one("Name", "{bucket}")
            .one("Prefix", "")
            .one("KeyCount", "0")
            .one("MaxKeys", "1000")
            .one("IsTruncated", "false")
            .none("Contents")
            .none("CommonPrefixes")
            .none("NextContinuationToken"),
    );
    table.case("v1: nothing").ask(
        list_v1()
            .root("ListBucketResult")
            .one("Name", "{bucket}")
            .one("Prefix", "")
            .one("Marker", "")
            .one("MaxKeys", "1000")
            .one("IsTruncated", "false")
            .none("KeyCount")
            .none("Contents")
            .none("NextMarker"),
    );
    for (version, list) in both() {
        table
            .case(format!("{version}: what is told of an object"))
            .place("key", "hello")
            .ask(crate::call::head("key").save("tag", "etag"))
            .ask(
                list.clone()
                    .all("Contents/Key", ["key"])
                    .all("Contents/Size", ["5"])
                    .all("Contents/ETag", ["{tag}"])
                    .all("Contents/StorageClass", ["STANDARD"])
                    .count("Contents/LastModified", 1),
            );
        table
            .case(format!("{version}: the type of the answer"))
            .ask(list.clone().header_holds("content-type", "application/xml"));
        table
            .case(format!("{version} of no bucket"))
            .ask(list.clone().to("/{other}").fails(404, "NoSuchBucket").one("BucketName", "{other}"));
        table
            .case(format!("{version} with a slash behind the bucket"))
            .place("key", "x")
            .ask(list.to("/{bucket}/").all("Contents/Key", ["key"]));
    }
    table
        .case("v2: the owner only on request")
        .place("key", "x")
        .ask(list_v2().none("Contents/Owner"))
        .ask(list_v2().query("fetch-owner=false").none("Contents/Owner"))
        .ask(list_v2().query("fetch-owner=true").all("Contents/Owner/ID", ["{owner}"]));
    table.case("v1: the owner always").place("key", "x").ask(list_v1().all("Contents/Owner/ID", ["{owner}"]));
    table
        .case("a deleted object is not listed")
        .place_keys(&["a", "b", "c"])
        .ask(crate::call::delete("b"))
        .ask(list_v2().all("Contents/Key", ["a", "c"]))
        .ask(list_v1().all("Contents/Key", ["a", "c"]));
    table
        .case("a written object is listed at once, in its place")
        .place_keys(&["a", "c"])
        .ask(crate::call::put("b", "x"))
        .ask(list_v2().all("Contents/Key", ["a", "b", "c"]))
        .ask(list_v1().all("Contents/Key", ["a", "b", "c"]));
    table
        .case("an object that was written over is listed once, as it is now")
        .place("key", "old")
        .ask(crate::call::put("key", "newer"))
        .ask(list_v2().all("Contents/Key", ["key"]).all("Contents/Size", ["5"]));
}

fn limits(table: &mut Table) {
    for (version, list) in both() {
        for bad in ["-1", "x", "1.5", "2147483648"] {
            table
                .case(format!("{version}: max-keys={bad}"))
                .modes_are(Modes::Plain)
                .ask(list.clone().param("max-keys", bad).fails(400, "InvalidArgument"));
        }
        table.case(format!("{version}: max-keys=0")).place_keys(TREE).ask(
            list.clone().query("max-keys=0").none("Contents").one("IsTruncated", "false").one("MaxKeys", "0"),
        );
        table
            .case(format!("{version}: max-keys of more than a page"))
            .place_keys(TREE)
            .ask(list.clone().query("max-keys=5000").all("Contents/Key", TREE).one("MaxKeys", "1000"));
        table
            .case(format!("{version}: max-keys=1"))
            .place_keys(TREE)
            .ask(list.clone().query("max-keys=1").all("Contents/Key", ["a"]).one("IsTruncated", "true"));
        table.case(format!("{version}: max-keys of just what is there")).place_keys(TREE).ask(
            list.clone()
                .query("max-keys=6")
                .all("Contents/Key", TREE)
                .one("IsTruncated", "false")
                .none("NextContinuationToken"),
        );
        table
            .case(format!("{version}: encoding-type that is not offered"))
            .modes_are(Modes::Plain)
            .ask(list.param("encoding-type", "base64").fails(400, "InvalidArgument"));
    }
    table.case("v2: an empty token is none").place_keys(TREE).ask(
        list_v2()
            .query("continuation-token=")
            .one("ContinuationToken", "")
            .all("Contents/Key", TREE)
            .one("IsTruncated", "false"),
    );
    table
        .case("v2: a token that is none")
        .place_keys(TREE)
        .ask(list_v2().param("continuation-token", "no token at all").fails(400, "InvalidArgument"));
}

fn encoding(table: &mut Table) {
    // Decoding what the second version says of itself, and the raw prefix of the first, is what botocore does.
    let keys = ["a b/c+d", "a b/\u{e9}%", "a b/x/y"];
    table.case("v2: encoding-type=url").place_keys(&keys).ask(
        list_v2()
            .param("prefix", "a b/")
            .param("delimiter", "/")
            .param("start-after", "a b/\u{1}")
            .query("encoding-type=url")
            .one("EncodingType", "url")
            .encoded("Prefix", ["a b/"])
            .encoded("StartAfter", ["a b/\u{1}"])
            .one("Delimiter", "/")
            .encoded("Contents/Key", ["a b/c+d", "a b/\u{e9}%"])
            .encoded("CommonPrefixes/Prefix", ["a b/x/"]),
    );
    table.case("v1: encoding-type=url").place_keys(&keys).ask(
        list_v1()
            .param("prefix", "a b/")
            .param("delimiter", "/")
            .param("marker", "a b/\u{1}")
            .query("encoding-type=url&max-keys=2")
            .one("EncodingType", "url")
            .one("Prefix", "a b/")
            .encoded("Marker", ["a b/\u{1}"])
            .encoded("NextMarker", ["a b/x/"])
            .encoded("Contents/Key", ["a b/c+d"])
            .encoded("CommonPrefixes/Prefix", ["a b/x/"]),
    );
    for (version, list) in both() {
        table
            .case(format!("{version}: a slash is not encoded"))
            .place("a/b c", "x")
            .ask(list.clone().query("encoding-type=url").holds("<Key>a/b"));
        table
            .case(format!("{version}: a newline in a key, encoded"))
            .place("a\nb", "x")
            .ask(list.query("encoding-type=url").all("Contents/Key", ["a%0Ab"]));
    }
    table
        .case("a query with an equals sign and nothing behind it")
        .place("key", "x")
        .ask(bucket("GET", "prefix=&delimiter=&marker=&max-keys=").gives(200).all("Contents/Key", ["key"]));
    table.case("parameters that are not known are ignored").place("key", "x").ask(
        call("GET", "/{bucket}")
            .query("list-type=2&allow-unordered=true&x-id=ListObjectsV2")
            .all("Contents/Key", ["key"]),
    );
}
