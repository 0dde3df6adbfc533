//! Multipart uploads: parts, lists, completion, and reading by part.

use fallthrough_bucket::BucketMode;
use fallthrough_object::ChecksumAlgorithm;
use fallthrough_wire::digest::{combined, composite, format_checksum};

use crate::client::{Client, Reply, checksum};
use crate::world::{ALT, World};

pub(crate) const PART: usize = 5 << 20;

/// The parts that are listed, and what is answered to them.
type Row<'a> = (&'a [(u32, &'a str)], u16, &'a str);

pub(crate) fn bytes(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed) ^ (n >> 8) as u8).collect()
}

/// The text of an element.
pub(crate) fn element<'a>(document: &'a str, name: &str) -> &'a str {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let start = document.find(&open).unwrap_or_else(|| panic!("no {name} in {document}")) + open.len();
    &document[start..start + document[start..].find(&close).unwrap()]
}

pub(crate) async fn begin(client: &Client, path: &str, headers: &[(&str, &str)]) -> String {
    let mut call = client.call("POST", path).query("uploads");
    for (name, value) in headers {
        call = call.header(name, value);
    }
    let begun = call.send().await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    element(&begun.text(), "UploadId").to_owned()
}

pub(crate) async fn part(client: &Client, path: &str, upload: &str, number: u32, body: &[u8]) -> Reply {
    client.call("PUT", path).query(&format!("partNumber={number}&uploadId={upload}")).body(body).send().await
}

