//! What stands on the store's disk.

use fallthrough_store::fuzzing::{
    decode_entry, encode_entry, gate_again, in_entry_range, json_row_again, mend_trailer, read_blob,
    read_books, row_key_again, seal,
};
use fallthrough_store::{BlobId, BucketId, StoreError};

use crate::input::Input;

/// A row of an entry. What is read from any row, written, reads the same.
pub fn entry(bytes: &[u8]) {
    let Ok(entry) = decode_entry(bytes, 7) else { return };
    let written = encode_entry(&entry.state, Some(entry.revision));
    let again = decode_entry(&written, 7).expect("what is written can be read");
    assert_eq!(again, entry);
    assert_eq!(encode_entry(&again.state, Some(again.revision)), written);
}

/// A byte of choices, lines: two keys and a prefix; then the key or the value of a row.
///
/// The key of a row is what its parts make; a row that is JSON reads back; a range of entries holds its keys. As a page
/// of the index's books, whatever it says, it is read or refused.
pub fn rows(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.byte();
    let (after, prefix, key) = (input.line(), input.line(), input.line());
    let row = input.rest();
    if let Some(again) = row_key_again(row) {
        assert_eq!(again, row);
    }
    if let Some(again) = gate_again(row) {
        assert_eq!(again, row);
    }
    if let Some(written) = json_row_again(kind, row) {
        assert_eq!(json_row_again(kind, &written), Some(written));
    }
    read_books(kind, row);
    for bucket in [0, 1, u64::MAX] {
        let inside = in_entry_range(BucketId(bucket), &after, &prefix, &key);
        assert_eq!(inside, key.starts_with(&prefix) && (after.is_empty() || key > after));
    }
}

/// A byte: what is changed; lines: where, the range; then the body.
///
/// A sealed blob reads back in any range; one that was changed anywhere is damaged, and never wrong bytes.
pub fn blob(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let flip = input.byte();
    let (at, start, end) = (input.number(), input.number(), input.number());
    let id = BlobId { epoch: 3, number: 0x0102 };
    let body = input.rest();
    let file = seal(body, id);

    let read = read_blob(file.clone(), id, start, end).expect("a sealed blob is whole");
    let end_in = usize::try_from(end).unwrap_or(usize::MAX).min(body.len());
    let start_in = usize::try_from(start).unwrap_or(usize::MAX).min(end_in);
    assert_eq!(read, &body[start_in..end_in]);
    let other = BlobId { number: id.number + 1, ..id };
    assert!(matches!(read_blob(file.clone(), other, start, end), Err(StoreError::Corrupt { .. })));

    if flip != 0 {
        let mut changed = file.clone();
        let at = usize::try_from(at % changed.len() as u64).expect("it is an index");
        changed[at] ^= flip;
        let result = read_blob(changed.clone(), id, start, end);
        assert!(matches!(result, Err(StoreError::Corrupt { .. })), "byte {at} was changed: {result:?}");
        // As whoever can write files would do it: nothing is promised but that it is read or refused.
        mend_trailer(&mut changed);
        let _ = read_blob(changed, id, start, end);
    }
    // Any bytes as a file, with a sound trailer.
    let mut file = body.to_vec();
    let _ = read_blob(file.clone(), id, start, end);
    mend_trailer(&mut file);
    let _ = read_blob(file, id, start, end);
}
