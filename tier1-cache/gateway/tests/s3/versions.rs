//! ListObjectVersions, and `versionId`, where there are no versions.

use crate::world::World;

fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split_once(end)).map(|(found, _)| found).collect()
}

#[tokio::test]
async fn every_object_is_its_only_version() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let keys = ["a", "a b+é", "d/1", "d/2", "e"];
    for key in keys {
        client.put(&format!("/photos/{key}"), b"xyz").await;
    }
    let ask = |query: String| {
        let client = &client;
        async move { client.call("GET", "/photos").query(&query).send().await }
    };
    let all = ask("versions".to_owned()).await.text();
    assert_eq!(between(&all, "<Key>", "</Key>"), keys);
    assert_eq!(between(&all, "<VersionId>", "</VersionId>"), ["null"; 5]);
    assert_eq!(between(&all, "<IsLatest>", "</IsLatest>"), ["true"; 5]);
    assert_eq!(between(&all, "<Size>", "</Size>"), ["3"; 5]);
    assert!(
        all.contains("<Owner><ID>main</ID>") && all.contains("<IsTruncated>false</IsTruncated>"),
        "{all}"
    );

    // Page by page, as tools that clear buckets do.
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let page = ask(format!("versions&max-keys=2{marker}")).await.text();
        seen.extend(between(&page, "<Key>", "</Key>").into_iter().map(str::to_owned));
        let Some(next) = between(&page, "<NextKeyMarker>", "</NextKeyMarker>").first().copied() else {
            break;
        };
        assert_eq!(between(&page, "<NextVersionIdMarker>", "</NextVersionIdMarker>"), ["null"]);
        marker = format!("&key-marker={}&version-id-marker=null", fallthrough_wire::uri::encode_query(next));
    }
    assert_eq!(seen, keys);

    let rows = [
        ("versions&prefix=d/", vec!["d/1", "d/2"], vec![]),
        ("versions&delimiter=/", vec!["a", "a b+é", "e"], vec!["d/"]),
        ("versions&delimiter=/&key-marker=d/", vec!["e"], vec![]),
        ("versions&key-marker=a", vec!["a b+é", "d/1", "d/2", "e"], vec![]),
        ("versions&max-keys=0", vec![], vec![]),
        ("versions&prefix=a&encoding-type=url", vec!["a", "a%20b%2B%C3%A9"], vec![]),
    ];
    for (query, keys, prefixes) in rows {
        let text = ask(query.to_owned()).await.text();
        assert_eq!(between(&text, "<Key>", "</Key>"), keys, "{query}: {text}");
        assert_eq!(between(&text, "<CommonPrefixes><Prefix>", "</Prefix>"), prefixes, "{query}");
    }
    for query in
        ["version-id-marker=null", "key-marker=a&version-id-marker=x", "max-keys=x", "encoding-type=x"]
    {
        assert_eq!(ask(format!("versions&{query}")).await.code(), "InvalidArgument", "{query}");
    }
    assert_eq!(
        world.anonymous().call("GET", "/photos").query("versions").send().await.code(),
        "AccessDenied"
    );
}

#[tokio::test]
async fn the_only_version_is_null() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    client.put("/photos/k", b"x").await;
    for (method, query) in [
        ("GET", ""),
        ("HEAD", ""),
        ("GET", "tagging&"),
        ("GET", "acl&"),
        ("DELETE", "tagging&"),
        ("DELETE", ""),
    ] {
        let call = |id: &str| client.call(method, "/photos/k").query(&format!("{query}versionId={id}"));
        let other = call("3HL4kqtJlcpXroDTDmjVBH40Nrjfkd").send().await;
        assert_eq!(other.status, 400, "{method} {query}");
        let null = call("null").send().await;
        assert!(null.status < 300, "{method} {query}: {}", null.text());
    }
    assert_eq!(client.head("/photos/k").await.status, 404, "deleted by its version");
    let versioning = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let put = client.call("PUT", "/photos").query("versioning").body(versioning).send().await;
    assert_eq!((put.status, put.code().as_str()), (501, "NotImplemented"));
}
