//! ListObjects and ListObjectsV2, and deleting many.

use fallthrough_wire::uri::encode_query;
use fallthrough_wire::xml::{ListPage, ListPosition, parse_list_page};

use crate::client::{Client, crc32};
use crate::world::World;

async fn page(client: &Client, query: &str) -> ListPage {
    let reply = client.call("GET", "/photos").query(query).send().await;
    assert_eq!(reply.status, 200, "{query} {}", reply.text());
    assert_eq!(reply.header("content-type"), "application/xml");
    parse_list_page(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

/// Every name of the list, page by page, as a client walks it.
async fn walk(client: &Client, query: &str, version_2: bool) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = String::new();
    for _ in 0..200 {
        let page = page(client, &format!("{query}{at}")).await;
        let mut here: Vec<String> = page.objects.iter().map(|object| object.key.clone()).collect();
        here.extend(page.common_prefixes.iter().cloned());
        here.sort_unstable();
        names.extend(here);
        let Some(next) = page.next() else { return names };
        let parameter = if version_2 { "continuation-token" } else { "marker" };
        at = format!("&{parameter}={}", encode_query(next));
    }
    panic!("the list does not end: {names:?}");
}

const KEYS: [&str; 12] =
    ["a", "a b", "a+b", "a/1", "a/2", "a/3/x", "a0", "b/1", "c", "c/é", "d\u{1F600}", "\u{1}"];

async fn filled() -> World {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    for key in KEYS {
        assert_eq!(client.put(&format!("/photos/{key}"), key.as_bytes()).await.status, 200);
    }
    world
}

#[tokio::test]
async fn pages_of_any_size_make_the_whole_list() {
    let world = filled().await;
    let client = world.main();
    let mut sorted: Vec<String> = KEYS.iter().map(|key| (*key).to_owned()).collect();
    sorted.sort_unstable();
    let collapsed = ["\u{1}", "a", "a b", "a+b", "a/", "a0", "b/", "c", "c/", "d\u{1F600}"];
    for size in [1, 2, 3, 5, 12, 1000] {
        for version in ["list-type=2&", ""] {
            let version_2 = !version.is_empty();
            let query = format!("{version}encoding-type=url&max-keys={size}");
            assert_eq!(walk(&client, &query, version_2).await, sorted, "{query}");
            let query = format!("{query}&delimiter=%2F");
            assert_eq!(walk(&client, &query, version_2).await, collapsed, "{query}");
            let query = format!("{version}encoding-type=url&max-keys={size}&prefix=a%2F&delimiter=%2F");
            assert_eq!(walk(&client, &query, version_2).await, ["a/1", "a/2", "a/3/"], "{query}");
        }
    }
}

#[tokio::test]
async fn fields_are_those_that_were_asked_for() {
    let world = filled().await;
    let client = world.main();
    let head = client.head("/photos/a b").await;
    let two = page(&client, "list-type=2&prefix=a%20b&fetch-owner=true").await;
    let object = &two.objects[0];
    assert_eq!(object.etag.as_ref().unwrap().to_string(), head.header("etag"));
    assert_eq!(object.size_bytes.to_string(), head.header("content-length"));
    assert_eq!(fallthrough_wire::date::format_http(object.last_modified), head.header("last-modified"));
    assert_eq!(object.owner.as_ref().unwrap().id, "main");
    assert_eq!(object.storage_class.as_deref(), Some("STANDARD"));
    assert_eq!(page(&client, "list-type=2&prefix=a%20b").await.objects[0].owner, None);
    assert!(page(&client, "prefix=a%20b").await.objects[0].owner.is_some());

    let page_2 = page(&client, "list-type=2&start-after=b%2F1&max-keys=1&encoding-type=url").await;
    assert_eq!(page_2.objects[0].key, "c");
    match &page_2.position {
        ListPosition::V2 { start_after, next_continuation_token, .. } => {
            assert_eq!(start_after.as_deref(), Some("b/1"));
            assert!(next_continuation_token.is_some());
        }
        ListPosition::V1 { .. } => panic!("version 1"),
    }
    let page_1 = page(&client, "marker=b%2F1&max-keys=1&delimiter=%2F&encoding-type=url").await;
    let position = ListPosition::V1 { marker: "b/1".to_owned(), next_marker: Some("c".to_owned()) };
    assert_eq!((page_1.position, page_1.max_keys), (position, 1));
    let none = page(&client, "list-type=2&max-keys=0").await;
    assert!(none.objects.is_empty() && !none.is_truncated && none.max_keys == 0);
    let raw = client.call("GET", "/photos").query("list-type=2&max-keys=5000").send().await.text();
    assert!(raw.contains("<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"), "{raw}");
    assert!(raw.contains("<KeyCount>12</KeyCount>"), "{raw}");
    let reply = client.call("GET", "/photos").query("list-type=2").send().await;
    assert!(!reply.header("x-cache").is_empty());
}

#[tokio::test]
async fn bad_parameters_are_refused() {
    let world = filled().await;
    let client = world.main();
    for query in [
        "max-keys=-1",
        "max-keys=x",
        "list-type=2&max-keys=9999999999",
        "encoding-type=base64",
        "list-type=3",
        "list-type=1",
        "list-type=2&continuation-token=%20%20",
    ] {
        let reply = client.call("GET", "/photos").query(query).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "InvalidArgument"), "{query}");
    }
    for query in ["prefix=%ff", "prefix=%zz"] {
        let reply = client.call("GET", "/photos").query(query).send().await;
        assert_eq!(reply.status, 400, "{query}");
    }
    assert_eq!(client.call("GET", "/missing").query("list-type=2").send().await.code(), "NoSuchBucket");
}