fn list(parts: &[(u32, &str)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

pub(crate) async fn complete(client: &Client, path: &str, upload: &str, parts: &[(u32, &str)]) -> Reply {
    let body = list(parts);
    client.call("POST", path).query(&format!("uploadId={upload}")).body(body.as_bytes()).send().await
}

#[tokio::test]
async fn parts_become_an_object() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let headers = [("content-type", "text/plain"), ("x-amz-meta-colour", "red")];
    let upload = begin(&client, "/photos/big", &headers).await;
    // Out of order, and one of them twice: the later one counts.
    let (first, second, last) = (bytes(1, PART), bytes(2, PART), bytes(3, 1000));
    let of_last = part(&client, "/photos/big", &upload, 7, &last).await;
    part(&client, "/photos/big", &upload, 3, &first).await;
    let of_second = part(&client, "/photos/big", &upload, 3, &second).await;
    let of_first = part(&client, "/photos/big", &upload, 1, &first).await;
    part(&client, "/photos/big", &upload, 9, b"not listed").await;
    assert_eq!(client.get("/photos/big").await.code(), "NoSuchKey", "nothing is there before it is complete");

    let parts = [
        (1, of_first.header("etag")),
        (3, of_second.header("etag").trim_matches('"')),
        (7, of_last.header("etag")),
    ];
    let done = complete(&client, "/photos/big", &upload, &parts).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let etag = element(&done.text(), "ETag").replace("&quot;", "\"");
    assert!(etag.ends_with("-3\""), "{etag}");

    let whole = [&first[..], &second, &last].concat();
    let get = client.get("/photos/big").await;
    assert_eq!((get.status, get.header("etag")), (200, etag.as_str()));
    assert_eq!((get.header("content-type"), get.header("x-amz-meta-colour")), ("text/plain", "red"));
    assert!(get.body == whole);
    // A range over the seam of two files.
    let seam = client
        .call("GET", "/photos/big")
        .header("range", &format!("bytes={}-{}", PART - 3, PART + 3))
        .send()
        .await;
    assert_eq!((seam.status, &seam.body[..]), (206, &whole[PART - 3..PART + 4]));
    let by_part = client.call("GET", "/photos/big").query("partNumber=2").send().await;
    assert_eq!((by_part.status, by_part.header("x-amz-mp-parts-count")), (206, "3"));
    assert!(by_part.body == second);
    let head = client.call("HEAD", "/photos/big").query("partNumber=3").send().await;
    assert_eq!((head.status, head.header("content-length")), (206, "1000"));
    let beyond = client.call("GET", "/photos/big").query("partNumber=4").send().await;
    assert_eq!((beyond.status, beyond.code().as_str()), (400, "InvalidPart"));

    // Once more, and it says the same; the upload is gone for everybody else.
    let again = complete(&client, "/photos/big", &upload, &parts).await;
    assert_eq!((again.status, element(&again.text(), "ETag")), (200, element(&done.text(), "ETag")));
    assert_eq!(part(&client, "/photos/big", &upload, 1, b"late").await.code(), "NoSuchUpload");
    let attributes = client
        .call("GET", "/photos/big")
        .query("attributes")
        .header("x-amz-object-attributes", "ETag,ObjectParts,ObjectSize")
        .send()
        .await;
    let text = attributes.text();
    assert_eq!(element(&text, "ETag"), etag.trim_matches('"'));
    assert_eq!((element(&text, "PartsCount"), element(&text, "ObjectSize")), ("3", "10486760"));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_the_upload_stays() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let upload = begin(&client, "/photos/k", &[]).await;
    let one = part(&client, "/photos/k", &upload, 1, b"small").await;
    let two = part(&client, "/photos/k", &upload, 2, b"small too").await;
    let (one, two) = (one.header("etag").to_owned(), two.header("etag").to_owned());
    let wrong = "\"00000000000000000000000000000000\"";
    let rows: [Row<'_>; 5] = [
        (&[(1, &one), (2, &two)], 400, "EntityTooSmall"),
        (&[(2, &two), (1, &one)], 400, "InvalidPartOrder"),
        (&[(1, wrong)], 400, "InvalidPart"),
        (&[(1, &one), (4, &two)], 400, "InvalidPart"),
        (&[], 400, "MalformedXML"),
    ];
    for (parts, status, code) in rows {
        let reply = complete(&client, "/photos/k", &upload, parts).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{parts:?}");
    }
    let stranger = "0123456789abcdef0123456789abcdef";
    for id in [stranger, "x", ""] {
        assert_eq!(complete(&client, "/photos/k", id, &[(1, &one)]).await.code(), "NoSuchUpload", "{id}");
        let put = part(&client, "/photos/k", id, 1, b"x").await;
        assert_eq!((put.status, put.code().as_str()), (404, "NoSuchUpload"), "{id}");
    }
    for number in ["0", "10001", "-1", "x", ""] {
        let query = format!("partNumber={number}&uploadId={upload}");
        let put = client.call("PUT", "/photos/k").query(&query).body(b"x").send().await;
        assert_eq!((put.status, put.code().as_str()), (400, "InvalidArgument"), "{number}");
    }
    let md5 = client
        .call("PUT", "/photos/k")
        .query(&format!("partNumber=3&uploadId={upload}"))
        .header("content-md5", "CY9rzUYh03PK3k6DJie09g==")
        .body(b"not test")
        .send()
        .await;
    assert_eq!((md5.status, md5.code().as_str()), (400, "BadDigest"));
    let listed = client.call("GET", "/photos/k").query(&format!("uploadId={upload}")).send().await.text();
    assert!(!listed.contains("<PartNumber>3</PartNumber>"), "nothing is kept of a wrong body: {listed}");

    // Another key's, another account's.
    assert_eq!(complete(&client, "/photos/other", &upload, &[(1, &one)]).await.code(), "NoSuchUpload");
    let stranger = world.client(ALT);
    assert_eq!(complete(&stranger, "/photos/k", &upload, &[(1, &one)]).await.status, 403);
    let only = complete(&client, "/photos/k", &upload, &[(2, &two)]).await;
    assert_eq!(only.status, 200, "{}", only.text());
    assert_eq!(client.get("/photos/k").await.body, b"small too");
}

#[tokio::test]
async fn conditions_hold_when_it_is_completed() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    client.put("/photos/k", b"before").await;
    let upload = begin(&client, "/photos/k", &[]).await;
    let put = part(&client, "/photos/k", &upload, 1, b"after").await;
    let body = list(&[(1, put.header("etag"))]);
    let query = format!("uploadId={upload}");
    let with = |name: &'static str, value: &'static str| {
        client.call("POST", "/photos/k").query(&query).header(name, value).body(body.as_bytes())
    };
    for (name, value) in [("if-none-match", "*"), ("if-match", "\"other\"")] {
        let reply = with(name, value).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (412, "PreconditionFailed"), "{name}");
    }
    let size = with("x-amz-mp-object-size", "6").send().await;
    assert_eq!((size.status, size.code().as_str()), (400, "InvalidRequest"));
    assert_eq!(client.get("/photos/k").await.body, b"before");
    assert_eq!(with("if-match", "*").send().await.status, 200);
    assert_eq!(client.get("/photos/k").await.body, b"after");
}

