//! What an origin answers: bytes, a file or a stream, and the headers that belong to them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use fallthrough_object::{Body, BodyError, ByteRange, Checksum, ETag, FileRange, Meta, Timestamp};
use futures::{Stream, StreamExt};

use crate::error::{BoxError, OriginError};

/// An object: its bytes and what is known about them.
///
/// Everything is optional but the body. A strong ETag is computed where the bytes are in memory and none is
/// given; where the length is unknown, ranges are answered with the whole. A header value that does not fit
/// into a header line answers 500: it is never passed on, nor silently left out.
#[derive(Debug)]
pub struct Answer {
    pub(crate) body: AnswerBody,
    pub(crate) meta: Meta,
    pub(crate) etag: Option<ETag>,
    pub(crate) last_modified: Option<Timestamp>,
    pub(crate) content_md5: Option<[u8; 16]>,
    pub(crate) checksums: Vec<Checksum>,
}

#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// The whole object; its length, where that is known.
    Whole(Body, Option<u64>),
    /// The part that was asked for, of an object of `size_bytes`.
    Part(Body, ByteRange, u64),
    /// Not the body: the object still is what the caller's `If-None-Match` names.
    Unchanged,
}

impl Answer {
    /// All bytes of the object.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let len_bytes = bytes.len() as u64;
        Self::of(AnswerBody::Whole(Body::Bytes(bytes), Some(len_bytes)))
    }

    /// A file that is open already, from its first byte to its present end, with Last-Modified and an ETag
    /// made of its identity, size and time of change.
    ///
    /// # Errors
    /// What the operating system says when asked about the file.
    pub fn file(file: File) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let len_bytes = about.len();
        let identity = format!(
            "{:x}-{:x}-{:x}-{:x}.{:09}",
            about.dev(),
            about.ino(),
            len_bytes,
            about.mtime(),
            about.mtime_nsec()
        );
        let body = Body::File(FileRange { file: Arc::new(file), offset: 0, len: len_bytes });
        let mut answer = Self::of(AnswerBody::Whole(body, Some(len_bytes)));
        answer.etag = ETag::strong(identity).ok();
        answer.last_modified = about
            .modified()
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
            .map(|since| Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
        Ok(answer)
    }

    /// Opens the file at `path` and answers with it. `path` must never be made of a key: look the key up
    /// in a table of what exists.
    ///
    /// # Errors
    /// [`OriginError::NotFound`] if there is no such file; [`OriginError::Internal`] if it cannot be read.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OriginError> {
        let path = path.as_ref().to_owned();
        let opened = tokio::task::spawn_blocking(move || File::open(path).and_then(Self::file)).await;
        match opened.map_err(OriginError::internal)? {
            Ok(answer) => Ok(answer),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(OriginError::not_found()),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Piece by piece, of a length that is not known before the end: sent chunked, and an error in the
    /// stream resets the connection. Dropped, together with the stream, when the caller goes away.
    pub fn stream<S, B, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Into<BoxError>,
    {
        Self::of(AnswerBody::Whole(body_of(stream), None))
    }

    /// Piece by piece, of a known length: promised to the caller and enforced. A stream that ends early or
    /// has more resets the connection.
    pub fn stream_of_len<S, B, E>(len_bytes: u64, stream: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Into<Bytes>,
        E: Into<BoxError>,
    {
        Self::of(AnswerBody::Whole(body_of(stream), Some(len_bytes)))
    }

    /// Only the part `range` of an object of `size_bytes`: for origins that can seek, and only in answer to
    /// a request with a range (resolve it with [`RangeSpec::resolve`](fallthrough_object::RangeSpec::resolve)).
    /// `body` has exactly the length of `range`. Give an ETag: without one the parts of an object cannot be
    /// told to belong together.
    pub fn part(range: ByteRange, size_bytes: u64, body: impl Into<Body>) -> Self {
        Self::of(AnswerBody::Part(body.into(), range, size_bytes))
    }

    /// The object still has the ETag that the caller named in `If-None-Match`: no need to make it again.
    pub fn unchanged(etag: ETag) -> Self {
        let mut answer = Self::of(AnswerBody::Unchanged);
        answer.etag = Some(etag);
        answer
    }

    fn of(body: AnswerBody) -> Self {
        Self {
            body,
            meta: Meta::default(),
            etag: None,
            last_modified: None,
            content_md5: None,
            checksums: Vec::new(),
        }
    }

    /// Content-Type; without it `application/octet-stream` is sent.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.meta.content_type = Some(content_type.into());
        self
    }

    /// The ETag. Strong ones let buckets revalidate and resume; make it change whenever the bytes do.
    #[must_use]
    pub fn etag(mut self, etag: ETag) -> Self {
        self.etag = Some(etag);
        self
    }

    /// Last-Modified, in whole seconds on the wire.
    #[must_use]
    pub fn last_modified(mut self, at: Timestamp) -> Self {
        self.last_modified = Some(at);
        self
    }

    /// Cache-Control, verbatim.
    #[must_use]
    pub fn cache_control(mut self, directives: impl Into<String>) -> Self {
        self.meta.cache_control = Some(directives.into());
        self
    }

    /// `Cache-Control: public, max-age=…`, in whole seconds.
    #[must_use]
    pub fn fresh_for(self, age: Duration) -> Self {
        self.cache_control(format!("public, max-age={}", age.as_secs()))
    }

    /// Content-Disposition, verbatim.
    #[must_use]
    pub fn content_disposition(mut self, value: impl Into<String>) -> Self {
        self.meta.content_disposition = Some(value.into());
        self
    }

    /// Content-Encoding, verbatim: the bytes *are* encoded so. The server encodes nothing.
    #[must_use]
    pub fn content_encoding(mut self, value: impl Into<String>) -> Self {
        self.meta.content_encoding = Some(value.into());
        self
    }

    /// Content-Language, verbatim.
    #[must_use]
    pub fn content_language(mut self, value: impl Into<String>) -> Self {
        self.meta.content_language = Some(value.into());
        self
    }

    /// One piece of user metadata: `x-amz-meta-{name}`. The name is lowered; the last one of a name wins.
    #[must_use]
    pub fn meta(mut self, name: &str, value: impl Into<String>) -> Self {
        let name = name.to_ascii_lowercase();
        let value = value.into();
        match self.meta.user.binary_search_by(|(known, _)| known.as_str().cmp(&name)) {
            Ok(at) => self.meta.user[at].1 = value,
            Err(at) => self.meta.user.insert(at, (name, value)),
        }
        self
    }

    /// MD5 of the whole body, sent as Content-MD5: buckets verify it before they keep anything. Computed
    /// for bytes in memory, together with the ETag, if neither is given.
    #[must_use]
    pub fn content_md5(mut self, digest: [u8; 16]) -> Self {
        self.content_md5 = Some(digest);
        self
    }

    /// Another digest of the whole body: `x-amz-checksum-*`.
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksums.push(checksum);
        self
    }

    /// The length of the whole object in bytes, if known.
    pub fn size_bytes(&self) -> Option<u64> {
        match &self.body {
            AnswerBody::Whole(_, len_bytes) => *len_bytes,
            AnswerBody::Part(_, _, size_bytes) => Some(*size_bytes),
            AnswerBody::Unchanged => None,
        }
    }
}

