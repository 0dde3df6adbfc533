//! What must not stand in the tree: paths of somebody's machine, work left for later, tests that are
//! ignored or that sleep without saying why.

use super::Source;

/// Above this a Rust file is named in a warning.
const LONG_FILE_LINES: usize = 400;

/// Rust files that have grown long, with their lines.
pub(super) fn long_files(sources: &[Source]) -> Vec<(&str, usize)> {
    let mut long: Vec<_> = sources
        .iter()
        .filter(|source| source.path.ends_with(".rs"))
        .map(|source| (source.path.as_str(), source.text.lines().count()))
        .filter(|(_, lines)| *lines > LONG_FILE_LINES)
        .collect();
    long.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    long
}

/// Findings in one file, each as `path:line: what`.
pub(super) fn findings(source: &Source) -> Vec<String> {
    // Written by cargo; it names where each package comes from.
    if source.path.ends_with("Cargo.lock") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let lines: Vec<&str> = source.text.lines().collect();
    let tests_from = tests_from(source);
    for (index, line) in lines.iter().enumerate() {
        let mut report = |what: &str| findings.push(format!("{}:{}: {what}", source.path, index + 1));
        for (pattern, what) in forbidden() {
            if line.contains(&pattern) {
                report(what);
            }
        }
        if source.path.ends_with(".rs") {
            if line.trim() == concat!("#[", "ignore]") {
                report("an ignored test names its reason: #[ignore = \"...\"]");
            }
            if index >= tests_from && is_sleep(line) && !has_reason(&lines, index) {
                report(
                    "a test's sleep has its reason in a comment on it or just above; else wait for an event",
                );
            }
        }
    }
    findings
}

/// Patterns in pieces, so that this file does not find itself.
fn forbidden() -> [(String, &'static str); 11] {
    let join = |left: &str, right: &str| format!("{left}{right}");
    [
        (join("../", "shared"), "a path outside the checkout"),
        (join("/work", "/main"), "a path of one machine"),
        (join("/work", "/shared"), "a path of one machine"),
        (join("/ro", "ot/"), "a path of one machine"),
        (join("/Us", "ers/"), "a path of one machine"),
        (join("/home", "/runner"), "a path of one machine"),
        (join("registry.npmjs", ".org"), "the host of a registry"),
        (join("pypi", ".org"), "the host of a registry"),
        (join("static.crates", ".io"), "the host of a registry"),
        (join("TO", "DO"), "work left for later: write what is missing and why that is safe meanwhile"),
        (join("FIX", "ME"), "work left for later: write what is missing and why that is safe meanwhile"),
    ]
}

/// The first line of tests: all of a test file, else what follows the first `cfg(test)` of a file.
fn tests_from(source: &Source) -> usize {
    if source.path.contains("/tests/") || source.path.ends_with("/tests.rs") {
        return 0;
    }
    source.text.lines().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(usize::MAX)
}

fn is_sleep(line: &str) -> bool {
    // Without its comment and what stands between quotes.
    let code: String = line.split("//").next().unwrap_or_default().split('"').step_by(2).collect();
    [" sleep(", ":sleep(", "(sleep(", "sleep_until("].iter().any(|call| code.contains(call))
        && !code.contains("fn sleep")
}

fn has_reason(lines: &[&str], index: usize) -> bool {
    let from = index.saturating_sub(4);
    lines[from..=index].iter().any(|line| line.contains("//") || line.contains("reason ="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        findings(&Source { path: path.to_owned(), text: text.to_owned() }).len()
    }

    #[test]
    fn reasons_are_asked_for() {
        let ignored = concat!("#[", "ignore]\nfn long() {}");
        assert_eq!(found("a.rs", ignored), 1);
        assert_eq!(found("a.rs", "#[ignore = \"takes 40 s\"]\nfn long() {}"), 0);
        let sleep = "    tokio::time::sleep(wait).await;";
        assert_eq!(found("x/tests/a.rs", sleep), 1);
        assert_eq!(found("a.rs", sleep), 0, "waiting is what deadlines do");
        assert_eq!(found("a.rs", &format!("#[cfg(test)]\nmod tests {{\n{sleep}\n}}")), 1);
        assert_eq!(found("x/tests/a.rs", &format!("    // The origin's pace.\n{sleep}")), 0);
        assert_eq!(found("a.md", "    tokio::time::sleep(wait).await;"), 0);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        assert_eq!(found("a.md", concat!("see ../", "shared/design")), 1);
        assert_eq!(found("a.md", "see docs/semantics.md"), 0);
        assert_eq!(found("a.rs", concat!("// TO", "DO: later")), 1);
    }
}
