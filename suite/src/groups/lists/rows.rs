//! What prefixes, delimiters and markers select; the same in both versions.

use crate::call::{list_v1, list_v2};
use crate::case::Table;

/// A row: what is there, what is asked, what must be answered.
pub(super) struct Row {
    name: &'static str,
    keys: &'static [&'static str],
    parameters: &'static [(&'static str, &'static str)],
    /// Begins behind this: `marker` or `start-after`.
    after: Option<&'static str>,
    contents: &'static [&'static str],
    prefixes: &'static [&'static str],
}

const fn row(
    name: &'static str,
    keys: &'static [&'static str],
    parameters: &'static [(&'static str, &'static str)],
    contents: &'static [&'static str],
    prefixes: &'static [&'static str],
) -> Row {
    Row { name, keys, parameters, after: None, contents, prefixes }
}

const fn after(
    name: &'static str,
    after: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    contents: &'static [&'static str],
    prefixes: &'static [&'static str],
) -> Row {
    Row { name, keys: TREE, parameters, after: Some(after), contents, prefixes }
}

const TREE: &[&str] = super::TREE;
const WORDS: &[&str] = &["bar", "baz", "cab", "foo"];
const SLASHES: &[&str] = &["/", "//b", "/a", "x", "x//y"];
const ODD: &[&str] = &["a b", "a%20b", "a%c", "a+b", "a+b/1", "a.b", "a\u{e9}", "a\u{1F600}"];

