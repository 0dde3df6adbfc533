//! Bits that flip: wherever they are, they are found, and nobody gets wrong bytes.

use proptest::prelude::*;

use super::scrub::{check, items};
use super::*;
use crate::CommitError;

/// A class of places within a blob's file where something can go wrong.
#[derive(Clone, Copy, Debug)]
enum Rot {
    FirstByte,
    WithinBlock,
    LastByte,
    BlockSum,
    LastSum,
    Magic,
    Epoch,
    Number,
    Length,
    BlockBytes,
    SumOfSums,
    TrailerSum,
    CutByOne,
    CutTrailer,
    CutHalf,
    Emptied,
    Longer,
    OtherBlob,
    /// A block is another one, and so is its checksum.
    BlockWithSum,
    Gone,
}

const ALL: [Rot; 20] = [
    Rot::FirstByte,
    Rot::WithinBlock,
    Rot::LastByte,
    Rot::BlockSum,
    Rot::LastSum,
    Rot::Magic,
    Rot::Epoch,
    Rot::Number,
    Rot::Length,
    Rot::BlockBytes,
    Rot::SumOfSums,
    Rot::TrailerSum,
    Rot::CutByOne,
    Rot::CutTrailer,
    Rot::CutHalf,
    Rot::Emptied,
    Rot::Longer,
    Rot::OtherBlob,
    Rot::BlockWithSum,
    Rot::Gone,
];

impl Rot {
    fn happen(self, disk: &LossyDisk, path: &str, len: usize, other: &[u8]) {
        if let Self::Gone = self {
            return crate::disk::Disk::unlink(disk, path).unwrap();
        }
        disk.rot(path, |content| {
            let end = content.len();
            let at = match self {
                Self::FirstByte => 0,
                Self::WithinBlock => len / 2,
                Self::LastByte => len - 1,
                Self::BlockSum => len,
                Self::LastSum => end - 49,
                Self::Magic => end - 48,
                Self::Epoch => end - 40,
                Self::Number => end - 32,
                Self::Length => end - 24,
                Self::BlockBytes => end - 16,
                Self::SumOfSums => end - 12,
                Self::TrailerSum => end - 1,
                Self::CutByOne => return content.truncate(end - 1),
                Self::CutTrailer => return content.truncate(end - 48),
                Self::CutHalf => return content.truncate(end / 2),
                Self::Emptied => return content.clear(),
                Self::Longer => return content.push(0),
                Self::OtherBlob => return *content = other.to_vec(),
                Self::BlockWithSum => {
                    content[0] ^= 1;
                    let sum = crate::blobs::seal::checksum(&content[..len.min(131_072)]);
                    return content[len..len + 8].copy_from_slice(&sum.to_le_bytes());
                }
                Self::Gone => return,
            };
            content[at] ^= 1;
        });
    }
}

