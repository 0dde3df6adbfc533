//! A body that is passed from the origin without being kept.

use std::time::Duration;

use fallthrough_object::{Body, BodyError, ByteStream};
use futures::StreamExt as _;

use crate::origins::Permit;

/// Passes on exactly `len_bytes` of `body`: fewer end in an error, never cleanly, and more are refused. A
/// silence of more than `stall` breaks it off. The permit is held until the body ends or is dropped.
pub(crate) fn bounded(body: Body, len_bytes: u64, permit: Permit, stall: Duration) -> Body {
    let pieces: ByteStream = match body {
        Body::Bytes(bytes) => Box::pin(futures::stream::iter([Ok(bytes)])),
        Body::Stream(stream) => stream,
        Body::File(_) => Box::pin(futures::stream::iter([Err(BodyError::Origin)])),
    };
    let state = (pieces, len_bytes, Some(permit), false);
    Body::Stream(Box::pin(futures::stream::unfold(
        state,
        move |(mut pieces, left, permit, over)| async move {
            if over {
                return None;
            }
            let piece = match tokio::time::timeout(stall, pieces.next()).await {
                Ok(Some(Ok(piece))) if piece.len() as u64 <= left => Ok(piece),
                Ok(Some(Ok(_))) => Err(BodyError::TooLong),
                Ok(Some(Err(error))) => Err(error),
                Ok(None) if left == 0 => return None,
                Ok(None) => Err(BodyError::Incomplete),
                Err(_) => Err(BodyError::Stalled),
            };
            let (left, over) = match &piece {
                Ok(piece) => (left - piece.len() as u64, false),
                Err(_) => (left, true),
            };
            Some((piece, (pieces, left, permit, over)))
        },
    )))
}
