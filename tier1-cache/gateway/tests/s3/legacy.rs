//! Presigned URLs of signature version 2.

use fallthrough_gateway::GatewayOptions;
use fallthrough_object::Timestamp;
use fallthrough_wire::sigv4::{Secret, presign_v2};
use http::Method;

use crate::world::{MAIN, World};

fn url(world: &World, method: &Method, path: &str, secs: u64) -> String {
    let until = Timestamp(world.clock.now().0 + secs * 1000);
    presign_v2(MAIN.0, &Secret::new(MAIN.1), method, path, until)
}

#[tokio::test]
async fn objects_are_read_with_urls_of_version_2() {
    let world = World::new().await;
    world.bucket("photos").await;
    world.main().put("/photos/a/b", b"secret").await;
    let anyone = world.anonymous();
    for method in [Method::GET, Method::HEAD] {
        let query = url(&world, &method, "/photos/a/b", 60);
        let reply = anyone.call(method.as_str(), "/photos/a/b").query(&query).send().await;
        assert_eq!((reply.status, reply.header("content-length")), (200, "6"), "{}", reply.text());
        let range = anyone.call(method.as_str(), "/photos/a/b").query(&query).header("range", "bytes=0-1");
        assert_eq!(range.send().await.status, 206);
        // The bucket is signed wherever it stands.
        let by_host = anyone.call(method.as_str(), "/a/b").header("host", "PHOTOS.localhost").query(&query);
        assert_eq!(by_host.send().await.status, 200);
        let elsewhere = anyone.call(method.as_str(), "/a/b").header("host", "other.localhost").query(&query);
        assert_eq!(elsewhere.send().await.status, 403);
    }
}

#[tokio::test]
async fn objects_and_parts_are_written_and_deleted_with_them() {
    let world = World::new().await;
    world.bucket("photos").await;
    let (main, anyone) = (world.main(), world.anonymous());
    let query = url(&world, &Method::PUT, "/photos/a/b", 60);
    let put = anyone.call("PUT", "/photos/a/b").query(&query).body(b"by anybody").send().await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(main.get("/photos/a/b").await.text(), "by anybody");

    let begun = main.call("POST", "/photos/big").query("uploads").send().await.text();
    let id = begun.split_once("<UploadId>").unwrap().1.split_once('<').unwrap().0;
    let select = format!("partNumber=1&uploadId={id}");
    let signed = url(&world, &Method::PUT, &format!("/photos/big?{select}"), 60);
    let part = anyone.call("PUT", "/photos/big").query(&format!("{select}&{signed}")).body(b"part");
    let part = part.send().await;
    assert_eq!(part.status, 200, "{}", part.text());
    let other = format!("partNumber=2&uploadId={id}&{signed}");
    let other = anyone.call("PUT", "/photos/big").query(&other).body(b"part").send().await;
    assert_eq!((other.status, other.code().as_str()), (403, "SignatureDoesNotMatch"));
    let parts = main.call("GET", "/photos/big").query(&format!("uploadId={id}")).send().await.text();
    assert_eq!(parts.matches("<Part>").count(), 1, "{parts}");

    let query = url(&world, &Method::DELETE, "/photos/a/b", 60);
    let gone = anyone.call("DELETE", "/photos/a/b").query(&query).send().await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert_eq!(main.get("/photos/a/b").await.status, 404);
}

