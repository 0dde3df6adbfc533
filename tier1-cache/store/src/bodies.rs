//! Reading bodies, verified.

use std::sync::Arc;

use bytes::Bytes;
use fallthrough_object::{Body, BodyError, ByteRange, ByteStream, FileRange};
use futures::stream::{self, unfold};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::blob::{BlobId, BlobRef, PartBlob};
use crate::blobs::off_thread;
use crate::blobs::seal::OpenBlob;
use crate::entry::Stored;
use crate::error::StoreError;
use crate::kv::Table;
use crate::pins::Pin;
use crate::rows;
use crate::scrub::sound_small;
use crate::store::{Inner, Store};

/// Bytes of a piece of a body that is read from a file: two blocks, large enough that the hand-over to a
/// thread that may block does not count.
const PIECE_BYTES: u64 = 256 << 10;

impl Store {
    /// A body as a stream, whatever it is; pieces are at most 256 KiB where they are read from a file.
    pub fn pieces(&self, body: Body) -> ByteStream {
        in_pieces(body, self.inner.blobs.blocks())
    }

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
        match &stored.blob {
            _ if range.is_empty() => Ok(Body::empty()),
            BlobRef::Empty => Err(StoreError::corrupt("an entry with a length has no bytes")),
            BlobRef::Row(id) => {
                let body = self.inner.small_body(*id, size_bytes).await?;
                Ok(Body::Bytes(body.slice(range.start as usize..range.end as usize)))
            }
            BlobRef::File(id) => open_file(self.inner.clone(), *id, size_bytes, range).await,
            BlobRef::Parts(parts) => open_parts(self.inner.clone(), parts, range).await,
        }
    }
}

/// The pieces of `range` in the files that have it, each with its file's length.
fn pieces_of(parts: &[PartBlob], range: ByteRange) -> Vec<(PartBlob, ByteRange)> {
    let mut start = 0;
    let mut pieces = Vec::new();
    for part in parts {
        let end = start + part.size_bytes;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            pieces.push((*part, ByteRange { start: from - start, end: to - start }));
        }
        start = end;
    }
    pieces
}

/// Opens the first file now, so that what is gone is told before the answer begins, and each of the others when it is
/// read: a reader holds one file open, however many there are.
async fn open_parts(
    inner: Arc<Inner>,
    parts: &Arc<[PartBlob]>,
    range: ByteRange,
) -> Result<Body, StoreError> {
    let mut pieces = pieces_of(parts, range).into_iter();
    let Some((first, within)) = pieces.next() else { return Ok(Body::empty()) };
    if pieces.len() == 0 {
        return open_file(inner, first.id, first.size_bytes, within).await;
    }
    let pin = Pin::new(inner.clone(), parts.clone());
    // The files of an object come and go together: while one of them is referred to, all are. What goes from here on
    // stays for this reader.
    if inner.kv.get(Table::Rows, &rows::count(first.id)).await?.is_none() {
        return Err(StoreError::Superseded);
    }
    let body = open_file(inner.clone(), first.id, first.size_bytes, within).await?;
    let blocks = inner.blobs.blocks();
    let rest = stream::iter(pieces).then(move |(part, within)| {
        let inner = pin.inner();
        async move {
            match open_file(inner, part.id, part.size_bytes, within).await {
                Ok(body) => Ok(in_pieces(body, blocks)),
                Err(error) => Err(body_error(error)),
            }
        }
    });
    Ok(Body::Stream(Box::pin(in_pieces(body, blocks).chain(rest.try_flatten()))))
}

/// A body as a stream, whatever it is.
fn in_pieces(body: Body, blocks: bool) -> ByteStream {
    match body {
        Body::Bytes(bytes) => Box::pin(stream::once(std::future::ready(Ok(bytes)))),
        Body::Stream(pieces) => pieces,
        Body::File(file) => Box::pin(unfold(file, move |file| async move {
            if file.len == 0 {
                return None;
            }
            let len = file.len.min(PIECE_BYTES);
            let (reader, offset) = (file.file.clone(), file.offset);
            let read = off_thread(blocks, move || {
                let mut out = vec![0; len as usize];
                reader.read_exact_at(&mut out, offset).map(|()| Bytes::from(out))
            });
            let piece = read.await.and_then(|read| read).map_err(BodyError::Io);
            // After a failure nothing follows.
            let left = if piece.is_ok() { file.len - len } else { 0 };
            Some((piece, FileRange { offset: file.offset + len, len: left, ..file }))
        })),
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
