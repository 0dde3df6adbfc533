//! The reference pages say what the program says.

use std::process::Command;

/// Compares a page with what the program prints. To print it anew:
/// `fallthrough config reference > docs/config.md; fallthrough reference > docs/cli.md`.
fn compare(page: &str, arguments: &[&str]) {
    let printed = Command::new(env!("CARGO_BIN_EXE_fallthrough")).args(arguments).output().expect("it runs");
    let printed = String::from_utf8(printed.stdout).expect("it prints text");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let kept = std::fs::read_to_string(&path).expect("the page is there");
    for (number, (kept, printed)) in kept.lines().zip(printed.lines()).enumerate() {
        assert_eq!(kept, printed, "docs/{page}, line {}: print it anew", number + 1);
    }
    assert_eq!(kept.len(), printed.len(), "docs/{page} has another length: print it anew");
}

#[test]
fn config_md_is_what_the_settings_say() {
    compare("config.md", &["config", "reference"]);
}

#[test]
fn cli_md_is_what_the_commands_say() {
    compare("cli.md", &["reference"]);
}