#[tokio::test]
async fn what_was_copied_onto_itself_is_not_the_uploads_any_more() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let upload = begin(&client, "/photos/k", &[]).await;
    let put = part(&client, "/photos/k", &upload, 1, b"x").await;
    let parts = [(1, put.header("etag"))];
    for _ in 0..2 {
        assert_eq!(complete(&client, "/photos/k", &upload, &parts).await.status, 200);
    }
    let copy = client
        .call("PUT", "/photos/k")
        .header("x-amz-copy-source", "/photos/k")
        .header("x-amz-metadata-directive", "REPLACE");
    assert_eq!(copy.send().await.status, 200);
    let again = complete(&client, "/photos/k", &upload, &parts).await;
    assert_eq!((again.status, again.code().as_str()), (404, "NoSuchUpload"));
    assert_eq!(client.get("/photos/k").await.body, b"x");
}

#[tokio::test]
async fn checksums_of_parts_make_that_of_the_object() {
    use ChecksumAlgorithm::{Crc32, Crc64Nvme, Sha256};
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let pieces = [bytes(5, PART), bytes(6, 77)];
    for (algorithm, kind) in
        [(Sha256, "COMPOSITE"), (Crc32, "COMPOSITE"), (Crc32, "FULL_OBJECT"), (Crc64Nvme, "FULL_OBJECT")]
    {
        let name = format!("x-amz-checksum-{}", algorithm.header_suffix());
        let headers = [("x-amz-checksum-algorithm", algorithm.as_str()), ("x-amz-checksum-type", kind)];
        let upload = begin(&client, "/photos/k", &headers).await;
        let mut parts = Vec::new();
        let mut sums = Vec::new();
        for (number, piece) in (1u32..).zip(&pieces) {
            let sum = checksum(algorithm, piece);
            let query = format!("partNumber={number}&uploadId={upload}");
            let put =
                client.call("PUT", "/photos/k").query(&query).header(&name, &sum).body(piece).send().await;
            assert_eq!((put.status, put.header(&name)), (200, sum.as_str()), "{}", put.text());
            let raw = fallthrough_wire::digest::parse_checksum(algorithm, &sum).unwrap().value;
            sums.push((raw, piece.len() as u64));
            parts.push((number, put.header("etag").to_owned()));
        }
        let want = match kind {
            "COMPOSITE" => composite(algorithm, sums.iter().map(|(sum, _)| sum.as_slice())),
            _ => combined(algorithm, sums.iter().map(|(sum, len)| (sum.as_slice(), *len))),
        };
        let want = format_checksum(&want.unwrap());
        let body = list(&parts.iter().map(|(n, etag)| (*n, etag.as_str())).collect::<Vec<_>>());
        let query = format!("uploadId={upload}");
        let finish = |value: &str| {
            client.call("POST", "/photos/k").query(&query).header(&name, value).body(body.as_bytes())
        };
        let wrong = checksum(algorithm, b"something else");
        assert_eq!(finish(&wrong).send().await.code(), "BadDigest");
        let done = finish(&want).send().await;
        assert_eq!(done.status, 200, "{}", done.text());
        assert_eq!(element(&done.text(), "ChecksumType"), kind);
        let head = client.call("HEAD", "/photos/k").header("x-amz-checksum-mode", "ENABLED").send().await;
        assert_eq!((head.header(&name), head.header("x-amz-checksum-type")), (want.as_str(), kind));
        assert_eq!(client.head("/photos/k").await.headers.get(&name), None);
        let by_part = client
            .call("GET", "/photos/k")
            .query("partNumber=2")
            .header("x-amz-checksum-mode", "ENABLED")
            .send()
            .await;
        assert_eq!(by_part.header(&name), checksum(algorithm, &pieces[1]));
    }
    // A part with another algorithm than the upload's.
    let upload = begin(&client, "/photos/k", &[("x-amz-checksum-algorithm", "SHA256")]).await;
    let other = client
        .call("PUT", "/photos/k")
        .query(&format!("partNumber=1&uploadId={upload}"))
        .header("x-amz-checksum-crc32", &checksum(Crc32, b"x"))
        .body(b"x")
        .send()
        .await;
    assert_eq!((other.status, other.code().as_str()), (400, "InvalidRequest"));
    for headers in [
        [("x-amz-checksum-algorithm", "SHA256"), ("x-amz-checksum-type", "FULL_OBJECT")],
        [("x-amz-checksum-algorithm", "CRC64NVME"), ("x-amz-checksum-type", "COMPOSITE")],
        [("x-amz-checksum-algorithm", "MD4"), ("x-amz-checksum-type", "COMPOSITE")],
    ] {
        let mut call = client.call("POST", "/photos/k").query("uploads");
        for (name, value) in headers {
            call = call.header(name, value);
        }
        assert_eq!(call.send().await.code(), "InvalidRequest", "{headers:?}");
    }
}

