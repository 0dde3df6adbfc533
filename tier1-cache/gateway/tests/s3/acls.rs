//! ACLs of buckets and objects, with three who ask: the owner, another account, and nobody in particular.

use fallthrough_bucket::{AccountRow, BucketMode, BucketSettings, PublicAccess, Right};
use fallthrough_wire::xml::AccessControlPolicy;

use crate::client::{Client, Reply};
use crate::world::{ALT, World};

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

async fn world() -> World {
    let world = World::new().await;
    for (id, name, email) in
        [("main", "The Main", "main@example.com"), ("alt", "The Other", "alt@example.com")]
    {
        let row =
            AccountRow { id: id.to_owned(), display_name: name.to_owned(), email: Some(email.to_owned()) };
        world.engine.put_account(&row).await.unwrap();
    }
    world
}

async fn put_acl(client: &Client, path: &str, acl: &str) -> Reply {
    client.call("PUT", path).query("acl").header("x-amz-acl", acl).send().await
}

fn said(reply: &Reply) -> (u16, String) {
    (reply.status, reply.code())
}

fn policy(owner: &str, grants: &[(&str, &str)]) -> String {
    let mut text = format!("<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>");
    for (grantee, permission) in grants {
        text.push_str(&format!(
            "<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>"
        ));
    }
    text + "</AccessControlList></AccessControlPolicy>"
}

/// Each line of what GET ?acl says.
async fn lines(client: &Client, path: &str) -> Vec<String> {
    let reply = client.call("GET", path).query("acl").send().await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    let policy = AccessControlPolicy::parse(&reply.body).unwrap();
    let mut lines = vec![format!("owner {}", policy.owner.id)];
    lines.extend(
        policy.grants.iter().map(|grant| format!("{:?} {}", grant.grantee, grant.permission.as_str())),
    );
    lines
}

