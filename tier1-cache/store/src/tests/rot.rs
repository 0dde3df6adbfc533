//! Bits that flip: wherever they are, they are found, and nobody gets wrong bytes.

use proptest::prelude::*;

use super::scrub::{check, items};
use super::*;

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
    Gone,
}

const ALL: [Rot; 19] = [
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
