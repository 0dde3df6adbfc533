use fallthrough_object::Timestamp;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::call::{get, head};

fn reply(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Reply {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_static(value));
    }
    Reply { status, headers: map, body: body.as_bytes().to_vec(), whole: true, continued: false }
}

fn check(call: &Call, reply: &Reply) -> Result<Variables, String> {
    let mut variables = Variables::new(Timestamp(0));
    variables.set("bucket", "b");
    call.expect.check(reply, &mut variables).map(|()| variables)
}

const LIST: &str = "<List xmlns=\"u\"><Name>b</Name><Contents><Key>a</Key></Contents><Contents><Key>b c</Key></Contents>\
                    <Encoded>b%20c+d%2Be</Encoded></List>";

#[test]
fn each_expectation_holds_and_fails() {
    let list = || reply(200, &[("etag", "\"1\""), ("x-empty", "")], LIST);
    let rows: [(&str, Call, bool); 28] = [
        ("nothing", get("k"), true),
        ("status", get("k").gives(200), true),
        ("another status", get("k").gives(204), false),
        ("an error", get("k").fails(404, "NoSuchKey"), false),
        ("header", get("k").has("etag", "\"1\""), true),
        ("another header", get("k").has("etag", "\"2\""), false),
        ("a header that is missing", get("k").has("x-none", ""), false),
        ("an empty header", get("k").has("x-empty", ""), true),
        ("a beginning", get("k").begins("etag", "\"1"), true),
        ("another beginning", get("k").begins("etag", "1"), false),
        ("within", get("k").header_holds("etag", "1"), true),
        ("not within", get("k").header_holds("etag", "2"), false),
        ("differs", get("k").differs("etag", "\"1\""), false),
        ("present", get("k").present("etag"), true),
        ("present, but empty", get("k").present("x-empty"), false),
        ("lacks", get("k").lacks("etag"), false),
        ("body", get("k").gives_body(LIST), true),
        ("another body", get("k").gives_body("x"), false),
        ("root", get("k").root("List"), true),
        ("another root", get("k").root("Error"), false),
        ("texts", get("k").all("Contents/Key", ["a", "b c"]), true),
        ("texts in another order", get("k").all("Contents/Key", ["b c", "a"]), false),
        ("one, with a variable", get("k").one("Name", "{bucket}"), true),
        ("none", get("k").none("Contents"), false),
        ("count", get("k").count("Contents", 3), false),
        ("encoded", get("k").encoded("Encoded", ["b c d+e"]), true),
        ("not encoded", get("k").encoded("Contents/Key", ["a", "b c"]), false),
        ("held", get("k").holds("<Key>a").without("<Key>z"), true),
    ];
    for (what, call, holds) in rows {
        assert_eq!(check(&call, &list()).is_ok(), holds, "{what}");
    }
}

#[test]
fn errors_are_told_by_their_code() {
    let error = reply(404, &[], "<Error><Code>NoSuchKey</Code></Error>");
    assert!(check(&get("k").fails(404, "NoSuchKey"), &error).is_ok());
    assert!(check(&get("k").fails(404, "NoSuchBucket"), &error).is_err());
    assert!(check(&get("k"), &error).is_err(), "success is expected if nothing is said");
    let bare = reply(404, &[], "");
    assert!(check(&get("k").fails(404, "NoSuchKey"), &bare).is_err());
    assert!(check(&head("k").fails(404, "NoSuchKey"), &bare).is_ok(), "a HEAD has no document");
    let hidden = reply(200, &[], "<Error><Code>InternalError</Code></Error>");
    assert_eq!(hidden.code(), "InternalError", "an upload that fails late is told within a success");
}

#[test]
fn a_body_that_ends_early_is_a_failure() {
    let cut = Reply { whole: false, ..reply(200, &[], "x") };
    assert!(check(&get("k"), &cut).is_err());
}

#[test]
fn what_is_to_be_remembered_is() {
    let answer = reply(200, &[("etag", "\"1\"")], LIST);
    let call = get("k").save("tag", "etag").save_unquoted("bare", "etag").save_xml("key", "Contents/Key");
    let variables = check(&call, &answer).unwrap();
    assert_eq!(variables.fill("{tag} {bare} {key}"), "\"1\" 1 a");
    assert!(check(&get("k").save("x", "x-none"), &answer).is_err());
    assert!(check(&get("k").save_xml("x", "None"), &answer).is_err());
}

#[test]
fn ids_must_be_the_same_in_head_and_document() {
    let document = "<Error><Code>C</Code><RequestId>1</RequestId><HostId>2</HostId></Error>";
    let call = || get("k").gives(400).request_id_is_told();
    let same = reply(400, &[("x-amz-request-id", "1"), ("x-amz-id-2", "2")], document);
    let other = reply(400, &[("x-amz-request-id", "9"), ("x-amz-id-2", "2")], document);
    assert!(check(&call(), &same).is_ok());
    assert!(check(&call(), &other).is_err());
}
