//! `--member`: a further place of a shadow rule, written in one word.

use std::ffi::OsString;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::settings::{Secret, credentials_of_profile};

/// What a place can be told, as in `--member endpoint=https://b.example,name=old,profile=b`.
const FIELDS: [&str; 10] = [
    "origin",
    "url",
    "provider",
    "endpoint",
    "name",
    "region",
    "addressing",
    "access-key",
    "secret-key-file",
    "profile",
];

/// The place as the admin API takes it. `environment`: where the file of profiles is.
///
/// # Errors
/// A field is none, or a secret cannot be read.
pub(crate) fn read(text: &str, environment: &[(OsString, OsString)]) -> Result<Value, Failure> {
    let mut place = Map::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let known = part.split_once('=').filter(|(field, _)| FIELDS.contains(field));
        let Some((field, value)) = known else {
            let field = part.split('=').next().unwrap_or_default();
            return Err(Failure::usage(
                format!("--member: {field:?} is no field of a member"),
                format!("write FIELD=VALUE,FIELD=VALUE; fields are {}", FIELDS.join(", ")),
            ));
        };
        match field {
            "profile" => {
                let found = credentials_of_profile(value, environment)
                    .map_err(|(wrong, mend)| Failure::new(format!("--member: {wrong}"), mend))?;
                place.insert("access_key".to_owned(), json!(found.access_key));
                place.insert("secret_key".to_owned(), json!(found.secret_key));
            }
            "secret-key-file" => {
                let secret = Secret::read(Path::new(value)).map_err(|wrong| {
                    Failure::new(wrong, "check secret-key-file of --member and who may read the file")
                })?;
                place.insert("secret_key".to_owned(), json!(secret.reveal()));
            }
            field => drop(place.insert(field.replace('-', "_"), json!(value))),
        }
    }
    Ok(Value::Object(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_field_by_field_and_secrets_come_from_files() {
        let file = std::env::temp_dir().join(format!("member-flag-{}", std::process::id()));
        std::fs::write(&file, "hidden\n").unwrap();
        let text = format!(
            "endpoint=https://b.example:9000/x?, name=old,access-key=AK,secret-key-file={}",
            file.display()
        );
        let place = read(&text, &[]).unwrap();
        std::fs::remove_file(&file).unwrap();
        let wanted = json!({"endpoint": "https://b.example:9000/x?", "name": "old", "access_key": "AK", "secret_key": "hidden"});
        assert_eq!(place, wanted);
        for wrong in ["secret-key=hidden", "endpoint", "colour=red"] {
            assert!(read(wrong, &[]).is_err(), "{wrong}");
        }
    }
}
