//! Flags whose value may be left out: `--public` alone, `--public read` and `--public=read` all work, and what
//! follows a flag alone is not taken for its value.

use std::ffi::OsString;

/// Flags that mean something alone, with the words that are their values.
const OPTIONAL_VALUES: [(&str, &[&str]); 5] = [
    ("--public", &["none", "read"]),
    ("--write-through", &["off", "async", "sync"]),
    ("--shadow-write-through", &["off", "async", "sync"]),
    ("--delete-through", &["true", "false"]),
    ("--inventory-absent", &["true", "false"]),
];

/// Joins such a flag and its value by `=`, so that the parser need not guess.
pub(crate) fn join(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut only_values = false;
    for argument in arguments {
        only_values |= argument == "--";
        let words = joined
            .last()
            .and_then(|last| OPTIONAL_VALUES.iter().find(|(flag, _)| last == flag).map(|(_, words)| *words));
        match (words, joined.last_mut()) {
            (Some(words), Some(last)) if !only_values && words.iter().any(|word| argument == *word) => {
                last.push("=");
                last.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_joined_and_a_name_is_not() {
        for (given, joined) in [
            ("bucket create --public photos", "bucket create --public photos"),
            ("bucket set photos --public none", "bucket set photos --public=none"),
            ("bucket set photos --public=read", "bucket set photos --public=read"),
            ("shadow set --write-through async b", "shadow set --write-through=async b"),
            ("shadow set --delete-through b", "shadow set --delete-through b"),
            ("bucket create --public -- read", "bucket create --public -- read"),
        ] {
            let joined: Vec<OsString> = joined.split(' ').map(OsString::from).collect();
            assert_eq!(join(given.split(' ').map(OsString::from)), joined, "{given}");
        }
    }
}
