//! The ready file: tells automation where a server listens and how to sign, once it accepts connections.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::settings::Secret;

/// A ready file that is being put together, then stands until it is dropped.
///
/// It is written under a temporary name with mode 0600 and renamed when it is complete, so that whoever sees
/// it can use all it says. Dropping it removes it, also on an error on the way out.
#[derive(Debug)]
pub(crate) struct ReadyFile {
    path: PathBuf,
}

/// What a ready file says. `pid` is added by itself.
#[derive(Debug, Default)]
pub(crate) struct ReadyFields(Map<String, Value>);

impl ReadyFields {
    /// Adds text, such as an address under `s3`.
    pub(crate) fn text(mut self, name: &str, text: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), Value::String(text.into()));
        self
    }

    /// Adds a secret, which only this file may show.
    pub(crate) fn secret(self, name: &str, secret: &Secret) -> Self {
        self.text(name, secret.reveal())
    }
}

impl ReadyFile {
    /// Writes the file. Call this when all listeners accept.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written to.
    pub(crate) fn write(path: &Path, fields: ReadyFields) -> Result<Self, Failure> {
        let ReadyFields(mut fields) = fields;
        fields.insert("pid".to_owned(), Value::from(std::process::id()));
        let temporary = path.with_file_name(format!(
            ".{}.{}",
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            std::process::id(),
        ));
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(Value::Object(fields).to_string().as_bytes()))
            .and_then(|()| std::fs::rename(&temporary, path));
        match written {
            Ok(()) => Ok(Self { path: path.to_owned() }),
            Err(error) => {
                // What was begun under the temporary name may hold secrets; if even its removal fails, the
                // error below is the one worth telling.
                let _ = std::fs::remove_file(&temporary);
                Err(Failure::new(
                    format!("the ready file {} cannot be written: {error}", path.display()),
                    "name a file in a folder that exists and that this user may write to",
                ))
            }
        }
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // Somebody may have removed it already; that is what is wanted.
        let _ = std::fs::remove_file(&self.path);
    }
}
