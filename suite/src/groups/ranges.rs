//! Ranges (RFC 9110, section 14), as S3 answers them: one range or the whole.

use crate::body::{etag, pattern};
use crate::call::{get, head};
use crate::case::Table;

const DIGITS: &str = "0123456789";

/// Ranges of ten digits that give a part: the part, and what Content-Range says.
const PARTS: &[(&str, &str, &str)] = &[
    ("bytes=0-0", "0", "bytes 0-0/10"),
    ("bytes=0-3", "0123", "bytes 0-3/10"),
    ("bytes=4-7", "4567", "bytes 4-7/10"),
    ("bytes=9-9", "9", "bytes 9-9/10"),
    ("bytes=0-9", "0123456789", "bytes 0-9/10"),
    ("bytes=0-", "0123456789", "bytes 0-9/10"),
    ("bytes=3-", "3456789", "bytes 3-9/10"),
    ("bytes=9-", "9", "bytes 9-9/10"),
    ("bytes=5-100", "56789", "bytes 5-9/10"),
    ("bytes=0-18446744073709551615", "0123456789", "bytes 0-9/10"),
    ("bytes=-1", "9", "bytes 9-9/10"),
    ("bytes=-4", "6789", "bytes 6-9/10"),
    ("bytes=-10", "0123456789", "bytes 0-9/10"),
    ("bytes=-100", "0123456789", "bytes 0-9/10"),
];

/// Ranges that nothing of ten digits satisfies.
const UNSATISFIABLE: &[&str] = &["bytes=10-", "bytes=10-20", "bytes=100-200", "bytes=-0"];

/// What is no range that S3 answers, so that it answers the whole.
const IGNORED: &[&str] =
    &["bytes=7-3", "bytes=", "bytes=a-b", "bytes=-", "items=0-3", "bytes=0-1,4-5", "bytes=0-1,20-30", "0-3"];

pub(super) fn cases(table: &mut Table) {
    for (range, body, content_range) in PARTS {
        let length = body.len().to_string();
        table.case(format!("{range} of ten")).place("key", DIGITS).ask(
            get("key")
                .with("range", *range)
                .gives(206)
                .gives_body(*body)
                .has("content-range", *content_range)
                .has("content-length", &length)
                .has("etag", etag(DIGITS.as_bytes())),
        );
    }
    for range in UNSATISFIABLE {
        table.case(format!("{range} of ten is not there")).place("key", DIGITS).ask(
            get("key").with("range", *range).fails(416, "InvalidRange").has("content-range", "bytes */10"),
        );
    }
    for range in IGNORED {
        table
            .case(format!("{range} is no range"))
            .place("key", DIGITS)
            .ask(get("key").with("range", *range).gives(200).gives_body(DIGITS).lacks("content-range"));
    }
    table.case("an error names what was asked and what is there").place("key", DIGITS).ask(
        get("key")
            .with("range", "bytes=20-30")
            .fails(416, "InvalidRange")
            .one("RangeRequested", "bytes=20-30")
            .one("ActualObjectSize", "10"),
    );
    for (range, status) in [("bytes=0-0", 416), ("bytes=0-", 416), ("bytes=-5", 416)] {
        table
            .case(format!("{range} of nothing"))
            .place("key", "")
            .ask(get("key").with("range", range).fails(status, "InvalidRange"));
    }
    heads(table);
    large(table);
    table
        .case("a range, then all of it, then another")
        .place("key", DIGITS)
        .ask(get("key").with("range", "bytes=2-4").gives(206).gives_body("234"))
        .ask(get("key").gives(200).gives_body(DIGITS))
        .ask(get("key").with("range", "bytes=-2").gives(206).gives_body("89"));
    table
        .case("a range keeps the headers of the object")
        .place_with(
            "key",
            DIGITS,
            &[("content-type", "text/x-digits"), ("x-amz-meta-a", "b"), ("cache-control", "no-cache")],
        )
        .ask(
            get("key")
                .with("range", "bytes=1-2")
                .gives(206)
                .has("content-type", "text/x-digits")
                .has("x-amz-meta-a", "b")
                .has("cache-control", "no-cache")
                .present("last-modified"),
        );
    if_range(table);
    table
        .case("a range of a key that is not there")
        .ask(get("none").with("range", "bytes=0-1").fails(404, "NoSuchKey"));
}

fn heads(table: &mut Table) {
    table.case("head with a range").place("key", DIGITS).ask(
        head("key")
            .with("range", "bytes=2-5")
            .gives(206)
            .has("content-range", "bytes 2-5/10")
            .has("content-length", "4")
            .gives_body(""),
    );
    table
        .case("head with a range that is not there")
        .place("key", DIGITS)
        .ask(head("key").with("range", "bytes=20-").gives(416).gives_body(""));
}

fn large(table: &mut Table) {
    const SIZE: usize = 1_300_000;
    let bytes = pattern(9, SIZE);
    let rows = [(0, 65_535), (65_535, 65_536), (524_287, 1_048_577), (1_048_576, 1_299_999)];
    for (first, last) in rows {
        table.case(format!("bytes={first}-{last} of a large one")).place("key", bytes.clone()).ask(
            get("key")
                .with("range", format!("bytes={first}-{last}"))
                .gives(206)
                .has("content-range", format!("bytes {first}-{last}/{SIZE}"))
                .gives_body(&bytes[first..=last]),
        );
    }
    table.case("the end of a large one").place("key", bytes.clone()).ask(
        get("key")
            .with("range", "bytes=-70000")
            .gives(206)
            .has("content-range", "bytes 1230000-1299999/1300000")
            .gives_body(&bytes[SIZE - 70_000..]),
    );
}

fn if_range(table: &mut Table) {
    let tag = etag(DIGITS.as_bytes());
    let part = || get("key").with("range", "bytes=2-4");
    table
        .case("if-range with the etag gives the part")
        .place("key", DIGITS)
        .ask(part().with("if-range", &tag).gives(206).gives_body("234"));
    table
        .case("if-range with another etag gives the whole")
        .place("key", DIGITS)
        .ask(part().with("if-range", "\"0123\"").gives(200).gives_body(DIGITS).lacks("content-range"));
    table
        .case("if-range with the date of last change gives the part")
        .place("key", DIGITS)
        .ask(head("key").save("modified", "last-modified"))
        .ask(part().with("if-range", "{modified}").gives(206).gives_body("234"));
    table
        .case("if-range with an earlier date gives the whole")
        .place("key", DIGITS)
        .ask(part().with("if-range", "{date-86400}").gives(200).gives_body(DIGITS));
    table
        .case("if-range without a range does nothing")
        .place("key", DIGITS)
        .ask(get("key").with("if-range", "\"0123\"").gives(200).gives_body(DIGITS));
}
