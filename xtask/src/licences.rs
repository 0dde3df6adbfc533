//! Licences, bans and sources of what is linked, by the rules in `deny.toml`.
//!
//! `cargo deny` does it where it is installed; its advisory database needs a network. Where it is not, the
//! licences, the banned crates and the sources are checked from what cargo itself knows.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Context;
use crate::clients;
use crate::command::{cargo, find_program, watch};
use crate::report::{Check, Outcome};
use crate::rust::metadata;

/// Both ways: cargo deny if present, and always our own reading of the rules, for the clients' crates, too.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    let own = match own_findings(context) {
        Ok(findings) => Check::of_findings("licences, bans and sources", &findings),
        Err(error) => Check::new("licences, bans and sources", Outcome::Failed(error)),
    };
    let deny = if find_program("cargo-deny").is_some() {
        let args = ["deny", "--offline", "check", "licenses", "bans", "sources"];
        watch(cargo(&context.root).args(args))
    } else {
        Outcome::Skipped("cargo-deny is not installed (cargo install cargo-deny)".to_owned())
    };
    let advisories = if std::env::var_os("FALLTHROUGH_ADVISORIES").is_some() {
        watch(cargo(&context.root).args(["deny", "check", "advisories"]))
    } else {
        Outcome::Skipped(
            "needs the advisory database from the network (set FALLTHROUGH_ADVISORIES)".to_owned(),
        )
    };
    vec![own, Check::new("cargo deny", deny), Check::new("advisories", advisories)]
}

fn own_findings(context: &Context) -> Result<Vec<String>, String> {
    let path = context.root.join("deny.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let rules: toml::Table = text.parse().map_err(|error| format!("deny.toml: {error}"))?;
    let allowed: BTreeSet<&str> = strings(rules.get("licenses").and_then(|table| table.get("allow")));
    if allowed.is_empty() {
        return Err("deny.toml allows no licence".to_owned());
    }
    let banned: BTreeSet<&str> = rules
        .get("bans")
        .and_then(|table| table.get("deny"))
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|ban| ban.get("crate").and_then(toml::Value::as_str))
        .collect();
    // What the clients link is not the product's, but it is built and run here by the same rules.
    let mut found = findings(&metadata(&context.root, true)?, &allowed, &banned);
    found.extend(findings(&metadata(&context.root.join(clients::CRATES), true)?, &allowed, &banned));
    Ok(found)
}

fn strings(value: Option<&toml::Value>) -> BTreeSet<&str> {
    value.and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_str).collect()
}

fn findings(metadata: &Value, allowed: &BTreeSet<&str>, banned: &BTreeSet<&str>) -> Vec<String> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let version = package["version"].as_str().unwrap_or_default();
        match package["license"].as_str() {
            Some(expression) if permits(expression, allowed) => {}
            Some(expression) => {
                findings.push(format!("{name} {version}: licence {expression} is not allowed"))
            }
            None => findings.push(format!("{name} {version}: names no licence")),
        }
        if banned.contains(name) {
            findings.push(format!("{name} {version}: banned by deny.toml"));
        }
        // No source is a member of this workspace; anything else comes from the one registry.
        if package["source"].as_str().is_some_and(|source| !source.starts_with("registry+")) {
            findings.push(format!("{name} {version}: comes from no registry"));
        }
    }
    findings
}

/// Whether an SPDX expression can be satisfied with the allowed licences: of an OR one side, of an AND both.
///
/// `/` is the OR of old manifests. `A WITH B` is one licence, allowed as written or if `A` is allowed.
fn permits(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let answer = any_of(&words, &mut at, allowed);
    answer && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut answer = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        // Both sides are read: a short cut would leave words behind.
        answer |= all_of(words, at, allowed);
    }
    answer
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut answer = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        answer &= one(words, at, allowed);
    }
    answer
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let answer = any_of(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return answer && closed;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return allowed.contains(word) || allowed.contains(format!("{word} WITH {exception}").as_str());
    }
    allowed.contains(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"]);
        let cases = [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only OR MIT", true),
            ("AGPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT AND GPL-3.0-only) OR Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
            ("MIT OR", true),
            ("(MIT", false),
            ("", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(permits(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn copyleft_bans_and_other_sources_are_found() {
        let package = |name: &str, license: &str, source: Value| json!({ "packages": [{ "name": name, "version": "1.0.0", "license": license, "source": source }] });
        let (allowed, banned) = (BTreeSet::from(["MIT"]), BTreeSet::from(["bad"]));
        assert!(findings(&package("good", "MIT", json!("registry+x")), &allowed, &banned).is_empty());
        assert_eq!(
            findings(&package("good", "AGPL-3.0-only", json!("registry+x")), &allowed, &banned).len(),
            1
        );
        assert_eq!(findings(&package("bad", "MIT", json!("registry+x")), &allowed, &banned).len(), 1);
        assert_eq!(findings(&package("good", "MIT", json!("git+x")), &allowed, &banned).len(), 1);
    }
}
