//! Links in the documents that lead nowhere.

use std::path::Path;

use super::Source;

/// Relative links of Markdown files whose file is missing, each as `path:line: link`.
pub(super) fn findings(root: &Path, sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with(".md")) {
        let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
        let mut in_block = false;
        for (index, line) in source.text.lines().enumerate() {
            in_block ^= line.trim_start().starts_with("```");
            if in_block {
                continue;
            }
            for target in targets(line) {
                let file = target.split('#').next().unwrap_or_default();
                if !file.is_empty() && !root.join(folder).join(file).exists() {
                    findings.push(format!(
                        "{}:{}: link to {target}, which is not there",
                        source.path,
                        index + 1
                    ));
                }
            }
        }
    }
    findings
}

/// The relative targets in `[text](target)`, addresses on the web left out.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| {
        !target.contains("://")
            && !target.starts_with("mailto:")
            && !target.contains(' ')
            && !target.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_targets_are_followed() {
        let line = "see [a](docs/a.md#top), [b](https://example.com/x) and ![c](c.png)";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["docs/a.md#top", "c.png"]);
    }
}
