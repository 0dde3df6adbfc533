//! Reading an object by its parts: partNumber on GET and HEAD.

use crate::body::{etag_of_parts, pattern};
use crate::call::{get, head, put};
use crate::case::Table;

use super::{PART, begin, complete, large, part, small_object};

pub(super) fn cases(table: &mut Table) {
    let tag = etag_of_parts(&[&pattern(1, PART), b"end"]);
    let size = PART + 3;
    let first = || {
        get("key")
            .query("partNumber=1")
            .gives(206)
            .has("content-range", format!("bytes 0-{}/{size}", PART - 1))
            .has("content-length", PART.to_string())
            .has("x-amz-mp-parts-count", "2")
            .has("etag", &tag)
            .gives_body(large(1))
    };
    table
        .case("partNumber of two parts")
        .ask(begin("key"))
        .ask(part("key", 2, large(1)))
        .ask(part("key", 5, "end"))
        .ask(complete("key", &[2, 5]).gives(200))
        .ask(first())
        .ask(
            get("key")
                .query("partNumber=2")
                .gives(206)
                .has("content-range", format!("bytes {PART}-{}/{size}", PART + 2))
                .has("x-amz-mp-parts-count", "2")
                .gives_body("end"),
        )
        .ask(
            head("key")
                .query("partNumber=2")
                .gives(206)
                .has("content-length", "3")
                .has("content-range", format!("bytes {PART}-{}/{size}", PART + 2))
                .has("x-amz-mp-parts-count", "2")
                .gives_body(""),
        )
        .ask(get("key").query("partNumber=3").fails(400, "InvalidPart"))
        .ask(head("key").query("partNumber=3").gives(400).gives_body(""));
    let case = table.case("partNumber of one part");
    small_object(case, "key", "hello");
    case.ask(
        get("key")
            .query("partNumber=1")
            .gives(206)
            .has("x-amz-mp-parts-count", "1")
            .has("content-range", "bytes 0-4/5")
            .gives_body("hello"),
    );
    table
        .case("partNumber of what was put in one piece")
        .ask(put("key", "hello"))
        .ask(
            get("key")
                .query("partNumber=1")
                .gives(206)
                .lacks("x-amz-mp-parts-count")
                .has("content-range", "bytes 0-4/5")
                .gives_body("hello"),
        )
        .ask(get("key").query("partNumber=2").fails(400, "InvalidPart"));
    table
        .case("partNumber and a range")
        .ask(put("key", "hello"))
        .ask(get("key").query("partNumber=1").with("range", "bytes=0-1").fails(400, "InvalidRequest"));
    for bad in ["0", "-1", "10001", "x"] {
        table
            .case(format!("partNumber={bad} on a read"))
            .ask(put("key", "hello"))
            .ask(get("key").param("partNumber", bad).fails(400, "InvalidArgument"));
    }
    table.case("partNumber of nothing").ask(get("none").query("partNumber=1").fails(404, "NoSuchKey"));
    let case = table.case("a condition on a multipart object");
    small_object(case, "key", "hello");
    let tag = etag_of_parts(&[b"hello"]);
    case.ask(get("key").with("if-none-match", &tag).gives(304))
        .ask(get("key").with("if-match", &tag).gives(200))
        .ask(put("key", "new").with("if-match", &tag).gives(200));
}
