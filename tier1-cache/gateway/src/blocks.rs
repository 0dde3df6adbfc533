//! Reading a stored file for a client: in large blocks, from the page cache where that needs no waiting,
//! otherwise on the blocking pool and one block ahead of the client.

use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fallthrough_object::{BodyError, FileRange, ReadAt};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

/// Bytes read at a time. From 128 KiB up the cost per byte no longer falls much.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;

/// Blocks kept for the next reader: 16 MiB.
const SPARE_BLOCKS: usize = 64;

/// Memory blocks that are used again, since zeroing and faulting in 256 KiB costs as much as reading them.
#[derive(Debug, Default)]
pub(crate) struct BlockPool(Mutex<Vec<Box<[u8]>>>);

impl BlockPool {
    fn take(self: &Arc<Self>) -> Block {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Block {
            bytes: spare.unwrap_or_else(|| vec![0; BLOCK_BYTES].into_boxed_slice()),
            len: 0,
            pool: Arc::clone(self),
        }
    }
}

/// A block on loan; it goes back to the pool when the last [`Bytes`] of it is dropped.
#[derive(Debug)]
struct Block {
    bytes: Box<[u8]>,
    len: usize,
    pool: Arc<BlockPool>,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut spare = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_BLOCKS {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// A file range on its way to a client. Holds at most two blocks: the one handed out and the one read ahead.
#[derive(Debug)]
pub(crate) struct FileBody {
    range: FileRange,
    pool: Arc<BlockPool>,
    ahead: Option<JoinHandle<io::Result<Block>>>,
}

impl FileBody {
    pub(crate) fn new(range: FileRange, pool: Arc<BlockPool>) -> Self {
        Self { range, pool, ahead: None }
    }

    /// Bytes that have not been handed out yet.
    pub(crate) fn left(&self) -> u64 {
        self.range.len
    }

    /// The next block, at least one byte long; `None` at the end.
    pub(crate) fn poll_block(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.range.len == 0 {
            return Poll::Ready(None);
        }
        let block = match &mut self.ahead {
            None if self.range.file.never_blocks() => match self.read_here() {
                Ok(block) => block,
                Err(error) => {
                    self.range.len = 0;
                    return Poll::Ready(Some(Err(BodyError::Io(error))));
                }
            },
            None => match self.read_cached() {
                Some(block) => block,
                None => {
                    self.ahead = Some(self.start_read(self.range.offset, self.range.len));
                    return self.poll_block(cx);
                }
            },
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(cx));
                self.ahead = None;
                match read.map_err(io::Error::other).and_then(std::convert::identity) {
                    Ok(block) => {
                        // The disk was needed, so it will be for the next block too.
                        let read = block.len as u64;
                        if self.range.len > read {
                            let (offset, left) = (self.range.offset + read, self.range.len - read);
                            self.ahead = Some(self.start_read(offset, left));
                        }
                        block
                    }
                    Err(error) => {
                        self.range.len = 0;
                        return Poll::Ready(Some(Err(BodyError::Io(error))));
                    }
                }
            }
        };
        let read = block.len as u64;
        self.range.offset += read;
        self.range.len -= read;
        Poll::Ready(Some(Ok(Bytes::from_owner(block))))
    }

    /// The next block of what is in memory anyway.
    fn read_here(&self) -> io::Result<Block> {
        let mut block = self.pool.take();
        block.len = block_len(self.range.len);
        let len = block.len;
        self.range.file.read_exact_at(&mut block.bytes[..len], self.range.offset)?;
        Ok(block)
    }

    /// What the page cache holds of the next block. `None` if that is nothing, or cannot be told.
    fn read_cached(&self) -> Option<Block> {
        let file = self.range.file.as_file()?;
        let mut block = self.pool.take();
        let want = block_len(self.range.len);
        let mut parts = [IoSliceMut::new(&mut block.bytes[..want])];
        match rustix::io::preadv2(file, &mut parts, self.range.offset, ReadWriteFlags::NOWAIT) {
            Ok(read) if read > 0 => {
                block.len = read;
                Some(block)
            }
            // Not in the page cache, not supported by the file system, or an error that the blocking read
            // will meet and report.
            Ok(_) | Err(_) => None,
        }
    }

    fn start_read(&self, offset: u64, left: u64) -> JoinHandle<io::Result<Block>> {
        let (file, mut block): (Arc<dyn ReadAt>, _) = (Arc::clone(&self.range.file), self.pool.take());
        // Owned by this body; one dropped in mid-read ends with the read, a block later at most.
        tokio::task::spawn_blocking(move || {
            block.len = block_len(left);
            let len = block.len;
            file.read_exact_at(&mut block.bytes[..len], offset)?;
            Ok(block)
        })
    }
}

fn block_len(left: u64) -> usize {
    usize::try_from(left).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Has no descriptor, so that reads go through the blocking pool; fails past `good`.
    #[derive(Debug)]
    struct Memory {
        bytes: Vec<u8>,
        good: u64,
    }

    impl ReadAt for Memory {
        fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
            if offset + out.len() as u64 > self.good {
                return Err(io::Error::other("bad sector"));
            }
            let at = usize::try_from(offset).unwrap();
            out.copy_from_slice(&self.bytes[at..at + out.len()]);
            Ok(())
        }
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    async fn read(mut body: FileBody) -> Result<Vec<u8>, BodyError> {
        let mut all = Vec::new();
        while let Some(block) = poll_fn(|cx| body.poll_block(cx)).await {
            let block = block?;
            assert!(!block.is_empty() && block.len() <= BLOCK_BYTES);
            all.extend_from_slice(&block);
        }
        assert_eq!(body.left(), 0);
        Ok(all)
    }

    #[tokio::test]
    async fn a_range_is_read_whole_from_memory_and_from_files() {
        let bytes = pattern(BLOCK_BYTES * 3 + 17);
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &bytes).unwrap();
        let whole = bytes.len() as u64;
        let sources: [Arc<dyn ReadAt>; 2] =
            [Arc::new(file), Arc::new(Memory { good: whole, bytes: bytes.clone() })];
        let pool = Arc::new(BlockPool::default());
        for source in sources {
            for (offset, len) in [(0, whole), (5, 9), (BLOCK_BYTES as u64 - 1, 2), (whole - 1, 1), (3, 0)] {
                let range = FileRange { file: Arc::clone(&source), offset, len };
                let got = read(FileBody::new(range, Arc::clone(&pool))).await.unwrap();
                let at = usize::try_from(offset).unwrap();
                assert_eq!(got, bytes[at..at + usize::try_from(len).unwrap()], "{offset} {len}");
            }
        }
        assert!(pool.0.lock().unwrap().len() <= 3, "blocks are used again");
    }

    #[tokio::test]
    async fn a_bad_sector_ends_the_body_with_an_error() {
        let whole = BLOCK_BYTES as u64 * 2;
        let memory = Memory { bytes: pattern(BLOCK_BYTES * 2), good: whole - 1 };
        let range = FileRange { file: Arc::new(memory), offset: 0, len: whole };
        let got = read(FileBody::new(range, Arc::default())).await;
        assert!(matches!(got, Err(BodyError::Io(_))));
    }
}
