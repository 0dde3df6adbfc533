//! What follows an object's bytes in a blob: a checksum per block, then a trailer. Drawn in `docs/format.md`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest, crc64_nvme};
use fallthrough_object::ReadAt;

use crate::blob::BlobId;
use crate::error::StoreError;
use crate::mutants::{Mutant, planted};

/// Bytes of a block: what is verified at once. A ranged read verifies whole blocks, once since start; the
/// checksums of a body on its way take 8 bytes of memory for each.
pub(crate) const BLOCK_BYTES: u32 = 128 << 10;

/// Bytes of the trailer.
const TRAILER_BYTES: usize = 48;

const MAGIC: [u8; 8] = *b"FTBLOB01";

/// The checksum of stored bytes: CRC-64/NVME, which runs at memory speed and finds every burst up to 64 bits.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    crc64_nvme(bytes)
}

/// The checksums of a body as it is written.
pub(crate) struct BlockSums {
    current: Digest,
    in_block: u32,
    sums: Vec<u8>,
    len: u64,
}

impl std::fmt::Debug for BlockSums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockSums(of {} bytes)", self.len)
    }
}

impl BlockSums {
    pub(crate) fn new() -> Self {
        Self { current: Digest::new(CrcAlgorithm::Crc64Nvme), in_block: 0, sums: Vec::new(), len: 0 }
    }

    /// Adds the next bytes of the body.
    pub(crate) fn update(&mut self, mut data: &[u8]) {
        self.len += data.len() as u64;
        while !data.is_empty() {
            let room = (BLOCK_BYTES - self.in_block) as usize;
            let (now, rest) = data.split_at(room.min(data.len()));
            self.current.update(now);
            self.in_block += now.len() as u32;
            if self.in_block == BLOCK_BYTES {
                self.end_block();
            }
            data = rest;
        }
    }

    fn end_block(&mut self) {
        self.sums.extend_from_slice(&self.current.finalize_reset().to_le_bytes());
        self.in_block = 0;
    }

    /// What follows the body in its blob.
    pub(crate) fn finish(mut self, id: BlobId) -> Vec<u8> {
        if self.in_block > 0 {
            self.end_block();
        }
        let mut out = self.sums;
        let sums = checksum(&out);
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&id.epoch.to_le_bytes());
        out.extend_from_slice(&id.number.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&BLOCK_BYTES.to_le_bytes());
        // The low half of the sums' checksum is enough to find damage; the trailer stays a round 48 bytes.
        out.extend_from_slice(&(sums as u32).to_le_bytes());
        let trailer = checksum(&out[start..]);
        out.extend_from_slice(&trailer.to_le_bytes());
        out
    }
}

/// An open blob that knows which of its blocks were verified since it was opened first.
#[derive(Debug)]
pub(crate) struct OpenBlob {
    pub(crate) file: Arc<dyn ReadAt>,
    id: BlobId,
    len: u64,
    block_bytes: u64,
    /// One bit a block.
    verified: Vec<AtomicU64>,
}

