//! What requests to an S3 shadow are signed with: named in the settings, read from where it is kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fallthrough_bucket::ShadowCredentials;

use crate::settings::section::Section;

/// Reads the key `credentials` of `section`. The inner `None`: anonymous; the outer: a problem was noted.
#[expect(clippy::option_option, reason = "absent and wrong are different answers, and both are common here")]
pub(super) fn read(
    section: &Section<'_>,
    environment: &[(OsString, OsString)],
) -> Option<Option<ShadowCredentials>> {
    let Some(reference) = section.text("credentials") else {
        // Not text at all was noted already.
        return (!section.is_set("credentials")).then_some(None);
    };
    match resolve(&reference, environment) {
        Ok(credentials) => Some(Some(credentials)),
        Err((wrong, mend)) => {
            section.problem("credentials", format!("{}.credentials: {wrong}", section.path), mend);
            None
        }
    }
}

/// The credentials that `reference` names: `profile:NAME`, `env:PREFIX_` or `file:PATH`.
///
/// # Errors
/// What is wrong, and what to do. Neither repeats a secret; a reference of no known form is not repeated.
pub(crate) fn resolve(
    reference: &str,
    environment: &[(OsString, OsString)],
) -> Result<ShadowCredentials, (String, String)> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(have, _)| have == name);
        found.and_then(|(_, value)| value.to_str()).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    match reference.split_once(':') {
        Some(("env", prefix)) => {
            let (id, secret) = (format!("{prefix}ACCESS_KEY_ID"), format!("{prefix}SECRET_ACCESS_KEY"));
            match (variable(&id), variable(&secret)) {
                (Some(access_key), Some(secret_key)) => Ok(ShadowCredentials { access_key, secret_key }),
                (None, _) => Err((format!("the variable {id} is not set"), format!("set {id} and {secret}"))),
                (_, None) => {
                    Err((format!("the variable {secret} is not set"), format!("set {id} and {secret}")))
                }
            }
        }
        Some(("profile", name)) => {
            let home = variable("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
            let path = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or(home);
            let path = path.ok_or_else(|| {
                ("HOME is not set, so there is no ~/.aws/credentials".to_owned(), "use file:PATH".to_owned())
            })?;
            profile(&path, name)
        }
        Some(("file", path)) => profile(Path::new(path), "default"),
        Some(_) | None => Err((
            "it must be profile:NAME, env:PREFIX_ or file:PATH, never the credentials themselves".to_owned(),
            "keep the secret in the AWS credentials file, in variables or in a file of its own".to_owned(),
        )),
    }
}

/// The credentials of a profile of the AWS credentials file.
///
/// # Errors
/// What is wrong, and what to do.
pub(crate) fn of_profile(
    name: &str,
    environment: &[(OsString, OsString)],
) -> Result<ShadowCredentials, (String, String)> {
    resolve(&format!("profile:{name}"), environment)
}

/// Reads one profile of a file in the format of `~/.aws/credentials`.
fn profile(path: &Path, name: &str) -> Result<ShadowCredentials, (String, String)> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        (
            format!("{} cannot be read: {error}", path.display()),
            "check the path and who may read it".to_owned(),
        )
    })?;
    let mut inside = false;
    let (mut access_key, mut secret_key) = (None, None);
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = header.trim() == name;
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            match key.trim() {
                "aws_access_key_id" => access_key = Some(value.trim().to_owned()),
                "aws_secret_access_key" => secret_key = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }
    match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => Ok(ShadowCredentials { access_key, secret_key }),
        _ => Err((
            format!(
                "{} has no profile [{name}] with aws_access_key_id and aws_secret_access_key",
                path.display()
            ),
            format!("add the profile, for example with `aws configure --profile {name}`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=SA\n\n[old]\n# note\n\
                    aws_access_key_id=B\nregion = x\naws_secret_access_key = S=B\n";
        std::fs::write(&path, text).unwrap();
        let environment = vec![("AWS_SHARED_CREDENTIALS_FILE".into(), path.clone().into_os_string())];
        let old = resolve("profile:old", &environment).unwrap();
        assert_eq!((old.access_key.as_str(), old.secret_key.as_str()), ("B", "S=B"));
        let default = resolve(&format!("file:{}", path.display()), &[]).unwrap();
        assert_eq!((default.access_key.as_str(), default.secret_key.as_str()), ("A", "SA"));
        let (wrong, mend) = resolve("profile:new", &environment).unwrap_err();
        assert!(wrong.contains("has no profile [new]"), "{wrong}");
        assert!(mend.contains("aws configure --profile new"), "{mend}");
    }

    #[test]
    fn variables_are_read_by_their_prefix_and_inline_secrets_are_not_repeated() {
        let environment = vec![
            ("OLD_ACCESS_KEY_ID".into(), "K".into()),
            ("OLD_SECRET_ACCESS_KEY".into(), "S".into()),
            ("HALF_ACCESS_KEY_ID".into(), "K".into()),
        ];
        assert_eq!(resolve("env:OLD_", &environment).unwrap().access_key, "K");
        assert_eq!(
            resolve("env:HALF_", &environment).unwrap_err().0,
            "the variable HALF_SECRET_ACCESS_KEY is not set"
        );
        let (wrong, _) = resolve("AKIA:hunter2hunter2", &environment).unwrap_err();
        assert!(!wrong.contains("hunter2"), "{wrong}");
    }
}
