//! `docs/config.md`, printed from the schema.

use std::fmt::Write;

use crate::settings::schema::{self, Key, Later, Shape};

/// The whole page as Markdown.
pub(crate) fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n```toml\n");
    page.push_str(schema::EXAMPLE);
    page.push_str("```\n");
    for key in schema::ROOT {
        let title = match key.shape {
            Shape::Named(what, _) => format!("[{}.{}]", key.name, what.to_uppercase()),
            Shape::List(_) => format!("[[{}]]", key.name),
            Shape::Value(_) | Shape::Choice(_) | Shape::Table(_) | Shape::TableOrList(_) => {
                format!("[{}]", key.name)
            }
        };
        section(&mut page, &title, key.name, key);
    }
    page
}

fn section(page: &mut String, title: &str, path: &str, key: &Key) {
    let _ = write!(page, "\n## `{title}`\n\n{}\n", key.doc);
    let keys = key.shape.keys().unwrap_or_default();
    let offered = |key: &&Key| !matches!(key.later, Later::Only([], _));
    page.push_str("\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in keys.iter().filter(offered) {
        let (kind, default) =
            (kind(key), if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) });
        let _ = writeln!(page, "| `{}` | {kind} | {default} | {} |", key.name, key.doc.replace('|', "\\|"));
    }
    let later: Vec<String> =
        keys.iter().filter(|key| !offered(key)).map(|key| format!("`{}`", key.name)).collect();
    if !later.is_empty() {
        let _ = write!(page, "\nUnderstood, but not offered yet, and refused: {}.\n", later.join(", "));
    }
    let named = if matches!(key.shape, Shape::Named(..)) { ".NAME" } else { "" };
    for key in keys.iter().filter(offered).filter(|key| key.shape.keys().is_some()) {
        let path = format!("{path}{named}.{}", key.name);
        section(page, &format!("{path} = {{ … }}"), &path, key);
    }
}

fn kind(key: &Key) -> String {
    match key.shape {
        Shape::Value(what) => what.to_owned(),
        Shape::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::Table(_) | Shape::Named(..) => "table".to_owned(),
        Shape::List(_) => "list of tables".to_owned(),
        Shape::TableOrList(_) => "table or list of tables".to_owned(),
    }
}

const INTRODUCTION: &str = "# Configuration

<!-- Printed by `fallthrough config reference`; a test compares. -->

One TOML file configures the process: listeners, paths, limits, origins, and the buckets and accounts that are to be
managed by it. Other buckets, keys and shadows are kept in the store and changed with the commands of
[cli.md](cli.md) or the admin API.

The file is `--config PATH`, else `./fallthrough.toml`, else `/etc/fallthrough/fallthrough.toml`, else none. Every line
is optional. What is set in several places is taken from the first of: flags, environment, file, defaults.

Every key is also an environment variable: `FALLTHROUGH_`, then the names in capitals with `_` for `-`, joined by `__`.
`[s3] listen` is `FALLTHROUGH_S3__LISTEN`, `[fill] client-wait` is `FALLTHROUGH_FILL__CLIENT_WAIT`,
`[bucket.photos] mode` is `FALLTHROUGH_BUCKET__PHOTOS__MODE`, and the first account's `secret-key-file` is
`FALLTHROUGH_ACCOUNT__0__SECRET_KEY_FILE`. Lists are divided by commas; tables are written as in TOML.

Unknown keys, values that make no sense and keys that are not offered yet are errors, with line, column and what was
probably meant. `fallthrough config check` looks at them without starting anything; `fallthrough config show` prints
what holds.

Accounts, models, origins, routes, buckets and `process.log` are read again on SIGHUP and by `fallthrough config reload`: all of
what changed is taken over, or nothing is, and it is said why. Everything else is read at a start alone.

Durations are numbers with a unit (`500ms`, `25s`, `1h30m`, `2d`), sizes as well (`5GB` by thousands, `200GiB` by 1,024).
Paths in the file are relative to its folder.
";
