//! Uploads by a browser's form, with policies enforced in full
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html>).

use crate::body::{etag, pattern};
use crate::call::{call, get, head};
use crate::case::Table;
use crate::form::{Form, bare_form, form, form_v2};

/// Bytes of the file in most forms.
const CONTENT: &str = "form content";

pub(super) fn cases(table: &mut Table) {
    accepted(table);
    answers(table);
    conditions(table);
    refused(table);
    extra_fields(table);
}

fn accepted(table: &mut Table) {
    let kept = || get("key").gives(200).gives_body(CONTENT).has("etag", etag(CONTENT.as_bytes()));
    table.case("signed by SigV4").ask(form("key", CONTENT).post().gives(204)).ask(kept());
    table.case("signed by SigV2").ask(form_v2("key", CONTENT).post().gives(204)).ask(kept());
    table
        .case("unsigned, into a bucket that everybody may write")
        .without_bucket()
        .ask(call("PUT", "/{bucket}").with("x-amz-acl", "public-read-write"))
        .ask(bare_form("key", CONTENT).post().gives(204))
        .ask(kept());
    table
        .case("unsigned, into a private bucket")
        .ask(bare_form("key", CONTENT).post().fails(403, "AccessDenied"))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("a large file")
        .ask(form("key", pattern(2, 400_000)).post().gives(204))
        .ask(get("key").gives_body(pattern(2, 400_000)));
    table.case("no bytes").ask(form("key", "").post().gives(204)).ask(get("key").gives(200).gives_body(""));
    table
        .case("bytes that look like the end of the form")
        .ask(form("key", "a\r\n--b\r\n----fallthrough\r\n--\r\n").post().gives(204))
        .ask(get("key").gives_body("a\r\n--b\r\n----fallthrough\r\n--\r\n"));
    table
        .case("the name of the file in the key")
        .ask(form("folder/${filename}", CONTENT).file_name("a b.txt").post().gives(204))
        .ask(get("folder/a b.txt").gives_body(CONTENT));
    table
        .case("the name of the file without its path")
        .ask(form("${filename}", CONTENT).file_name("C:/folder/photo.txt").post().gives(204))
        .ask(get("photo.txt").gives_body(CONTENT));
    table
        .case("an awkward key")
        .ask(form("a b/\u{e9}+%41&c", CONTENT).post().gives(204))
        .ask(get("a b/\u{e9}+%41&c").gives_body(CONTENT));
    table
        .case("over what is there")
        .place("key", "old")
        .ask(form("key", CONTENT).post().gives(204))
        .ask(kept());
    table
        .case("names of fields in any case")
        .ask(form("unused", CONTENT).omit("key").field("KEY", "key").post().gives(204))
        .ask(kept());
    table.case("into no bucket").ask(form("key", CONTENT).post().to("/{other}").fails(404, "NoSuchBucket"));
}

fn answers(table: &mut Table) {
    let with = |name: &str, value: &str| form("key", CONTENT).allowed_field(name, value).post();
    table
        .case("success_action_status=200")
        .ask(with("success_action_status", "200").gives(200).gives_body(""));
    table.case("success_action_status=201").ask(
        with("success_action_status", "201")
            .gives(201)
            .root("PostResponse")
            .one("Bucket", "{bucket}")
            .one("Key", "key")
            .one("ETag", etag(CONTENT.as_bytes()))
            .count("Location", 1),
    );
    table
        .case("success_action_status=204")
        .ask(with("success_action_status", "204").gives(204).gives_body(""));
    table
        .case("success_action_status is none that is offered")
        .ask(with("success_action_status", "404").gives(204).gives_body(""));
    table.case("success_action_redirect").ask(
        with("success_action_redirect", "http://localhost/done").gives(303).has(
            "location",
            format!(
                "http://localhost/done?bucket={{bucket}}&key=key&etag=%22{}%22",
                etag(CONTENT.as_bytes()).trim_matches('"')
            ),
        ),
    );
    table.case("success_action_redirect to an address with a query").ask(
        with("success_action_redirect", "http://localhost/done?a=b")
            .gives(303)
            .begins("location", "http://localhost/done?a=b&"),
    );
    table.case("success_action_redirect goes before success_action_status").ask(
        form("key", CONTENT)
            .allowed_field("success_action_redirect", "http://localhost/done")
            .allowed_field("success_action_status", "200")
            .post()
            .gives(303),
    );
    table
        .case("redirect is the old name of success_action_redirect")
        .ask(with("redirect", "http://localhost/old").gives(303).begins("location", "http://localhost/old?"));
    table.case("the answer tells the etag and where the object is").ask(
        form("key", CONTENT).post().gives(204).has("etag", etag(CONTENT.as_bytes())).present("location"),
    );
}

