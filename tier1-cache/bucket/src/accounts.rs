//! Accounts: what others may see of them, and what goes over to a bucket's new owner.

use std::sync::Arc;

use fallthrough_store::{AccountRow, Bucket};

use crate::api::BucketError;
use crate::engine::Engine;

/// Rows read at once.
const PAGE: usize = 500;

impl Engine {
    /// The account of this id: one that was declared, or that an access key was made for.
    ///
    /// # Errors
    /// The store's.
    pub async fn account(&self, id: &str) -> Result<Option<AccountRow>, BucketError> {
        Ok(self.inner.store.account(id).await?)
    }

    /// The account with this address, whatever the case of its letters. Reads all accounts.
    ///
    /// # Errors
    /// The store's.
    pub async fn account_by_email(&self, email: &str) -> Result<Option<AccountRow>, BucketError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.accounts(after.as_deref(), PAGE).await?;
            let has_it =
                |row: &&AccountRow| row.email.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(email));
            if let Some(found) = page.iter().find(has_it) {
                return Ok(Some(found.clone()));
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
                Some(_) | None => return Ok(None),
            }
        }
    }

    /// Accounts in order of id, after `after`, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn accounts(&self, after: Option<&str>, limit: usize) -> Result<Vec<AccountRow>, BucketError> {
        Ok(self.inner.store.accounts(after, limit).await?)
    }

    /// Adds or replaces what is known of an account, durably.
    ///
    /// # Errors
    /// The store's.
    pub async fn put_account(&self, row: &AccountRow) -> Result<(), BucketError> {
        Ok(self.inner.store.put_account(row).await?)
    }

    /// Changes an access key, durably, and returns what it is then; `None` if there is none. `change` may be called several
    /// times, each time on the key as it is.
    ///
    /// # Errors
    /// The store's.
    pub async fn change_access_key(
        &self,
        id: &str,
        change: &(dyn Fn(&mut fallthrough_store::AccessKeyRow) + Send + Sync),
    ) -> Result<Option<fallthrough_store::AccessKeyRow>, BucketError> {
        Ok(self.inner.store.change_access_key(id, change).await?)
    }

    /// Grants to the bucket's owner what its ACL granted to `old`, who was that before: or nobody could use it but by
    /// writing the ACL again.
    pub(crate) async fn hand_over_acl(
        &self,
        old: &str,
        bucket: Arc<Bucket>,
    ) -> Result<Arc<Bucket>, BucketError> {
        let new = &bucket.settings.owner;
        if old == new || bucket.configuration.acl.is_none() {
            return Ok(bucket);
        }
        let hand_over = |configuration: &mut fallthrough_object::BucketConfiguration| {
            configuration.acl = configuration.acl.take().map(|acl| acl.inherited(old, new));
        };
        self.configure(&bucket, &hand_over).await
    }
}