#[tokio::test]
async fn the_acl_of_an_object_says_who_reads_it() {
    let world = world().await;
    world.bucket("photos").await;
    let clients = [world.main(), world.client(ALT), world.anonymous()];
    let [main, ..] = &clients;
    // Who may GET, HEAD and have a range of it: the owner, another account, anybody.
    let rows = [
        (None, "+--"),
        (Some("private"), "+--"),
        (Some("public-read"), "+++"),
        (Some("public-read-write"), "+++"),
        (Some("authenticated-read"), "++-"),
        (Some("bucket-owner-read"), "+--"),
        (Some("bucket-owner-full-control"), "+--"),
    ];
    for (acl, want) in rows {
        let put = main.call("PUT", "/photos/k").body(b"secret");
        let put = if let Some(acl) = acl { put.header("x-amz-acl", acl) } else { put };
        assert_eq!(put.send().await.status, 200, "{acl:?}");
        // The same, once it is set on an object that is there.
        main.put("/photos/later", b"secret").await;
        if let Some(acl) = acl {
            assert_eq!(put_acl(main, "/photos/later", acl).await.status, 200, "{acl}");
        }
        for path in ["/photos/k", "/photos/later"] {
            for (client, want) in clients.iter().zip(want.chars()) {
                for method in ["GET", "HEAD"] {
                    let whole = client.call(method, path).send().await;
                    let range = client.call(method, path).header("range", "bytes=0-0").send().await;
                    let never = client.call(method, path).header("if-match", "\"x\"").send().await;
                    let got = (whole.status, range.status, never.status);
                    let wanted = if want == '+' { (200, 206, 412) } else { (403, 403, 403) };
                    assert_eq!(got, wanted, "{acl:?} {method} {path}");
                    if want == '-' {
                        assert!(
                            !whole.headers.contains_key("x-cache"),
                            "how it came to it tells that it is there"
                        );
                        assert!(!whole.headers.contains_key("etag"));
                    }
                }
                let acp = client.call("GET", path).query("acl").send().await;
                assert_eq!(acp.status == 200, std::ptr::eq(client, main), "{acl:?} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_acl_of_a_bucket_says_who_lists_and_writes() {
    let world = world().await;
    let main = world.main();
    let clients = [world.main(), world.client(ALT), world.anonymous()];
    let rows = [
        // LIST, HEAD, PUT, DELETE of a key, and of many; for each of the three.
        ("private", ["+++++", "-----", "-----"]),
        ("public-read", ["+++++", "++---", "++---"]),
        ("public-read-write", ["+++++", "+++++", "+++++"]),
        ("authenticated-read", ["+++++", "++---", "-----"]),
        ("bucket-owner-read", ["+++++", "-----", "-----"]),
    ];
    for (n, (acl, want)) in rows.into_iter().enumerate() {
        let bucket = format!("/made-{n}");
        let made = main.call("PUT", &bucket).header("x-amz-acl", acl).send().await;
        assert_eq!(made.status, 200, "{acl}: {}", made.text());
        let later = format!("/later-{n}");
        main.put(&later, b"").await;
        assert_eq!(put_acl(&main, &later, acl).await.status, 200, "{acl}");
        for bucket in [bucket, later] {
            for (n, (client, want)) in clients.iter().zip(want).enumerate() {
                let key = format!("{bucket}/k{n}");
                let many = b"<Delete><Object><Key>x</Key></Object></Delete>";
                let delete = client.call("POST", &bucket).query("delete");
                let delete = delete.header("x-amz-checksum-crc32", &crate::client::crc32(many)).body(many);
                let replies = [
                    client.get(&bucket).await,
                    client.head(&bucket).await,
                    client.put(&key, b"x").await,
                    client.delete(&key).await,
                    delete.send().await,
                ];
                let got: String =
                    replies.iter().map(|reply| if reply.status < 300 { '+' } else { '-' }).collect();
                assert_eq!(got, want, "{acl} {bucket} {n}");
                assert!(replies.iter().all(|reply| [200, 204, 403].contains(&reply.status)), "{acl} {n}");
                let owner = n == 0;
                let of_owner = [
                    client.call("GET", &bucket).query("tagging").send().await.status != 403,
                    client.call("GET", &bucket).query("acl").send().await.status == 200,
                ];
                assert_eq!(of_owner, [owner, owner], "{acl} {bucket} {n}");
                assert!(owner || client.delete(&bucket).await.status == 403);
                assert!(owner || put_acl(client, &bucket, "public-read").await.status == 403);
            }
        }
    }
}

#[tokio::test]
async fn what_another_account_writes_is_its_own() {
    let world = world().await;
    world.bucket("shared").await;
    let (main, alt, anyone) = (world.main(), world.client(ALT), world.anonymous());
    put_acl(&main, "/shared", "public-read-write").await;
    assert_eq!(alt.put("/shared/theirs", b"alt's").await.status, 200);
    assert_eq!(alt.get("/shared/theirs").await.text(), "alt's");
    assert_eq!(said(&main.get("/shared/theirs").await), (403, "AccessDenied".to_owned()));
    assert_eq!(main.call("GET", "/shared/theirs").query("acl").send().await.status, 403);
    assert_eq!(main.call("GET", "/shared/theirs").query("tagging").send().await.status, 403);
    assert_eq!(put_acl(&main, "/shared/theirs", "public-read").await.status, 403);
    assert_eq!(anyone.get("/shared/theirs").await.status, 403);
    assert_eq!(lines(&alt, "/shared/theirs").await, ["owner alt", "Id(\"alt\") FULL_CONTROL"]);
    // Shared with the bucket's owner, which may then do everything, and whose it still is not.
    assert_eq!(put_acl(&alt, "/shared/theirs", "bucket-owner-full-control").await.status, 200);
    assert_eq!(main.get("/shared/theirs").await.text(), "alt's");
    let want = ["owner alt", "Id(\"alt\") FULL_CONTROL", "Id(\"main\") FULL_CONTROL"];
    assert_eq!(lines(&main, "/shared/theirs").await, want);
    assert_eq!(put_acl(&main, "/shared/theirs", "private").await.status, 200);
    assert_eq!(main.get("/shared/theirs").await.status, 403, "it has taken it from itself");
    assert_eq!(alt.get("/shared/theirs").await.status, 200);
    // It may throw it away all the same.
    assert_eq!(main.delete("/shared/theirs").await.status, 204);
    assert_eq!(alt.get("/shared/theirs").await.code(), "NoSuchKey");

    alt.call("PUT", "/shared/at-once").header("x-amz-acl", "bucket-owner-read").body(b"x").send().await;
    assert_eq!(main.get("/shared/at-once").await.status, 200);
    assert_eq!(main.call("GET", "/shared/at-once").query("acl").send().await.status, 403);
    // What the owner writes over it is the owner's again.
    main.put("/shared/at-once", b"mine").await;
    assert_eq!(alt.get("/shared/at-once").await.status, 403);
    // What nobody in particular writes is the bucket's owner's.
    assert_eq!(anyone.put("/shared/left", b"x").await.status, 200);
    assert_eq!((anyone.get("/shared/left").await.status, main.get("/shared/left").await.status), (403, 200));

    // Lists say whose each is.
    alt.put("/shared/theirs", b"x").await;
    for (query, shown) in
        [("", true), ("list-type=2", false), ("list-type=2&fetch-owner=true", true), ("versions", true)]
    {
        let text = main.call("GET", "/shared").query(query).send().await.text();
        let owner = |id, name| format!("<Owner><ID>{id}</ID><DisplayName>{name}</DisplayName></Owner>");
        for (id, name) in [("main", "The Main"), ("alt", "The Other")] {
            assert_eq!(text.contains(&owner(id, name)), shown, "{query}: {text}");
        }
    }
}

#[tokio::test]
async fn grants_stand_in_headers_and_in_documents() {
    let world = world().await;
    world.bucket("photos").await;
    let (main, alt) = (world.main(), world.client(ALT));
    main.put("/photos/k", b"x").await;
    let all = format!("uri=\"{ALL_USERS}\"");
    let headers = main
        .call("PUT", "/photos/k")
        .query("acl")
        .header("x-amz-grant-read", &format!("id=\"alt\", {all}"))
        .header("x-amz-grant-write-acp", "emailAddress=\"ALT@example.com\"")
        .send()
        .await;
    assert_eq!(headers.status, 200, "{}", headers.text());
    let want = ["owner main", "Group(AllUsers) READ", "Id(\"alt\") READ", "Id(\"alt\") WRITE_ACP"];
    assert_eq!(lines(&main, "/photos/k").await, want);
    assert_eq!(main.get("/photos/k").await.status, 200, "an owner reads its own, whatever the ACL says");
    assert_eq!(world.anonymous().get("/photos/k").await.status, 200);
    assert_eq!(alt.call("GET", "/photos/k").query("acl").send().await.status, 403);
    // Who may write the ACL may give itself the rest.
    let grants = [("<ID>alt</ID>", "FULL_CONTROL"), (&format!("<URI>{AUTHENTICATED}</URI>"), "READ")];
    let text = policy("main", &grants);
    let put = alt.call("PUT", "/photos/k").query("acl").body(text.as_bytes()).send().await;
    assert_eq!(put.status, 200, "{}", put.text());
    let want = ["owner main", "Group(AuthenticatedUsers) READ", "Id(\"alt\") FULL_CONTROL"];
    assert_eq!(lines(&alt, "/photos/k").await, want);
    assert_eq!(world.anonymous().get("/photos/k").await.status, 403);
    let reply = alt.call("GET", "/photos/k").query("acl").send().await.text();
    assert!(
        reply.contains("xsi:type=\"CanonicalUser\"><ID>alt</ID><DisplayName>The Other</DisplayName>"),
        "{reply}"
    );

    // On a bucket, at its making: what is granted is all that is granted.
    let made = main.call("PUT", "/given").header("x-amz-grant-write", "id=alt").send().await;
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(alt.put("/given/k", b"x").await.status, 200);
    // But its owner can always look, and clean up.
    assert_eq!((alt.get("/given").await.status, main.get("/given").await.status), (403, 200));
    assert_eq!(put_acl(&main, "/given", "private").await.status, 200, "the ACL is always its owner's");
    assert_eq!((main.get("/given").await.status, alt.put("/given/k", b"x").await.status), (200, 403));
}

#[tokio::test]
async fn acls_that_cannot_be_are_refused() {
    let world = world().await;
    world.bucket("photos").await;
    let (main, alt) = (world.main(), world.client(ALT));
    main.put("/photos/k", b"x").await;
    let headers = [
        (vec![("x-amz-acl", "public")], "InvalidArgument"),
        (vec![("x-amz-acl", "private"), ("x-amz-grant-read", "id=alt")], "InvalidRequest"),
        (vec![("x-amz-acl", "private"), ("x-amz-acl", "public-read")], "InvalidArgument"),
        (vec![("x-amz-acl", "log-delivery-write")], "NotImplemented"),
        (vec![("x-amz-grant-read", "id=nobody")], "InvalidArgument"),
        (vec![("x-amz-grant-read", "id=FTMAIN")], "InvalidArgument"),
        (vec![("x-amz-grant-read", "alt")], "InvalidArgument"),
        (vec![("x-amz-grant-read", "uri=\"http://example.com/\"")], "InvalidArgument"),
        (
            vec![("x-amz-grant-read", "emailAddress=\"nobody@example.com\"")],
            "UnresolvableGrantByEmailAddress",
        ),
    ];
    for (headers, code) in &headers {
        for (path, query) in [("/photos/k", "acl"), ("/photos", "acl"), ("/photos/k", ""), ("/new", "")] {
            let call = main.call("PUT", path).query(query);
            let reply =
                headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await;
            assert_eq!(reply.code(), *code, "{headers:?} {path}?{query}");
        }
    }
    assert_eq!(main.head("/new").await.status, 404);
    let bodies = [
        (policy("main", &[("<ID>nobody</ID>", "READ")]), "InvalidArgument"),
        (
            policy("main", &[("<EmailAddress>no@body</EmailAddress>", "READ")]),
            "UnresolvableGrantByEmailAddress",
        ),
        (policy("alt", &[("<ID>alt</ID>", "READ")]), "AccessDenied"),
        (policy("main", &[("<ID>alt</ID>", "EAT")]), "MalformedACLError"),
        (policy("main", &[("<ID>alt</ID>", "READ"); 101]), "MalformedACLError"),
        ("<AccessControlPolicy/>".to_owned(), "MalformedACLError"),
        ("x".to_owned(), "MalformedACLError"),
        (format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{}", policy("main", &[])), "MalformedACLError"),
        ("<a>".repeat(1000), "MalformedACLError"),
        (format!("{}{}", policy("main", &[]), " ".repeat(200_000)), "MalformedACLError"),
        (" ".repeat(600_000), "EntityTooLarge"),
    ];
    for (body, code) in &bodies {
        for path in ["/photos", "/photos/k"] {
            let reply = main.call("PUT", path).query("acl").body(body.as_bytes()).send().await;
            assert_eq!(reply.code(), *code, "{path} {}", &body[..body.len().min(200)]);
        }
    }
    for path in ["/photos", "/photos/k"] {
        let nothing = main.call("PUT", path).query("acl").send().await;
        assert_eq!(said(&nothing), (400, "MissingSecurityHeader".to_owned()));
        let both = main.call("PUT", path).query("acl").header("x-amz-acl", "private");
        let both = both.body(policy("main", &[]).as_bytes()).send().await;
        assert_eq!(said(&both), (400, "UnexpectedContent".to_owned()));
        assert_eq!(lines(&main, path).await, ["owner main", "Id(\"main\") FULL_CONTROL"], "nothing changed");
    }
    assert_eq!(put_acl(&main, "/photos/missing", "private").await.code(), "NoSuchKey");
    assert_eq!(put_acl(&alt, "/photos/missing", "private").await.code(), "AccessDenied");
    assert_eq!(put_acl(&main, "/missing", "private").await.code(), "NoSuchBucket");
}

#[tokio::test]
async fn absence_is_told_to_who_may_list() {
    let world = world().await;
    world.bucket("private").await;
    world.public_bucket("public").await;
    let (main, alt, anyone) = (world.main(), world.client(ALT), world.anonymous());
    main.call("PUT", "/listed").header("x-amz-acl", "public-read").send().await;
    let writer = world
        .key(
            "FTWRITER",
            "main",
            Some(vec![fallthrough_bucket::Grant { bucket: "private".to_owned(), right: Right::Write }]),
        )
        .await;
    let rows = [
        ("/private/none", [404, 403, 403, 403]),
        ("/listed/none", [404, 404, 404, 404]),
        ("/public/none", [404, 404, 404, 404]),
    ];
    for (path, want) in rows {
        for (client, want) in [&main, &alt, &anyone, &writer].into_iter().zip(want) {
            for method in ["GET", "HEAD"] {
                let reply = client.call(method, path).send().await;
                assert_eq!(reply.status, want, "{method} {path}: {}", reply.text());
                assert_eq!(reply.headers.contains_key("x-cache"), want == 404, "{path}");
            }
        }
    }
    // Deleted is as absent as never there.
    main.put("/private/gone", b"x").await;
    main.delete("/private/gone").await;
    assert_eq!((main.get("/private/gone").await.status, alt.get("/private/gone").await.status), (404, 403));
}

/// A key that is not here has no ACL: only who may have all of the bucket has it fetched.
#[tokio::test]
async fn cold_keys_are_fetched_for_nobody_else() {
    let world = world().await;
    let bucket = world.shadowed_bucket("cold", BucketMode::Migrate).await;
    let private = BucketSettings { public: PublicAccess::None, ..bucket.settings.clone() };
    world.engine.set_bucket(&bucket.name, &move |now| *now = private.clone()).await.unwrap();
    for key in ["a", "b", "c"] {
        world.script.object(key, 100);
    }
    let (main, alt, anyone) = (world.main(), world.client(ALT), world.anonymous());
    assert_eq!(put_acl(&main, "/cold", "public-read-write").await.status, 200);
    let strangers = [&alt, &anyone];
    for client in strangers {
        for (method, query) in [("GET", ""), ("HEAD", ""), ("GET", "acl"), ("GET", "tagging")] {
            let reply = client.call(method, "/cold/a").query(query).send().await;
            assert_eq!(reply.status, 403, "{method} ?{query}");
            let range = client.call(method, "/cold/a").query(query).header("range", "bytes=0-9").send().await;
            assert_eq!(range.status, 403, "{method} ?{query}");
        }
        assert_eq!(put_acl(client, "/cold/a", "public-read").await.status, 403);
        assert_eq!(client.get("/cold/none").await.status, 403, "whether the shadow has it is not asked");
    }
    assert_eq!((world.script.calls("a"), world.script.calls("none")), (0, 0));
    // Filled, it still is its owner's alone; and after its ACL was set, it is what a client has said.
    assert_eq!(main.get("/cold/a").await.status, 200);
    assert!(alt.get("/cold/a").await.status == 403 && anyone.get("/cold/a").await.status == 403);
    assert_eq!(put_acl(&main, "/cold/a", "public-read").await.status, 200);
    assert_eq!(anyone.get("/cold/a").await.body, main.get("/cold/a").await.body);
    // Set on a key that is not here: it is fetched for the owner.
    assert_eq!(put_acl(&main, "/cold/b", "authenticated-read").await.status, 200);
    assert_eq!((alt.get("/cold/b").await.status, anyone.get("/cold/b").await.status), (200, 403));
    assert_eq!(world.script.calls("b"), 2, "asked about, then fetched");
    // Deleted and so cold no more: it is not there, and the shadow's is not shown.
    assert_eq!(anyone.delete("/cold/a").await.status, 204);
    assert_eq!((anyone.get("/cold/a").await.status, main.get("/cold/a").await.status), (404, 404));
}

#[tokio::test]
async fn uploads_are_their_beginners() {
    let world = world().await;
    world.bucket("shared").await;
    let third = world.key("FTTHIRD", "third", None).await;
    let (main, alt, anyone) = (world.main(), world.client(ALT), world.anonymous());
    put_acl(&main, "/shared", "public-read-write").await;
    let begun =
        alt.call("POST", "/shared/k").query("uploads").header("x-amz-acl", "bucket-owner-read").send().await;
    let text = begun.text();
    let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    let part = format!("partNumber=1&uploadId={id}");
    let upload = format!("uploadId={id}");
    let complete = |etag: &str| {
        format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
        )
    };
    main.put("/shared/source", b"x").await;
    put_acl(&main, "/shared/source", "public-read").await;
    for client in [&third, &anyone] {
        let replies = [
            client.call("PUT", "/shared/k").query(&part).body(b"theirs").send().await,
            client
                .call("PUT", "/shared/k")
                .query(&part)
                .header("x-amz-copy-source", "/shared/source")
                .send()
                .await,
            client.call("GET", "/shared/k").query(&upload).send().await,
            client.call("POST", "/shared/k").query(&upload).body(complete("x").as_bytes()).send().await,
            client.call("DELETE", "/shared/k").query(&upload).send().await,
        ];
        for reply in replies {
            assert_eq!(said(&reply), (403, "AccessDenied".to_owned()));
        }
    }
    let put = alt.call("PUT", "/shared/k").query(&part).body(b"alt's").send().await;
    assert_eq!(put.status, 200, "{}", put.text());
    let listed = main.call("GET", "/shared/k").query(&upload).send().await.text();
    assert!(listed.contains("<DisplayName>The Other</DisplayName>"), "{listed}");
    for _ in 0..2 {
        let body = complete(put.header("etag"));
        let done = alt.call("POST", "/shared/k").query(&upload).body(body.as_bytes()).send().await;
        assert_eq!(done.status, 200, "{}", done.text());
    }
    assert_eq!(
        lines(&alt, "/shared/k").await,
        ["owner alt", "Id(\"alt\") FULL_CONTROL", "Id(\"main\") READ"]
    );
    assert_eq!(
        (main.get("/shared/k").await.text().as_str(), third.get("/shared/k").await.status),
        ("alt's", 403)
    );
}

#[tokio::test]
async fn copies_take_what_may_be_read() {
    let world = world().await;
    world.bucket("photos").await;
    let (main, alt) = (world.main(), world.client(ALT));
    alt.put("/mine", b"").await;
    let put = |acl: &'static str| {
        main.call("PUT", "/photos/k")
            .header("x-amz-acl", acl)
            .header("x-amz-tagging", "a=b")
            .body(b"x")
            .send()
    };
    let copy = |directive: &'static str| {
        let call = alt.call("PUT", "/mine/copy").header("x-amz-copy-source", "/photos/k");
        call.header("x-amz-tagging-directive", directive).send()
    };
    put("private").await;
    for directive in ["COPY", "REPLACE"] {
        assert_eq!(said(&copy(directive).await), (403, "AccessDenied".to_owned()));
    }
    let missing = alt.call("PUT", "/mine/copy").header("x-amz-copy-source", "/photos/none").send().await;
    assert_eq!(said(&missing), (403, "AccessDenied".to_owned()), "whether it is there is not told");
    put("public-read").await;
    assert_eq!(said(&copy("COPY").await), (403, "AccessDenied".to_owned()), "its tags are its owner's");
    let copied = copy("REPLACE").await;
    assert_eq!(copied.status, 200, "{}", copied.text());
    // The copy is its maker's, and private.
    assert_eq!(lines(&alt, "/mine/copy").await, ["owner alt", "Id(\"alt\") FULL_CONTROL"]);
    assert_eq!(
        (alt.get("/mine/copy").await.text().as_str(), main.get("/mine/copy").await.status),
        ("x", 403)
    );
}

#[tokio::test]
async fn a_new_owner_gets_what_the_acl_gave_the_old_one() {
    let world = world().await;
    let bucket = world.bucket("moving").await;
    let (main, alt) = (world.main(), world.client(ALT));
    main.put("/moving/k", b"x").await;
    put_acl(&main, "/moving", "authenticated-read").await;
    let change = |now: &mut BucketSettings| now.owner = "alt".to_owned();
    world.engine.set_bucket(&bucket.name, &change).await.unwrap();
    assert_eq!(
        lines(&alt, "/moving").await,
        ["owner alt", "Group(AuthenticatedUsers) READ", "Id(\"alt\") FULL_CONTROL"]
    );
    assert_eq!((alt.get("/moving/k").await.status, main.get("/moving/k").await.status), (200, 403));
    assert_eq!(
        (alt.put("/moving/k", b"y").await.status, main.put("/moving/k", b"z").await.status),
        (200, 403)
    );
}

/// Who may do a thing may not open it to everybody.
#[tokio::test]
async fn limited_keys_do_not_change_acls() {
    let world = world().await;
    world.bucket("photos").await;
    world.main().put("/photos/k", b"x").await;
    let grant = |right| Some(vec![fallthrough_bucket::Grant { bucket: "photos".to_owned(), right }]);
    for (id, right, may) in [
        ("FTR", Right::Read, false),
        ("FTW", Right::Write, false),
        ("FTF", Right::Fill, false),
        ("FTO", Right::Owner, true),
    ] {
        let client = world.key(id, "main", grant(right)).await;
        for path in ["/photos", "/photos/k"] {
            assert_eq!(put_acl(&client, path, "private").await.status == 200, may, "{id} {path}");
        }
    }
    // A key of the other account that may only read there does not write, whatever the ACL gives its account.
    put_acl(&world.main(), "/photos", "public-read").await;
    let main = world.main();
    let give = main.call("PUT", "/photos").query("acl").header("x-amz-grant-full-control", "id=alt");
    assert_eq!(give.send().await.status, 200);
    let reader = world.key("FTALTR", "alt", grant(Right::Read)).await;
    assert_eq!((reader.get("/photos").await.status, reader.put("/photos/n", b"x").await.status), (200, 403));
    assert_eq!(world.client(ALT).put("/photos/n", b"x").await.status, 200);
}
