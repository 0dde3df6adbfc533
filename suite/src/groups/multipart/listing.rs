//! ListParts and ListMultipartUploads.

use crate::body::etag;
use crate::call::{Call, bucket, call, get};
use crate::case::Table;

use super::{abort, begin, complete, part};

fn parts() -> Call {
    get("key").param("uploadId", "{upload}").gives(200).root("ListPartsResult")
}

fn uploads() -> Call {
    bucket("GET", "uploads").gives(200).root("ListMultipartUploadsResult")
}

pub(super) fn cases(table: &mut Table) {
    list_parts(table);
    list_uploads(table);
    upload_pages(table);
}

fn list_parts(table: &mut Table) {
    table.case("list parts: none yet").ask(begin("key")).ask(
        parts()
            .one("Bucket", "{bucket}")
            .one("Key", "key")
            .one("UploadId", "{upload}")
            .one("MaxParts", "1000")
            .one("IsTruncated", "false")
            .one("StorageClass", "STANDARD")
            .one("Owner/ID", "{owner}")
            .one("Initiator/ID", "{owner}")
            .none("Part"),
    );
    table
        .case("list parts: what is told of a part")
        .ask(begin("key"))
        .ask(part("key", 3, "three"))
        .ask(part("key", 1, "one"))
        .ask(
            parts()
                .all("Part/PartNumber", ["1", "3"])
                .all("Part/ETag", [etag(b"one"), etag(b"three")])
                .all("Part/Size", ["3", "5"])
                .count("Part/LastModified", 2),
        );
    table
        .case("list parts: a part uploaded again is there once")
        .ask(begin("key"))
        .ask(part("key", 1, "old"))
        .ask(part("key", 1, "newer"))
        .ask(parts().all("Part/Size", ["5"]));
    let case = table.case("list parts: in pages");
    case.ask(begin("key"));
    for number in 1..=5 {
        case.ask(part("key", number, "x"));
    }
    case.ask(
        parts()
            .query("max-parts=2")
            .all("Part/PartNumber", ["1", "2"])
            .one("MaxParts", "2")
            .one("IsTruncated", "true")
            .one("PartNumberMarker", "0")
            .one("NextPartNumberMarker", "2"),
    )
    .ask(
        parts()
            .query("max-parts=2&part-number-marker=2")
            .all("Part/PartNumber", ["3", "4"])
            .one("PartNumberMarker", "2")
            .one("NextPartNumberMarker", "4")
            .one("IsTruncated", "true"),
    )
    .ask(
        parts()
            .query("max-parts=2&part-number-marker=4")
            .all("Part/PartNumber", ["5"])
            .one("IsTruncated", "false"),
    )
    .ask(parts().query("part-number-marker=5").none("Part").one("IsTruncated", "false"))
    .ask(parts().query("max-parts=5").count("Part", 5).one("IsTruncated", "false"));
    for (parameter, value) in
        [("max-parts", "-1"), ("max-parts", "x"), ("part-number-marker", "-1"), ("part-number-marker", "x")]
    {
        table.case(format!("list parts: {parameter}={value}")).ask(begin("key")).ask(
            get("key").param("uploadId", "{upload}").param(parameter, value).fails(400, "InvalidArgument"),
        );
    }
    table
        .case("list parts: an awkward key")
        .ask(begin("a b/\u{e9}+%41&<"))
        .ask(get("a b/\u{e9}+%41&<").param("uploadId", "{upload}").gives(200).one("Key", "a b/\u{e9}+%41&<"))
        .ask(
            get("a b/\u{e9}+%41&<")
                .param("uploadId", "{upload}")
                .query("encoding-type=url")
                .gives(200)
                .encoded("Key", ["a b/\u{e9}+%41&<"]),
        );
}