impl OpenBlob {
    /// Reads the trailer of a blob of `file_len` bytes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not the trailer of this blob; what reading says.
    pub(crate) fn open(file: Arc<dyn ReadAt>, file_len: u64, id: BlobId) -> Result<Self, StoreError> {
        let mut trailer = [0; TRAILER_BYTES];
        let at = file_len.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| damaged(id, "it is too short"))?;
        read(&*file, &mut trailer, at, id)?;
        let word = |at: usize| u64::from_le_bytes(trailer[at..at + 8].try_into().expect("8 bytes"));
        let block_bytes = u64::from(u32::from_le_bytes(trailer[32..36].try_into().expect("4 bytes")));
        let len = word(24);
        if trailer[..8] != MAGIC || word(40) != checksum(&trailer[..40]) {
            return Err(damaged(id, "its trailer is damaged"));
        }
        if (word(8), word(16)) != (id.epoch, id.number) || block_bytes == 0 {
            return Err(damaged(id, "its trailer belongs to another blob"));
        }
        let blocks = len.div_ceil(block_bytes);
        let seal = blocks.checked_mul(8).and_then(|sums| sums.checked_add(TRAILER_BYTES as u64));
        if seal.and_then(|seal| seal.checked_add(len)) != Some(file_len) {
            return Err(damaged(id, "its length is wrong"));
        }
        let words = usize::try_from(blocks.div_ceil(64)).map_err(|_| damaged(id, "its length is wrong"))?;
        Ok(Self { file, id, len, block_bytes, verified: (0..words).map(|_| AtomicU64::new(0)).collect() })
    }

    /// Length of the object's bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Memory that this takes.
    pub(crate) fn weight(&self) -> u64 {
        self.verified.len() as u64 * 8 + 256
    }

    /// Whether every block of `start..end` was verified before.
    pub(crate) fn is_verified(&self, start: u64, end: u64) -> bool {
        self.blocks(start, end).all(|block| self.bit(block))
    }

    /// Reads `start..end`, at least one byte, verifying whole blocks where that was not done yet.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: a block differs from its checksum; [`StoreError::Unavailable`]: the disk.
    pub(crate) fn read(&self, start: u64, end: u64) -> Result<Bytes, StoreError> {
        if self.is_verified(start, end) {
            let mut out = vec![0; as_len(end - start)];
            read(&*self.file, &mut out, start, self.id)?;
            return Ok(out.into());
        }
        let blocks = self.blocks(start, end);
        let from = blocks.start * self.block_bytes;
        let to = (blocks.end * self.block_bytes).min(self.len);
        let mut out = vec![0; as_len(to - from)];
        read(&*self.file, &mut out, from, self.id)?;
        let mut sums = vec![0; as_len((blocks.end - blocks.start) * 8)];
        read(&*self.file, &mut sums, self.len + blocks.start * 8, self.id)?;
        for ((block, data), sum) in blocks.zip(out.chunks(as_len(self.block_bytes))).zip(sums.chunks_exact(8))
        {
            let skipped = planted(Mutant::RangeVerifiedInPart) && block > start / self.block_bytes;
            if checksum(data).to_le_bytes() != sum && !planted(Mutant::BlockUnverified) && !skipped {
                return Err(damaged(self.id, &format!("block {block} does not match its checksum")));
            }
            self.verified[as_len(block / 64)].fetch_or(1 << (block % 64), Ordering::Relaxed);
        }
        Ok(Bytes::from(out).slice(as_len(start - from)..as_len(end - from)))
    }

    /// Compares up to `blocks` blocks from `first` on with their checksums, whatever was verified before, and
    /// says how many bytes that were; 0 behind the last block. Remembers nothing.
    ///
    /// # Errors
    /// As [`OpenBlob::read`].
    pub(crate) fn check(&self, first: u64, blocks: u64) -> Result<u64, StoreError> {
        let last = self.len.div_ceil(self.block_bytes) - u64::from(planted(Mutant::ScrubSkipsLastBlock));
        let end = first.saturating_add(blocks).min(last);
        if first >= end {
            return Ok(0);
        }
        let (from, to) = (first * self.block_bytes, (end * self.block_bytes).min(self.len));
        let mut data = vec![0; as_len(to - from)];
        read(&*self.file, &mut data, from, self.id)?;
        let mut sums = vec![0; as_len((end - first) * 8)];
        read(&*self.file, &mut sums, self.len + first * 8, self.id)?;
        for ((block, data), sum) in
            (first..end).zip(data.chunks(as_len(self.block_bytes))).zip(sums.chunks_exact(8))
        {
            let believed = planted(Mutant::ScrubBelievesMemory) && self.bit(block);
            if checksum(data).to_le_bytes() != sum && !believed {
                return Err(damaged(self.id, &format!("block {block} does not match its checksum")));
            }
        }
        Ok(to - from)
    }

    /// Compares the checksums with their own checksum.
    ///
    /// # Errors
    /// As [`OpenBlob::read`].
    pub(crate) fn check_sums(&self) -> Result<(), StoreError> {
        let (mut at, end) = (self.len, self.len + self.len.div_ceil(self.block_bytes) * 8);
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        let mut piece = vec![0; as_len((end - at).min(64 << 10))];
        while at < end {
            let len = as_len((end - at).min(64 << 10));
            read(&*self.file, &mut piece[..len], at, self.id)?;
            digest.update(&piece[..len]);
            at += len as u64;
        }
        let mut kept = [0; 4];
        read(&*self.file, &mut kept, end + 36, self.id)?;
        if (digest.finalize() as u32).to_le_bytes() != kept && !planted(Mutant::SumsUnverified) {
            return Err(damaged(self.id, "its checksums are damaged"));
        }
        Ok(())
    }

    /// The end of the piece that begins at `start` when a body is read in pieces of about `bytes`: at the end
    /// of a block where possible, so that no block is read twice.
    pub(crate) fn piece_end(&self, start: u64, end: u64, bytes: u64) -> u64 {
        let aligned = (start + bytes) / self.block_bytes * self.block_bytes;
        if aligned > start { aligned.min(end) } else { (start + bytes).min(end) }
    }

    fn blocks(&self, start: u64, end: u64) -> std::ops::Range<u64> {
        start / self.block_bytes..end.div_ceil(self.block_bytes)
    }

    fn bit(&self, block: u64) -> bool {
        self.verified[as_len(block / 64)].load(Ordering::Relaxed) & (1 << (block % 64)) != 0
    }
}

fn as_len(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a piece of a body fits in memory")
}

fn damaged(id: BlobId, what: &str) -> StoreError {
    StoreError::corrupt(format!("blob {}-{}: {what}", id.epoch, id.number))
}

fn read(file: &dyn ReadAt, out: &mut [u8], offset: u64, id: BlobId) -> Result<(), StoreError> {
    file.read_exact_at(out, offset).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(id, "it is cut short"),
        _ => error.into(),
    })
}
