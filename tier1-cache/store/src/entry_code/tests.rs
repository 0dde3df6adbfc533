//! Entries survive the way to bytes and back, and bytes that are not an entry are refused.

use fallthrough_object::Meta;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = String> {
    "[ -~é]{0,12}"
}

fn etags() -> impl Strategy<Value = ETag> {
    ("[!#-~é]{0,40}", any::<bool>()).prop_map(|(value, weak)| {
        if weak { ETag::parse(&format!("W/\"{value}\"")).unwrap() } else { ETag::strong(value).unwrap() }
    })
}

fn times() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn checksums() -> impl Strategy<Value = Checksum> {
    (0..ChecksumAlgorithm::ALL.len(), prop::option::of(any::<u32>()), any::<u8>()).prop_map(
        |(n, parts, byte)| {
            let algorithm = ChecksumAlgorithm::ALL[n];
            let kind = parts.map_or(ChecksumKind::FullObject, |parts| ChecksumKind::Composite { parts });
            Checksum { algorithm, kind, value: vec![byte; algorithm.len_bytes()] }
        },
    )
}

fn metas() -> impl Strategy<Value = Meta> {
    let field = || prop::option::of(text());
    let user = prop::collection::vec((text(), text()), 0..4);
    (field(), field(), field(), field(), field(), field(), user).prop_map(|(a, b, c, d, e, f, user)| Meta {
        content_type: a,
        cache_control: b,
        content_disposition: c,
        content_encoding: d,
        content_language: e,
        expires: f,
        user,
    })
}

fn acls() -> impl Strategy<Value = Acl> {
    let grantee = prop_oneof![
        text().prop_map(Grantee::Account),
        Just(Grantee::AuthenticatedUsers),
        Just(Grantee::AllUsers),
    ];
    let grant = (grantee, 0..Permission::ALL.len())
        .prop_map(|(grantee, n)| AclGrant { grantee, permission: Permission::ALL[n] });
    prop::collection::vec(grant, 0..4).prop_map(|grants| Acl { grants })
}

fn infos() -> impl Strategy<Value = ObjectInfo> {
    let tags = prop::collection::vec((text(), text()).prop_map(|(key, value)| Tag { key, value }), 0..3);
    let sums = prop::option::of((0..ChecksumAlgorithm::ALL.len(), 0usize..4).prop_map(|(n, parts)| {
        let algorithm = ChecksumAlgorithm::ALL[n];
        PartChecksums { algorithm, values: vec![7; parts * algorithm.len_bytes()] }
    }));
    let upload = prop::option::of(any::<[u8; 16]>().prop_map(UploadId));
    let rest =
        (sums, upload, tags, prop::option::of(text()), prop::option::of(acls()), prop::option::of(text()));
    (plain_infos(), rest).prop_map(|(info, (part_checksums, upload, tags, owner, acl, website_redirect))| {
        let tags_behind = owner.as_ref().map(|owner| owner.len() as u32);
        ObjectInfo { part_checksums, upload, tags, owner, acl, website_redirect, tags_behind, ..info }
    })
}

fn plain_infos() -> impl Strategy<Value = ObjectInfo> {
    let parts = prop::collection::vec(0u64..3, 0..30);
    let sums = prop::collection::vec(checksums(), 0..3);
    (prop::option::of(etags()), any::<u64>(), times(), metas(), sums, any::<Option<[u8; 16]>>(), parts)
        .prop_map(|(etag, size_bytes, last_modified, meta, checksums, md5, part_sizes)| ObjectInfo {
            etag,
            size_bytes,
            last_modified,
            meta,
            checksums,
            md5,
            part_sizes,
            ..ObjectInfo::default()
        })
}

fn provenances() -> impl Strategy<Value = Provenance> {
    let time = || prop::option::of(times());
    let verified = prop::collection::vec(text(), 0..3);
    let first = (text(), prop::option::of(etags()), time(), times(), verified);
    (first, time(), time(), time(), prop::option::of(text())).prop_map(|(first, a, b, c, edition)| {
        Provenance {
            origin: first.0,
            origin_etag: first.1,
            origin_last_modified: first.2,
            asked_at: first.3,
            verified: first.4,
            fresh_until: a,
            stale_if_error_until: b,
            stale_while_revalidate_until: c,
            edition,
        }
    })
}

fn storeds() -> impl Strategy<Value = Stored> {
    (infos(), 0..3u8, any::<u64>(), any::<u64>()).prop_map(|(info, kind, epoch, number)| {
        let id = BlobId { epoch, number };
        let blob = match (info.size_bytes, kind) {
            (0, _) => BlobRef::Empty,
            (_, 0) => BlobRef::Row(id),
            (1, _) | (_, 1) => BlobRef::File(id),
            (size, _) => BlobRef::of_parts(vec![
                PartBlob { id, size_bytes: 1 },
                PartBlob { id: BlobId { epoch: 3, number: 4 }, size_bytes: size - 1 },
            ]),
        };
        Stored { info: Arc::new(info), blob }
    })
}

