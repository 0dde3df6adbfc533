//! Tags of buckets and objects.

use crate::body::etag;
use crate::call::{Call, bucket, call, delete, get, head, put};
use crate::case::{Modes, Table};

/// A document with these tags.
fn tagging(tags: &[(&str, &str)]) -> String {
    let tags: String = tags
        .iter()
        .map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"))
        .collect();
    format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
}

fn tag(key: &str, tags: &[(&str, &str)]) -> Call {
    put(key, tagging(tags)).query("tagging")
}

/// The tags of an object are exactly these, in order of their keys.
fn tagged(key: &str, tags: &[(&str, &str)]) -> Call {
    get(key)
        .query("tagging")
        .gives(200)
        .root("Tagging")
        .count("TagSet", 1)
        .all("TagSet/Tag/Key", tags.iter().map(|(key, _)| *key))
        .all("TagSet/Tag/Value", tags.iter().map(|(_, value)| *value))
}

pub(super) fn cases(table: &mut Table) {
    of_bucket(table);
    of_object(table);
    by_header(table);
    behind(table);
    limits(table);
    malformed(table);
}

fn of_bucket(table: &mut Table) {
    let set = |tags: &[(&str, &str)]| bucket("PUT", "tagging").body(tagging(tags)).md5();
    let none = || bucket("GET", "tagging").fails(404, "NoSuchTagSet");
    table
        .case("bucket: put, get, delete")
        .modes_are(Modes::Plain)
        .ask(none())
        .ask(set(&[("a", "1"), ("b", "2")]).gives(204))
        .ask(
            bucket("GET", "tagging")
                .gives(200)
                .root("Tagging")
                .all("TagSet/Tag/Key", ["a", "b"])
                .all("TagSet/Tag/Value", ["1", "2"]),
        )
        .ask(bucket("DELETE", "tagging").gives(204))
        .ask(none())
        .ask(bucket("DELETE", "tagging").gives(204));
    table
        .case("bucket: put replaces")
        .modes_are(Modes::Plain)
        .ask(set(&[("a", "1")]).gives(204))
        .ask(set(&[("b", "2")]).gives(204))
        .ask(bucket("GET", "tagging").gives(200).all("TagSet/Tag/Key", ["b"]));
    table
        .case("bucket: without a digest")
        .modes_are(Modes::Plain)
        .ask(bucket("PUT", "tagging").body(tagging(&[("a", "1")])).gives(204));
    table
        .case("bucket: a key twice")
        .modes_are(Modes::Plain)
        .ask(set(&[("a", "1"), ("a", "2")]).fails(400, "InvalidTag"))
        .ask(none());
    table
        .case("bucket: made again, it has none")
        .modes_are(Modes::Plain)
        .ask(set(&[("a", "1")]).gives(204))
        .ask(call("DELETE", "/{bucket}").gives(204))
        .ask(call("PUT", "/{bucket}").gives(200))
        .ask(none());
    table
        .case("bucket: tags of the bucket are not its objects'")
        .modes_are(Modes::Plain)
        .ask(set(&[("a", "1")]).gives(204))
        .ask(put("key", "x"))
        .ask(tagged("key", &[]));
}

fn of_object(table: &mut Table) {
    table
        .case("put, get, delete")
        .place("key", "x")
        .ask(tagged("key", &[]))
        .ask(tag("key", &[("b", "2"), ("a", "1")]).gives(200))
        .ask(tagged("key", &[("a", "1"), ("b", "2")]))
        .ask(delete("key").query("tagging").gives(204))
        .ask(tagged("key", &[]));
    table
        .case("put replaces")
        .place("key", "x")
        .ask(tag("key", &[("a", "1")]).gives(200))
        .ask(tag("key", &[("c", "3")]).gives(200))
        .ask(tagged("key", &[("c", "3")]));
    table
        .case("put of no tags")
        .place("key", "x")
        .ask(tag("key", &[("a", "1")]).gives(200))
        .ask(tag("key", &[]).gives(200))
        .ask(tagged("key", &[]));
    table
        .case("tags change nothing else")
        .place_with("key", "hello", &[("x-amz-meta-a", "b"), ("content-type", "text/x-tagged")])
        .ask(head("key").save("modified", "last-modified"))
        .ask(tag("key", &[("a", "1")]).gives(200))
        .ask(
            get("key")
                .gives(200)
                .gives_body("hello")
                .has("etag", etag(b"hello"))
                .has("x-amz-meta-a", "b")
                .has("content-type", "text/x-tagged")
                .has("last-modified", "{modified}"),
        );
    table
        .case("their number is told")
        .place("key", "x")
        .ask(head("key").gives(200).lacks("x-amz-tagging-count"))
        .ask(tag("key", &[("a", "1"), ("b", "2")]).gives(200))
        .ask(head("key").gives(200).has("x-amz-tagging-count", "2"))
        .ask(get("key").gives(200).has("x-amz-tagging-count", "2"))
        .ask(delete("key").query("tagging").gives(204))
        .ask(head("key").gives(200).lacks("x-amz-tagging-count"));
    table
        .case("another object of the key has none")
        .place("key", "x")
        .ask(tag("key", &[("a", "1")]).gives(200))
        .ask(put("key", "y"))
        .ask(tagged("key", &[]));
    for (method, what) in [("GET", "get"), ("PUT", "put"), ("DELETE", "delete")] {
        let ask = call(method, "/{bucket}/none").query("tagging");
        let ask = if method == "PUT" { ask.body(tagging(&[("a", "1")])) } else { ask };
        table.case(format!("{what} of no object")).ask(ask.fails(404, "NoSuchKey"));
    }
    table
        .case("of the version null")
        .place("key", "x")
        .ask(tag("key", &[("a", "1")]).query("versionId=null").gives(200))
        .ask(tagged("key", &[("a", "1")]).query("versionId=null"));
    table
        .case("values of every kind that is allowed")
        .place("key", "x")
        .ask(
            tag(
                "key",
                &[("a b", "c d"), ("key+-=._:/@", "value+-=._:/@"), ("\u{e9}", "\u{fc}"), ("empty", "")],
            )
            .gives(200),
        )
        .ask(tagged(
            "key",
            &[("a b", "c d"), ("empty", ""), ("key+-=._:/@", "value+-=._:/@"), ("\u{e9}", "\u{fc}")],
        ));
}

