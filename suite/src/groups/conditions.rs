//! Conditions (RFC 9110, section 13) on reads and writes, and the order in which they are looked at.

use crate::body::etag;
use crate::call::{Call, delete, get, head, put};
use crate::case::{Modes, Table};

const BODY: &str = "conditional";

/// What the conditions of a row are, its headers, and the status that they give.
type Row = (&'static str, &'static [(&'static str, &'static str)], u16);

/// Conditions on reading an object with `{tag}` and `{modified}`.
const READS: &[Row] = &[
    ("if-match holds", &[("if-match", "{tag}")], 200),
    ("if-match without quotes holds", &[("if-match", "{bare}")], 200),
    ("if-match of several holds", &[("if-match", "\"a\", {tag}, \"b\"")], 200),
    ("if-match of anything holds", &[("if-match", "*")], 200),
    ("if-match fails", &[("if-match", "\"0123\"")], 412),
    ("if-match of several fails", &[("if-match", "\"a\", \"b\"")], 412),
    ("if-none-match holds", &[("if-none-match", "\"0123\"")], 200),
    ("if-none-match fails", &[("if-none-match", "{tag}")], 304),
    ("if-none-match without quotes fails", &[("if-none-match", "{bare}")], 304),
    ("if-none-match weakly fails", &[("if-none-match", "W/{tag}")], 304),
    ("if-none-match of several fails", &[("if-none-match", "\"a\", {tag}")], 304),
    ("if-none-match of anything fails", &[("if-none-match", "*")], 304),
    ("if-modified-since an hour ago holds", &[("if-modified-since", "{date-864000}")], 200),
    ("if-modified-since the last change fails", &[("if-modified-since", "{modified}")], 304),
    ("if-modified-since no date is ignored", &[("if-modified-since", "yesterday")], 200),
    ("if-unmodified-since the last change holds", &[("if-unmodified-since", "{modified}")], 200),
    ("if-unmodified-since tomorrow holds", &[("if-unmodified-since", "{date+86400}")], 200),
    ("if-unmodified-since long ago fails", &[("if-unmodified-since", "{date-864000}")], 412),
    ("if-unmodified-since no date is ignored", &[("if-unmodified-since", "yesterday")], 200),
    (
        "if-match goes before if-unmodified-since",
        &[("if-match", "{tag}"), ("if-unmodified-since", "{date-864000}")],
        200,
    ),
    (
        "if-match that fails is not saved by if-unmodified-since",
        &[("if-match", "\"0123\""), ("if-unmodified-since", "{date+86400}")],
        412,
    ),
    (
        "if-none-match goes before if-modified-since: not modified",
        &[("if-none-match", "{tag}"), ("if-modified-since", "{date-864000}")],
        304,
    ),
    (
        "if-none-match goes before if-modified-since: modified",
        &[("if-none-match", "\"0123\""), ("if-modified-since", "{modified}")],
        200,
    ),
    (
        "if-match is looked at before if-none-match",
        &[("if-match", "\"0123\""), ("if-none-match", "{tag}")],
        412,
    ),
    ("if-match and if-none-match of the same", &[("if-match", "{tag}"), ("if-none-match", "{tag}")], 304),
    (
        "conditions go before a range that is not there: failed",
        &[("if-match", "\"0123\""), ("range", "bytes=100-200")],
        412,
    ),
    (
        "conditions go before a range that is not there: not modified",
        &[("if-none-match", "{tag}"), ("range", "bytes=100-200")],
        304,
    ),
    ("a condition that holds and a range", &[("if-match", "{tag}"), ("range", "bytes=0-3")], 206),
    (
        "a condition that holds and a range that is not there",
        &[("if-match", "{tag}"), ("range", "bytes=100-200")],
        416,
    ),
];

fn tag() -> String {
    etag(BODY.as_bytes())
}

pub(super) fn cases(table: &mut Table) {
    for (what, headers, status) in READS {
        reading(table, "GET", what, get("key"), headers, *status);
        reading(table, "HEAD", what, head("key"), headers, *status);
    }
    table
        .case("the error of a failed condition names it")
        .place("key", BODY)
        .ask(
            get("key")
                .with("if-match", "\"0123\"")
                .fails(412, "PreconditionFailed")
                .one("Condition", "If-Match"),
        )
        .ask(
            get("key")
                .with("if-unmodified-since", "{date-864000}")
                .fails(412, "PreconditionFailed")
                .one("Condition", "If-Unmodified-Since"),
        );
    for header in ["if-match", "if-none-match"] {
        table
            .case(format!("{header} on a key that is not there"))
            .ask(get("none").with(header, "\"0123\"").fails(404, "NoSuchKey"));
    }
    table
        .case("if-match on what has changed since")
        .place("key", BODY)
        .ask(put("key", "changed"))
        .ask(get("key").with("if-match", tag()).fails(412, "PreconditionFailed"))
        .ask(get("key").with("if-match", etag(b"changed")).gives_body("changed"));
    puts(table);
    deletes(table);
}