/// Conditions besides that of the bucket, and whether the form of the case passes them.
const CONDITIONS: &[(&str, &[&str], bool)] = &[
    ("eq of the key", &[r#"["eq","$key","folder/key"]"#], true),
    ("eq of another key", &[r#"["eq","$key","folder/kez"]"#], false),
    ("a member for the key", &[r#"{"key":"folder/key"}"#], true),
    ("a member for another key", &[r#"{"key":"folder"}"#], false),
    ("starts-with of the key", &[r#"["starts-with","$key","folder/"]"#], true),
    ("starts-with of another key", &[r#"["starts-with","$key","other/"]"#], false),
    ("starts-with of anything", &[r#"["starts-with","$key",""]"#], true),
    ("conditions in any case", &[r#"["EQ","$Key","folder/key"]"#], true),
    ("no condition for the key", &[], false),
    ("two for the key, one fails", &[r#"["starts-with","$key","folder"]"#, r#"["eq","$key","x"]"#], false),
    (
        "one for a field that is missing",
        &[r#"["starts-with","$key",""]"#, r#"["eq","$acl","private"]"#],
        false,
    ),
    (
        "one for metadata that is missing",
        &[r#"["starts-with","$key",""]"#, r#"["starts-with","$x-amz-meta-a","b"]"#],
        false,
    ),
    ("a length within bounds", &[r#"["starts-with","$key",""]"#, r#"["content-length-range",0,100]"#], true),
    ("the least length", &[r#"["starts-with","$key",""]"#, r#"["content-length-range",12,100]"#], true),
    ("the greatest length", &[r#"["starts-with","$key",""]"#, r#"["content-length-range",0,12]"#], true),
];

fn conditions(table: &mut Table) {
    for (what, conditions, passes) in CONDITIONS {
        let mut all = vec![r#"{"bucket":"{bucket}"}"#];
        all.extend_from_slice(conditions);
        let post = form("folder/key", CONTENT).only_conditions(&all).post();
        let case = table.case(format!("condition: {what}"));
        if *passes {
            case.ask(post.gives(204)).ask(get("folder/key").gives_body(CONTENT));
        } else {
            case.ask(post.fails(403, "AccessDenied")).ask(get("folder/key").fails(404, "NoSuchKey"));
        }
    }
    let ranged =
        |range: &str| form("key", CONTENT).condition(&format!(r#"["content-length-range",{range}]"#)).post();
    table
        .case("condition: a file that is too large")
        .ask(ranged("0,11").fails(400, "EntityTooLarge"))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("condition: a file that is too small")
        .ask(ranged("13,100").fails(400, "EntityTooSmall"))
        .ask(get("key").fails(404, "NoSuchKey"));
    table.case("condition: another bucket").ask(
        form("key", CONTENT)
            .only_conditions(&[r#"{"bucket":"another"}"#, r#"["starts-with","$key",""]"#])
            .post()
            .fails(403, "AccessDenied"),
    );
    table.case("condition: no bucket").ask(
        form("key", CONTENT)
            .only_conditions(&[r#"["starts-with","$key",""]"#])
            .post()
            .fails(403, "AccessDenied"),
    );
    let policies: [(&str, &str); 9] = [
        ("no JSON", "hello"),
        ("no object", "[]"),
        ("no expiration", r#"{"conditions":[{"bucket":"{bucket}"}]}"#),
        ("no conditions", r#"{"expiration":"{iso+600}"}"#),
        ("conditions that are no list", r#"{"expiration":"{iso+600}","conditions":{}}"#),
        (
            "an expiration that is no date",
            r#"{"expiration":"soon","conditions":[["starts-with","$key",""]]}"#,
        ),
        (
            "a condition of an unknown kind",
            r#"{"expiration":"{iso+600}","conditions":[["ends-with","$key",""],{"bucket":"{bucket}"}]}"#,
        ),
        (
            "a length range of one number",
            r#"{"expiration":"{iso+600}","conditions":[["content-length-range",0],{"bucket":"{bucket}"}]}"#,
        ),
        (
            "a length range of words",
            r#"{"expiration":"{iso+600}","conditions":[["content-length-range","a","b"],{"bucket":"{bucket}"}]}"#,
        ),
    ];
    for (what, policy) in policies {
        table
            .case(format!("policy: {what}"))
            .ask(form("key", CONTENT).policy(policy).post().fails(400, "InvalidPolicyDocument"))
            .ask(get("key").fails(404, "NoSuchKey"));
    }
}

fn refused(table: &mut Table) {
    let rows: [(&str, Form, u16, &str); 13] = [
        ("expired", form("key", CONTENT).expires_in(-60), 403, "AccessDenied"),
        ("expired, SigV2", form_v2("key", CONTENT).expires_in(-60), 403, "AccessDenied"),
        ("a bad signature", form("key", CONTENT).bad_signature(), 403, "SignatureDoesNotMatch"),
        ("a bad signature, SigV2", form_v2("key", CONTENT).bad_signature(), 403, "SignatureDoesNotMatch"),
        ("an unknown key, SigV2", form_v2("key", CONTENT).signer_is("AKNOBODY"), 403, "InvalidAccessKeyId"),
        ("no signature", form("key", CONTENT).omit("x-amz-signature"), 400, "InvalidArgument"),
        ("no signature, SigV2", form_v2("key", CONTENT).omit("signature"), 400, "InvalidArgument"),
        ("no credential", form("key", CONTENT).omit("x-amz-credential"), 400, "InvalidArgument"),
        ("no date", form("key", CONTENT).omit("x-amz-date"), 400, "InvalidArgument"),
        ("no policy", form("key", CONTENT).omit("policy"), 400, "InvalidArgument"),
        ("no key", form("key", CONTENT).omit("key"), 400, "InvalidArgument"),
        ("no file", form("key", CONTENT).without_file(), 400, "IncorrectNumberOfFilesInPostRequest"),
        ("a key that is empty", form("", CONTENT), 400, "InvalidArgument"),
    ];
    for (what, form, status, code) in rows {
        table
            .case(format!("refused: {what}"))
            .ask(form.post().fails(status, code))
            .ask(get("key").fails(404, "NoSuchKey"));
    }
    table.case("refused: a body that is no form").ask(
        call("POST", "/{bucket}")
            .anonymous()
            .with("content-type", "multipart/form-data; boundary=x")
            .body("hello")
            .fails(400, "MalformedPOSTRequest"),
    );
    table
        .case("refused: a form without a boundary")
        .ask(form("key", CONTENT).post().typed("multipart/form-data").fails(400, "MalformedPOSTRequest"));
    table
        .case("refused: the key of a stranger's account")
        .ask(form("key", CONTENT).post().by_second().fails(403, "AccessDenied"))
        .ask(get("key").fails(404, "NoSuchKey"));
}

fn extra_fields(table: &mut Table) {
    table
        .case("a field that the policy does not name")
        .ask(form("key", CONTENT).field("x-amz-meta-a", "b").post().fails(403, "AccessDenied"))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("a field that is to be ignored")
        .ask(form("key", CONTENT).field("x-ignore-this", "b").post().gives(204))
        .ask(get("key").gives_body(CONTENT));
    table
        .case("a field behind the file does not count")
        .ask(
            form("key", CONTENT)
                .late_field("x-amz-meta-a", "b")
                .late_field("submit", "Upload")
                .post()
                .gives(204),
        )
        .ask(head("key").gives(200).lacks("x-amz-meta-a"));
    for (field, header, value) in [
        ("Content-Type", "content-type", "image/x-form"),
        ("Cache-Control", "cache-control", "max-age=7"),
        ("Content-Disposition", "content-disposition", "inline"),
        ("Content-Encoding", "content-encoding", "gzip"),
        ("Expires", "expires", "Wed, 21 Oct 2037 07:28:00 GMT"),
        ("x-amz-meta-colour", "x-amz-meta-colour", "blue"),
    ] {
        table
            .case(format!("the field {field} is kept"))
            .ask(form("key", CONTENT).allowed_field(field, value).post().gives(204))
            .ask(head("key").gives(200).has(header, value));
    }
    table
        .case("the type of the file's part is not the object's")
        .ask(form("key", CONTENT).post().gives(204))
        .ask(head("key").gives(200).has("content-type", "binary/octet-stream"));
    table
        .case("the field acl")
        .ask(form("key", CONTENT).allowed_field("acl", "public-read").post().gives(204))
        .ask(get("key").anonymous().gives(200).gives_body(CONTENT));
    table
        .case("the field tagging")
        .ask(
            form("key", CONTENT)
                .condition(r#"["starts-with","$tagging",""]"#)
                .field(
                    "tagging",
                    "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
                )
                .post()
                .gives(204),
        )
        .ask(
            get("key")
                .query("tagging")
                .gives(200)
                .all("TagSet/Tag/Key", ["a"])
                .all("TagSet/Tag/Value", ["b"]),
        );
    table.case("a checksum needs no condition").ask(
        form("key", CONTENT)
            .field(
                "x-amz-checksum-sha256",
                &crate::body::checksum(fallthrough_object::ChecksumAlgorithm::Sha256, CONTENT.as_bytes()),
            )
            .post()
            .gives(204),
    );
    table
        .case("every field has a file's name, as some clients send it")
        .ask(form("key", CONTENT).file_names_everywhere().post().gives(204))
        .ask(get("key").gives_body(CONTENT));
    for (what, value, status, code) in
        [("right", "CONTENT", 204, ""), ("wrong", "something else", 400, "BadDigest")]
    {
        let value = if value == "CONTENT" { CONTENT } else { value };
        let sum = crate::body::checksum(fallthrough_object::ChecksumAlgorithm::Sha256, value.as_bytes());
        table.case(format!("a checksum among the fields: {what}")).ask(
            form("key", CONTENT).allowed_field("x-amz-checksum-sha256", &sum).post().fails(status, code),
        );
    }
}
