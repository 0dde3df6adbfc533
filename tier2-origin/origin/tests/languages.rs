//! The example origins in other languages keep the contract.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fallthrough_origin::conformance::{Options, Outcome, Report, conformance};

/// A program that ends with the test.
struct Program {
    child: Child,
    url: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/origins/python")
}

/// Starts an example on a free port; `None`, said plainly, where there is no Python.
fn start(file: &str, environment: &[(&str, &str)]) -> Option<Program> {
    let mut command = Command::new("python3");
    command.arg(folder().join(file)).arg("0").envs(environment.iter().copied());
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: python3 not found");
            return None;
        }
        Err(cause) => panic!("{file}: {cause}"),
    };
    let mut line = String::new();
    let read = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
    let mut program = Program { child, url: String::new() };
    read.unwrap();
    program.url = line
        .trim()
        .strip_prefix("listening on ")
        .unwrap_or_else(|| panic!("{file} said {line:?}"))
        .to_owned();
    Some(program)
}

async fn test(program: &Program, options: Options) -> Report {
    let report =
        conformance(&program.url, &Options { timeout: Duration::from_secs(20), ..options }).await.unwrap();
    println!("{report}");
    report
}

fn outcome(report: &Report, name: &str) -> Outcome {
    report.check(name).unwrap_or_else(|| panic!("no check {name}:\n{report}")).outcome
}

#[tokio::test]
async fn hello_keeps_the_contract() {
    let Some(program) = start("hello.py", &[]) else { return };
    let options = Options { missing_key: Some("nobody".to_owned()), ..Options::default() };
    let report = test(&program, options).await;
    assert!(report.passed(), "{report}");
    for name in ["get", "head", "missing", "missing-head", "odd-keys", "decoding", "keep-alive", "concurrent"]
    {
        assert_eq!(outcome(&report, name), Outcome::Ok, "{name}:\n{report}");
    }
    let text = std::fs::read_to_string(folder().join("hello.py")).unwrap();
    assert!(text.lines().filter(|line| !line.trim().is_empty()).count() <= 20, "hello.py is to stay short");
}

#[tokio::test]
async fn avatars_keep_the_contract() {
    let Some(program) = start("avatar_svg.py", &[]) else { return };
    let options = Options {
        bucket: "avatars".to_owned(),
        key: "Ada Lovelace \u{1f600}.svg".to_owned(),
        impossible_key: Some("no-such-ending.png".to_owned()),
        big_key: Some(format!("{}.svg", "n".repeat(80))),
        ..Options::default()
    };
    let report = test(&program, options).await;
    assert!(report.passed(), "{report}");
    for name in ["digests", "headers", "again", "head", "conditional", "impossible", "decoding", "keep-alive"]
    {
        assert_eq!(outcome(&report, name), Outcome::Ok, "{name}:\n{report}");
    }
}

#[tokio::test]
async fn signatures_are_verified_by_the_example() {
    let keys = [("ORIGIN_ACCESS_KEY", "AKPY"), ("ORIGIN_SECRET_KEY", "a+secret/with=signs")];
    let Some(program) = start("signed.py", &keys) else { return };
    let credentials = Some((keys[0].1.to_owned(), keys[1].1.to_owned()));
    let options = Options { credentials, missing_key: Some("nobody".to_owned()), ..Options::default() };
    let report = test(&program, options).await;
    assert!(report.passed(), "{report}");
    // Odd keys and parameters are signed as well: each was answered 404, not 403.
    for name in ["get", "head", "missing", "query", "odd-keys", "decoding", "signature"] {
        assert_eq!(outcome(&report, name), Outcome::Ok, "{name}:\n{report}");
    }
    // With another secret nothing works, and the report says why.
    let credentials = Some((keys[0].1.to_owned(), "another".to_owned()));
    let report = test(&program, Options { credentials, ..Options::default() }).await;
    assert_eq!(report.failed(), ["get"], "{report}");
    assert!(report.to_string().contains("403") && report.to_string().contains("the secret"), "{report}");
}
