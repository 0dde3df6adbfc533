//! The pages of `docs/tutorials`, pasted: their commands are run in order, in an empty folder, and must print what the page says.
//!
//! A page's blocks of `sh` are its commands; a block of `text` that follows one is what it prints, with `…` for a line, or the
//! rest of a line, that differs. `<!-- needs: curl -->` names programs without which the page is skipped. Ports are replaced by
//! free ones, so that pages can be run beside a server.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use crate::Context;
use crate::command::{command, find_program};
use crate::report::{Check, Outcome};
use crate::rust::build_programs;

/// Where the pages are.
const FOLDER: &str = "docs/tutorials";
/// The ports that pages use.
const PORTS: [&str; 6] = ["9900", "9901", "8090", "8091", "8092", "8093"];
/// A page that waits for what never comes ends after so many seconds.
const LONGEST_SECS: &str = "300";

/// A page as far as it is run.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    needs: Vec<String>,
    steps: Vec<Step>,
}

/// One block of commands.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// Where it begins in the page, from 1.
    line: usize,
    commands: String,
    /// What it prints, if the page says so.
    printed: Option<String>,
}

/// One check for each page.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    let pages = match pages(&context.root) {
        Ok(pages) => pages,
        Err(why) => return vec![Check::new("tutorials", Outcome::Failed(why))],
    };
    let packages = ["fallthrough-server", "fallthrough-examples"];
    if let Outcome::Failed(why) = build_programs(context, &packages) {
        return vec![Check::new("tutorials", Outcome::Failed(why))];
    }
    let check = |(name, text): (String, String)| {
        let outcome = run(context, &name, &text);
        Check::new(name, outcome)
    };
    pages.into_iter().map(check).collect()
}

/// The pages that have commands, by name.
fn pages(root: &Path) -> Result<BTreeMap<String, String>, String> {
    let folder = root.join(FOLDER);
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut pages = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).map_err(told)? {
        let path = entry.map_err(told)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".md") && name != "README.md" {
            pages.insert(name, std::fs::read_to_string(&path).map_err(told)?);
        }
    }
    if pages.is_empty() { Err(format!("no page in {}", folder.display())) } else { Ok(pages) }
}

fn run(context: &Context, name: &str, text: &str) -> Outcome {
    let page = match parse(text) {
        Ok(page) => page,
        Err(why) => return Outcome::Failed(why),
    };
    for program in page.needs.iter().map(String::as_str).chain(["bash", "timeout"]) {
        if find_program(program).is_none() {
            return Outcome::Skipped(format!("{program} is not installed"));
        }
    }
    let home = context.target.join("xtask").join(format!("tutorial-{name}-{}", std::process::id()));
    match paste(context, &home, &page) {
        Ok(()) => {
            let _ = std::fs::remove_dir_all(&home); // Nothing depends on it.
            Outcome::Passed
        }
        // What a failed page leaves is looked at by people; the next run has a folder of its own.
        Err(why) => Outcome::Failed(format!("{why} (in {})", home.display())),
    }
}

/// Runs the page in `home` and compares what it printed.
fn paste(context: &Context, home: &Path, page: &Page) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", home.display());
    let work = home.join("work");
    std::fs::create_dir_all(&work).map_err(told)?;
    let ports = free_ports()?;
    let with_ports = |text: &str| {
        ports.iter().fold(text.to_owned(), |text, (wanted, free)| with_number(&text, wanted, *free))
    };
    let script = with_ports(&script(page, home));
    std::fs::write(home.join("page.sh"), script).map_err(told)?;
    let programs = context.program().parent().map(Path::to_owned).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path)));
    let mut bash = command("timeout", &work);
    bash.args([LONGEST_SECS, "bash"]).arg(home.join("page.sh"));
    bash.env("PATH", path.map_err(|error| format!("PATH: {error}"))?);
    bash.env("ORIGINS", context.root.join("examples/origins")).env("NO_COLOR", "1");
    let done = bash.output().map_err(|error| format!("bash could not be started: {error}"))?;
    for (index, step) in page.steps.iter().enumerate() {
        // Bytes that are no text cannot be what a page shows.
        let printed = std::fs::read(home.join(format!("out-{index}"))).unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed);
        if let Some(expected) = step.printed.as_ref().map(|expected| with_ports(expected))
            && !is_as_said(&printed, &expected)
        {
            let errors = String::from_utf8_lossy(&done.stderr);
            println!("expected:\n{expected}printed:\n{printed}errors:\n{errors}");
            return Err(format!("line {}: the commands print something else than the page says", step.line));
        }
    }
    if !done.status.success() {
        println!("{}", String::from_utf8_lossy(&done.stderr));
        let reached = std::fs::read_to_string(home.join("reached")).unwrap_or_default();
        return Err(format!("line {}: the commands ended with {}", reached.trim(), done.status));
    }
    Ok(())
}

/// The page as a script: each step's output in a file, what it started ended with it.
fn script(page: &Page, home: &Path) -> String {
    let home = home.display();
    let mut script =
        String::from("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n");
    for (index, step) in page.steps.iter().enumerate() {
        let (line, commands) = (step.line, &step.commands);
        script.push_str(&format!("echo {line} >'{home}/reached'\n{{\n{commands}}} >'{home}/out-{index}'\n"));
    }
    script
}

