//! What format 3 brought: at least one row of every family, and every field of every row, each with a value that
//! is told from its default.

use fallthrough_object::{
    Acl, AclGrant, BucketConfiguration, CorsRule, Entropy, Grantee, LifecycleFilter, LifecycleRule,
    Monotonic, Permission, Tag, Website, WebsiteRedirect,
};

use super::*;
use crate::{
    AccountRow, BlobRef, CopyOf, ListFrom, NewPart, PartChecksums, PublicAccess, PublicFill,
    ShadowCredentials, Treat403As, Upload, UploadId, UploadRow, UploadedParts,
};

/// When everything in the folder happened.
const NOW: Timestamp = Timestamp(1_790_000_000_123);
/// Ids of uploads: the time, and what the recipe's source of randomness gives, which is its place in a row.
const JOINED: UploadId = UploadId([1, 160, 196, 80, 108, 123, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const ON_ITS_WAY: UploadId = UploadId([1, 160, 196, 80, 108, 123, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
const ENDED: UploadId = UploadId([1, 160, 196, 80, 108, 123, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
const IN_REMOVED: UploadId = UploadId([1, 160, 196, 80, 108, 123, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
/// Keys with all that is written in another way in a row's key, or in JSON.
const STRANGE: &str = "a\0b/\u{1}\"\\é\u{10FFFF}";

/// The date stands still.
#[derive(Debug, Default)]
pub(super) struct Still(SystemClock);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }
}

/// Counts where ids of uploads are made; every other asker gets zeros.
#[derive(Debug, Default)]
pub(super) struct Counting(std::sync::atomic::AtomicU8);

impl Entropy for Counting {
    fn fill(&self, out: &mut [u8]) {
        out.fill(0);
        if let [_, _, _, _, _, _, _, _, _, last] = out {
            *last = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        }
    }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.to_owned(), value: value.to_owned() }
}

fn acl() -> Acl {
    let grantees = [Grantee::Account("you".to_owned()), Grantee::AuthenticatedUsers, Grantee::AllUsers];
    let grant =
        |(n, permission): (usize, Permission)| AclGrant { grantee: grantees[n % 3].clone(), permission };
    Acl { grants: Permission::ALL.into_iter().enumerate().map(grant).collect() }
}

fn configuration() -> BucketConfiguration {
    let text = |raw: &str| vec![raw.to_owned(), format!("{raw}*")];
    BucketConfiguration {
        acl: Some(acl()),
        tags: vec![tag("colour", "blå"), tag("empty", "")],
        cors: vec![CorsRule {
            id: Some("cors".to_owned()),
            allowed_origins: text("https://o"),
            allowed_methods: vec!["GET".to_owned(), "PUT".to_owned()],
            allowed_headers: text("x-h"),
            expose_headers: vec!["etag".to_owned()],
            max_age_secs: Some(3000),
        }],
        lifecycle: vec![
            LifecycleRule {
                id: "all".to_owned(),
                enabled: true,
                filter: LifecycleFilter {
                    prefix: Some("logs/".to_owned()),
                    tags: vec![tag("a", "b")],
                    larger_than_bytes: Some(1),
                    smaller_than_bytes: Some(1 << 40),
                },
                expire_days: Some(30),
                expire_at: Some(Timestamp(4_000_000_000_000)),
                expired_delete_marker: Some(true),
                noncurrent_days: Some(5),
                newer_noncurrent: Some(6),
                abort_uploads_days: Some(7),
                old_prefix: true,
            },
            LifecycleRule { id: "off".to_owned(), ..LifecycleRule::default() },
        ],
        website: Some(Website {
            index: Some("index.html".to_owned()),
            error: Some("error.html".to_owned()),
            redirect_all_to: Some(WebsiteRedirect {
                host: "www.example".to_owned(),
                protocol: Some("https".to_owned()),
            }),
        }),
    }
}

fn all_settings() -> BucketSettings {
    let named = ShadowTarget::Origin { origin: "named".to_owned() };
    let http = ShadowTarget::Http { url: "https://http.example/base".to_owned() };
    let s3 = ShadowTarget::S3 {
        endpoint: "https://s3.example".to_owned(),
        name: "old".to_owned(),
        region: "eu-1".to_owned(),
        addressing: Default::default(),
        credentials: Some(ShadowCredentials {
            access_key: "SHADOW".to_owned(),
            secret_key: "shadow-secret".to_owned(),
        }),
    };
    let full = ShadowRule {
        prefix: Some("p/".to_owned()),
        keys: Some("^p/[0-9]+$".to_owned()),
        key: Some("old/{key}".to_owned()),
        edition: Some("2".to_owned()),
        ttl_secs: Some(60),
        negative_ttl_secs: Some(30),
        treat_403_as: Treat403As::Absent,
        list: Some(ListFrom::Local),
        seekable: Some(false),
        per_client: Some(3),
        max_in_flight: Some(4),
        ..ShadowRule::to(s3)
    };
    BucketSettings {
        owner: "me".to_owned(),
        mode: BucketMode::Cache,
        public: PublicAccess::Read,
        public_fill: PublicFill::Open,
        shadow: vec![full, ShadowRule::to(http), ShadowRule::to(named)],
        managed: true,
        ..BucketSettings::default()
    }
}

fn account() -> AccountRow {
    AccountRow {
        id: "you".to_owned(),
        display_name: "You, yourself".to_owned(),
        email: Some("you@example.test".to_owned()),
    }
}

fn full_meta() -> Meta {
    let some = |raw: &str| Some(raw.to_owned());
    Meta {
        content_type: some("image/png"),
        cache_control: some("max-age=1"),
        content_disposition: some("attachment"),
        content_encoding: some("gzip"),
        content_language: some("de"),
        expires: some("Thu, 01 Dec 1994 16:00:00 GMT"),
        user: vec![("name".to_owned(), "värde".to_owned()), ("other".to_owned(), String::new())],
    }
}

fn checksums(parts: Option<u32>) -> Vec<Checksum> {
    let kind = parts.map_or(ChecksumKind::FullObject, |parts| ChecksumKind::Composite { parts });
    let sum = |algorithm: ChecksumAlgorithm| Checksum {
        algorithm,
        kind,
        value: (0..algorithm.len_bytes()).map(|n| n as u8 + 1).collect(),
    };
    ChecksumAlgorithm::ALL.map(sum).into()
}

/// Every field of an entry that is for all states with an object.
fn full_info(sizes: &[u64], checksums: Vec<Checksum>) -> ObjectInfo {
    ObjectInfo {
        etag: Some(ETag::strong(format!("etag-{}", sizes.len())).unwrap()),
        size_bytes: sizes.iter().sum(),
        last_modified: Timestamp(1_700_000_000_000),
        meta: full_meta(),
        checksums,
        md5: Some([7; 16]),
        part_sizes: sizes.to_vec(),
        part_checksums: Some(PartChecksums {
            algorithm: ChecksumAlgorithm::Sha1,
            values: (0..20 * sizes.len()).map(|n| n as u8).collect(),
        }),
        upload: Some(JOINED),
        tags: vec![tag("a", "1"), tag("b", "")],
        owner: Some("you".to_owned()),
        acl: Some(acl()),
        website_redirect: Some("/elsewhere".to_owned()),
        tags_behind: None,
    }
}

fn full_provenance() -> Provenance {
    Provenance {
        origin: "source".to_owned(),
        origin_etag: Some(ETag::parse("W/\"weak\"").unwrap()),
        origin_last_modified: Some(Timestamp(1_600_000_000_000)),
        asked_at: Timestamp(5),
        verified: vec!["length".to_owned(), "md5".to_owned()],
        fresh_until: Some(Timestamp(6)),
        stale_if_error_until: Some(Timestamp(7)),
        stale_while_revalidate_until: Some(Timestamp(8)),
        edition: Some("edition".to_owned()),
    }
}

/// What an upload was asked for; all of it, or the least.
fn asked(all: bool) -> UploadRow {
    if !all {
        return UploadRow { initiated: NOW, ..UploadRow::default() };
    }
    UploadRow {
        initiated: NOW,
        initiator: "me".to_owned(),
        meta: full_meta(),
        tags: vec![tag("up", "load")],
        owner: Some("you".to_owned()),
        acl: Some(acl()),
        website_redirect: Some("https://elsewhere.example/".to_owned()),
        checksum: Some(ChecksumAlgorithm::Crc64Nvme),
        checksum_of_whole: true,
    }
}

/// Sizes of the parts of every upload.
const SIZES: [u64; 3] = [100, 0, 1000];

fn part_info(number: u32) -> NewPart {
    NewPart {
        size_bytes: SIZES[number as usize - 1],
        md5: [number as u8; 16],
        checksums: if number == 1 { checksums(None) } else { Vec::new() },
        last_modified: Timestamp(u64::from(number)),
    }
}

fn part_body(number: u32) -> Bytes {
    bytes_of(u64::from(number) + 70, SIZES[number as usize - 1] as usize)
}

async fn put_parts(store: &Store, bucket: &Bucket, upload: &Upload) {
    for number in 1..=3 {
        let mut staging = store.stage(None).unwrap();
        staging.append(part_body(number)).await.unwrap();
        let body = staging.seal_part().await.unwrap();
        store.put_part(bucket.id, upload, number, part_info(number), body).await.unwrap();
    }
}

async fn made(store: &Store, raw: &str) -> Arc<Bucket> {
    let made = store.create_configured(&name(raw), all_settings(), configuration()).await.unwrap();
    let (Created::New(made) | Created::Exists(made)) = made;
    made
}

/// The recipe's part for format 3.
pub(super) async fn put_in(store: &Store) {
    store.put_account(&account()).await.unwrap();
    let made_full = made(store, "configured").await;

    // One object of three parts, and one that shares its files.
    let upload = store.create_upload(&made_full, &key("parts"), asked(true)).await.unwrap();
    assert_eq!(upload.id, JOINED);
    put_parts(store, &made_full, &upload).await;
    let listed = store.parts(made_full.id, upload.id, 0, 10).await.unwrap();
    let parts = UploadedParts { listed, unlisted: Vec::new() };
    let info = full_info(&SIZES, checksums(Some(3)));
    let joined =
        store.publish_parts(&made_full, &key("parts"), None, info.clone(), &upload, &parts).await.unwrap();
    let of = CopyOf { bucket: made_full.id, key: &key("parts"), entry: &joined };
    store.publish_copy(&made_full, &key(STRANGE), None, info, of).await.unwrap();

    let filled = NewState::Filled(full_info(&[500], checksums(None)), full_provenance());
    let body = seal(store, &bytes_of(80, 500)).await.unwrap();
    store.publish(&made_full, &key("filled"), None, filled, body).await.unwrap();

    // Uploads on their way: one with parts, and one whose row has gone, as a crash would leave it.
    for (at, id, all) in [(STRANGE, ON_ITS_WAY, true), ("ended", ENDED, false)] {
        let upload = store.create_upload(&made_full, &key(at), asked(all)).await.unwrap();
        assert_eq!(upload.id, id);
        put_parts(store, &made_full, &upload).await;
    }
    forget(store, crate::rows::upload(made_full.id, "ended", ENDED)).await;

    // A bucket that was removed and is not swept yet, and one whose shadow was cleared.
    let removed = made(store, "removed").await;
    put(store, &removed, &key("left"), &bytes_of(81, 1000)).await;
    let upload = store.create_upload(&removed, &key("left"), asked(false)).await.unwrap();
    assert_eq!(upload.id, IN_REMOVED);
    put_parts(store, &removed, &upload).await;
    let closed = store.close_bucket(&removed).await.unwrap();
    store.remove_bucket(closed).await.unwrap();
    let cleared = made(store, "cleared").await;
    store.erase(&cleared, &key("gone"), None, Erased::Tombstone).await.unwrap();
    put(store, &cleared, &key("stays"), &bytes_of(82, 10)).await;
    store.set_bucket(&cleared, BucketSettings::default()).await.unwrap();
}

async fn forget(store: &Store, row: Vec<u8>) {
    let commit = crate::kv::Commit { writes: vec![crate::store::remove(row)], ..Default::default() };
    store.inner.commit(commit).await.unwrap().unwrap();
}

/// How many rows of each family there are.
async fn families(store: &Store) -> Vec<(char, usize)> {
    let everything = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    let rows = store.inner.kv.range(everything.0, everything.1, usize::MAX).await.unwrap();
    let mut counted = std::collections::BTreeMap::new();
    for (key, _) in rows {
        *counted.entry(char::from(key[0])).or_default() += 1;
    }
    counted.into_iter().collect()
}

/// Everything that only format 3 has, as it was before this release touched anything.
async fn untouched(dir: &Path) {
    let store = open_dir(dir).await;
    assert_eq!(store.status().epoch, 2);
    let expected = [
        ('a', 2),
        ('b', 3),
        ('d', 1),
        ('e', 18),
        ('f', 15),
        ('g', 3),
        ('k', 1),
        ('m', 4),
        ('p', 9),
        ('q', 1),
        ('u', 2),
        ('x', 1),
    ];
    assert_eq!(families(&store).await, expected);
    assert_eq!(store.account("you").await.unwrap(), Some(account()));
    assert_eq!(store.account("me").await.unwrap(), Some(AccountRow::of("me")));
    let configured = store.bucket(&name("configured")).await.unwrap().unwrap();
    assert_eq!((configured.created, &configured.settings), (NOW, &all_settings()));
    assert_eq!(*configured.configuration, configuration());

    for at in ["parts", STRANGE] {
        let entry = store.lookup(configured.id, &key(at)).await.unwrap().unwrap();
        let EntryState::Written(stored) = &entry.state else { panic!("{at:?}: {entry:?}") };
        assert_eq!(*stored.info, full_info(&SIZES, checksums(Some(3))), "{at:?}");
        let BlobRef::Parts(files) = &stored.blob else { panic!("{at:?}: {stored:?}") };
        assert_eq!(files.iter().map(|file| file.size_bytes).collect::<Vec<_>>(), [100, 1000]);
        for file in files.iter() {
            let count = store.inner.kv.get(crate::kv::Table::Rows, &crate::rows::count(file.id)).await;
            assert_eq!(count.unwrap().unwrap().value[..], 2i64.to_le_bytes(), "two objects share it");
        }
        assert_eq!(read(&store, stored).await.unwrap(), [part_body(1), part_body(3)].concat());
    }
    let entry = store.lookup(configured.id, &key("filled")).await.unwrap().unwrap();
    let EntryState::Filled(stored, from) = &entry.state else { panic!("{entry:?}") };
    assert_eq!((&*stored.info, from), (&full_info(&[500], checksums(None)), &full_provenance()));
    assert_eq!(read(&store, stored).await.unwrap(), bytes_of(80, 500));

    let uploads = store.uploads(configured.id, "", None, 10).await.unwrap();
    let [upload] = uploads.as_slice() else { panic!("{uploads:?}") };
    assert_eq!((upload.id, upload.key.as_str(), &upload.row), (ON_ITS_WAY, STRANGE, &asked(true)));
    for id in [ON_ITS_WAY, ENDED] {
        let parts = store.parts(configured.id, id, 0, 10).await.unwrap();
        let infos: Vec<_> = parts.iter().map(|part| (part.number, part.info.clone())).collect();
        assert_eq!(infos, [1, 2, 3].map(|number| (number, part_info(number))));
    }
    store.close().await;
}

#[tokio::test]
async fn the_golden_folder_of_format_3_reads_back_byte_for_byte() {
    let dir = golden(3);
    untouched(dir.path()).await;
    // The same folder again, through all that earlier formats had, and the sweep.
    let dir = golden(3);
    let (store, _) = compare(dir.path()).await;
    assert_eq!(store.scrub_record().await.unwrap(), scrub_record());
    assert_eq!(store.quarantined(None, 10).await.unwrap()[0].row.key, "damaged");
    let expected = [
        ('a', 2),
        ('b', 3),
        ('e', 15),
        ('f', 10),
        ('g', 3),
        ('k', 1),
        ('m', 5),
        ('p', 3),
        ('q', 1),
        ('t', 3),
        ('u', 1),
    ];
    let what = "the sweep took what is nobody's, counted what is held, and did nothing else";
    assert_eq!(families(&store).await, expected, "{what}");
    assert_eq!(store.recount().await.unwrap(), 0);
    let cleared = store.bucket(&name("cleared")).await.unwrap().unwrap();
    assert_eq!(cleared.settings, BucketSettings::default());
    assert_eq!(store.lookup(cleared.id, &key("gone")).await.unwrap(), None);
    assert!(store.lookup(cleared.id, &key("stays")).await.unwrap().is_some());
    assert_eq!(store.bucket(&name("removed")).await.unwrap(), None);

    // And this release goes on with it: the upload is completed, of the parts that came under the earlier one.
    let configured = store.bucket(&name("configured")).await.unwrap().unwrap();
    let upload = store.upload(configured.id, &key(STRANGE), ON_ITS_WAY).await.unwrap().unwrap();
    let listed = store.parts(configured.id, upload.id, 0, 10).await.unwrap();
    let parts = UploadedParts { listed, unlisted: Vec::new() };
    let before = store.lookup(configured.id, &key(STRANGE)).await.unwrap();
    let info = full_info(&SIZES, Vec::new());
    let entry = store
        .publish_parts(&configured, &key(STRANGE), before.as_deref(), info, &upload, &parts)
        .await
        .unwrap();
    let whole = [part_body(1), part_body(3)].concat();
    assert_eq!(read(&store, entry.state.stored().unwrap()).await.unwrap(), whole);
    let shared = store.lookup(configured.id, &key("parts")).await.unwrap().unwrap();
    assert_eq!(read(&store, shared.state.stored().unwrap()).await.unwrap(), whole);
    store.close().await;
}
