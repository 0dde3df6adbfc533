//! Reading bodies, verified.

use std::sync::Arc;

use bytes::Bytes;
use fallthrough_object::{Body, BodyError, ByteRange, FileRange};
use futures::stream::unfold;

use crate::blob::{BlobId, BlobRef};
use crate::blobs::off_thread;
use crate::blobs::seal::OpenBlob;
use crate::entry::Stored;
use crate::error::StoreError;
use crate::kv::Table;
use crate::rows;
use crate::scrub::sound_small;
use crate::store::{Inner, Store};

/// Bytes of a piece of a body that is read from a file: two blocks, large enough that the hand-over to a
/// thread that may block does not count.
const PIECE_BYTES: u64 = 256 << 10;

impl Store {
    /// Opens `range` of an object for reading: bytes if it is small, a file range if every block of it was
    /// verified since start, else a stream that verifies as it reads. The first piece is verified here.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] if the object was overwritten or deleted since it was looked up (look again);
    /// [`StoreError::Corrupt`] and [`StoreError::Missing`] if its bytes are damaged or lost;
    /// [`StoreError::Unavailable`] is retryable. Damage further in ends the stream with [`BodyError::Corrupt`].
    ///
    /// # Cancellation
    /// Safe; dropping the body closes what it holds.
    pub async fn open_body(&self, stored: &Stored, range: ByteRange) -> Result<Body, StoreError> {
        let size_bytes = stored.info.size_bytes;
        assert!(
            range.start <= range.end && range.end <= size_bytes,
            "a range is resolved against its object"
        );
        match stored.blob {
            _ if range.is_empty() => Ok(Body::empty()),
            BlobRef::Empty => Err(StoreError::corrupt("an entry with a length has no bytes")),
            BlobRef::Row(id) => {
                let body = self.inner.small_body(id, size_bytes).await?;
                Ok(Body::Bytes(body.slice(range.start as usize..range.end as usize)))
            }
            BlobRef::File(id) => open_file(self.inner.clone(), id, size_bytes, range).await,
        }
    }
}

impl Inner {
    async fn small_body(&self, id: BlobId, size_bytes: u64) -> Result<Bytes, StoreError> {
        if self.is_quarantined(id).await? {
            return Err(StoreError::corrupt(format!(
                "small body {}-{} is in quarantine",
                id.epoch, id.number
            )));
        }
        if let Some(body) = self.hot.body(id) {
            return Ok(body);
        }
        // Written and removed in the commits of its entry: not there means that the entry is not either.
        let row = self.kv.get(Table::Bodies, &rows::body(id)).await?.ok_or(StoreError::Superseded)?;
        let body = sound_small(id, &row.value, size_bytes)?;
        self.hot.keep_body(id, body.clone());
        // Put into quarantine meanwhile: memory must not go on serving it.
        if self.is_quarantined(id).await? {
            self.hot.drop_body(id);
        }
        Ok(body)
    }
}

async fn open_file(
    inner: Arc<Inner>,
    id: BlobId,
    size_bytes: u64,
    range: ByteRange,
) -> Result<Body, StoreError> {
    let blob = inner.blob(id).await?;
    if blob.len() != size_bytes {
        return Err(StoreError::corrupt(format!("blob {}-{} has another length", id.epoch, id.number)));
    }
    if blob.is_verified(range.start, range.end) && range.len() > PIECE_BYTES {
        let file = blob.file.clone();
        return Ok(Body::File(FileRange { file, offset: range.start, len: range.len() }));
    }
    let blocks = inner.blobs.blocks();
    let (first, next) = piece(blob.clone(), range, blocks).await?;
    if next.is_empty() {
        return Ok(Body::Bytes(first));
    }
    let pieces = unfold((Some(first), next), move |(ready, rest)| {
        let blob = blob.clone();
        async move {
            if let Some(first) = ready {
                return Some((Ok(first), (None, rest)));
            }
            if rest.is_empty() {
                return None;
            }
            match piece(blob, rest, blocks).await {
                Ok((piece, rest)) => Some((Ok(piece), (None, rest))),
                // After a failure nothing follows: an empty rest ends the stream.
                Err(error) => Some((Err(body_error(error)), (None, ByteRange { start: rest.end, ..rest }))),
            }
        }
    });
    Ok(Body::Stream(Box::pin(pieces)))
}

/// Reads the first piece of `range`, and says what is left of it.
async fn piece(
    blob: Arc<OpenBlob>,
    range: ByteRange,
    blocks: bool,
) -> Result<(Bytes, ByteRange), StoreError> {
    let end = blob.piece_end(range.start, range.end, PIECE_BYTES);
    let bytes = off_thread(blocks, move || blob.read(range.start, end)).await??;
    Ok((bytes, ByteRange { start: end, end: range.end }))
}

fn body_error(error: StoreError) -> BodyError {
    match error {
        StoreError::Corrupt { .. } | StoreError::Missing { .. } => BodyError::Corrupt,
        other => BodyError::Io(std::io::Error::other(other)),
    }
}
