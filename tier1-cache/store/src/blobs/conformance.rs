//! What every [`BlobStore`] does, run on each.

use super::files::{FileBlobs, make_folders};
use super::memory::MemoryBlobs;
use super::seal::{BlockSums, OpenBlob, checksum};
use super::*;
use crate::disk::Disk;
use crate::disk::lossy::LossyDisk;
use crate::disk::os::OsDisk;
use crate::error::StoreError;
use crate::options::StoreOptions;

fn id(number: u64) -> BlobId {
    BlobId { epoch: 1, number }
}

fn found(blobs: &dyn BlobStore) -> Vec<Found> {
    let mut all = Vec::new();
    let mut visit = |found| {
        all.push(found);
        true
    };
    blobs.walk(&mut visit).unwrap();
    all.sort();
    all
}

fn suite(blobs: &dyn BlobStore) {
    assert!(blobs.open(id(1)).unwrap().is_none());
    let mut writer = blobs.create(id(1)).unwrap();
    let reader = writer.reader();
    writer.append(b"hello ").unwrap();
    writer.append(b"world").unwrap();
    let mut out = [0; 5];
    reader.read_exact_at(&mut out, 6).unwrap();
    assert_eq!(&out, b"world");
    let past = reader.read_exact_at(&mut out, 7).unwrap_err();
    assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
    assert!(blobs.open(id(1)).unwrap().is_none(), "not before it is finished");
    assert_eq!(found(blobs), [Found::Staging(id(1))]);
    writer.finish().unwrap();
    assert_eq!(found(blobs), [Found::Blob(id(1))]);
    let (open, len) = blobs.open(id(1)).unwrap().unwrap();
    assert_eq!(len, 11);
    // Given up before the end: nothing is left.
    let mut given_up = blobs.create(id(2)).unwrap();
    given_up.append(b"x").unwrap();
    drop(given_up);
    assert_eq!(found(blobs), [Found::Blob(id(1))]);
    // An open blob outlives its name.
    blobs.remove_found(Found::Blob(id(1))).unwrap();
    assert!(blobs.open(id(1)).unwrap().is_none());
    open.read_exact_at(&mut out, 0).unwrap();
    assert_eq!(&out, b"hello");
    reader.read_exact_at(&mut out, 0).unwrap();
    for n in 3..40 {
        blobs.create(id(n)).unwrap().finish().unwrap();
    }
    let mut seen = 0;
    blobs
        .walk(&mut |_| {
            seen += 1;
            seen < 10
        })
        .unwrap();
    assert_eq!(seen, 10, "a walk stops when told");
    for n in 3..40 {
        blobs.remove(id(n));
    }
    blobs.remove(id(99));
    blobs.close();
    assert_eq!(found(blobs), []);
}

#[test]
fn memory_conforms() {
    suite(&MemoryBlobs::default());
}

#[test]
fn files_conform() {
    let dir = tempfile::tempdir().unwrap();
    let os: Arc<dyn Disk> = Arc::new(OsDisk::new(dir.path()).unwrap());
    for (disk, threaded) in [(os.clone(), true), (os, false), (Arc::new(LossyDisk::new()), false)] {
        make_folders(&*disk).unwrap();
        suite(&FileBlobs::new(disk, Arc::new(StoreOptions::default()), threaded).unwrap());
    }
}

fn sealed(blobs: &MemoryBlobs, number: u64, body: &[u8]) -> Result<OpenBlob, StoreError> {
    let mut writer = blobs.create(id(number)).unwrap();
    let mut sums = BlockSums::new();
    for piece in body.chunks(1000) {
        writer.append(piece).unwrap();
        sums.update(piece);
    }
    writer.append(&sums.finish(id(number))).unwrap();
    writer.finish().unwrap();
    let (file, len) = blobs.open(id(number)).unwrap().unwrap();
    OpenBlob::open(file, len, id(number))
}

#[test]
fn every_damaged_byte_of_a_blob_is_noticed_when_it_matters() {
    let body: Vec<u8> = (0..300_000u32).map(|n| (n * 7) as u8).collect();
    for at in (0..300_000).step_by(37_111).chain(300_000..300_000 + 3 * 8 + 48) {
        let blobs = MemoryBlobs::default();
        sealed(&blobs, 1, &body).unwrap();
        blobs.damage(id(1), at);
        let (file, len) = blobs.open(id(1)).unwrap().unwrap();
        let read = OpenBlob::open(file, len, id(1)).and_then(|blob| blob.read(0, 300_000));
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "byte {at}");
    }
}

#[test]
fn a_blob_under_another_name_is_refused() {
    let blobs = MemoryBlobs::default();
    sealed(&blobs, 1, b"body").unwrap();
    let (file, len) = blobs.open(id(1)).unwrap().unwrap();
    assert!(OpenBlob::open(file.clone(), len, id(2)).is_err());
    assert!(OpenBlob::open(file, len - 1, id(1)).is_err());
}

#[test]
fn a_trailer_that_is_sound_and_absurd_is_refused() {
    // As no release writes it: two to the sixty-first blocks of a byte, whose checksums no number can count.
    let blobs = MemoryBlobs::default();
    let mut trailer = BlockSums::new().finish(id(1));
    trailer[24..32].copy_from_slice(&(1u64 << 61).to_le_bytes());
    trailer[32..36].copy_from_slice(&1u32.to_le_bytes());
    let sum = checksum(&trailer[..40]);
    trailer[40..].copy_from_slice(&sum.to_le_bytes());
    let mut writer = blobs.create(id(1)).unwrap();
    writer.append(&trailer).unwrap();
    writer.finish().unwrap();
    let (file, len) = blobs.open(id(1)).unwrap().unwrap();
    assert!(matches!(OpenBlob::open(file, len, id(1)), Err(StoreError::Corrupt { .. })));
}
