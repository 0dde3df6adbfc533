//! The way back from a migration, with two servers: what clients write and delete at one is written and deleted at the
//! other, also when the first is killed under load, again and again. In the end both have the same keys and bytes.
//!
//! `FALLTHROUGH_KILLS` says how often it is killed (4), `FALLTHROUGH_SEED` what is done and when.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod served;

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fallthrough_object::{
    Body, BucketName, ByteStream, Clock, ETag, Entropy, Key, Meta, OsEntropy, SeededEntropy, SystemClock, Tag,
};
use fallthrough_shadow::{
    NetworkPolicy, ObjectHeaders, Outbound, Request, S3Settings, S3Shadow, SentBody, Shadow, Write,
    WriteGuard, WriteRequest, Written,
};
use fallthrough_sim::Content;
use fallthrough_wire::digest::{DigestSet, Digests, multipart_etag};
use fallthrough_wire::sigv4::Credentials;
use http::Method;
use served::Served;
use served::asking::await_within;
use served::client::Client;

const WRITERS: u64 = 3;
const KEYS: u64 = 8;
/// Objects that only the old store has when it begins.
const BEFORE: u64 = 12;
/// Sizes of objects: in the index, in a file, in several blocks.
const SIZES: [u64; 4] = [0, 900, 50_000, 400_000];
/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a writer knows of a key: every state that it may have, the newest of which is certain if it is alone.
type Journal = BTreeMap<String, Vec<Option<Content>>>;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Writes and deletes keys of its own until the server is gone; tells of every change that was acknowledged.
fn write(client: &Client, writer: u64, random: &SeededEntropy, journal: &mut Journal, told: &SyncSender<()>) {
    loop {
        let key = format!("w{writer}/{}", random.next_u64() % KEYS);
        let draw = random.next_u64();
        let edition = u16::try_from(draw >> 48).unwrap();
        let next = (!draw.is_multiple_of(4))
            .then(|| Content::generated(&key, edition, SIZES[usize::try_from(draw >> 8 & 3).unwrap()]));
        let path = format!("/photos/{key}");
        let answer = match &next {
            Some(content) => client.send(&Method::PUT, &path, &content.bytes()),
            None => client.send(&Method::DELETE, &path, b""),
        };
        let states = journal.entry(key).or_insert_with(|| vec![None]);
        match answer {
            Ok((200 | 204, _)) => {
                *states = vec![next];
                if told.send(()).is_err() {
                    return;
                }
            }
            // It may have happened.
            Ok(_) | Err(_) => {
                states.push(next);
                if !client.is_listening() {
                    return;
                }
            }
        }
    }
}