fn reading(table: &mut Table, method: &str, what: &str, call: Call, headers: &[(&str, &str)], status: u16) {
    let mut call =
        call.with_all(headers).fails(status, if status == 412 { "PreconditionFailed" } else { "" });
    call = match status {
        200 if method == "GET" => call.gives_body(BODY),
        206 if method == "GET" => call.gives_body("cond"),
        304 => call.gives_body("").has("etag", tag()),
        _ if method == "HEAD" => call.gives_body(""),
        _ => call,
    };
    table
        .case(format!("{method}: {what}"))
        .place("key", BODY)
        .ask(
            head("key")
                .gives(200)
                .save("tag", "etag")
                .save_unquoted("bare", "etag")
                .save("modified", "last-modified"),
        )
        .ask(call);
}

fn puts(table: &mut Table) {
    let kept = |body: &'static str| get("key").gives(200).gives_body(body);
    table
        .case("PUT if-none-match of anything, where nothing is")
        .ask(put("key", "new").with("if-none-match", "*").gives(200))
        .ask(kept("new"));
    table
        .case("PUT if-none-match of anything, where something is")
        .place("key", BODY)
        .ask(
            put("key", "new")
                .with("if-none-match", "*")
                .fails(412, "PreconditionFailed")
                .one("Condition", "If-None-Match"),
        )
        .ask(kept(BODY));
    table
        .case("PUT if-none-match of anything, where something was")
        .place("key", BODY)
        .ask(delete("key"))
        .ask(put("key", "new").with("if-none-match", "*").gives(200))
        .ask(kept("new"));
    table
        .case("PUT if-match holds")
        .place("key", BODY)
        .ask(put("key", "new").with("if-match", tag()).gives(200).has("etag", etag(b"new")))
        .ask(kept("new"));
    table
        .case("PUT if-match fails")
        .place("key", BODY)
        .ask(put("key", "new").with("if-match", "\"0123\"").fails(412, "PreconditionFailed"))
        .ask(kept(BODY));
    table
        .case("PUT if-match, where nothing is")
        .ask(put("key", "new").with("if-match", "\"0123\"").fails(404, "NoSuchKey"))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("PUT if-match, where something was")
        .place("key", BODY)
        .ask(delete("key"))
        .ask(put("key", "new").with("if-match", tag()).fails(404, "NoSuchKey"));
    for (what, value, status, code, body) in [
        ("of another object", "\"0123\"", 200, "", "new"),
        ("of another object, without quotes", "0123", 200, "", "new"),
        ("of this object", "{tag}", 412, "PreconditionFailed", BODY),
        ("of this object, without quotes", "{bare}", 412, "PreconditionFailed", BODY),
    ] {
        table
            .case(format!("PUT if-none-match {what}"))
            .place("key", BODY)
            .ask(head("key").save("tag", "etag").save_unquoted("bare", "etag"))
            .ask(put("key", "new").with("if-none-match", value).fails(status, code))
            .ask(kept(body));
    }
    table
        .case("PUT if-match of anything, where something is")
        .place("key", BODY)
        .ask(put("key", "new").with("if-match", "*").gives(200))
        .ask(kept("new"));
    table
        .case("PUT if-match of anything, where nothing is")
        .ask(put("key", "new").with("if-match", "*").fails(404, "NoSuchKey"));
    table
        .case("PUT if-match without quotes holds")
        .place("key", BODY)
        .ask(put("key", "new").with("if-match", tag().trim_matches('"')).gives(200))
        .ask(kept("new"));
    table
        .case("PUT if-none-match twice: only the first is kept")
        .modes_are(Modes::Plain)
        .ask(put("key", "1").with("if-none-match", "*").gives(200))
        .ask(put("key", "2").with("if-none-match", "*").fails(412, "PreconditionFailed"))
        .ask(kept("1"));
    table
        .case("PUT if-match in a chain")
        .modes_are(Modes::Plain)
        .ask(put("key", "1").save("tag", "etag"))
        .ask(put("key", "2").with("if-match", "{tag}").gives(200))
        .ask(put("key", "3").with("if-match", "{tag}").fails(412, "PreconditionFailed"))
        .ask(kept("2"));
}

fn deletes(table: &mut Table) {
    table
        .case("DELETE if-match holds")
        .place("key", BODY)
        .ask(delete("key").with("if-match", tag()).gives(204))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("DELETE if-match fails")
        .place("key", BODY)
        .ask(delete("key").with("if-match", "\"0123\"").fails(412, "PreconditionFailed"))
        .ask(get("key").gives_body(BODY));
    for value in ["*", "\"0123\""] {
        table
            .case(format!("DELETE if-match {value}, where nothing is"))
            .ask(delete("none").with("if-match", value).gives(204));
    }
    for (header, value, holds) in [
        ("x-amz-if-match-size", "11", true),
        ("x-amz-if-match-size", "12", false),
        ("x-amz-if-match-last-modified-time", "{modified}", true),
        ("x-amz-if-match-last-modified-time", "{date-864000}", false),
    ] {
        let case = table.case(format!("DELETE {header} {}", if holds { "holds" } else { "fails" }));
        case.place("key", BODY).ask(head("key").save("modified", "last-modified"));
        let ask = delete("key").with(header, value);
        if holds {
            case.ask(ask.gives(204)).ask(get("key").fails(404, "NoSuchKey"));
        } else {
            case.ask(ask.fails(412, "PreconditionFailed")).ask(get("key").gives_body(BODY));
        }
    }
    table
        .case("DELETE if-match of anything, where something is")
        .place("key", BODY)
        .ask(delete("key").with("if-match", "*").gives(204))
        .ask(get("key").fails(404, "NoSuchKey"));
}