fn delete_body(keys: &[&str], quiet: bool) -> String {
    let mut body = String::from("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for key in keys {
        let key = key.replace('&', "&amp;").replace('<', "&lt;").replace('\n', "&#10;");
        body.push_str(&format!("<Object><Key>{key}</Key></Object>"));
    }
    body.push_str(&format!("<Quiet>{quiet}</Quiet></Delete>"));
    body
}

#[tokio::test]
async fn many_are_deleted_at_once_each_with_its_result() {
    let world = filled().await;
    let client = world.main();
    let delete = |body: String, digest: &'static str, value: String| {
        let mut call = client.call("POST", "/photos").query("delete=").body(body.as_bytes());
        if !digest.is_empty() {
            call = call.header(digest, &value);
        }
        call.send()
    };
    let body = delete_body(&["a", "a b", "missing", "x&<y>"], false);
    let reply = delete(body.clone(), "x-amz-checksum-crc32", crc32(body.as_bytes())).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    for key in ["a", "a b", "missing", "x&amp;&lt;y&gt;"] {
        assert!(text.contains(&format!("<Deleted><Key>{key}</Key></Deleted>")), "{text}");
    }
    assert_eq!(client.get("/photos/a").await.code(), "NoSuchKey");
    assert_eq!(client.get("/photos/a+b").await.status, 200);

    let long = "k".repeat(1025);
    let body = delete_body(&["a+b", &long], true);
    let reply = delete(body.clone(), "x-amz-checksum-crc32", crc32(body.as_bytes())).await;
    let text = reply.text();
    assert!(!text.contains("<Deleted>") && text.contains("<Code>KeyTooLongError</Code>"), "{text}");
    assert_eq!(client.get("/photos/a+b").await.code(), "NoSuchKey");

    let many: Vec<String> = (0..1001).map(|n| format!("key-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let too_many = delete_body(&many, false);
    let wrong = "AAAAAAAAAAAAAAAAAAAAAA==".to_owned();
    let one = delete_body(&["a0"], false);
    let digest = "x-amz-checksum-crc32";
    let rows = [
        (too_many.clone(), digest, crc32(too_many.as_bytes()), "MalformedXML"),
        ("<Delete></Delete>".to_owned(), digest, crc32(b"<Delete></Delete>"), "MalformedXML"),
        ("nonsense".to_owned(), digest, crc32(b"nonsense"), "MalformedXML"),
        (one.clone(), "content-md5", wrong, "BadDigest"),
        (one.clone(), digest, crc32(b"x"), "BadDigest"),
    ];
    for (body, digest, value, code) in rows {
        let reply = delete(body, digest, value).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code));
    }
    // A payload that is not even hashed protects nothing.
    let reply = client
        .call("POST", "/photos")
        .query("delete")
        .mode(crate::client::Mode::Unsigned)
        .body(one.as_bytes())
        .send()
        .await;
    assert_eq!(reply.code(), "InvalidRequest");
    assert_eq!(client.get("/photos/a0").await.status, 200);
    let thousand = delete_body(&many[..1000], true);
    let reply = delete(thousand.clone(), digest, crc32(thousand.as_bytes())).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Documents that are not url-encoded show controls as S3 does: as references, never as other keys.
#[tokio::test]
async fn keys_with_controls_are_shown_as_they_are() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let (key, written) = ("a\u{1}b\u{1f}c\u{ffff}", "a&#x1;b&#x1f;c&#xffff;");
    let path = format!("/photos/{key}");
    assert_eq!(client.put(&path, b"x").await.status, 200);
    let list = client.get("/photos").await;
    let begun = client.call("POST", &path).query("uploads").send().await;
    let missing = client.get("/photos/\u{2}").await;
    let body = delete_body(&[key], false);
    let call = client.call("POST", "/photos").query("delete").body(body.as_bytes());
    let deleted = call.header("x-amz-checksum-crc32", &crc32(body.as_bytes())).send().await;
    for (what, reply) in [("list", list), ("begun", begun), ("deleted", deleted)] {
        let want = format!("<Key>{written}</Key>");
        assert!(reply.status == 200 && reply.text().contains(&want), "{what}: {}", reply.text());
    }
    assert!(missing.text().contains("<Key>&#x2;</Key>"), "{}", missing.text());
    assert_eq!(client.head(&path).await.status, 404);
}