fn states() -> impl Strategy<Value = EntryState> {
    prop_oneof![
        storeds().prop_map(EntryState::Written),
        (storeds(), provenances()).prop_map(|(stored, from)| EntryState::Filled(stored, from)),
        (infos(), provenances()).prop_map(|(info, from)| EntryState::Known(Arc::new(info), from)),
        (times(), any::<bool>()).prop_map(|(until, invalid)| EntryState::Absent { until, invalid }),
        Just(EntryState::Tombstone),
    ]
}

proptest! {
    #[test]
    fn entries_read_back(state in states(), revision in any::<Option<u64>>(), version in 1..u64::MAX) {
        let bytes = encode(&state, revision.map(Revision));
        let entry = decode(&bytes, version).unwrap();
        prop_assert_eq!(entry.state, state);
        prop_assert_eq!((entry.revision.0, entry.row_version), (revision.unwrap_or(version), version));
        // Cut anywhere within a field, a row is refused or is another row; it never panics.
        for cut in 0..bytes.len() {
            let _any = decode(&bytes[..cut], version);
        }
    }

    #[test]
    fn noise_is_refused_without_harm(noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut noise = noise;
        noise.splice(0..0, [LAYOUT, WRITTEN]);
        let _any = decode(&noise, 1);
    }
}

#[test]
fn the_bytes_are_the_documented_ones() {
    let info = ObjectInfo {
        etag: Some(ETag::strong("ab").unwrap()),
        size_bytes: 300,
        last_modified: Timestamp(1),
        meta: Meta { user: vec![("n".to_owned(), "v".to_owned())], ..Meta::default() },
        checksums: Vec::new(),
        md5: None,
        part_sizes: vec![100, 100, 100],
        ..ObjectInfo::default()
    };
    let stored = Stored { info: Arc::new(info), blob: BlobRef::File(BlobId { epoch: 1, number: 200 }) };
    let expected = [
        &[1, 1][..],
        &[2, 4, 2, 1, 0xc8, 0x01],
        &[16, 3, 0, b'a', b'b'],
        &[17, 2, 0xac, 0x02],
        &[18, 1, 1],
        &[25, 3, 1, b'n', b'v'],
        &[28, 2, 3, 100],
    ]
    .concat();
    assert_eq!(encode(&EntryState::Written(stored), None), expected);
    assert_eq!(encode(&EntryState::Tombstone, Some(Revision(5))), &[1, 5, 1, 1, 5][..]);
}

#[test]
fn usual_entries_are_small() {
    let user = (0..10).map(|n| (format!("name-{n}"), "a value of usual length".to_owned())).collect();
    let info = ObjectInfo {
        etag: Some(ETag::from_md5([7; 16])),
        size_bytes: 5 << 30,
        last_modified: Timestamp(1_700_000_000_000),
        meta: Meta { content_type: Some("application/octet-stream".to_owned()), user, ..Meta::default() },
        checksums: vec![Checksum {
            algorithm: ChecksumAlgorithm::Crc64Nvme,
            kind: ChecksumKind::FullObject,
            value: vec![1; 8],
        }],
        md5: Some([7; 16]),
        part_sizes: vec![8 << 20; 640],
        ..ObjectInfo::default()
    };
    let stored = Stored { info: Arc::new(info), blob: BlobRef::File(BlobId { epoch: 9, number: 9 }) };
    assert!(encode(&EntryState::Written(stored), None).len() < 1024);
}

#[test]
fn what_contradicts_itself_is_refused() {
    // Unknown layout, state, tag; tags out of order; a length without bytes; bytes without a length.
    for row in [
        &[2, 5][..],
        &[1, 9],
        &[1, 5, 200, 0],
        &[1, 1, 18, 1, 1, 17, 1, 0],
        &[1, 1, 17, 1, 5],
        &[1, 1, 2, 3, 1, 1, 1],
        // Parts that do not add up; one part; a part without bytes; an ACL's line without the ACL.
        &[1, 1, 5, 6, 1, 1, 2, 1, 2, 2, 17, 1, 5],
        &[1, 1, 5, 3, 1, 1, 5, 17, 1, 5],
        &[1, 1, 5, 6, 1, 1, 5, 1, 2, 0, 17, 1, 5],
        &[1, 1, 17, 1, 0, 34, 2, 1, 3],
        &[1, 4],
        &[1],
    ] {
        assert!(decode(row, 1).is_err(), "{row:?}");
    }
}
