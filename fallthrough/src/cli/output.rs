//! How results are printed: tables on a terminal, tab-separated rows elsewhere, JSON on request.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// Prints JSON, indented on a terminal, on one line elsewhere.
pub(crate) fn print_json(value: &impl Serialize) {
    let written = if std::io::stdout().is_terminal() {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    print_line(&written.expect("what the commands print is JSON"));
}

/// Prints rows: under headings and aligned on a terminal; elsewhere bare, divided by tabs, for other programs.
pub(crate) fn print_rows(headings: &[&str], rows: &[Vec<String>]) {
    if !std::io::stdout().is_terminal() {
        for row in rows {
            print_line(&row.iter().map(|cell| clean(cell)).collect::<Vec<_>>().join("\t"));
        }
        return;
    }
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    for line in table(headings, &rows) {
        print_line(&line);
    }
}

/// Prints names with values, one a line.
pub(crate) fn print_fields(fields: &[(&str, String)]) {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        print_line(&format!("{name:width$}  {}", clean(value)));
    }
}

/// Lines of a table: headings in capitals, columns two spaces apart.
fn table(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let headings: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain(std::iter::once(&headings)).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(&headings).chain(rows).map(line).collect()
}

/// Keys may hold anything: control characters must not reach the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A closed pipe (`| head`) is no failure of ours.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Whether to colour what goes to standard output.
fn coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A word of success: green where colours are wanted, the word itself everywhere.
pub(crate) fn good(word: &str) -> String {
    if coloured() { format!("\x1b[32m{word}\x1b[0m") } else { word.to_owned() }
}

/// A word of failure: red where colours are wanted, the word itself everywhere.
pub(crate) fn bad(word: &str) -> String {
    if coloured() { format!("\x1b[31m{word}\x1b[0m") } else { word.to_owned() }
}

/// Warns of secrets on the command line, where every user of the machine and the shell's history see them.
pub(crate) fn warn_of_secrets_in_arguments() {
    const FLAGS: [&str; 4] = ["--admin-token", "--secret-key", "--shadow-secret-key", "--password"];
    for argument in std::env::args_os().filter_map(|argument| argument.into_string().ok()) {
        if let Some(flag) =
            FLAGS.iter().find(|flag| argument == **flag || argument.starts_with(&format!("{flag}=")))
        {
            eprintln!(
                "warning: {flag} shows its secret to every user of this machine and to the shell's history; \
                 use {flag}-file or a variable"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_control_characters_shown_as_such() {
        let rows = vec![vec!["a".to_owned(), "long value".to_owned()], vec!["bcd".to_owned(), String::new()]];
        assert_eq!(table(&["name", "x"], &rows), ["NAME  X", "a     long value", "bcd"]);
        assert_eq!(clean("a\x1b[31mb\n"), "a\u{FFFD}[31mb\u{FFFD}");
    }
}