#[tokio::test]
async fn uploads_and_parts_are_listed_in_pages() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let mut ids = Vec::new();
    for key in ["a/1", "a/2", "b", "c", "c"] {
        ids.push(begin(&client, &format!("/photos/{key}"), &[]).await);
    }
    let list = |query: &'static str| client.call("GET", "/photos").query(query);
    let all = list("uploads").send().await.text();
    assert_eq!(all.matches("<Upload>").count(), 5);
    assert!(all.contains("<IsTruncated>false</IsTruncated>") && all.contains("<Initiator><ID>main</ID>"));
    let grouped = list("uploads&delimiter=/&max-uploads=2").send().await.text();
    assert_eq!((grouped.matches("<Upload>").count(), element(&grouped, "NextKeyMarker")), (1, "b"));
    assert!(grouped.contains("<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>"));
    let (mut query, mut seen) = ("uploads&max-uploads=1".to_owned(), Vec::new());
    loop {
        let page = client.call("GET", "/photos").query(&query).send().await.text();
        seen.push(element(&page, "UploadId").to_owned());
        if page.contains("<IsTruncated>false</IsTruncated>") {
            break;
        }
        let (key, id) = (element(&page, "NextKeyMarker"), element(&page, "NextUploadIdMarker"));
        query = format!("uploads&max-uploads=1&key-marker={}&upload-id-marker={id}", key.replace('/', "%2F"));
    }
    ids[3..].sort();
    assert_eq!(seen, ids);
    let under = list("uploads&prefix=a/&key-marker=a/1").send().await.text();
    assert_eq!((under.matches("<Upload>").count(), element(&under, "Key")), (1, "a/2"));

    for number in [5u32, 1, 3] {
        part(&client, "/photos/b", &ids[2], number, b"x").await;
    }
    let query = format!("uploadId={}&max-parts=2", ids[2]);
    let page = client.call("GET", "/photos/b").query(&query).send().await.text();
    assert_eq!((element(&page, "NextPartNumberMarker"), element(&page, "IsTruncated")), ("3", "true"));
    let query = format!("{query}&part-number-marker=3");
    let page = client.call("GET", "/photos/b").query(&query).send().await.text();
    assert_eq!((element(&page, "PartNumber"), element(&page, "IsTruncated")), ("5", "false"));

    let abort = |id: &str| client.call("DELETE", "/photos/b").query(&format!("uploadId={id}"));
    assert_eq!(abort(&ids[2]).send().await.status, 204);
    assert_eq!(abort(&ids[2]).send().await.code(), "NoSuchUpload");
    let query = format!("uploadId={}", ids[2]);
    assert_eq!(client.call("GET", "/photos/b").query(&query).send().await.code(), "NoSuchUpload");
    assert_eq!(list("uploads").send().await.text().matches("<Upload>").count(), 4);
}