fn bytes_at(client: &Client, path: &str) -> Option<Vec<u8>> {
    match client.send(&Method::GET, path, b"").unwrap() {
        (200, bytes) => Some(bytes),
        (404, _) => None,
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn both_sides_are_the_same_after_kills_under_load() {
    let seed = number("FALLTHROUGH_SEED").unwrap_or_else(|| OsEntropy.next_u64());
    println!("seed {seed}");
    let random = SeededEntropy::new(seed);
    let (old_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(old_folder.path().join("fallthrough.toml"), "[bucket.old]\nmode = \"plain\"\n").unwrap();
    let old_server = Served::serve(old_folder.path(), &[]);
    let old = Client::of(&old_server);
    for n in 0..BEFORE {
        let content = Content::generated(&format!("before/{n}"), 0, 700 * (n + 1));
        assert_eq!(old.send(&Method::PUT, &format!("/old/before/{n}"), &content.bytes()).unwrap().0, 200);
    }
    std::fs::write(
        folder.path().join("credentials"),
        format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            old_server.text("access_key"),
            old_server.text("secret_key")
        ),
    )
    .unwrap();
    let config = format!(
        "[network]\nallow-private-origins = true\n\n[bucket.photos]\nmode = \"migrate\"\n\n[bucket.photos.shadow]\n\
         endpoint = \"{}\"\nname = \"old\"\ncredentials = \"file:credentials\"\nwrite-through = \"async\"\ndelete-through = true\n",
        old_server.text("s3")
    );
    std::fs::write(folder.path().join("fallthrough.toml"), config).unwrap();

    let journals: Vec<Mutex<Journal>> = (0..WRITERS).map(|_| Mutex::default()).collect();
    let kills = number("FALLTHROUGH_KILLS").unwrap_or(4);
    let mut acknowledged = 0;
    for round in 0..kills {
        let served = Served::serve(folder.path(), &[]);
        let client = Client::of(&served);
        for n in (round * 2..BEFORE).take(2) {
            assert_eq!(client.send(&Method::DELETE, &format!("/photos/before/{n}"), b"").unwrap().0, 204);
        }
        let (tell, told) = sync_channel(1024);
        std::thread::scope(|scope| {
            for (writer, journal) in (0..).zip(&journals) {
                let (tell, random) = (tell.clone(), SeededEntropy::new(random.next_u64()));
                let client = Client::of(&served);
                scope.spawn(move || write(&client, writer, &random, &mut journal.lock().unwrap(), &tell));
            }
            drop(tell);
            // The moment of the kill: after so many changes, while others and their deliveries are under way.
            for _ in 0..20 + random.next_u64() % 60 {
                told.recv_timeout(PATIENCE).unwrap();
                acknowledged += 1;
            }
            served::signal(served.id(), "-KILL");
            acknowledged += told.iter().count();
        });
        drop(served);
    }

    let served = Served::serve(folder.path(), &[]);
    let client = Client::of(&served);
    await_within(PATIENCE, "everything to be delivered", || {
        served.json(&["shadow", "get", "photos"])["waiting"]["pending"] == 0
    })
    .unwrap();
    let waiting = served.json(&["shadow", "waiting", "photos"]);
    assert_eq!(waiting["waiting"]["dead"], 0, "{waiting}");
    let here = client.list("/photos", "").unwrap().unwrap();
    assert_eq!(here, old.list("/old", "").unwrap().unwrap());
    for key in &here {
        let (ours, theirs) =
            (bytes_at(&client, &format!("/photos/{key}")), bytes_at(&old, &format!("/old/{key}")));
        assert!(ours == theirs && ours.is_some(), "{key}");
    }
    for journal in &journals {
        for (key, states) in &*journal.lock().unwrap() {
            let there = bytes_at(&old, &format!("/old/{key}"));
            let fits =
                |state: &Option<Content>| state.as_ref().map(|content| content.bytes().to_vec()) == there;
            assert!(states.iter().any(fits), "{key} is none of what its writer may have left");
        }
    }
    println!(
        "{kills} kills, {acknowledged} acknowledged changes, {} keys: both sides are the same",
        here.len()
    );
    assert!(acknowledged > 0 && !here.is_empty());
}

/// The client of a shadow that is written to, against the gateway: what it sends is understood and verified there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_understands_what_the_shadow_client_writes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fallthrough.toml"), "[bucket.old]\nmode = \"plain\"\n").unwrap();
    let path = folder.path().to_owned();
    let server = tokio::task::spawn_blocking(move || Served::serve(&path, &[])).await.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let outbound = Outbound::new(NetworkPolicy { allow_private: true }).unwrap();
    let settings = S3Settings {
        endpoint: server.text("s3").to_owned(),
        bucket: BucketName::parse("old").unwrap(),
        region: "us-east-1".to_owned(),
        addressing: Default::default(),
        credentials: Some(Credentials::new(server.text("access_key"), server.text("secret_key"))),
    };
    let shadow = S3Shadow::new(settings, &outbound, clock.clone()).unwrap();
    let write = async |write: Write, guard: WriteGuard| {
        let guarded = guard != WriteGuard::None;
        let (hops, stall) = (0, Duration::from_secs(60));
        let key = Key::parse("a b/ä+~").unwrap();
        let request = WriteRequest { key, write, guard, stall, hops, request_id: "R".to_owned() };
        Written::of(shadow.write(request).await.unwrap(), guarded, clock.now()).await
    };
    let object = || {
        let mut meta = Meta::of_type("text/plain");
        meta.user = vec![("who".to_owned(), "värde".to_owned())];
        let tags = vec![Tag { key: "a b".to_owned(), value: "c=d".to_owned() }];
        Box::new(ObjectHeaders { meta, tags, ..ObjectHeaders::default() })
    };
    let body = |bytes: Body, size_bytes, md5| SentBody { body: bytes, size_bytes, md5 };
    let small = || body(Body::Bytes(Bytes::from_static(b"hello")), 5, Some(md5(b"hello")));
    let put = |guard| write(Write::Put { object: object(), body: small() }, guard);
    let Written::Done { etag: Some(etag), .. } = put(WriteGuard::Absent).await else { panic!("not put") };
    assert_eq!(etag, ETag::from_md5(md5(b"hello")));
    assert_eq!(put(WriteGuard::Absent).await, Written::Changed);
    assert_eq!(put(WriteGuard::Match(ETag::strong("other").unwrap())).await, Written::Changed);
    assert!(matches!(put(WriteGuard::Match(etag.clone())).await, Written::Done { .. }));
    // A body in pieces, and one that is not what was promised.
    let pieces = |texts: [&'static [u8]; 2]| -> ByteStream {
        Box::pin(futures::stream::iter(texts.map(|text| Ok(Bytes::from_static(text)))))
    };
    let streamed = |md5| body(Body::Stream(pieces([b"he", b"llo"])), 5, Some(md5));
    let sent = Write::Put { object: object(), body: streamed(md5(b"hello")) };
    assert_eq!(write(sent, WriteGuard::None).await, Written::Done { etag: Some(etag.clone()), upload: None });
    let sent = Write::Put { object: object(), body: streamed(md5(b"other")) };
    assert!(matches!(write(sent, WriteGuard::None).await, Written::Failing { .. }));
    // In parts.
    let begun = write(Write::CreateUpload { object: object() }, WriteGuard::None).await;
    let Written::Done { upload: Some(upload), .. } = begun else { panic!("{begun:?}") };
    let first = vec![b'x'; 5 << 20];
    let mut parts = Vec::new();
    for (number, bytes) in [(1, first.clone()), (2, b"end".to_vec())] {
        let size = bytes.len() as u64;
        let body = body(Body::Bytes(bytes.into()), size, None);
        let part = Write::UploadPart { upload: upload.clone(), number, body };
        let Written::Done { etag: Some(etag), .. } = write(part, WriteGuard::None).await else {
            panic!("no part")
        };
        parts.push((number, etag));
    }
    let complete = Write::CompleteUpload { upload: upload.clone(), parts };
    let done = write(complete, WriteGuard::Match(etag)).await;
    let expected = multipart_etag([md5(&first), md5(b"end")].iter());
    assert_eq!(done, Written::Done { etag: Some(expected.clone()), upload: None });
    assert_eq!(write(Write::AbortUpload { upload }, WriteGuard::None).await, Written::NoSuchUpload);
    let (client, folder) = (Client::of(&server), folder);
    let (status, bytes) =
        tokio::task::spawn_blocking(move || client.send(&Method::GET, "/old/a%20b/%C3%A4%2B~", b"").unwrap())
            .await
            .unwrap();
    assert_eq!((status, bytes.len()), (200, first.len() + 3));
    let mut head = Request::get(Key::parse("a b/ä+~").unwrap(), Duration::from_secs(60));
    head.method = fallthrough_shadow::Method::Head;
    let answer = shadow.fetch(head).await.unwrap();
    assert_eq!(answer.headers["x-amz-meta-who"].as_bytes(), "värde".as_bytes());
    assert_eq!(answer.headers["x-amz-tagging-count"], "1");
    assert_eq!(write(Write::Delete, WriteGuard::Match(ETag::strong("x").unwrap())).await, Written::Changed);
    assert!(matches!(write(Write::Delete, WriteGuard::Match(expected)).await, Written::Done { .. }));
    assert!(matches!(write(Write::Delete, WriteGuard::None).await, Written::Done { .. }));
    drop((server, folder));
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut digests = Digests::new(DigestSet::none().and_md5());
    digests.update(bytes);
    digests.finish().md5.unwrap()
}
