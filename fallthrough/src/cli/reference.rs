//! `docs/cli.md`, printed from the commands' own descriptions.

use std::fmt::Write;

use clap::Command;

use crate::failure::Failure;

/// Prints the page.
pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    let mut command = command.clone().term_width(100);
    command.build();
    let mut page = String::from(INTRODUCTION);
    describe(&mut page, &mut command, "");
    print!("{page}");
    Ok(())
}

fn describe(page: &mut String, command: &mut Command, path: &str) {
    let path = if path.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{path} {}", command.get_name())
    };
    let subcommands: Vec<String> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && below.get_name() != "help")
        .map(|below| below.get_name().to_owned())
        .collect();
    if subcommands.is_empty() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(page, "\n## {path}\n\n{about}.\n\n```text\n");
        let usage = command.render_usage().to_string();
        let _ = writeln!(page, "{}", usage.replace("Usage: ", "").trim_end());
        let _ = writeln!(page, "```");
        options(page, command);
    }
    for name in subcommands {
        if let Some(below) = command.find_subcommand_mut(&name) {
            describe(page, below, &path);
        }
    }
}

/// The command's own arguments; the global ones are described once, in the introduction.
fn options(page: &mut String, command: &Command) {
    let own = command.get_arguments().filter(|argument| {
        !argument.is_global_set() && !argument.is_hide_set() && argument.get_id() != "help"
    });
    let mut rows = String::new();
    for argument in own {
        let name = match argument.get_long() {
            Some(long) => format!("--{long}"),
            None => argument.get_id().as_str().to_uppercase(),
        };
        let words: Vec<String> =
            argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let choices = if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(rows, "| `{name}` | {}{choices} |", help.replace('\n', " ").replace('|', "\\|"));
    }
    if !rows.is_empty() {
        let _ = write!(page, "\n| | |\n| --- | --- |\n{rows}");
    }
}

const INTRODUCTION: &str = "# Commands

<!-- Printed by `fallthrough reference`; a test compares. -->

Nouns, then verbs. Commands that look after a server talk to its admin API. They find it by `--admin URL`
(`FALLTHROUGH_ADMIN`), else where the configuration says it listens; its token by `--admin-token-file PATH`
(`FALLTHROUGH_ADMIN_TOKEN_FILE`) or `FALLTHROUGH_ADMIN_TOKEN`, else in the configuration or the data folder.

Every command takes `--config PATH` (`FALLTHROUGH_CONFIG`), `--data DIR` (`FALLTHROUGH_DATA`) and `--json`. On a terminal
lists are tables; elsewhere they are rows divided by tabs. `NO_COLOR` is honoured.

Exit codes: 0 done; 1 failed; 2 the command line is wrong; 3 not found; 4 the other side refused; 5 partly done.
Every error ends with what to do.
";
