//! The list of multipart uploads on their way, page by page, with common prefixes. They are all here: a shadow is not
//! asked.
//!
//! As with lists of objects, a page reads about as many rows as it shows.

use fallthrough_store::{Bucket, Upload, UploadId};

use crate::api::BucketError;
use crate::engine::Engine;
use crate::list::{JUMP_ROWS, LAST, SCAN_ROWS, collapsed};

/// A page of uploads that is asked for.
#[derive(Clone, Debug, Default)]
pub struct UploadsRequest {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that have it behind the prefix are collapsed into a common prefix.
    pub delimiter: Option<String>,
    /// Behind an upload of a key, or behind all uploads of a key or common prefix.
    pub after: Option<(String, Option<UploadId>)>,
    /// At most so many uploads and prefixes.
    pub max: usize,
}

/// What a list of uploads shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadItem {
    /// An upload.
    Upload(Box<Upload>),
    /// A common prefix of keys with uploads.
    Prefix(String),
}

/// A page of uploads, in the order of keys and then of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadsPage {
    /// Uploads and common prefixes.
    pub items: Vec<UploadItem>,
    /// Where the next page begins, if there is more.
    pub next: Option<(String, Option<UploadId>)>,
}

impl UploadsRequest {
    /// The common prefix that `key` collapses into.
    fn prefix_of<'k>(&self, key: &'k str) -> Option<&'k str> {
        collapsed(key, &self.prefix, self.delimiter.as_deref())
    }
}

impl Engine {
    /// One page of a bucket's uploads.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn uploads(
        &self,
        bucket: &Bucket,
        request: &UploadsRequest,
    ) -> Result<UploadsPage, BucketError> {
        let mut page = UploadsPage::default();
        if request.max == 0 {
            return Ok(page);
        }
        // What was shown last; a client that begins at a common prefix has been shown it.
        let mut shown = request.after.clone();
        let mut skip = shown
            .as_ref()
            .and_then(|(key, _)| request.prefix_of(key).filter(|prefix| prefix == key).map(str::to_owned));
        let mut behind = shown.clone();
        let mut rows = request.delimiter.as_ref().map_or(SCAN_ROWS, |_| JUMP_ROWS).min(request.max + 1);
        loop {
            if let Some(skip) = &skip {
                // Names with `LAST` in them are read one by one.
                behind = behind.max(Some((format!("{skip}{LAST}"), None)));
            }
            let after = behind.as_ref().map(|(key, id)| (key.as_str(), *id));
            let found = self.inner.store.uploads(bucket.id, &request.prefix, after, rows).await?;
            let (read, mut dropped) = (found.len(), 0);
            let Some(last) = found.last() else { return Ok(page) };
            behind = Some((last.key.as_str().to_owned(), Some(last.id)));
            for upload in found {
                let key = upload.key.as_str();
                if skip.as_deref().is_some_and(|skip| key.starts_with(skip)) {
                    dropped += 1;
                    continue;
                }
                if page.items.len() == request.max {
                    page.next = shown;
                    return Ok(page);
                }
                skip = request.prefix_of(key).map(str::to_owned);
                match &skip {
                    Some(prefix) => {
                        shown = Some((prefix.clone(), None));
                        page.items.push(UploadItem::Prefix(prefix.clone()));
                    }
                    None => {
                        shown = Some((key.to_owned(), Some(upload.id)));
                        page.items.push(UploadItem::Upload(Box::new(upload)));
                    }
                }
            }
            if read < rows {
                return Ok(page);
            }
            let wanted = request.max - page.items.len() + 1;
            rows = if dropped * 2 >= read { JUMP_ROWS } else { (read * 2).min(SCAN_ROWS).min(wanted) };
        }
    }
}
