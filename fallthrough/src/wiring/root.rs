//! The root account and its access key: declared, or made once and kept in the data folder.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fallthrough_object::Entropy;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::settings::{AccountSettings, Secret, Settings};

/// The account that owns everything unless told otherwise, with its key.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// The account and the key.
    pub(crate) account: AccountSettings,
    /// The key was made just now: it is to be shown once.
    pub(crate) made_now: bool,
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptRoot {
    account: String,
    access_key: String,
    secret_key: String,
}

/// Where a root key that was made is kept.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("root-key.json")
}

/// The declared root, or the kept one; `None`: the first start has not been yet.
///
/// # Errors
/// The file cannot be read or understood.
pub(crate) fn load(settings: &Settings) -> Result<Option<AccountSettings>, Failure> {
    if let Some(account) = settings.accounts.first() {
        return Ok(Some(account.clone()));
    }
    read_kept(settings)
}

fn read_kept(settings: &Settings) -> Result<Option<AccountSettings>, Failure> {
    let path = path(&settings.store.data);
    let mend = "mend it, or delete it and a new root key is made at the next start of the server";
    match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(
            format!("the root key in {} cannot be read: {error}", path.display()),
            "run this as the user that runs the server",
        )),
        Ok(text) => match serde_json::from_slice::<KeptRoot>(&text) {
            Ok(kept) => Ok(Some(account(kept.account, kept.access_key, kept.secret_key))),
            // The parser's message could quote the secret: only the place is told.
            Err(error) => Err(Failure::new(
                format!("{} is damaged at line {}, column {}", path.display(), error.line(), error.column()),
                mend,
            )),
        },
    }
}

/// The id of the account that was made at the first start, if one was, whether or not it still is the root.
///
/// # Errors
/// As [`load`].
pub(crate) fn made(settings: &Settings) -> Result<Option<String>, Failure> {
    Ok(read_kept(settings)?.map(|account| account.id))
}

/// The declared or kept root, or a new one, which is kept.
///
/// # Errors
/// As [`load`]; or the file cannot be written.
pub(crate) fn load_or_make(settings: &Settings, entropy: &dyn Entropy) -> Result<Root, Failure> {
    if let Some(account) = load(settings)? {
        return Ok(Root { account, made_now: false });
    }
    let made = KeptRoot {
        account: "root".to_owned(),
        access_key: format!("FT{}", random_letters(entropy, 18)),
        secret_key: random_letters(entropy, 40),
    };
    let text = serde_json::to_string(&made).expect("three texts are JSON");
    keep_privately(&path(&settings.store.data), &text)?;
    Ok(Root { account: account(made.account, made.access_key, made.secret_key), made_now: true })
}

fn account(id: String, access_key: String, secret_key: String) -> AccountSettings {
    AccountSettings {
        display_name: id.clone(),
        email: None,
        id,
        access_key,
        secret_key: Secret::new(secret_key),
    }
}

/// Letters and digits that are easily told apart; five random bits choose each.
pub(crate) fn random_letters(entropy: &dyn Entropy, count: usize) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut bytes = vec![0; count];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// Writes a secret to a file that only its owner may read, durably and as a whole.
///
/// # Errors
/// The folder is missing or cannot be written to.
pub(crate) fn keep_privately(path: &Path, secret: &str) -> Result<(), Failure> {
    let temporary = path.with_extension("new");
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(secret.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all())
        .map_err(|error| {
            Failure::new(
                format!("{} cannot be written: {error}", path.display()),
                "make the data folder writable for this user",
            )
        })
}