/// Who reads an object in several files to its end gets all of it, whatever happens to the object meanwhile.
#[tokio::test]
async fn a_reader_finishes_what_was_overwritten() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new().await;
    world.public_bucket("photos").await;
    let client = world.main();
    let upload = begin(&client, "/photos/k", &[]).await;
    let pieces: Vec<_> = (0..4).map(|seed| bytes(seed, PART)).collect();
    let mut parts = Vec::new();
    for (number, piece) in (1u32..).zip(&pieces) {
        parts.push((
            number,
            part(&client, "/photos/k", &upload, number, piece).await.header("etag").to_owned(),
        ));
    }
    let parts: Vec<_> = parts.iter().map(|(n, etag)| (*n, etag.as_str())).collect();
    assert_eq!(complete(&client, "/photos/k", &upload, &parts).await.status, 200);
    let mut socket = client.connect().await;
    socket.write_all(b"GET /photos/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut got = vec![0; 64 * 1024];
    let first = socket.read(&mut got).await.unwrap();
    got.truncate(first);
    client.put("/photos/k", b"new").await;
    client.delete("/photos/k").await;
    socket.read_to_end(&mut got).await.unwrap();
    let start = got.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(got[start..] == pieces.concat(), "{} bytes", got.len() - start);
}

#[tokio::test]
async fn an_upload_over_a_cold_key_hides_what_is_behind() {
    let world = World::new().await;
    world.shadowed_bucket("cold", BucketMode::Migrate).await;
    world.script.object("k", 100);
    let client = world.main();
    let upload = begin(&client, "/cold/k", &[]).await;
    let put = part(&client, "/cold/k", &upload, 1, b"ours").await;
    let body = list(&[(1, put.header("etag"))]);
    let query = format!("uploadId={upload}");
    let create_only = client
        .call("POST", "/cold/k")
        .query(&query)
        .header("if-none-match", "*")
        .body(body.as_bytes())
        .send()
        .await;
    assert_eq!((create_only.status, create_only.code().as_str()), (412, "PreconditionFailed"));
    assert_eq!(complete(&client, "/cold/k", &upload, &[(1, put.header("etag"))]).await.status, 200);
    let get = client.get("/cold/k").await;
    assert_eq!((get.body.as_slice(), get.header("x-cache")), (&b"ours"[..], "HIT"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_complete_it_at_once_are_all_told_that_it_is_done() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    for round in 0..5 {
        let path = format!("/photos/{round}");
        let upload = begin(&client, &path, &[]).await;
        let etag = part(&client, &path, &upload, 1, b"one").await.header("etag").to_owned();
        let body = list(&[(1, &etag)]);
        let calls = (0..16).map(|n| {
            // Their own object is no reason to say that there is one.
            let condition = if n % 2 == 0 { "*" } else { "\"another\"" };
            let call = client.call("POST", &path).query(&format!("uploadId={upload}")).body(body.as_bytes());
            call.header("if-none-match", condition).send()
        });
        for reply in futures::future::join_all(calls).await {
            assert!(reply.status == 200 || reply.code() == "NotImplemented", "{}", reply.text());
        }
        assert_eq!(client.get(&path).await.body, b"one");
    }
}

#[tokio::test]
async fn what_is_said_of_parts_when_it_is_completed_has_to_be_so() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let upload = begin(&client, "/photos/k", &[]).await;
    let sums = checksum(ChecksumAlgorithm::Crc32, b"one");
    let query = format!("partNumber=1&uploadId={upload}");
    let put =
        client.call("PUT", "/photos/k").query(&query).header("x-amz-checksum-crc32", &sums).body(b"one");
    let etag = put.send().await.header("etag").to_owned();
    let document = |inner: &str| {
        format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>{inner}</Part></CompleteMultipartUpload>"
        )
    };
    let tag = format!("<ETag>{etag}</ETag>");
    let empty = checksum(ChecksumAlgorithm::Sha256, b"");
    let rows = [
        (document(""), "", 400, "MalformedXML"),
        (document(&format!("{tag}<ChecksumSHA256>{empty}</ChecksumSHA256>")), "", 400, "InvalidPart"),
        (document(&format!("{tag}<ChecksumCRC32>AAAAAA==</ChecksumCRC32>")), "", 400, "InvalidPart"),
        (document(&tag), "AAAAAA==", 400, "BadDigest"),
        // The upload was begun without a checksum; its parts tell it all the same.
        (document(&format!("{tag}<ChecksumCRC32>{sums}</ChecksumCRC32>")), &sums, 200, ""),
    ];
    for (body, whole, status, code) in rows {
        let call =
            client.call("POST", "/photos/k").query(&format!("uploadId={upload}")).body(body.as_bytes());
        let call = if whole.is_empty() { call } else { call.header("x-amz-checksum-crc32", whole) };
        let reply = call.send().await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{body}: {}", reply.text());
    }
    let headers = [("x-amz-checksum-algorithm", "SHA256")];
    let upload = begin(&client, "/photos/k", &headers).await;
    let etag = part(&client, "/photos/k", &upload, 1, b"one").await.header("etag").to_owned();
    let call = client.call("POST", "/photos/k").query(&format!("uploadId={upload}"));
    let body = list(&[(1, &etag)]);
    let other = call.header("x-amz-checksum-type", "FULL_OBJECT").body(body.as_bytes()).send().await;
    assert_eq!((other.status, other.code().as_str()), (400, "InvalidRequest"));
}