/// Every class of rot is found by the scrubber and by a read of the whole after a restart, and no range, from
/// whichever block, ever has a wrong byte.
pub(super) async fn classes() -> Result<(), String> {
    for len in [300, 131_072, 400_000] {
        for rot in ALL {
            let disk = LossyDisk::new();
            let store = open(&disk).await.map_err(|e| e.to_string())?;
            let made = bucket(&store).await;
            let (body, twin) = (bytes_of(1, len), bytes_of(2, len));
            let entry = put(&store, &made, &key("k"), &body).await;
            put(&store, &made, &key("twin"), &twin).await;
            let names = disk.names("blobs/");
            rot.happen(&disk, &names[0], len, &disk.content(&names[1]));
            let what = |found: &str| format!("{rot:?} of {len}: {found}");
            let told = |end: Result<u64, StoreError>| {
                matches!(end, Err(StoreError::Corrupt { .. } | StoreError::Missing { .. }))
            };
            if !told(check(&store, &entry).await) {
                return Err(what("the scrubber did not find it"));
            }
            if let Rot::BlockWithSum = rot {
                // Not a flip: a reader of that block alone has nothing to tell by.
                continue;
            }
            let store = open(&disk).await.map_err(|e| e.to_string())?;
            let stored = entry.state.stored().unwrap();
            let whole = read(&store, stored).await;
            match whole {
                Err(StoreError::Corrupt { .. } | StoreError::Missing { .. }) => {}
                // Only the checksum of the checksums is of no use to who reads the blocks.
                Ok(got) if matches!(rot, Rot::SumOfSums) && got == body => {}
                other => return Err(what(&format!("a read gave {:?}", other.map(|got| got == body)))),
            }
            for start in (0..len).step_by(40_000) {
                let range = ByteRange { start: start as u64, end: (start + 150_000).min(len) as u64 };
                let Ok(part) = store.open_body(stored, range).await else { continue };
                let Ok(got) = collect(part).await else { continue };
                if got != body[range.start as usize..range.end as usize] {
                    return Err(what(&format!("{range:?} has wrong bytes")));
                }
            }
            let sound = items(&store, 10).await.into_iter().find(|item| item.key.as_str() == "twin").unwrap();
            check(&store, &sound.entry).await.map_err(|e| what(&format!("another blob: {e}")))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_class_of_rot_is_found_and_no_range_has_wrong_bytes() {
    classes().await.unwrap();
}

#[tokio::test]
async fn rot_of_a_small_body_is_found_whether_or_not_memory_has_it() {
    for at in [0, 7, 8, 25, 47] {
        let disk = LossyDisk::new();
        let store = open(&disk).await.unwrap();
        let made = bucket(&store).await;
        let body = bytes_of(77, 40);
        let entry = put(&store, &made, &key("k"), &body).await;
        store.close().await;
        let index = disk.content(crate::kv::embedded::FILE);
        let found: Vec<usize> =
            (0..index.len() - 40).filter(|start| index[*start..*start + 40] == body[..]).collect();
        assert!(!found.is_empty());
        // In every copy that the file has of it: pages that are free now, too. Eight bytes before it: its sum.
        disk.rot(crate::kv::embedded::FILE, |content| {
            found.iter().for_each(|start| content[start - 8 + at] ^= 4);
        });
        let store = open(&disk).await.unwrap();
        assert!(matches!(check(&store, &entry).await, Err(StoreError::Corrupt { .. })), "{at}");
        assert!(matches!(read(&store, entry.state.stored().unwrap()).await, Err(StoreError::Corrupt { .. })));
    }
}

fn flips() -> u32 {
    std::env::var("FALLTHROUGH_FLIPS").ok().and_then(|count| count.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: flips(), ..ProptestConfig::default() })]
    /// Some bits of a blob flip: the scrubber finds it; a reader gets the right bytes or none.
    #[test]
    fn flipped_bits_of_a_blob_are_found(
        len in 65usize..300_000,
        at in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
        from in any::<prop::sample::Index>(),
    ) {
        model::run(async {
            let disk = LossyDisk::new();
            let store = open(&disk).await.unwrap();
            let made = bucket(&store).await;
            let body = bytes_of(len as u64, len);
            let entry = put(&store, &made, &key("k"), &body).await;
            let path = disk.names("blobs/")[0].clone();
            let sound = disk.content(&path);
            disk.rot(&path, |content| at.iter().for_each(|(at, bit)| content[at.index(sound.len())] ^= 1 << bit));
            // The same bit twice is no damage.
            let damaged = disk.content(&path) != sound;
            let found = check(&store, &entry).await;
            assert_eq!(matches!(found, Err(StoreError::Corrupt { .. })), damaged, "{found:?}");
            let stored = entry.state.stored().unwrap();
            let start = from.index(len) as u64;
            for range in [ByteRange::whole(len as u64), ByteRange { start, end: len as u64 }] {
                if let Ok(part) = store.open_body(stored, range).await
                    && let Ok(got) = collect(part).await
                {
                    assert_eq!(got, body[range.start as usize..], "wrong bytes");
                }
            }
        });
    }
}

/// The places of `needle` in the index's file: in every copy of a page that it has, free ones too.
fn places(disk: &LossyDisk, needle: &[u8]) -> Vec<usize> {
    let index = disk.content(crate::kv::embedded::FILE);
    let found: Vec<usize> =
        index.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "it is in the index");
    found
}

