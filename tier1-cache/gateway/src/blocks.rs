//! Reading a stored file for a client: in large blocks, from the page cache where that needs no waiting,
//! otherwise on the blocking pool and one block ahead of the client.
//!
//! Memory is bounded whatever the clients do: so many large blocks are lent at one time, and who comes when all are
//! with others (clients that take nothing, mostly) reads in small ones, none ahead.

use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fallthrough_object::{BodyError, FileRange, ReadAt};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

/// Bytes read at a time. From 128 KiB up the cost per byte no longer falls much.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;

/// Blocks kept for the next reader: 16 MiB.
const SPARE_BLOCKS: usize = 64;

/// Blocks of [`BLOCK_BYTES`] that are with readers at one time: 32 MiB, enough for every fast client that a
/// machine can serve at once.
const LENT_BLOCKS: usize = 128;

/// Bytes read at a time by whoever finds all of those lent.
const SMALL_BLOCK_BYTES: usize = 32 * 1024;

/// Memory blocks that are used again, since zeroing and faulting in 256 KiB costs as much as reading them.
#[derive(Debug, Default)]
pub(crate) struct BlockPool(Mutex<Blocks>);

#[derive(Debug, Default)]
struct Blocks {
    spare: Vec<Box<[u8]>>,
    /// Large blocks that are with readers.
    lent: usize,
}

impl BlockPool {
    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A large block, or a small one if all large ones are lent.
    fn take(self: &Arc<Self>) -> Block {
        self.take_large().unwrap_or_else(|| Block {
            bytes: vec![0; SMALL_BLOCK_BYTES].into_boxed_slice(),
            len: 0,
            pool: Arc::clone(self),
        })
    }

    fn take_large(self: &Arc<Self>) -> Option<Block> {
        let spare = {
            let mut blocks = self.lock();
            if blocks.lent == LENT_BLOCKS {
                return None;
            }
            blocks.lent += 1;
            blocks.spare.pop()
        };
        let bytes = spare.unwrap_or_else(|| vec![0; BLOCK_BYTES].into_boxed_slice());
        Some(Block { bytes, len: 0, pool: Arc::clone(self) })
    }
}

/// A block on loan; it goes back to the pool when the last [`Bytes`] of it is dropped.
#[derive(Debug)]
struct Block {
    bytes: Box<[u8]>,
    len: usize,
    pool: Arc<BlockPool>,
}

impl Block {
    /// What it is to hold of a range with so many bytes left.
    fn len_of(&self, left: u64) -> usize {
        usize::try_from(left).map_or(self.bytes.len(), |left| left.min(self.bytes.len()))
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.bytes.len() < BLOCK_BYTES {
            return;
        }
        let mut blocks = self.pool.lock();
        blocks.lent -= 1;
        if blocks.spare.len() < SPARE_BLOCKS {
            blocks.spare.push(std::mem::take(&mut self.bytes));
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
                    let block = self.pool.take();
                    self.ahead = Some(self.start_read(block, self.range.offset, self.range.len));
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
                        if self.range.len > read
                            && let Some(next) = self.pool.take_large()
                        {
                            let (offset, left) = (self.range.offset + read, self.range.len - read);
                            self.ahead = Some(self.start_read(next, offset, left));
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
        block.len = block.len_of(self.range.len);
        let len = block.len;
        self.range.file.read_exact_at(&mut block.bytes[..len], self.range.offset)?;
        Ok(block)
    }

    /// What the page cache holds of the next block. `None` if that is nothing, or cannot be told.
    fn read_cached(&self) -> Option<Block> {
        let file = self.range.file.as_file()?;
        let mut block = self.pool.take();
        let want = block.len_of(self.range.len);
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

    fn start_read(&self, mut block: Block, offset: u64, left: u64) -> JoinHandle<io::Result<Block>> {
        let file: Arc<dyn ReadAt> = Arc::clone(&self.range.file);
        // Owned by this body; one dropped in mid-read ends with the read, a block later at most.
        tokio::task::spawn_blocking(move || {
            block.len = block.len_of(left);
            let len = block.len;
            file.read_exact_at(&mut block.bytes[..len], offset)?;
            Ok(block)
        })
    }
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
        let blocks = pool.lock();
        assert!(blocks.spare.len() <= 3, "blocks are used again");
        assert_eq!(blocks.lent, 0);
    }

    #[tokio::test]
    async fn readers_that_take_nothing_leave_small_blocks_to_others() {
        let bytes = pattern(BLOCK_BYTES * 3 + 17);
        let whole = bytes.len() as u64;
        let memory: Arc<dyn ReadAt> = Arc::new(Memory { good: whole, bytes: bytes.clone() });
        let range = || FileRange { file: Arc::clone(&memory), offset: 0, len: whole };
        let pool = Arc::new(BlockPool::default());
        let mut held = Vec::new();
        for _ in 0..LENT_BLOCKS * 2 {
            let mut body = FileBody::new(range(), Arc::clone(&pool));
            let block = poll_fn(|cx| body.poll_block(cx)).await.unwrap().unwrap();
            held.push((body, block));
        }
        let sizes = |size: usize| held.iter().filter(|(_, block)| block.len() == size).count();
        let (large, small) = (sizes(BLOCK_BYTES), sizes(SMALL_BLOCK_BYTES));
        // Half of the large ones were read ahead.
        assert_eq!((large, small), (LENT_BLOCKS / 2, LENT_BLOCKS * 3 / 2));
        assert_eq!(pool.lock().lent, LENT_BLOCKS);
        assert_eq!(read(FileBody::new(range(), Arc::clone(&pool))).await.unwrap(), bytes);
        for (body, block) in held {
            let rest = read(body).await.unwrap();
            assert!([&block[..], &rest].concat() == bytes);
        }
        // A block that was read ahead goes back when its reader and the read are done.
        assert_eq!(pool.lock().lent, 0);
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