#[tokio::test]
async fn nothing_else_is_done_with_them() {
    let world = World::new().await;
    world.bucket("photos").await;
    world.main().put("/photos/k", b"secret").await;
    let anyone = world.anonymous();
    let good = url(&world, &Method::GET, "/photos/k", 60);
    let write = url(&world, &Method::PUT, "/photos/k", 60);
    let rows = [
        ("GET", "/photos/k", good.replace("FTMAIN", "FTNONE"), 403, "InvalidAccessKeyId"),
        ("GET", "/photos/k", format!("{good}&versionId=null"), 403, "SignatureDoesNotMatch"),
        ("GET", "/photos/k", format!("{good}&response-content-type=text/html"), 403, "SignatureDoesNotMatch"),
        (
            "GET",
            "/photos/k",
            format!("{good}&response-content-typ%65=text/html"),
            403,
            "SignatureDoesNotMatch",
        ),
        ("GET", "/photos/k2", good.clone(), 403, "SignatureDoesNotMatch"),
        ("GET", "/photos/k", url(&world, &Method::GET, "/photos/k", 0), 403, "AccessDenied"),
        ("GET", "/photos/k", url(&world, &Method::HEAD, "/photos/k", 60), 403, "SignatureDoesNotMatch"),
        ("GET", "/photos/k", good.replace("Expires=", "Expired="), 400, "AuthorizationQueryParametersError"),
        ("GET", "/photos/k", format!("{good}&X-Amz-Signature=00"), 400, "InvalidArgument"),
        // Other operations, whose parameters this version does not sign.
        ("GET", "/photos/k", format!("{good}&acl"), 400, "InvalidRequest"),
        ("GET", "/photos/k", format!("{good}&%61cl"), 400, "InvalidRequest"),
        ("GET", "/photos/k", format!("{good}&attributes"), 400, "InvalidRequest"),
        ("GET", "/photos", url(&world, &Method::GET, "/photos", 60), 400, "InvalidRequest"),
        ("PUT", "/other", url(&world, &Method::PUT, "/other", 60), 400, "InvalidRequest"),
        ("DELETE", "/photos", url(&world, &Method::DELETE, "/photos", 60), 400, "InvalidRequest"),
        (
            "POST",
            "/photos/k",
            url(&world, &Method::POST, "/photos/k", 60) + "&uploads",
            400,
            "InvalidRequest",
        ),
        ("PUT", "/photos/k", good.clone(), 403, "SignatureDoesNotMatch"),
        ("DELETE", "/photos/k", good.clone(), 403, "SignatureDoesNotMatch"),
        ("PUT", "/photos/k", format!("{write}&acl"), 400, "InvalidRequest"),
        ("PUT", "/photos/k", format!("{write}&tagging"), 400, "InvalidRequest"),
        ("PUT", "/photos/k", format!("{write}&retention"), 400, "InvalidRequest"),
        ("PUT", "/photos/k", format!("{write}&partNumber=1&uploadId=a"), 403, "SignatureDoesNotMatch"),
        ("PUT", "/photos/k", format!("{write}&x-amz-acl=public-read"), 403, "SignatureDoesNotMatch"),
        ("PUT", "/photos/k2", write.clone(), 403, "SignatureDoesNotMatch"),
    ];
    for (method, path, query, status, code) in rows {
        let reply = anyone.call(method, path).query(&query).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{method} {path}?{query}");
    }
    let header = anyone.call("GET", "/photos/k").query(&good).header("x-amz-meta-a", "b").send().await;
    assert_eq!(header.code(), "SignatureDoesNotMatch", "every x-amz header is signed");
    for (name, value, code) in [
        ("x-amz-acl", "public-read", "SignatureDoesNotMatch"),
        ("content-type", "text/html", "SignatureDoesNotMatch"),
        ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==", "SignatureDoesNotMatch"),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD", "SignatureDoesNotMatch"),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "InvalidRequest"),
        ("x-amz-copy-source", "/photos/k", "InvalidRequest"),
    ] {
        let changed = anyone.call("PUT", "/photos/k").query(&write).header(name, value).send().await;
        assert_eq!(changed.code(), code, "{name}: {value}");
    }
    let both = world.main().call("GET", "/photos/k").query(&good).send().await;
    assert_eq!(both.code(), "InvalidArgument");
    assert_eq!(world.main().get("/photos/k").await.text(), "secret");
}

#[tokio::test]
async fn they_can_be_switched_off_and_a_region_insisted_on() {
    let options = GatewayOptions {
        presigned_v2: false,
        signing_region: Some("eu-west-1".to_owned()),
        ..GatewayOptions::default()
    };
    let world = World::with(options, Default::default()).await;
    world.bucket("photos").await;
    let query = url(&world, &Method::GET, "/photos/k", 60);
    let reply = world.anonymous().call("GET", "/photos/k").query(&query).send().await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "InvalidRequest"));
    let reply = world.main().get("/photos/k").await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "AuthorizationHeaderMalformed"));
    assert!(reply.text().contains("<Region>eu-west-1</Region>"), "{}", reply.text());
}
