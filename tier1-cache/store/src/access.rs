//! Access keys, and the accounts that they belong to.

use crate::bucket_row::{AccessKeyRow, AccountRow};
use crate::error::StoreError;
use crate::kv::{Commit, Table};
use crate::rows;
use crate::store::{Store, put, remove, when};

impl Store {
    /// An access key by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn access_key(&self, id: &str) -> Result<Option<AccessKeyRow>, StoreError> {
        let at = rows::access_key(id);
        let row = self.inner.kv.get(Table::Rows, &at).await?;
        row.map(|row| self.inner.open_row("an access key", &at, &row.value)).transpose()
    }

    /// Writes an access key, replacing one with the same id. Its account is known from then on.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not have been written.
    pub async fn put_access_key(&self, key: &AccessKeyRow) -> Result<(), StoreError> {
        let (at, account) = (rows::access_key(&key.id), rows::account(&key.account));
        loop {
            let mut conditions = Vec::new();
            let mut writes = vec![put(at.clone(), self.inner.seal_row(&at, key)?)];
            if self.inner.kv.get(Table::Rows, &account).await?.is_none() {
                conditions.push(when(account.clone(), None));
                writes.push(put(account.clone(), rows::to_json(&AccountRow::of(&key.account))?));
            }
            if self.inner.commit(Commit { conditions, writes, ..Commit::default() }).await?.is_ok() {
                return Ok(());
            }
        }
    }

    /// An account by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn account(&self, id: &str) -> Result<Option<AccountRow>, StoreError> {
        let row = self.inner.kv.get(Table::Rows, &rows::account(id)).await?;
        row.map(|row| rows::from_json("an account", &row.value)).transpose()
    }

    /// Writes an account, replacing one with the same id.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not have been written.
    pub async fn put_account(&self, account: &AccountRow) -> Result<(), StoreError> {
        let writes = vec![put(rows::account(&account.id), rows::to_json(account)?)];
        self.inner.write(writes).await
    }

    /// Up to `limit` accounts by id, behind `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn accounts(&self, after: Option<&str>, limit: usize) -> Result<Vec<AccountRow>, StoreError> {
        let (from, to) = rows::accounts(after);
        let found = self.inner.kv.range(from, to, limit).await?;
        found.iter().map(|(_, row)| rows::from_json("an account", &row.value)).collect()
    }

    /// Changes an access key and returns what it is then; `None` if there is none. `change` may be called several times,
    /// each time on the key as it is; one that is deleted meanwhile does not come back.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not have been changed.
    pub async fn change_access_key(
        &self,
        id: &str,
        change: &(dyn Fn(&mut AccessKeyRow) + Send + Sync),
    ) -> Result<Option<AccessKeyRow>, StoreError> {
        let key = rows::access_key(id);
        loop {
            let Some(row) = self.inner.kv.get(Table::Rows, &key).await? else { return Ok(None) };
            let mut changed: AccessKeyRow = self.inner.open_row("an access key", &key, &row.value)?;
            change(&mut changed);
            let conditions = vec![when(key.clone(), Some(row.version))];
            let writes = vec![put(key.clone(), self.inner.seal_row(&key, &changed)?)];
            if self.inner.commit(Commit { conditions, writes, ..Commit::default() }).await?.is_ok() {
                return Ok(Some(changed));
            }
        }
    }

    /// Deletes an access key; `false` if there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// It may or may not have been deleted.
    pub async fn delete_access_key(&self, id: &str) -> Result<bool, StoreError> {
        let key = rows::access_key(id);
        loop {
            let Some(row) = self.inner.kv.get(Table::Rows, &key).await? else { return Ok(false) };
            let conditions = vec![when(key.clone(), Some(row.version))];
            let commit = Commit { conditions, writes: vec![remove(key.clone())], ..Commit::default() };
            if self.inner.commit(commit).await?.is_ok() {
                return Ok(true);
            }
        }
    }

    /// Up to `limit` access keys by id, behind `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Cancellation
    /// Safe.
    pub async fn access_keys(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AccessKeyRow>, StoreError> {
        let (from, to) = rows::access_keys(after);
        let found = self.inner.kv.range(from, to, limit).await?;
        found.iter().map(|(at, row)| self.inner.open_row("an access key", at, &row.value)).collect()
    }
}
