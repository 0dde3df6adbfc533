//! Awkward keys, through every operation that names one.

use crate::body::etag;
use crate::call::{bucket, delete, get, head, list_v1, list_v2, post, put};
use crate::case::{Modes, Table};

/// What a key is, and the key.
const KEYS: &[(&str, &str)] = &[
    ("a space", " "),
    ("spaces within", "a b  c"),
    ("a plus", "a+b"),
    ("a percent sign", "100%"),
    ("what looks encoded", "a%20b%2Fc%41"),
    ("double quotes", "\"quoted\""),
    ("single quotes", "it's"),
    ("markup", "<a>&amp;</a>"),
    ("a newline", "a\nb"),
    ("a tab", "a\tb"),
    ("an accent", "caf\u{e9}"),
    ("an accent of its own", "cafe\u{301}"),
    ("emoji", "\u{1F600}/\u{1F1E9}\u{1F1EA}"),
    ("Japanese", "\u{65e5}\u{672c}\u{8a9e}/\u{30ad}\u{30fc}"),
    ("a slash in front", "/leading"),
    ("a slash behind", "trailing/"),
    ("slashes together", "a//b"),
    ("slashes only", "//"),
    ("a dot", "."),
    ("two dots", ".."),
    ("a path that goes up", "a/../../b"),
    ("a backslash", "a\\b"),
    ("a question mark", "a?b=c&uploads"),
    ("a hash", "a#b"),
    ("punctuation", "!$'()*,;:@=~-_."),
    ("1024 bytes", LONG),
];

/// 1,024 bytes: as many as there may be.
const LONG: &str = concat!(
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
);

/// Text as it stands in a document.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c => out.push(c),
        }
    }
    out
}

/// Where it can be: an HTTP origin is not asked for a path that goes up.
fn modes(key: &str) -> Modes {
    if key.split('/').any(|segment| segment == "..") { Modes::PlainAndS3 } else { Modes::All }
}

pub(super) fn cases(table: &mut Table) {
    for (what, key) in KEYS {
        objects(table, what, key);
        lists(table, what, key);
        copies(table, what, key);
        uploads(table, what, key);
        batches(table, what, key);
        others(table, what, key);
    }
}

fn objects(table: &mut Table, what: &str, key: &str) {
    table
        .case(format!("{what}: get, head, put, delete"))
        .modes_are(modes(key))
        .place(key, "awkward")
        .ask(get(key).gives(200).gives_body("awkward"))
        .ask(head(key).gives(200).has("etag", etag(b"awkward")))
        .ask(get(key).with("range", "bytes=1-2").gives(206).gives_body("wk"))
        .ask(put(key, "written").gives(200))
        .ask(get(key).gives_body("written"))
        .ask(delete(key).gives(204))
        .ask(get(key).fails(404, "NoSuchKey"));
    table
        .case(format!("{what}: presigned"))
        .modes_are(modes(key))
        .place(key, "awkward")
        .ask(get(key).presigned(600).gives(200).gives_body("awkward"))
        .ask(put(key, "written").presigned(600).gives(200))
        .ask(get(key).presigned(600).gives_body("written"));
}

fn lists(table: &mut Table, what: &str, key: &str) {
    table
        .case(format!("{what}: lists"))
        .modes_are(Modes::PlainAndS3)
        .place(key, "x")
        .ask(list_v2().all("Contents/Key", [key]))
        .ask(list_v1().all("Contents/Key", [key]))
        .ask(list_v2().query("encoding-type=url").encoded("Contents/Key", [key]))
        .ask(list_v1().query("encoding-type=url").encoded("Contents/Key", [key]))
        .ask(list_v2().param("prefix", key).one("Prefix", key).all("Contents/Key", [key]))
        .ask(list_v2().param("start-after", key).none("Contents"))
        .ask(list_v1().param("marker", key).one("Marker", key).none("Contents"));
}

fn copies(table: &mut Table, what: &str, key: &str) {
    let source = format!("/{{bucket}}/{}", fallthrough_wire::uri::encode_path(key));
    table
        .case(format!("{what}: copied from and to"))
        .modes_are(modes(key))
        .place(key, "awkward")
        .ask(put("plain", "").with("x-amz-copy-source", source).gives(200))
        .ask(get("plain").gives_body("awkward"))
        .ask(put("plain", "back").gives(200))
        .ask(put(key, "").with("x-amz-copy-source", "/{bucket}/plain").gives(200))
        .ask(get(key).gives_body("back"));
}

fn uploads(table: &mut Table, what: &str, key: &str) {
    table
        .case(format!("{what}: multipart"))
        .modes_are(Modes::Plain)
        .ask(post(key, "").query("uploads").gives(200).one("Key", key).save_xml("upload", "UploadId"))
        .ask(put(key, "parts").query("partNumber=1").param("uploadId", "{upload}").save("e1", "etag"))
        .ask(bucket("GET", "uploads").gives(200).all("Upload/Key", [key]))
        .ask(get(key).param("uploadId", "{upload}").gives(200).one("Key", key).all("Part/PartNumber", ["1"]))
        .ask(
            post(
                key,
                "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{e1}</ETag></Part></CompleteMultipartUpload>",
            )
            .param("uploadId", "{upload}")
            .gives(200)
            .one("Key", key),
        )
        .ask(get(key).gives_body("parts"));
}

fn batches(table: &mut Table, what: &str, key: &str) {
    let document = format!("<Delete><Object><Key>{}</Key></Object></Delete>", escaped(key));
    table
        .case(format!("{what}: deleted in a batch"))
        .modes_are(modes(key))
        .place(key, "x")
        .ask(bucket("POST", "delete").body(document).md5().gives(200).all("Deleted/Key", [key]).none("Error"))
        .ask(get(key).fails(404, "NoSuchKey"));
}

fn others(table: &mut Table, what: &str, key: &str) {
    table
        .case(format!("{what}: tags and attributes"))
        .modes_are(modes(key))
        .place(key, "awkward")
        .ask(
            put(key, "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")
                .query("tagging")
                .gives(200),
        )
        .ask(get(key).query("tagging").gives(200).all("TagSet/Tag/Key", ["a"]))
        .ask(
            get(key)
                .query("attributes")
                .with("x-amz-object-attributes", "ObjectSize")
                .gives(200)
                .one("ObjectSize", "7"),
        );
    table
        .case(format!("{what}: an error names it"))
        .modes_are(Modes::Plain)
        .ask(get(key).fails(404, "NoSuchKey").one("Key", key).one("Resource", format!("/{{bucket}}/{key}")));
}
