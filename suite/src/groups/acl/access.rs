//! What lists let somebody else do, and everybody.

use crate::call::{Call, bucket, call, delete, get, head, put};
use crate::case::Table;

use super::{CANNED, owned};

/// Whether a canned list lets everybody read, those who sign in read, and everybody write.
fn lets(canned: &str) -> (bool, bool, bool) {
    match canned {
        "public-read" => (true, true, false),
        "public-read-write" => (true, true, true),
        "authenticated-read" => (false, true, false),
        _ => (false, false, false),
    }
}

fn made(canned: &str) -> Call {
    call("PUT", "/{bucket}").with("x-amz-acl", canned).gives(200)
}

/// The call succeeds, or is refused.
fn if_let(call: Call, may: bool) -> Call {
    if may { call } else { call.fails(403, "AccessDenied") }
}

pub(super) fn cases(table: &mut Table) {
    for (bucket_acl, _) in CANNED {
        let (everybody, signed_in, writers) = lets(bucket_acl);
        let lists = || [bucket("GET", "list-type=2"), bucket("GET", ""), call("HEAD", "/{bucket}")];
        let case = table.case(format!("a bucket that is {bucket_acl}: list"));
        case.without_bucket().ask(made(bucket_acl)).ask(put("key", "x"));
        for list in lists() {
            case.ask(if_let(list.clone().anonymous(), everybody)).ask(if_let(list.by_second(), signed_in));
        }
        let case = table.case(format!("a bucket that is {bucket_acl}: write"));
        case.without_bucket()
            .ask(made(bucket_acl))
            .ask(put("key", "mine"))
            .ask(if_let(put("second", "theirs").by_second(), writers))
            .ask(if_let(put("nobody", "theirs").anonymous(), writers))
            .ask(if_let(put("key", "theirs").by_second(), writers))
            .ask(if_let(delete("key").by_second(), writers));
        if !writers {
            case.ask(get("key").gives_body("mine"));
        }
        for (object_acl, _) in CANNED {
            let (everybody, signed_in, _) = lets(object_acl);
            table
                .case(format!("an object that is {object_acl} in a bucket that is {bucket_acl}"))
                .without_bucket()
                .ask(made(bucket_acl))
                .ask(put("key", "x").with("x-amz-acl", *object_acl))
                .ask(if_let(get("key").anonymous(), everybody))
                .ask(if_let(head("key").anonymous(), everybody))
                .ask(if_let(get("key").by_second(), signed_in))
                .ask(if_let(get("key").query("acl").by_second(), false))
                .ask(get("key").gives_body("x"));
        }
    }
    missing(table);
    theirs(table);
}

fn missing(table: &mut Table) {
    table
        .case("who may list learns that a key is not there, others do not")
        .without_bucket()
        .ask(made("public-read"))
        .ask(get("none").anonymous().fails(404, "NoSuchKey"))
        .ask(bucket("PUT", "acl").with("x-amz-acl", "private"))
        .ask(get("none").anonymous().fails(403, "AccessDenied"));
    table
        .case("who signs wrongly is nobody, also where everybody may read")
        .without_bucket()
        .ask(made("public-read"))
        .ask(put("key", "x").with("x-amz-acl", "public-read"))
        .ask(get("key").keyed("{access-key}", "wrong").fails(403, "SignatureDoesNotMatch"))
        .ask(get("key").keyed("AKNOBODY", "wrong").fails(403, "InvalidAccessKeyId"));
    table
        .case("nobody may change the list of what everybody may write")
        .without_bucket()
        .ask(made("public-read-write"))
        .ask(put("key", "x").with("x-amz-acl", "public-read-write"))
        .ask(bucket("PUT", "acl").with("x-amz-acl", "private").anonymous().fails(403, "AccessDenied"))
        .ask(put("key", "").query("acl").with("x-amz-acl", "private").by_second().fails(403, "AccessDenied"))
        .ask(call("DELETE", "/{bucket}").by_second().fails(403, "AccessDenied"));
}

fn theirs(table: &mut Table) {
    let theirs = |acl: &str| put("key", "theirs").by_second().with("x-amz-acl", acl);
    table
        .case("an object belongs to who wrote it")
        .without_bucket()
        .ask(made("public-read-write"))
        .ask(theirs("private"))
        .ask(get("key").by_second().gives_body("theirs"))
        .ask(
            get("key")
                .query("acl")
                .by_second()
                .one("Owner/ID", "{second}")
                .one("Owner/DisplayName", "{second-name}")
                .all("AccessControlList/Grant/Grantee/ID", ["{second}"]),
        )
        .ask(get("key").fails(403, "AccessDenied"))
        .ask(bucket("GET", "").gives(200).all("Contents/Owner/ID", ["{second}"]))
        .ask(delete("key").gives(204));
    table
        .case("bucket-owner-read")
        .without_bucket()
        .ask(made("public-read-write"))
        .ask(theirs("bucket-owner-read"))
        .ask(get("key").gives_body("theirs"))
        .ask(get("key").query("acl").fails(403, "AccessDenied"))
        .ask(
            get("key")
                .query("acl")
                .by_second()
                .one("Owner/ID", "{second}")
                .count("AccessControlList/Grant", 2)
                .holds("<Permission>READ</Permission>")
                .holds("{owner}"),
        );
    table
        .case("bucket-owner-full-control")
        .without_bucket()
        .ask(made("public-read-write"))
        .ask(theirs("bucket-owner-full-control"))
        .ask(get("key").gives_body("theirs"))
        .ask(
            get("key")
                .query("acl")
                .one("Owner/ID", "{second}")
                .all("AccessControlList/Grant/Permission", ["FULL_CONTROL", "FULL_CONTROL"]),
        );
    table
        .case("bucket-owner-full-control in one's own bucket")
        .ask(put("key", "x").with("x-amz-acl", "bucket-owner-full-control"))
        .ask(owned(super::of_object(), &[]));
    table
        .case("who writes over an object owns the new one")
        .without_bucket()
        .ask(made("public-read-write"))
        .ask(put("key", "mine"))
        .ask(theirs("private"))
        .ask(get("key").fails(403, "AccessDenied"))
        .ask(get("key").by_second().gives_body("theirs"));
}
