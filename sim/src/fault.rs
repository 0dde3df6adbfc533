//! What an origin can do wrong, slowly or strangely.

use std::time::Duration;

/// One misbehaviour of the answers for a key. Several at once combine, where they can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Waits before the status line.
    DelayHeaders(Duration),
    /// Takes the request and never answers.
    NoAnswer,
    /// Breaks the connection instead of answering.
    HangUp,
    /// Sends the body in pieces of `chunk_bytes`, each after a pause of `every`.
    Drip {
        /// Size of a piece in bytes.
        chunk_bytes: u64,
        /// Pause before each.
        every: Duration,
    },
    /// Answers with this status and a short text.
    Status(u16),
    /// Answers with this status, headers and body.
    Answer {
        /// The status.
        status: u16,
        /// Headers besides Content-Length.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// 503 with this Retry-After.
    Busy {
        /// The header's value: seconds or a date.
        retry_after: Option<String>,
    },
    /// S3's error document with this status and code.
    S3Error {
        /// The status.
        status: u16,
        /// The `Code`.
        code: String,
    },
    /// Resets the connection after this many bytes of the body.
    ResetAt(u64),
    /// Promises the whole length and closes cleanly after this many bytes.
    TruncateAt(u64),
    /// Promises the whole length and says after this many bytes that the body is whole: for origins within the
    /// process, whose bodies nothing frames.
    EndAt(u64),
    /// Sends no length and ends the body cleanly after this many bytes: only a digest can tell.
    EndChunkedAt(u64),
    /// Sends nothing more after this many bytes, and keeps the connection.
    StallAt(u64),
    /// Inverts one bit of the byte at this offset of the object; digests are those of the true body.
    FlipByteAt(u64),
    /// Promises this Content-Length, sends the true body (cut to the promise if that is shorter).
    WrongLength(u64),
    /// Sends no length (chunked).
    NoLength,
    /// Sends the ETag as a weak one.
    WeakETag,
    /// Sends no ETag.
    NoETag,
    /// Sends no Last-Modified.
    NoLastModified,
    /// Sends this ETag, quotes included, whatever the body.
    WrongETag(String),
    /// Sends Content-MD5 of the true body.
    ContentMd5,
    /// Sends `x-amz-checksum-crc32` of the true body.
    Crc32,
    /// Redirects there.
    Redirect {
        /// 301, 302, 307 or 308.
        status: u16,
        /// The Location.
        location: String,
    },
    /// 204 without a body.
    NoContent,
    /// 206 with the first half, though nobody asked for a range.
    UnaskedPartial,
    /// Answers 200 with the whole body to a Range request.
    IgnoreRange,
    /// Answers as if no If-Match, If-None-Match or other condition had been sent.
    IgnoreConditions,
    /// Adds this header (replacing one of the same name).
    Header(String, String),
}

/// One misbehaviour of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListFault {
    /// Waits before answering.
    Delay(Duration),
    /// Refuses with this status (5xx: fails).
    Status(u16),
    /// Refuses with 503 and this Retry-After, in whole seconds.
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Gives the page in descending order.
    OutOfOrder,
    /// Answers with something that is not a list.
    Malformed,
    /// Never answers.
    NoAnswer,
}