pub(super) const ROWS: &[Row] = &[
    row("all", TREE, &[], TREE, &[]),
    row("an empty prefix", TREE, &[("prefix", "")], TREE, &[]),
    row("a prefix", TREE, &[("prefix", "b/")], &["b/1", "b/2", "b/c/3"], &[]),
    row("a prefix that is a key", TREE, &[("prefix", "b/1")], &["b/1"], &[]),
    row("a prefix that nothing has", TREE, &[("prefix", "none")], &[], &[]),
    row("a prefix behind all", TREE, &[("prefix", "zz")], &[], &[]),
    row("a prefix of an awkward kind: a space", ODD, &[("prefix", "a ")], &["a b"], &[]),
    row("a prefix of an awkward kind: a plus", ODD, &[("prefix", "a+")], &["a+b", "a+b/1"], &[]),
    row("a prefix of an awkward kind: a percent sign", ODD, &[("prefix", "a%")], &["a%20b", "a%c"], &[]),
    row("a prefix of an awkward kind: beyond ASCII", ODD, &[("prefix", "a\u{1F600}")], &["a\u{1F600}"], &[]),
    row("a delimiter", TREE, &[("delimiter", "/")], &["a", "d"], &["b/", "e/"]),
    row("an empty delimiter", TREE, &[("delimiter", "")], TREE, &[]),
    row("a delimiter that nothing has", TREE, &[("delimiter", "|")], TREE, &[]),
    row(
        "a prefix and a delimiter",
        TREE,
        &[("prefix", "b/"), ("delimiter", "/")],
        &["b/1", "b/2"],
        &["b/c/"],
    ),
    row("a prefix without its delimiter", TREE, &[("prefix", "b"), ("delimiter", "/")], &[], &["b/"]),
    row("a prefix of nothing and a delimiter", TREE, &[("prefix", "x"), ("delimiter", "/")], &[], &[]),
    row("a delimiter that is a letter", WORDS, &[("delimiter", "a")], &["foo"], &["ba", "ca"]),
    row(
        "a letter as a delimiter behind a prefix",
        WORDS,
        &[("delimiter", "a"), ("prefix", "ba")],
        &["bar", "baz"],
        &[],
    ),
    row(
        "a delimiter of several characters",
        &["a--b--c", "a--d", "a-b", "x--", "y"],
        &[("delimiter", "--")],
        &["a-b", "y"],
        &["a--", "x--"],
    ),
    row(
        "a prefix that ends within a delimiter of several characters",
        &["a--b--c", "a--d", "a-b"],
        &[("delimiter", "--"), ("prefix", "a-")],
        &["a--d", "a-b"],
        &["a--b--"],
    ),
    row("a delimiter that is a space", &["a b", "a b c", "b"], &[("delimiter", " ")], &["b"], &["a "]),
    row("a delimiter that is a percent sign", &["a%b", "a%c", "b"], &[("delimiter", "%")], &["b"], &["a%"]),
    row("a delimiter that is a dot", &["a.b", "a.c", "b"], &[("delimiter", ".")], &["b"], &["a."]),
    row(
        "a delimiter beyond ASCII",
        &["a\u{e9}b", "a\u{e9}c", "b"],
        &[("delimiter", "\u{e9}")],
        &["b"],
        &["a\u{e9}"],
    ),
    row("keys that begin with a delimiter", SLASHES, &[("delimiter", "/")], &["x"], &["/", "x/"]),
    row(
        "delimiters one after the other",
        SLASHES,
        &[("delimiter", "/"), ("prefix", "/")],
        &["/", "/a"],
        &["//"],
    ),
    row(
        "a key that ends in the delimiter",
        &["f/", "f/a", "g"],
        &[("delimiter", "/"), ("prefix", "f/")],
        &["f/", "f/a"],
        &[],
    ),
    row(
        "order is bytewise",
        &["a", "a!", "a/", "a0", "A", "\u{e9}", "~", "\u{1F600}", "\u{FFFD}"],
        &[],
        &["A", "a", "a!", "a/", "a0", "~", "\u{e9}", "\u{FFFD}", "\u{1F600}"],
        &[],
    ),
    row(
        "what stands beside a common prefix",
        &["a-b", "a/1", "a/2", "a0"],
        &[("delimiter", "/")],
        &["a-b", "a0"],
        &["a/"],
    ),
    after("behind a key", "b/1", &[], &["b/2", "b/c/3", "d", "e/4"], &[]),
    after("behind what is no key", "c", &[], &["d", "e/4"], &[]),
    after("before all", "A", &[], TREE, &[]),
    after("behind all", "zz", &[], &[], &[]),
    after("behind the last", "e/4", &[], &[], &[]),
    after("behind a key within a prefix", "b/2", &[("prefix", "b/")], &["b/c/3"], &[]),
    after("behind a key before the prefix", "a", &[("prefix", "b/")], &["b/1", "b/2", "b/c/3"], &[]),
    after("behind a key behind the prefix", "d", &[("prefix", "b/")], &[], &[]),
    after("behind the last key of a common prefix", "b/c/3", &[("delimiter", "/")], &["d"], &["e/"]),
    after("behind a key before a common prefix", "a", &[("delimiter", "/")], &["d"], &["b/", "e/"]),
];

/// Two cases: one for each version.
pub(super) fn write(table: &mut Table, row: &Row) {
    let count = (row.contents.len() + row.prefixes.len()).to_string();
    for (version, list, marker) in [("v1", list_v1(), "marker"), ("v2", list_v2(), "start-after")] {
        let mut list = list;
        for (name, value) in row.parameters {
            list = list.param(name, *value);
            if *name == "prefix" {
                list = list.one("Prefix", *value);
            } else if value.is_empty() {
                list = list.none("Delimiter");
            } else {
                list = list.one("Delimiter", *value);
            }
        }
        if let Some(after) = row.after {
            let echoed = if version == "v1" { "Marker" } else { "StartAfter" };
            list = list.param(marker, after).one(echoed, after);
        }
        if version == "v2" {
            list = list.one("KeyCount", &count);
        }
        table.case(format!("{version}: {}", row.name)).place_keys(row.keys).ask(
            list.all("Contents/Key", row.contents)
                .all("CommonPrefixes/Prefix", row.prefixes)
                .one("IsTruncated", "false"),
        );
    }
}
