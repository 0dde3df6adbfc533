//! What readers of a fill see: its progress, and a stream from its staging with a cursor of their own.

use std::sync::Arc;

use fallthrough_object::{BodyError, ByteRange, ByteStream};
use fallthrough_store::{Entry, ObjectInfo, StagingReader};

use crate::api::BucketError;
use crate::telling::Listener;

/// Bodies up to this size are verified before the first byte goes out.
pub(crate) const VERIFIED_FIRST_BYTES: u64 = 256 * 1024;
/// A body of unknown length is held back until it ends or has so many bytes; above that it goes out without
/// a length.
pub(crate) const LENGTH_AWAITED_BYTES: u64 = 8 * 1024 * 1024;
/// One read from the staging.
const READ_BYTES: usize = 256 * 1024;

/// How far a fill has come.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Nothing that readers may see has come yet.
    Asking,
    /// The origin's headers are here; bytes are coming, none may be read yet.
    Headers(Arc<Head>),
    /// Bytes up to `readable` may be read.
    Streaming(Arc<Head>, StagingReader),
    /// All bytes are here and verified. The commit may still be under way.
    Verified(Arc<Head>, StagingReader),
    /// The origin says that the stored object is still good.
    Unchanged(Arc<Entry>),
    /// Somebody else settled the key, or what this fill went by holds no more: its readers look again. The error is
    /// what they say if they are overtaken again and again.
    Overtaken(BucketError),
    /// It ended without an object.
    Failed(BucketError),
}

/// What is known of the object from the origin's headers on.
#[derive(Debug)]
pub(crate) struct Head {
    /// What clients see; `size_bytes` holds only if `size_bytes` beside it is known.
    pub(crate) info: Arc<ObjectInfo>,
    /// Size of the whole object, if known.
    pub(crate) size_bytes: Option<u64>,
    /// The origin asks not to keep it.
    pub(crate) kept: bool,
}

/// The progress of a fill, as its readers watch it.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// How far it has come.
    pub(crate) stage: Stage,
    /// Bytes that may be read: at least one less than all until all are verified.
    pub(crate) readable: u64,
}

impl Progress {
    /// Whether a GET can be answered from it (with an object or an error).
    pub(crate) fn answers_get(&self) -> bool {
        match self.stage {
            Stage::Asking | Stage::Headers(_) => false,
            Stage::Streaming(..)
            | Stage::Verified(..)
            | Stage::Unchanged(_)
            | Stage::Overtaken(_)
            | Stage::Failed(_) => true,
        }
    }

    /// Whether a HEAD can be answered from it.
    pub(crate) fn answers_head(&self) -> bool {
        match &self.stage {
            Stage::Headers(head) => head.size_bytes.is_some(),
            Stage::Asking
            | Stage::Streaming(..)
            | Stage::Verified(..)
            | Stage::Unchanged(_)
            | Stage::Overtaken(_)
            | Stage::Failed(_) => self.answers_get(),
        }
    }

    /// Whether nothing will change any more.
    pub(crate) fn is_final(&self) -> bool {
        match self.stage {
            Stage::Asking | Stage::Headers(_) | Stage::Streaming(..) => false,
            Stage::Verified(..) | Stage::Unchanged(_) | Stage::Overtaken(_) | Stage::Failed(_) => true,
        }
    }
}

/// Streams `range` of the fill behind `progress`; `None`: to the end, wherever that will be.
///
/// Each reader goes at its own speed and waits for an event, never by polling. It ends cleanly only after
/// the whole body was verified; a fill that fails ends it with [`BodyError::Origin`].
///
/// # Cancellation
/// Dropping it changes nothing for the fill.
pub(crate) fn stream(progress: Listener, range: Option<ByteRange>) -> ByteStream {
    struct Cursor {
        progress: Listener,
        at: u64,
        end: Option<u64>,
        done: bool,
    }
    let cursor =
        Cursor { progress, at: range.map_or(0, |r| r.start), end: range.map(|r| r.end), done: false };
    Box::pin(futures::stream::unfold(cursor, |mut cursor| async move {
        if cursor.done {
            return None;
        }
        match next(&cursor.progress, cursor.at, cursor.end).await {
            Ok(Some(bytes)) => {
                cursor.at += bytes.len() as u64;
                cursor.done = cursor.end == Some(cursor.at);
                Some((Ok(bytes), cursor))
            }
            Ok(None) => None,
            Err(error) => {
                cursor.done = true;
                Some((Err(error), cursor))
            }
        }
    }))
}

/// The next piece from `at` on; `None` at the end.
async fn next(progress: &Listener, at: u64, end: Option<u64>) -> Result<Option<bytes::Bytes>, BodyError> {
    if end == Some(at) {
        return Ok(None);
    }
    let (reader, readable, whole) = {
        let seen = progress
            .hear(|seen| seen.readable > at || seen.is_final())
            .await
            // The fill's task is gone without a last word: it panicked or the process stops.
            .map_err(|_| BodyError::Origin)?;
        match &seen.stage {
            Stage::Streaming(_, reader) => (reader.clone(), seen.readable, false),
            Stage::Verified(_, reader) => (reader.clone(), seen.readable, true),
            Stage::Asking
            | Stage::Headers(_)
            | Stage::Unchanged(_)
            | Stage::Overtaken(_)
            | Stage::Failed(_) => return Err(BodyError::Origin),
        }
    };
    let until = end.unwrap_or(u64::MAX).min(readable);
    if at >= until {
        // Everything is verified and read; or the range ends after the body, which no caller asks for.
        return if whole && end.is_none() { Ok(None) } else { Err(BodyError::Incomplete) };
    }
    let want = usize::try_from(until - at).unwrap_or(usize::MAX).min(READ_BYTES);
    let bytes = reader.read(at, want).await.map_err(|error| BodyError::Io(std::io::Error::other(error)))?;
    if bytes.is_empty() { Err(BodyError::Incomplete) } else { Ok(Some(bytes)) }
}
