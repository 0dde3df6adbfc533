//! Grants by headers and as documents.

use crate::call::{Call, bucket, call, get, put};
use crate::case::Table;

use super::{EVERYBODY, SIGNED_IN, of_bucket, of_object, owned, policy, to_group, to_user};

const HEADERS: [(&str, &str); 5] = [
    ("x-amz-grant-read", "READ"),
    ("x-amz-grant-write", "WRITE"),
    ("x-amz-grant-read-acp", "READ_ACP"),
    ("x-amz-grant-write-acp", "WRITE_ACP"),
    ("x-amz-grant-full-control", "FULL_CONTROL"),
];

fn set_bucket(document: String) -> Call {
    bucket("PUT", "acl").body(document).md5()
}

fn set_object(document: String) -> Call {
    put("key", document).query("acl").md5()
}

/// What a right on a bucket lets the second account do: list, read the list, write an object, change the list.
const ON_BUCKET: [(&str, [bool; 4]); 5] = [
    ("READ", [true, false, false, false]),
    ("WRITE", [false, false, true, false]),
    ("READ_ACP", [false, true, false, false]),
    ("WRITE_ACP", [false, false, false, true]),
    ("FULL_CONTROL", [true, true, true, true]),
];

/// What a right on an object lets the second account do: read, read the list, change the list.
const ON_OBJECT: [(&str, [bool; 3]); 5] = [
    ("READ", [true, false, false]),
    ("WRITE", [false, false, false]),
    ("READ_ACP", [false, true, false]),
    ("WRITE_ACP", [false, false, true]),
    ("FULL_CONTROL", [true, true, true]),
];

fn if_let(call: Call, may: bool) -> Call {
    let call = call.by_second();
    if may { call } else { call.fails(403, "AccessDenied") }
}

pub(super) fn cases(table: &mut Table) {
    by_header(table);
    documents(table);
    rights(table);
    bad(table);
}

fn by_header(table: &mut Table) {
    for (header, permission) in HEADERS {
        let to_second = |list: Call| {
            list.all("AccessControlList/Grant/Permission", [permission])
                .all("AccessControlList/Grant/Grantee/ID", ["{second}"])
                .all("AccessControlList/Grant/Grantee/DisplayName", ["{second-name}"])
                .one("Owner/ID", "{owner}")
        };
        table
            .case(format!("object: {header}"))
            .ask(put("key", "x").with(header, "id={second}").gives(200))
            .ask(to_second(of_object()));
        table
            .case(format!("bucket: {header}"))
            .ask(bucket("PUT", "acl").with(header, "id=\"{second}\"").gives(200))
            .ask(to_second(of_bucket()));
    }
    let mut all = put("key", "x");
    for (header, _) in HEADERS {
        all = all.with(header, "id={second}");
    }
    table.case("object: all rights by headers").ask(all.gives(200)).ask(
        of_object().all("AccessControlList/Grant/Permission", HEADERS.map(|(_, permission)| permission)),
    );
    table
        .case("object: two by one header")
        .ask(put("key", "x").with("x-amz-grant-read", "id=\"{owner}\", id=\"{second}\"").gives(200))
        .ask(
            of_object()
                .all("AccessControlList/Grant/Permission", ["READ", "READ"])
                .count("AccessControlList/Grant/Grantee/ID", 2),
        );
    table
        .case("object: a group by a header")
        .ask(put("key", "x").with("x-amz-grant-read", format!("uri=\"{EVERYBODY}\"")).gives(200))
        .ask(of_object().all("AccessControlList/Grant/Grantee/URI", [EVERYBODY]))
        .ask(get("key").anonymous().gives(200));
}

fn documents(table: &mut Table) {
    table
        .case("object: a document, and back")
        .ask(put("key", "x"))
        .ask(
            set_object(policy("{owner}", &[to_group(EVERYBODY, "READ"), to_user("{owner}", "FULL_CONTROL")]))
                .gives(200),
        )
        .ask(owned(of_object(), &[(EVERYBODY, "READ")]))
        .ask(get("key").anonymous().gives(200))
        .ask(set_object(policy("{owner}", &[to_user("{owner}", "FULL_CONTROL")])).gives(200))
        .ask(get("key").anonymous().fails(403, "AccessDenied"));
    table
        .case("bucket: a document, and back")
        .ask(
            set_bucket(policy("{owner}", &[to_group(SIGNED_IN, "READ"), to_user("{owner}", "FULL_CONTROL")]))
                .gives(200),
        )
        .ask(owned(of_bucket(), &[(SIGNED_IN, "READ")]))
        .ask(bucket("GET", "").by_second().gives(200))
        .ask(set_bucket(policy("{owner}", &[to_user("{owner}", "FULL_CONTROL")])).gives(200))
        .ask(bucket("GET", "").by_second().fails(403, "AccessDenied"));
    table
        .case("bucket: groups are told before users")
        .ask(
            set_bucket(policy("{owner}", &[to_user("{owner}", "FULL_CONTROL"), to_group(EVERYBODY, "READ")]))
                .gives(200),
        )
        .ask(owned(of_bucket(), &[(EVERYBODY, "READ")]));
    table
        .case("an owner without any right can still mend the list")
        .ask(put("key", "x"))
        .ask(set_bucket(policy("{owner}", &[])).gives(200))
        .ask(of_bucket().count("AccessControlList", 1).none("AccessControlList/Grant"))
        .ask(set_bucket(policy("{owner}", &[to_user("{owner}", "FULL_CONTROL")])).gives(200))
        .ask(put("new", "x").gives(200));
}