/// An upload that was begun without an algorithm has its object's checksum made of those of its parts, which nobody gave.
#[tokio::test]
async fn what_is_uploaded_without_a_checksum_gets_one_of_all_bytes() {
    let world = World::new().await;
    world.bucket("photos").await;
    let client = world.main();
    let sum = checksum(ChecksumAlgorithm::Crc64Nvme, b"one");
    let upload = begin(&client, "/photos/k", &[]).await;
    let of_part = part(&client, "/photos/k", &upload, 1, b"one").await;
    assert_eq!(of_part.header("x-amz-checksum-crc64nvme"), sum);
    let parts = client.call("GET", "/photos/k").query(&format!("uploadId={upload}")).send().await.text();
    assert!(parts.contains("<PartNumber>1</PartNumber>") && !parts.contains("Checksum"), "{parts}");
    let done = complete(&client, "/photos/k", &upload, &[(1, of_part.header("etag"))]).await.text();
    assert_eq!(element(&done, "ChecksumCRC64NVME"), sum);
    assert_eq!(element(&done, "ChecksumType"), "FULL_OBJECT");
    let reply = client.call("HEAD", "/photos/k").header("x-amz-checksum-mode", "ENABLED").send().await;
    assert_eq!(reply.header("x-amz-checksum-crc64nvme"), sum);
    assert_eq!(reply.header("x-amz-checksum-type"), "FULL_OBJECT");
}
