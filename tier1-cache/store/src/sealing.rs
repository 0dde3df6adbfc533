//! Rows that hold secrets (access keys, and the credentials of shadows in the settings of buckets), encrypted with a
//! key that is not in the data folder.
//!
//! A sealed row is a byte that no JSON begins with, the id of the key, a nonce, and ChaCha20-Poly1305 (RFC 8439) of
//! the JSON; the row's key is authenticated with it, so that a row cannot be moved to another place. Which keys rows may
//! be sealed with is written down before the first of them is, so that a start without such a key is refused and
//! never takes rows for damaged.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::kv::{Commit, Kv, Table};
use crate::mutants::{Mutant, planted};
use crate::rows;
use crate::store::{Inner, Store, put, remove, when};

/// The first byte of a sealed row.
const SEALED: u8 = 1;
const ID_LEN: usize = 8;
/// Rows of one step of sealing everything anew.
const PAGE_ROWS: usize = 256;
/// The shortest text that a key is made from.
const TEXT_MIN: usize = 32;

/// A key that rows are sealed with. It is never shown; its id may be.
#[derive(Clone)]
pub struct SealingKey {
    id: [u8; ID_LEN],
    key: Arc<LessSafeKey>,
}

impl SealingKey {
    /// The key that follows from a text, such as 64 random hexadecimal digits.
    ///
    /// # Errors
    /// The text has less than 32 bytes: too short to be random enough.
    pub fn of_text(text: &str) -> Result<Self, String> {
        if text.len() < TEXT_MIN {
            return Err(format!("it has {} characters; at least {TEXT_MIN} are needed", text.len()));
        }
        let salt = Salt::new(HKDF_SHA256, b"fallthrough sealing key").extract(text.as_bytes());
        let derive = |what: &'static [u8], out: &mut [u8]| {
            let made = salt.expand(&[what], Length(out.len())).map(|okm| okm.fill(out));
            made.ok().and_then(Result::ok).expect("a few bytes can be derived");
        };
        let (mut id, mut key) = ([0; ID_LEN], vec![0; CHACHA20_POLY1305.key_len()]);
        derive(b"id", &mut id);
        derive(b"key", &mut key);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("it is as long as the cipher asks");
        Ok(Self { id, key: Arc::new(LessSafeKey::new(key)) })
    }

    /// Tells keys apart, in hexadecimal digits; says nothing about the text.
    pub fn id(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl PartialEq for SealingKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for SealingKey {}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id())
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The keys of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealing {
    /// What rows are sealed with from now on; `None`: they are not.
    pub current: Option<SealingKey>,
    /// What they may have been sealed with before. Opening the store seals them anew with the current one.
    pub old: Option<SealingKey>,
}

impl Sealing {
    fn keys(&self) -> impl Iterator<Item = &SealingKey> {
        self.current.iter().chain(&self.old)
    }
}

/// Checks that every row with secrets can be opened.
///
/// # Errors
/// [`StoreError::Sealed`]: a key is missing.
pub(crate) async fn check(kv: &dyn Kv, sealing: &Sealing) -> Result<(), StoreError> {
    let known = SealedWith::read(kv).await?;
    let given: BTreeSet<String> = sealing.keys().map(SealingKey::id).collect();
    match known.keys.difference(&given).next() {
        Some(missing) => Err(StoreError::Sealed { missing: missing.clone() }),
        None => Ok(()),
    }
}

/// Which keys rows may be sealed with, and whether some may be sealed with none.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SealedWith {
    keys: BTreeSet<String>,
    plain: bool,
}

impl SealedWith {
    async fn read(kv: &dyn Kv) -> Result<Self, StoreError> {
        match kv.get(Table::Rows, rows::SEALED_WITH).await? {
            None => Ok(Self::only(None)),
            Some(row) => rows::from_json("the sealing keys", &row.value),
        }
    }

    fn only(key: Option<&SealingKey>) -> Self {
        Self { keys: key.iter().map(|key| key.id()).collect(), plain: key.is_none() }
    }
}

impl Inner {
    /// The value of a row that holds secrets. `at` is its key.
    pub(crate) fn seal_row<T: Serialize>(&self, at: &[u8], row: &T) -> Result<Bytes, StoreError> {
        self.sealed(at, rows::to_json(row)?)
    }