fn by_header(table: &mut Table) {
    for (what, value, tags) in [
        ("two", "b=2&a=1", &[("a", "1"), ("b", "2")][..]),
        ("encoded", "a%20b=c%40d&e=f%3Dg", &[("a b", "c@d"), ("e", "f=g")]),
        ("with a plus for a space", "a=b+c", &[("a", "b c")]),
        ("without a value", "foo=bar&bar", &[("bar", ""), ("foo", "bar")]),
        ("none", "", &[]),
    ] {
        table
            .case(format!("x-amz-tagging: {what}"))
            .modes_are(Modes::Plain)
            .ask(put("key", "x").with("x-amz-tagging", value).gives(200))
            .ask(tagged("key", tags));
    }
    let eleven: Vec<String> = (0..11).map(|number| format!("k{number}=v")).collect();
    for (what, value) in [
        ("11", eleven.join("&")),
        ("a key of 129", format!("{}=v", "k".repeat(129))),
        ("a value of 257", format!("k={}", "v".repeat(257))),
    ] {
        table
            .case(format!("x-amz-tagging: {what} is too much"))
            .modes_are(Modes::Plain)
            .ask(put("key", "x").with("x-amz-tagging", value).fails(400, "InvalidTag"))
            .ask(get("key").fails(404, "NoSuchKey"));
    }
}

fn limits(table: &mut Table) {
    let (key_max, value_max) = ("k".repeat(128), "v".repeat(256));
    let names: Vec<String> = (0..11).map(|number| format!("k{number:02}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    table
        .case("10 tags")
        .place("key", "x")
        .ask(tag("key", &many[..10]).gives(200))
        .ask(tagged("key", &many[..10]))
        .ask(head("key").has("x-amz-tagging-count", "10"));
    table
        .case("the longest key and value")
        .place("key", "x")
        .ask(tag("key", &[(&key_max, &value_max)]).gives(200))
        .ask(tagged("key", &[(&key_max, &value_max)]));
    let (long_key, long_value) = (format!("{key_max}k"), format!("{value_max}v"));
    let rows: [(&str, &[(&str, &str)]); 5] = [
        ("11 tags", &many),
        ("a key of 129", &[(&long_key, "v")]),
        ("a value of 257", &[("k", &long_value)]),
        ("a key twice", &[("a", "1"), ("a", "2")]),
        ("an empty key", &[("", "1")]),
    ];
    for (what, tags) in rows {
        table
            .case(format!("refused: {what}"))
            .place("key", "x")
            .ask(tag("key", &[("old", "1")]).gives(200))
            .ask(tag("key", tags).fails(400, "InvalidTag"))
            .ask(tagged("key", &[("old", "1")]));
    }
}

/// Tags that an object came with, wherever it is.
fn behind(table: &mut Table) {
    const GIVEN: &[(&str, &str)] = &[("x-amz-tagging", "a=1&b=2%203")];
    const TAGS: &[(&str, &str)] = &[("a", "1"), ("b", "2 3")];
    table
        .case("an object is told with the tags that it was put with")
        .modes_are(Modes::PlainAndS3)
        .place_with("key", "x", GIVEN)
        .ask(tagged("key", TAGS))
        .ask(head("key").has("x-amz-tagging-count", "2"))
        .ask(get("key").gives_body("x").has("x-amz-tagging-count", "2"))
        .ask(tagged("key", TAGS));
    table
        .case("a copy has the tags that its source was put with")
        .modes_are(Modes::PlainAndS3)
        .place_with("key", "x", GIVEN)
        .ask(put("copy", "").with("x-amz-copy-source", "/{bucket}/key").gives(200))
        .ask(tagged("copy", TAGS));
    table
        .case("tags that an object was put with are replaced")
        .modes_are(Modes::PlainAndS3)
        .place_with("key", "x", GIVEN)
        .ask(tag("key", &[("c", "4")]).gives(200))
        .ask(tagged("key", &[("c", "4")]));
    table
        .case("tags that an object was put with are deleted")
        .modes_are(Modes::PlainAndS3)
        .place_with("key", "x", GIVEN)
        .ask(delete("key").query("tagging").gives(204))
        .ask(tagged("key", &[]))
        .ask(get("key").gives_body("x").lacks("x-amz-tagging-count"));
}

fn malformed(table: &mut Table) {
    for (what, document) in [
        ("no body", ""),
        ("no XML", "hello"),
        ("another document", "<Delete><Object><Key>a</Key></Object></Delete>"),
        ("no tag set", "<Tagging></Tagging>"),
        ("a tag without a value", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"),
        ("a tag without a key", "<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>"),
    ] {
        table
            .case(format!("object, malformed: {what}"))
            .modes_are(Modes::Plain)
            .ask(put("key", "x"))
            .ask(put("key", document).query("tagging").fails(400, "MalformedXML"))
            .ask(tagged("key", &[]));
        table
            .case(format!("bucket, malformed: {what}"))
            .modes_are(Modes::Plain)
            .ask(bucket("PUT", "tagging").body(document).md5().fails(400, "MalformedXML"))
            .ask(bucket("GET", "tagging").fails(404, "NoSuchTagSet"));
    }
}