fn body_of<S, B, E>(stream: S) -> Body
where
    S: Stream<Item = Result<B, E>> + Send + 'static,
    B: Into<Bytes>,
    E: Into<BoxError>,
{
    let pieces = stream.map(|piece| match piece {
        Ok(bytes) => Ok(bytes.into()),
        Err(cause) => Err(BodyError::Io(io::Error::other(cause))),
    });
    Body::Stream(Box::pin(pieces))
}

impl From<Bytes> for Answer {
    fn from(bytes: Bytes) -> Self {
        Self::bytes(bytes)
    }
}

impl From<Vec<u8>> for Answer {
    fn from(bytes: Vec<u8>) -> Self {
        Self::bytes(bytes)
    }
}

impl From<&'static [u8]> for Answer {
    fn from(bytes: &'static [u8]) -> Self {
        Self::bytes(bytes)
    }
}

/// Text, as `text/plain; charset=utf-8`.
impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::bytes(text).content_type("text/plain; charset=utf-8")
    }
}

/// Text, as `text/plain; charset=utf-8`.
impl From<&'static str> for Answer {
    fn from(text: &'static str) -> Self {
        Self::bytes(text).content_type("text/plain; charset=utf-8")
    }
}

/// A content type and the bytes.
impl<T: Into<String>, B: Into<Bytes>> From<(T, B)> for Answer {
    fn from((content_type, bytes): (T, B)) -> Self {
        Self::bytes(bytes).content_type(content_type)
    }
}

/// A range of an open file.
impl From<FileRange> for Answer {
    fn from(range: FileRange) -> Self {
        let len_bytes = range.len;
        Self::of(AnswerBody::Whole(Body::File(range), Some(len_bytes)))
    }
}
