//! A secret: it can be used, but neither printed nor serialised by accident.

use std::fmt;
use std::io::Read;
use std::path::Path;

/// Longest secret file that is read; a longer one is surely not a secret.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads a secret from a file; white space around it does not count.
    ///
    /// # Errors
    /// Why not, with the path.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
            .map_err(|error| format!("the secret in {} cannot be read: {error}", path.display()))?;
        match text.trim() {
            "" => Err(format!("the secret file {} is empty", path.display())),
            secret => Ok(Self::new(secret)),
        }
    }

    /// The text itself. Whoever calls this must not let it reach a log, an error or an answer.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
