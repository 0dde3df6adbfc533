//! Going through all buckets.

use std::sync::Arc;

use fallthrough_object::BucketName;
use fallthrough_store::{Bucket, Store, StoreError};

/// Buckets that are read at a time.
const PAGE: usize = 100;

/// All buckets, in the order of their names, each as it is when its page is read. Those that come or go meanwhile may be met
/// or not.
#[derive(Debug)]
pub(crate) struct AllBuckets<'a> {
    store: &'a Store,
    page: std::vec::IntoIter<Arc<Bucket>>,
    after: Option<BucketName>,
}

impl<'a> AllBuckets<'a> {
    pub(crate) fn of(store: &'a Store) -> Self {
        Self { store, page: Vec::new().into_iter(), after: None }
    }

    /// The next one; `None`: that was the last.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancellation
    /// Safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Arc<Bucket>>, StoreError> {
        loop {
            if let Some(bucket) = self.page.next() {
                return Ok(Some(bucket));
            }
            // A page that is not full says nothing: what went since it was begun is left out of it.
            let page = self.store.buckets(self.after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(None) };
            self.after = Some(last.name.clone());
            self.page = page.into_iter();
        }
    }
}
