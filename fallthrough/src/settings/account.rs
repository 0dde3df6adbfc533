//! Declared accounts.

use crate::settings::secret::Secret;
use crate::settings::section::Section;

/// An account with its access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountSettings {
    /// Its id.
    pub(crate) id: String,
    /// The name that lists of buckets show.
    pub(crate) display_name: String,
    /// An address, for tools that grant by it.
    pub(crate) email: Option<String>,
    /// Id of its access key.
    pub(crate) access_key: String,
    /// The secret half.
    pub(crate) secret_key: Secret,
}

/// Reads all accounts in order.
pub(super) fn read_all(root: &Section<'_>) -> Vec<AccountSettings> {
    let mut accounts: Vec<AccountSettings> = Vec::new();
    for section in root.list("account") {
        let Some(account) = read(&section) else { continue };
        for (name, clash) in [
            ("id", accounts.iter().any(|other| other.id == account.id)),
            ("access-key", accounts.iter().any(|other| other.access_key == account.access_key)),
            ("email", account.email.is_some() && accounts.iter().any(|other| other.email == account.email)),
        ] {
            if clash {
                section.problem(
                    name,
                    format!("{}: another account has the same {name}", section.path),
                    "give each account its own",
                );
            }
        }
        accounts.push(account);
    }
    accounts
}

fn read(section: &Section<'_>) -> Option<AccountSettings> {
    let (id, access_key) = (section.required("id"), section.required("access-key"));
    let secret_key = section.secret("secret-key", "secret-key-file");
    if secret_key.is_none() && !section.is_set("secret-key") && !section.is_set("secret-key-file") {
        section.problem(
            "secret-key",
            format!("{} needs \"secret-key-file\" or \"secret-key\"", section.path),
            "name a file with the secret; there is no default one",
        );
    }
    if let Some(key) = &access_key
        && !(key.len() >= 3
            && key.len() <= 128
            && key.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)))
    {
        section.problem(
            "access-key",
            format!(
                "{}.access-key: {key:?} must be 3 to 128 letters, digits, dots, hyphens or underscores",
                section.path
            ),
            "clients put it into the credential, where other characters divide the fields",
        );
    }
    if let Some(secret) = &secret_key
        && secret.reveal().len() < 8
    {
        section.problem(
            if section.is_set("secret-key") { "secret-key" } else { "secret-key-file" },
            format!("{}: the secret is shorter than 8 characters", section.path),
            "make one with `openssl rand -base64 30`",
        );
    }
    let id = id?;
    Some(AccountSettings {
        display_name: section.text("display-name").unwrap_or_else(|| id.clone()),
        email: section.text("email"),
        id,
        access_key: access_key?,
        secret_key: secret_key?,
    })
}
