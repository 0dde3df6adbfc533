//! The bytes of an object on their way: known in memory, a range of an open file, or a stream.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;

/// Pieces of a body in order. Dropping it ends the read and releases what it holds.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send + 'static>>;

/// Why a body cannot be read to its end. A reader must not treat the pieces so far as the whole body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The sender stopped before the promised length, or went away.
    #[error("the body ended early")]
    Incomplete,
    /// The bytes do not have the digest or the signature that they were promised to have.
    #[error("the body does not match its {what}")]
    Mismatch {
        /// Which promise was broken, such as `Content-MD5` or `chunk signature`.
        what: &'static str,
    },
    /// A stored block fails its checksum.
    #[error("a stored block is corrupt")]
    Corrupt,
    /// More bytes came than allowed or promised.
    #[error("the body is longer than it may be")]
    TooLong,
    /// The sender sent something that is not a body of this encoding.
    #[error("the body is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// No bytes came within the allowed time.
    #[error("the body stalled")]
    Stalled,
    /// The fill that this body is read from failed.
    #[error("the origin failed before the body was complete")]
    Origin,
    /// Reading or writing failed.
    #[error("input or output failed")]
    Io(#[from] io::Error),
}

/// Positioned reads of bytes that do not change. Called from any thread, also concurrently.
pub trait ReadAt: Send + Sync + fmt::Debug + 'static {
    /// Fills `out` from `offset`; may block on a disk.
    ///
    /// # Errors
    /// `UnexpectedEof` if fewer bytes exist; otherwise what the device says.
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;

    /// The descriptor behind it, where there is one, for `sendfile`.
    fn as_file(&self) -> Option<&std::fs::File> {
        None
    }

    /// Whether the bytes are in memory for certain, so that reads may be done where nothing may wait.
    fn never_blocks(&self) -> bool {
        false
    }
}

impl ReadAt for std::fs::File {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, out, offset)
    }

    fn as_file(&self) -> Option<&std::fs::File> {
        Some(self)
    }
}

/// A range of an open file whose bytes have been verified already.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The open file; it stays readable after its name is gone.
    pub file: Arc<dyn ReadAt>,
    /// First byte in the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// The bytes of an object or of a range of it.
pub enum Body {
    /// All of it, in memory.
    Bytes(Bytes),
    /// In a file; may be sent without passing through user space.
    File(FileRange),
    /// Piece by piece.
    Stream(ByteStream),
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Body::Bytes({} bytes)", bytes.len()),
            Self::File(range) => write!(f, "Body::File({} bytes)", range.len),
            Self::Stream(_) => f.write_str("Body::Stream"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