fn rights(table: &mut Table) {
    for (permission, [list, read_list, write, write_list]) in ON_BUCKET {
        table
            .case(format!("bucket: what {permission} lets do"))
            .ask(
                set_bucket(policy(
                    "{owner}",
                    &[to_user("{owner}", "FULL_CONTROL"), to_user("{second}", permission)],
                ))
                .gives(200),
            )
            .ask(if_let(bucket("GET", "list-type=2"), list))
            .ask(if_let(call("HEAD", "/{bucket}"), list))
            .ask(if_let(bucket("GET", "acl"), read_list))
            .ask(if_let(put("theirs", "x"), write))
            .ask(if_let(call("DELETE", "/{bucket}"), false))
            .ask(if_let(bucket("PUT", "acl").with("x-amz-acl", "public-read"), write_list))
            .ask(of_bucket().one("Owner/ID", "{owner}"));
    }
    for (permission, [read, read_list, write_list]) in ON_OBJECT {
        table
            .case(format!("object: what {permission} lets do"))
            .ask(put("key", "mine"))
            .ask(
                set_object(policy(
                    "{owner}",
                    &[to_user("{owner}", "FULL_CONTROL"), to_user("{second}", permission)],
                ))
                .gives(200),
            )
            .ask(if_let(get("key"), read))
            .ask(if_let(get("key").query("acl"), read_list))
            .ask(if_let(put("key", "theirs"), false))
            .ask(if_let(put("key", "").query("acl").with("x-amz-acl", "public-read"), write_list))
            .ask(get("key").gives_body("mine"));
    }
}

fn bad(table: &mut Table) {
    let rows: [(&str, String, &str); 7] = [
        ("no XML", "hello".to_owned(), "MalformedACLError"),
        ("another document", "<Tagging><TagSet/></Tagging>".to_owned(), "MalformedACLError"),
        (
            "no owner",
            "<AccessControlPolicy><AccessControlList/></AccessControlPolicy>".to_owned(),
            "MalformedACLError",
        ),
        ("a right that is none", policy("{owner}", &[to_user("{owner}", "EVERYTHING")]), "MalformedACLError"),
        ("a user that is none", policy("{owner}", &[to_user("nobody-at-all", "READ")]), "InvalidArgument"),
        ("a group that is none", policy("{owner}", &[to_group("http://example.test/group", "READ")]), "InvalidArgument"),
        (
            "an address that nobody has",
            policy(
                "{owner}",
                &["<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                   xsi:type=\"AmazonCustomerByEmail\"><EmailAddress>nobody@example.test</EmailAddress></Grantee>\
                   <Permission>READ</Permission></Grant>"
                    .to_owned()],
            ),
            "UnresolvableGrantByEmailAddress",
        ),
    ];
    for (what, document, code) in rows {
        table
            .case(format!("bucket: a document with {what}"))
            .ask(set_bucket(document.clone()).fails(400, code))
            .ask(owned(of_bucket(), &[]));
        table
            .case(format!("object: a document with {what}"))
            .ask(put("key", "x"))
            .ask(set_object(document).fails(400, code))
            .ask(owned(of_object(), &[]));
    }
    let rows = [
        (
            "a canned list and a grant",
            &[("x-amz-acl", "private"), ("x-amz-grant-read", "id={owner}")][..],
            "InvalidRequest",
        ),
        ("a grant to nobody", &[("x-amz-grant-read", "id=nobody-at-all")], "InvalidArgument"),
        ("a grant that is none", &[("x-amz-grant-read", "hello")], "InvalidArgument"),
    ];
    for (what, headers, code) in rows {
        table
            .case(format!("object: headers with {what}"))
            .ask(put("key", "x").with_all(headers).fails(400, code))
            .ask(get("key").fails(404, "NoSuchKey"));
    }
}
