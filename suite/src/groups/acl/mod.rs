//! Access control lists: canned, by headers, as documents, and what they let whom do.

mod access;
mod grants;

use crate::call::{Call, bucket, call, get, head, put};
use crate::case::Table;

const EVERYBODY: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const SIGNED_IN: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

/// Canned ACLs: for each the groups that get something, in order, with what they get.
const CANNED: &[(&str, &[(&str, &str)])] = &[
    ("private", &[]),
    ("public-read", &[(EVERYBODY, "READ")]),
    ("public-read-write", &[(EVERYBODY, "READ"), (EVERYBODY, "WRITE")]),
    ("authenticated-read", &[(SIGNED_IN, "READ")]),
];

/// The list of the case's bucket.
fn of_bucket() -> Call {
    bucket("GET", "acl").gives(200).root("AccessControlPolicy")
}

/// The list of an object.
fn of_object() -> Call {
    get("key").query("acl").gives(200).root("AccessControlPolicy")
}

/// The list gives groups these rights, and the owner all.
fn owned(list: Call, groups: &[(&str, &str)]) -> Call {
    let permissions: Vec<&str> =
        groups.iter().map(|(_, permission)| *permission).chain(["FULL_CONTROL"]).collect();
    list.one("Owner/ID", "{owner}")
        .one("Owner/DisplayName", "{owner-name}")
        .all("AccessControlList/Grant/Permission", permissions)
        .all("AccessControlList/Grant/Grantee/URI", groups.iter().map(|(uri, _)| *uri))
        .all("AccessControlList/Grant/Grantee/ID", ["{owner}"])
        .all("AccessControlList/Grant/Grantee/DisplayName", ["{owner-name}"])
}

/// A document with an owner and grants.
fn policy(owner: &str, grants: &[String]) -> String {
    format!(
        "<AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>{owner}</ID></Owner>\
         <AccessControlList>{}</AccessControlList></AccessControlPolicy>",
        grants.concat()
    )
}

/// A grant to a user.
fn to_user(id: &str, permission: &str) -> String {
    format!(
        "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\">\
         <ID>{id}</ID></Grantee><Permission>{permission}</Permission></Grant>"
    )
}

/// A grant to a group.
fn to_group(uri: &str, permission: &str) -> String {
    format!(
        "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\">\
         <URI>{uri}</URI></Grantee><Permission>{permission}</Permission></Grant>"
    )
}

pub(super) fn cases(table: &mut Table) {
    table.case("bucket: if nothing is said").ask(owned(of_bucket(), &[]).holds("xsi:type=\"CanonicalUser\""));
    table
        .case("object: if nothing is said")
        .ask(put("key", "x"))
        .ask(owned(of_object(), &[]).holds("xsi:type=\"CanonicalUser\""));
    for (canned, groups) in CANNED {
        table
            .case(format!("bucket: created {canned}"))
            .without_bucket()
            .ask(call("PUT", "/{bucket}").with("x-amz-acl", *canned).gives(200))
            .ask(owned(of_bucket(), groups));
        table
            .case(format!("bucket: set to {canned}, and back"))
            .ask(bucket("PUT", "acl").with("x-amz-acl", *canned).gives(200))
            .ask(owned(of_bucket(), groups))
            .ask(bucket("PUT", "acl").with("x-amz-acl", "private").gives(200))
            .ask(owned(of_bucket(), &[]));
        table
            .case(format!("object: put {canned}"))
            .ask(put("key", "x").with("x-amz-acl", *canned).gives(200))
            .ask(owned(of_object(), groups));
        table
            .case(format!("object: set to {canned}, and back"))
            .ask(put("key", "x"))
            .ask(put("key", "").query("acl").with("x-amz-acl", *canned).gives(200))
            .ask(owned(of_object(), groups))
            .ask(put("key", "").query("acl").with("x-amz-acl", "private").gives(200))
            .ask(owned(of_object(), &[]));
    }
    table
        .case("groups are told by their type")
        .ask(put("key", "x").with("x-amz-acl", "public-read"))
        .ask(of_object().holds("xsi:type=\"Group\""));
    table
        .case("an object keeps the rest when its list changes")
        .ask(put("key", "hello").with("x-amz-meta-a", "b").with("content-type", "text/x-acl"))
        .ask(head("key").save("modified", "last-modified").save("tag", "etag"))
        .ask(put("key", "").query("acl").with("x-amz-acl", "public-read").gives(200))
        .ask(
            get("key")
                .gives_body("hello")
                .has("last-modified", "{modified}")
                .has("etag", "{tag}")
                .has("x-amz-meta-a", "b")
                .has("content-type", "text/x-acl"),
        );
    table
        .case("another object of the key is private again")
        .ask(put("key", "x").with("x-amz-acl", "public-read"))
        .ask(put("key", "y"))
        .ask(owned(of_object(), &[]));
    bad(table);
    access::cases(table);
    grants::cases(table);
}

fn bad(table: &mut Table) {
    table
        .case("bucket: created with a canned list that is none")
        .without_bucket()
        .ask(call("PUT", "/{bucket}").with("x-amz-acl", "public-ready").fails(400, "InvalidArgument"));
    table
        .case("bucket: a canned list that is none")
        .ask(bucket("PUT", "acl").with("x-amz-acl", "public-ready").fails(400, "InvalidArgument"));
    table
        .case("object: a canned list that is none")
        .ask(put("key", "x").with("x-amz-acl", "public-ready").fails(400, "InvalidArgument"))
        .ask(get("key").fails(404, "NoSuchKey"));
    table
        .case("bucket: created again with another list")
        .ask(call("PUT", "/{bucket}").with("x-amz-acl", "public-read").fails(409, "BucketAlreadyExists"))
        .ask(owned(of_bucket(), &[]));
    for (method, what) in [("GET", "get"), ("PUT", "put")] {
        let with = |call: Call| if method == "PUT" { call.with("x-amz-acl", "private") } else { call };
        table
            .case(format!("{what} of no object"))
            .ask(with(call(method, "/{bucket}/none").query("acl")).fails(404, "NoSuchKey"));
        table
            .case(format!("{what} of no bucket"))
            .ask(with(call(method, "/{other}").query("acl")).fails(404, "NoSuchBucket"));
    }
}