fn parse(text: &str) -> Result<Page, String> {
    let mut page = Page { needs: Vec::new(), steps: Vec::new() };
    let mut block: Option<(usize, &str, String)> = None;
    // Only the block that directly follows commands is what they print.
    let mut may_print = false;
    for (index, line) in text.lines().enumerate() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(kind)) => block = Some((index + 1, kind, String::new())),
            (None, None) => {
                let needs = line.strip_prefix("<!-- needs: ").and_then(|rest| rest.strip_suffix(" -->"));
                page.needs.extend(needs.into_iter().flat_map(str::split_whitespace).map(str::to_owned));
            }
            (Some((_, _, inside)), None) => {
                inside.push_str(line);
                inside.push('\n');
            }
            (Some(_), Some(_)) => {
                let (line, kind, inside) = block.take().ok_or("a block without a beginning")?;
                match kind {
                    "sh" => page.steps.push(Step { line, commands: inside, printed: None }),
                    "text" if may_print => {
                        if let Some(step) = page.steps.last_mut() {
                            step.printed = Some(inside);
                        }
                    }
                    _ => {}
                }
                may_print = kind == "sh";
            }
        }
    }
    match block {
        Some((line, _, _)) => Err(format!("line {line}: a block without an end")),
        None if page.steps.is_empty() => Err("there are no commands in it".to_owned()),
        None => Ok(page),
    }
}

/// Whether `printed` is `expected`, line by line. A line `…` stands for any number of lines, `…` at a line's end for its rest.
fn is_as_said(printed: &str, expected: &str) -> bool {
    fn fits(printed: &[&str], expected: &[&str]) -> bool {
        match (printed, expected) {
            ([], []) => true,
            (_, ["…", rest @ ..]) => (0..=printed.len()).any(|skipped| fits(&printed[skipped..], rest)),
            ([line, lines @ ..], [wanted, rest @ ..]) => {
                let same = match wanted.strip_suffix('…') {
                    Some(start) => line.starts_with(start),
                    None => line.trim_end() == *wanted,
                };
                same && fits(lines, rest)
            }
            ([], [_, ..]) | ([_, ..], []) => false,
        }
    }
    let lines = |text| str::lines(text).collect::<Vec<&str>>();
    fits(&lines(printed), &lines(expected))
}

/// `text` with `free` wherever the number `wanted` stands by itself.
fn with_number(text: &str, wanted: &str, free: u16) -> String {
    let mut pieces = text.split(wanted).peekable();
    let mut out = String::new();
    while let Some(piece) = pieces.next() {
        out.push_str(piece);
        let Some(next) = pieces.peek() else { break };
        let part = |neighbour: Option<char>| neighbour.is_some_and(|c| c.is_alphanumeric());
        if part(piece.chars().next_back()) || part(next.chars().next()) {
            out.push_str(wanted);
        } else {
            out.push_str(&free.to_string());
        }
    }
    out
}

/// A free port for each that pages use. All are held until all are known, so that none comes twice.
fn free_ports() -> Result<Vec<(&'static str, u16)>, String> {
    let told = |error: std::io::Error| format!("no free port: {error}");
    let mut held = Vec::new();
    for wanted in PORTS {
        held.push((wanted, TcpListener::bind("127.0.0.1:0").map_err(told)?));
    }
    let port = |(wanted, listener): &(&'static str, TcpListener)| {
        listener.local_addr().map(|address| (*wanted, address.port())).map_err(told)
    };
    held.iter().map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Page\n\n<!-- needs: curl php -->\n\nDo:\n\n```sh\necho a\necho b\n```\n\n```text\na\nb\n```\n\n```toml\nx = 1\n```\n\n```sh\ntrue\n```\n";

    #[test]
    fn a_page_is_its_commands_and_what_they_print() {
        let page = parse(TEXT).unwrap();
        assert_eq!(page.needs, ["curl", "php"]);
        let steps: Vec<_> =
            page.steps.iter().map(|step| (step.line, &*step.commands, step.printed.as_deref())).collect();
        assert_eq!(steps, [(7, "echo a\necho b\n", Some("a\nb\n")), (21, "true\n", None)]);
        assert!(parse("```sh\nnever ends\n").is_err());
        assert!(parse("no commands").is_err());
    }

    #[test]
    fn a_port_is_replaced_where_it_is_one() {
        let text = "http://127.0.0.1:8090/ (8090), 18090 a8090 8090";
        assert_eq!(with_number(text, "8090", 7), "http://127.0.0.1:7/ (7), 18090 a8090 7");
    }

    #[test]
    fn what_differs_from_run_to_run_is_left_out() {
        assert!(is_as_said("a\nb\n", "a\nb\n") && is_as_said("", ""));
        assert!(
            !is_as_said("a\n", "a\nb\n") && !is_as_said("a\nb\n", "a\n") && !is_as_said("a\nc\n", "a\nb\n")
        );
        assert!(is_as_said("a\nx\ny\nb\n", "a\n…\nb\n") && is_as_said("a\nb\n", "a\n…\nb\n"));
        assert!(is_as_said("id: 123\n", "id: …\n") && !is_as_said("no: 123\n", "id: …\n"));
        assert!(is_as_said("x-cache: HIT\r\n", "x-cache: HIT\n"), "a header's line has its end");
        assert!(!is_as_said("", "…\nb\n"));
    }
}