    fn sealed(&self, at: &[u8], plain: Bytes) -> Result<Bytes, StoreError> {
        let Some(key) = &self.options.sealing.current else { return Ok(plain) };
        if planted(Mutant::SecretsStayPlain) {
            return Ok(plain);
        }
        let mut nonce = [0; NONCE_LEN];
        self.entropy.fill(&mut nonce);
        let mut body = Vec::from(plain);
        key.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place(at)), &mut body)
            .map_err(|_| StoreError::corrupt("a row is too long to be sealed"))?;
        let mut out = Vec::with_capacity(1 + ID_LEN + NONCE_LEN + body.len());
        out.push(SEALED);
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&body);
        Ok(out.into())
    }

    /// Reads a row that holds secrets, sealed or not.
    pub(crate) fn open_row<T>(&self, what: &str, at: &[u8], value: &[u8]) -> Result<T, StoreError>
    where
        T: for<'a> Deserialize<'a>,
    {
        rows::from_json(what, &self.opened(what, at, value)?.1)
    }

    /// What a row holds, and which key it is sealed with.
    fn opened<'a>(
        &self,
        what: &str,
        at: &[u8],
        value: &'a [u8],
    ) -> Result<(Option<&SealingKey>, Cow<'a, [u8]>), StoreError> {
        if value.first() != Some(&SEALED) {
            return Ok((None, value.into()));
        }
        let damaged = || StoreError::corrupt(format!("the row of {what} cannot be read: its seal is broken"));
        let (id, rest) = value[1..].split_first_chunk::<ID_LEN>().ok_or_else(damaged)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        let key = self.options.sealing.keys().find(|key| key.id == *id).ok_or_else(damaged)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = key.key.open_in_place(nonce, Aad::from(place(at)), &mut body).map_err(|_| damaged())?.len();
        body.truncate(len);
        Ok((Some(key), body.into()))
    }
}

impl Store {
    /// Seals anew what is not sealed with the current key. Called before anybody else uses the store.
    ///
    /// # Errors
    /// [`StoreError`]: it goes on with the next start.
    pub(crate) async fn settle_sealing(&self) -> Result<(), StoreError> {
        let sealing = &self.inner.options.sealing;
        let known = SealedWith::read(&*self.inner.kv).await?;
        let wanted = SealedWith::only(sealing.current.as_ref());
        if known == wanted {
            return Ok(());
        }
        let both = SealedWith {
            keys: known.keys.union(&wanted.keys).cloned().collect(),
            plain: known.plain || wanted.plain,
        };
        self.note_sealing(&both).await?;
        if !planted(Mutant::OldSealsStay) && !self.seal_all().await? {
            tracing::error!(
                "some rows with secrets are damaged: the old sealing key is still needed for them"
            );
            return Ok(());
        }
        self.note_sealing(&wanted).await
    }

    async fn note_sealing(&self, with: &SealedWith) -> Result<(), StoreError> {
        let at = rows::SEALED_WITH.to_vec();
        let is_plain = *with == SealedWith::only(None);
        let write = if is_plain { remove(at) } else { put(at, rows::to_json(with)?) };
        self.inner.write(vec![write]).await
    }

    /// Whether all rows with secrets are sealed with the current key now.
    async fn seal_all(&self) -> Result<bool, StoreError> {
        let current = self.inner.options.sealing.current.as_ref();
        let mut all = true;
        for (what, (mut from, to)) in
            [("a bucket", rows::buckets(None)), ("an access key", rows::access_keys(None))]
        {
            loop {
                let page = self.inner.kv.range(from, to.clone(), PAGE_ROWS).await?;
                let Some((last, _)) = page.last() else { break };
                from = Bound::Excluded(last.clone());
                let mut commit = Commit::default();
                for (at, row) in page {
                    match self.inner.opened(what, &at, &row.value) {
                        Ok((with, _)) if with == current => {}
                        Ok((_, plain)) => {
                            commit.conditions.push(when(at.clone(), Some(row.version)));
                            let value = self.inner.sealed(&at, plain.into_owned().into())?;
                            commit.writes.push(put(at, value));
                        }
                        Err(error) => {
                            tracing::error!(%error, "a row cannot be sealed anew");
                            all = false;
                        }
                    }
                }
                if !commit.writes.is_empty() && self.inner.commit(commit).await?.is_err() {
                    return Err(StoreError::unavailable("rows changed while they were sealed anew"));
                }
            }
        }
        Ok(all)
    }
}

/// What a seal is good for: one row.
fn place(at: &[u8]) -> &[u8] {
    if planted(Mutant::SealOfAnyPlace) { &[] } else { at }
}