fn list_uploads(table: &mut Table) {
    table.case("list uploads: none").ask(
        uploads()
            .one("Bucket", "{bucket}")
            .one("KeyMarker", "")
            .one("UploadIdMarker", "")
            .one("MaxUploads", "1000")
            .one("IsTruncated", "false")
            .none("Upload"),
    );
    table.case("list uploads: what is told of one").ask(begin("key")).ask(
        uploads()
            .all("Upload/Key", ["key"])
            .all("Upload/UploadId", ["{upload}"])
            .all("Upload/StorageClass", ["STANDARD"])
            .all("Upload/Owner/ID", ["{owner}"])
            .all("Upload/Initiator/ID", ["{owner}"])
            .count("Upload/Initiated", 1),
    );
    table
        .case("list uploads: asked with an equals sign")
        .ask(begin("key"))
        .ask(bucket("GET", "uploads=").gives(200).all("Upload/Key", ["key"]));
    table
        .case("list uploads: two of one key, in the order in which they began")
        .ask(begin("key").save_xml("first", "UploadId"))
        .ask(begin("key"))
        .ask(uploads().all("Upload/UploadId", ["{first}", "{upload}"]));
    table
        .case("list uploads: those that are ended are gone")
        .ask(begin("a"))
        .ask(abort("a").gives(204))
        .ask(begin("b"))
        .ask(part("b", 1, "x"))
        .ask(complete("b", &[1]).gives(200))
        .ask(begin("c"))
        .ask(uploads().all("Upload/Key", ["c"]));
    table
        .case("list uploads: in no bucket")
        .ask(call("GET", "/{other}").query("uploads").fails(404, "NoSuchBucket"));
    for bad in ["-1", "x"] {
        table
            .case(format!("list uploads: max-uploads={bad}"))
            .ask(bucket("GET", "uploads").param("max-uploads", bad).fails(400, "InvalidArgument"));
    }
}

fn upload_pages(table: &mut Table) {
    let keys = ["a", "b/1", "b/2", "b/c/3", "d"];
    let rows: [(&str, &str, &[&str], &[&str]); 6] = [
        ("a prefix", "prefix=b%2F", &["b/1", "b/2", "b/c/3"], &[]),
        ("a delimiter", "delimiter=%2F", &["a", "d"], &["b/"]),
        ("a prefix and a delimiter", "prefix=b%2F&delimiter=%2F", &["b/1", "b/2"], &["b/c/"]),
        ("a key marker", "key-marker=b%2F1", &["b/2", "b/c/3", "d"], &[]),
        ("a key marker that is no key", "key-marker=c", &["d"], &[]),
        ("a key marker and a delimiter", "key-marker=a&delimiter=%2F", &["d"], &["b/"]),
    ];
    for (what, query, uploads_at, prefixes) in rows {
        let case = table.case(format!("list uploads: {what}"));
        for key in keys {
            case.ask(begin(key));
        }
        case.ask(
            uploads()
                .query(query)
                .all("Upload/Key", uploads_at)
                .all("CommonPrefixes/Prefix", prefixes)
                .one("IsTruncated", "false"),
        );
    }
    let case = table.case("list uploads: in pages");
    for key in keys {
        case.ask(begin(key));
    }
    case.ask(
        uploads()
            .query("max-uploads=2")
            .all("Upload/Key", ["a", "b/1"])
            .one("MaxUploads", "2")
            .one("IsTruncated", "true")
            .one("NextKeyMarker", "b/1")
            .save_xml("key-marker", "NextKeyMarker")
            .save_xml("id-marker", "NextUploadIdMarker"),
    )
    .ask(
        uploads()
            .query("max-uploads=3")
            .param("key-marker", "{key-marker}")
            .param("upload-id-marker", "{id-marker}")
            .all("Upload/Key", ["b/2", "b/c/3", "d"])
            .one("KeyMarker", "b/1")
            .one("UploadIdMarker", "{id-marker}")
            .one("IsTruncated", "false"),
    );
    table
        .case("list uploads: pages that end within the uploads of a key")
        .ask(begin("key").save_xml("first", "UploadId"))
        .ask(begin("key").save_xml("second", "UploadId"))
        .ask(begin("key").save_xml("third", "UploadId"))
        .ask(
            uploads()
                .query("max-uploads=2")
                .all("Upload/UploadId", ["{first}", "{second}"])
                .one("NextUploadIdMarker", "{second}"),
        )
        .ask(
            uploads()
                .query("key-marker=key")
                .param("upload-id-marker", "{second}")
                .all("Upload/UploadId", ["{third}"]),
        )
        .ask(uploads().query("key-marker=key").none("Upload"));
    table.case("list uploads: encoding-type=url").ask(begin("a b+\u{e9}")).ask(
        uploads().query("encoding-type=url").one("EncodingType", "url").encoded("Upload/Key", ["a b+\u{e9}"]),
    );
}