/// A row that rotted is never taken for what it says, and is told of by the scrubber.
pub(super) async fn rows() -> Result<(), String> {
    for needle in [&b"etag-40"[..], b"text/plain", b"etag-3000"] {
        let disk = LossyDisk::new();
        let store = open(&disk).await.map_err(|e| e.to_string())?;
        let made = bucket(&store).await;
        let keys = [("k40", 40), ("k3000", 3000)];
        for (raw, len) in keys {
            put(&store, &made, &key(raw), &bytes_of(1, len)).await;
        }
        store.close().await;
        let found = places(&disk, needle);
        disk.rot(crate::kv::embedded::FILE, |content| found.iter().for_each(|at| content[*at] ^= 2));
        let store = open(&disk).await.map_err(|e| e.to_string())?;
        let mut damaged = 0;
        for (raw, len) in keys {
            match store.lookup(made.id, &key(raw)).await {
                Ok(Some(entry)) => {
                    let info = info(len);
                    if *entry.state.stored().unwrap().info != info {
                        return Err(format!("{raw} is said to be {entry:?}"));
                    }
                }
                Err(StoreError::Corrupt { .. }) => damaged += 1,
                other => return Err(format!("{raw}: {other:?}")),
            }
        }
        let page = store.scrub_page(&[], 100).await.map_err(|e| e.to_string())?;
        if damaged == 0 || page.damaged.len() != damaged {
            return Err(format!("{damaged} damaged rows, told of {:?}", page.damaged));
        }
        // Given up, and the key is as free as any; one that can be read is not given up.
        let mut given_up = 0;
        for (raw, len) in keys {
            let done = store.forget_damaged(&made, &key(raw)).await.map_err(|e| e.to_string())?;
            if done {
                given_up += 1;
                if store.lookup(made.id, &key(raw)).await.map_err(|e| e.to_string())?.is_some() {
                    return Err(format!("{raw} is still there"));
                }
                put(&store, &made, &key(raw), &bytes_of(3, len)).await;
            }
        }
        if given_up != damaged {
            return Err(format!("{given_up} of {damaged} damaged rows were given up"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_row_that_rotted_is_never_believed() {
    rows().await.unwrap();
}

/// A store of many entries whose index has more than one level, closed in order.
async fn many(disk: &LossyDisk) -> (Arc<Bucket>, Vec<(Key, Entry, Bytes)>) {
    let store = open(disk).await.unwrap();
    let made = bucket(&store).await;
    let mut all = Vec::new();
    for n in 0..120u64 {
        let (at, body) = (key(&format!("some/key/{n:03}")), bytes_of(n, 1 + n as usize % 64));
        let entry = put(&store, &made, &at, &body).await;
        all.push((at, (*entry).clone(), body));
    }
    store.close().await;
    (made, all)
}

async fn wrong_with_index(store: &Store) -> Option<String> {
    store.check_index(None).await.unwrap()
}

#[tokio::test]
async fn a_sound_index_is_found_sound_while_it_is_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let entropy = Arc::new(SeededEntropy::new(1));
    let store = Store::open(dir.path(), options(), clock(), entropy).await.unwrap();
    let made = bucket(&store).await;
    let (done, written) = (std::cell::Cell::new(false), std::cell::Cell::new(0u64));
    let writes = async {
        while !done.get() {
            let n = written.get();
            put(&store, &made, &key(&format!("k{}", n % 300)), &bytes_of(n, 50)).await;
            written.set(n + 1);
        }
    };
    let checks = async {
        let mut checked = 0;
        // However the two share the machine: both happen many times.
        while checked < 20 || written.get() < 20 {
            assert_eq!(wrong_with_index(&store).await, None);
            tokio::task::yield_now().await;
            checked += 1;
        }
        done.set(true);
    };
    futures::join!(writes, checks);
    store.close().await;
    assert!(store.check_index(None).await.is_err(), "a closed index cannot be checked");
}

/// A page that leads astray hides keys; the check of the pages tells of it.
pub(super) async fn pages() -> Result<(), String> {
    let disk = LossyDisk::new();
    let (_, all) = many(&disk).await;
    let store = open(&disk).await.map_err(|e| e.to_string())?;
    if let Some(wrong) = wrong_with_index(&store).await {
        return Err(format!("a sound index: {wrong}"));
    }
    store.close().await;
    for (at, ..) in all.iter().step_by(17) {
        let found = places(&disk, at.as_str().as_bytes());
        let rotten = disk.crashed(0);
        rotten.rot(crate::kv::embedded::FILE, |content| found.iter().for_each(|at| content[*at] ^= 0x10));
        let store = open(&rotten).await.map_err(|e| e.to_string())?;
        if wrong_with_index(&store).await.is_none() {
            return Err(format!("nothing is found wrong where {at} is"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_rotten_page_of_the_index_is_found() {
    pages().await.unwrap();
}

/// A bit that flips in a page of the index's bookkeeping is found before anything goes by what the page says.
pub(super) async fn books() -> Result<(), String> {
    let disk = LossyDisk::new();
    many(&disk).await;
    let index = disk.content(crate::kv::embedded::FILE);
    let pages = std::cell::RefCell::new(Vec::new());
    let read = |offset: u64, out: &mut [u8]| {
        let from = offset as usize;
        out.copy_from_slice(&index[from..from + out.len()]);
        pages.borrow_mut().push(from);
        Ok(())
    };
    crate::kv::books::compare(index.len() as u64, &read).map_err(|e| format!("sound books: {e}"))?;
    for from in pages.into_inner().into_iter().filter(|from| *from > 0) {
        let rotten = disk.crashed(0);
        // A byte that says nothing to anybody, but has a share in the page's checksum.
        rotten.rot(crate::kv::embedded::FILE, |content| content[from + 1] ^= 1);
        match open(&rotten).await {
            Err(StoreError::Corrupt { .. }) => {}
            other => return Err(format!("the page at {from}: {:?}", other.err())),
        }
    }
    Ok(())
}

#[tokio::test]
async fn damaged_bookkeeping_of_the_index_is_found_before_it_is_used() {
    books().await.unwrap();
}

/// Writes, as far as it can be written.
async fn try_put(store: &Store, bucket: &Bucket, at: &Key, body: &Bytes) -> Result<(), CommitError> {
    let previous = store.lookup(bucket.id, at).await?;
    let sealed = seal(store, body).await?;
    let state = NewState::Written(info(body.len()));
    store.publish(bucket, at, previous.as_deref(), state, sealed).await.map(|_| ())
}

/// What the store answers of `all`: every answer right, or an error; how many keys it does not know.
async fn asked(store: &Store, made: &Bucket, all: &[(Key, Entry, Bytes)]) -> usize {
    let mut hidden = 0;
    for (at, entry, body) in all {
        match store.lookup(made.id, at).await {
            Ok(Some(found)) => assert_eq!(*found, *entry, "a wrong entry"),
            Ok(None) => hidden += 1,
            Err(_) => {}
        }
        if let Ok(got) = read(store, entry.state.stored().unwrap()).await {
            assert_eq!(got, *body, "wrong bytes");
        }
    }
    if let Ok(listed) = store.scan(made.id, std::ops::Bound::Unbounded, "", 1000).await {
        let known = |(at, entry): &&(Key, Entry)| all.iter().any(|(k, e, _)| k == at && e == entry);
        let other = |(at, _): &&(Key, Entry)| at.as_str().starts_with("other/");
        let listed: Vec<_> = listed.iter().filter(|row| !other(row)).collect();
        hidden += all.len() - listed.len().min(all.len());
        assert!(listed.iter().all(known), "a wrong row");
    }
    hidden
}

/// Flips bits of the index and opens, uses and closes the store over it. It does not open, or what it answers is right, or
/// an error; a key that it does not find any more is told of by the check of the pages. It never panics.
async fn flipped(at: &[(prop::sample::Index, u8)]) {
    let disk = LossyDisk::new();
    let (made, all) = many(&disk).await;
    let sound = disk.content(crate::kv::embedded::FILE).len();
    disk.rot(crate::kv::embedded::FILE, |content| {
        at.iter().for_each(|(at, bit)| content[at.index(sound)] ^= 1 << bit);
    });
    let store = match open(&disk).await {
        Ok(store) => store,
        Err(error) => return assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}"),
    };
    let told_of = async |store: &Store, hidden: usize| {
        let told = if hidden > 0 { store.check_index(None).await } else { Ok(Some(String::new())) };
        assert!(!matches!(told, Ok(None)), "{hidden} keys are hidden and nothing is found wrong");
    };
    told_of(&store, asked(&store, &made, &all).await).await;
    for n in 0..20u64 {
        // It may be refused: pages on the way may be damaged.
        let _tried = try_put(&store, &made, &key(&format!("other/{n}")), &bytes_of(n, 40)).await;
    }
    told_of(&store, asked(&store, &made, &all).await).await;
    store.close().await;
    drop(store);
    if let Ok(store) = open(&disk).await {
        told_of(&store, asked(&store, &made, &all).await).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: flips(), ..ProptestConfig::default() })]
    #[test]
    fn flipped_bits_of_the_index_are_found(
        at in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..3),
    ) {
        model::run(flipped(&at));
    }
}
