//! GetObjectAttributes.

use crate::body::{checksum, etag};
use crate::call::{Call, get, put};
use crate::case::{Modes, Table};

fn attributes(names: &str) -> Call {
    get("key").query("attributes").with("x-amz-object-attributes", names)
}

/// Each attribute, and where it stands in the document.
const ALONE: &[(&str, &str)] =
    &[("ETag", "ETag"), ("ObjectSize", "ObjectSize"), ("StorageClass", "StorageClass")];

pub(super) fn cases(table: &mut Table) {
    let bare = etag(b"hello").trim_matches('"').to_owned();
    table.case("all").place("key", "hello").ask(
        attributes("ETag,Checksum,ObjectParts,StorageClass,ObjectSize")
            .gives(200)
            .one("ETag", &bare)
            .one("ObjectSize", "5")
            .one("StorageClass", "STANDARD")
            .none("ObjectParts")
            .present("last-modified")
            .lacks("x-amz-version-id")
            .lacks("x-amz-delete-marker"),
    );
    for (name, _) in ALONE {
        let mut call = attributes(name).gives(200);
        for (_, path) in ALONE {
            call = if path == name { call.count(path, 1) } else { call.none(path) };
        }
        table.case(format!("{name} alone")).place("key", "hello").ask(call);
    }
    table
        .case("with spaces between")
        .place("key", "hello")
        .ask(attributes("ETag, ObjectSize").gives(200).one("ETag", &bare).one("ObjectSize", "5"));
    table.case("in several headers").place("key", "hello").ask(
        attributes("ETag")
            .with("x-amz-object-attributes", "ObjectSize")
            .gives(200)
            .one("ETag", &bare)
            .one("ObjectSize", "5"),
    );
    let sum = checksum(fallthrough_object::ChecksumAlgorithm::Sha256, b"hello");
    table
        .case("the checksum")
        .modes_are(Modes::PlainAndS3)
        .place_with("key", "hello", &[("x-amz-checksum-sha256", &sum)])
        .ask(
            attributes("Checksum")
                .gives(200)
                .one("Checksum/ChecksumSHA256", &sum)
                .one("Checksum/ChecksumType", "FULL_OBJECT")
                .none("ETag"),
        );
    table
        .case("of nothing")
        .ask(get("key").query("attributes").with("x-amz-object-attributes", "ETag").fails(404, "NoSuchKey"));
    table
        .case("without the header")
        .modes_are(Modes::Plain)
        .place("key", "x")
        .ask(get("key").query("attributes").fails(400, "InvalidArgument"));
    table.case("an attribute that is none").modes_are(Modes::Plain).place("key", "x").ask(
        get("key")
            .query("attributes")
            .with("x-amz-object-attributes", "Colour")
            .fails(400, "InvalidArgument"),
    );
    for (header, value) in
        [("x-amz-max-parts", "-1"), ("x-amz-max-parts", "x"), ("x-amz-part-number-marker", "-1")]
    {
        table.case(format!("{header}: {value}")).modes_are(Modes::Plain).place("key", "x").ask(
            get("key")
                .query("attributes")
                .with("x-amz-object-attributes", "ObjectParts")
                .with(header, value)
                .fails(400, "InvalidArgument"),
        );
    }
    parts(table);
}

fn parts(table: &mut Table) {
    const PART: usize = 5 << 20;
    let case = table.case("parts");
    let case = case.modes_are(Modes::Plain);
    case.ask(
        crate::call::post("key", "")
            .query("uploads")
            .with("x-amz-checksum-algorithm", "SHA256")
            .save_xml("upload", "UploadId"),
    );
    let mut manifest = String::new();
    let sizes = [PART, PART, 10];
    for (number, len) in (1..).zip(sizes) {
        let bytes = crate::body::pattern(number, len);
        let sum = checksum(fallthrough_object::ChecksumAlgorithm::Sha256, &bytes);
        manifest.push_str(&format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>{{e{number}}}</ETag><ChecksumSHA256>{sum}</ChecksumSHA256></Part>"
        ));
        case.ask(
            put("key", bytes)
                .query(&format!("partNumber={number}"))
                .param("uploadId", "{upload}")
                .with("x-amz-checksum-sha256", sum)
                .save(&format!("e{number}"), "etag"),
        );
    }
    case.ask(
        crate::call::post("key", format!("<CompleteMultipartUpload>{manifest}</CompleteMultipartUpload>"))
            .param("uploadId", "{upload}")
            .gives(200),
    )
    .ask(
        attributes("ObjectParts,Checksum,ObjectSize")
            .gives(200)
            .one("ObjectSize", (2 * PART + 10).to_string())
            .one("ObjectParts/PartsCount", "3")
            .one("ObjectParts/IsTruncated", "false")
            .all("ObjectParts/Part/PartNumber", ["1", "2", "3"])
            .all("ObjectParts/Part/Size", sizes)
            .count("ObjectParts/Part/ChecksumSHA256", 3)
            .one("Checksum/ChecksumType", "COMPOSITE"),
    )
    .ask(
        attributes("ObjectParts")
            .with("x-amz-max-parts", "1")
            .with("x-amz-part-number-marker", "1")
            .gives(200)
            .one("ObjectParts/PartsCount", "3")
            .one("ObjectParts/MaxParts", "1")
            .one("ObjectParts/PartNumberMarker", "1")
            .one("ObjectParts/NextPartNumberMarker", "2")
            .one("ObjectParts/IsTruncated", "true")
            .all("ObjectParts/Part/PartNumber", ["2"]),
    )
    .ask(
        attributes("ObjectParts")
            .with("x-amz-part-number-marker", "2")
            .gives(200)
            .one("ObjectParts/IsTruncated", "false")
            .all("ObjectParts/Part/PartNumber", ["3"]),
    );
}
