//! ListObjectVersions where there are no versions: each object is there once, as the version `null`.

use crate::call::{Call, bucket, call, delete};
use crate::case::{Modes, Table};

use super::TREE;

fn list() -> Call {
    bucket("GET", "versions").gives(200).root("ListVersionsResult")
}

pub(super) fn cases(table: &mut Table) {
    table.case("versions: nothing").ask(
        list()
            .one("Name", "{bucket}")
            .one("Prefix", "")
            .one("KeyMarker", "")
            .one("VersionIdMarker", "")
            .one("MaxKeys", "1000")
            .one("IsTruncated", "false")
            .none("Version")
            .none("DeleteMarker"),
    );
    table
        .case("versions: what is told of an object")
        .place("key", "hello")
        .ask(crate::call::head("key").save("tag", "etag"))
        .ask(
            list()
                .all("Version/Key", ["key"])
                .all("Version/VersionId", ["null"])
                .all("Version/IsLatest", ["true"])
                .all("Version/ETag", ["{tag}"])
                .all("Version/Size", ["5"])
                .all("Version/StorageClass", ["STANDARD"])
                .all("Version/Owner/ID", ["{owner}"])
                .count("Version/LastModified", 1),
        );
    table.case("versions: all").place_keys(TREE).ask(list().all("Version/Key", TREE));
    table
        .case("versions: asked with an equals sign")
        .place("key", "x")
        .ask(bucket("GET", "versions=").gives(200).all("Version/Key", ["key"]));
    table.case("versions: a prefix and a delimiter").place_keys(TREE).ask(
        list()
            .query("prefix=b%2F&delimiter=%2F")
            .all("Version/Key", ["b/1", "b/2"])
            .all("CommonPrefixes/Prefix", ["b/c/"])
            .one("Prefix", "b/")
            .one("Delimiter", "/"),
    );
    table
        .case("versions: two pages")
        .place_keys(TREE)
        .ask(
            list()
                .query("max-keys=4")
                .all("Version/Key", &TREE[..4])
                .one("IsTruncated", "true")
                .one("NextKeyMarker", "b/c/3")
                .one("NextVersionIdMarker", "null"),
        )
        .ask(
            list()
                .query("max-keys=4&key-marker=b%2Fc%2F3&version-id-marker=null")
                .all("Version/Key", &TREE[4..])
                .one("KeyMarker", "b/c/3")
                .one("VersionIdMarker", "null")
                .one("IsTruncated", "false"),
        );
    table
        .case("versions: behind a key")
        .place_keys(TREE)
        .ask(list().query("key-marker=b%2F2").all("Version/Key", &TREE[3..]));
    table
        .case("versions: a version marker without a key marker")
        .modes_are(Modes::Plain)
        .ask(bucket("GET", "versions&version-id-marker=null").fails(400, "InvalidArgument"));
    table.case("versions: encoding-type=url").place("a b+\u{e9}", "x").ask(
        list().query("encoding-type=url").one("EncodingType", "url").encoded("Version/Key", ["a b+\u{e9}"]),
    );
    table
        .case("versions: a deleted object leaves no marker")
        .place_keys(&["a", "b"])
        .ask(delete("a"))
        .ask(list().all("Version/Key", ["b"]).none("DeleteMarker"));
    table
        .case("versions: max-keys=0")
        .place("a", "x")
        .ask(list().query("max-keys=0").none("Version").one("IsTruncated", "false"));
    for bad in ["-1", "x"] {
        table
            .case(format!("versions: max-keys={bad}"))
            .modes_are(Modes::Plain)
            .ask(bucket("GET", "versions").param("max-keys", bad).fails(400, "InvalidArgument"));
    }
    table
        .case("versions of no bucket")
        .ask(call("GET", "/{other}").query("versions").fails(404, "NoSuchBucket"));
    table
        .case("versions: what clean-up code does")
        .place_keys(&["a", "b"])
        .ask(list().all("Version/VersionId", ["null", "null"]))
        .ask(
            bucket("POST", "delete")
                .body(
                    "<Delete><Object><Key>a</Key><VersionId>null</VersionId></Object>\
                     <Object><Key>b</Key><VersionId>null</VersionId></Object></Delete>",
                )
                .md5()
                .gives(200)
                .all("Deleted/Key", ["a", "b"])
                .none("Error"),
        )
        .ask(list().none("Version"));
}
