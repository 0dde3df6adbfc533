//! The layers that cargo does: format, clippy, tests, documentation.
//!
//! Everything is built with `--release`, as it is run and measured, so that each dependency is built once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::Context;
use crate::command::{capture, cargo, find_program, watch};
use crate::report::{Check, Outcome};

/// What cargo knows of the workspace; with `dependencies`, of every package that is linked, too.
pub(crate) fn metadata(root: &Path, dependencies: bool) -> Result<Value, String> {
    let mut command = cargo(root);
    command.args(["metadata", "--format-version=1", "--locked"]);
    // What only a feature links is linked by somebody.
    command.arg(if dependencies { "--all-features" } else { "--no-deps" });
    serde_json::from_str(&capture(&mut command)?).map_err(|error| format!("cargo metadata: {error}"))
}

/// Where cargo builds.
pub(crate) fn target_directory(root: &Path) -> Result<PathBuf, String> {
    let metadata = metadata(root, false)?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| "cargo names no target folder".to_owned())
}

/// rustfmt, nothing rewritten; also of the clients' crates, which are a workspace of their own.
pub(crate) fn format(context: &Context) -> Vec<Check> {
    let format = |root: &Path| watch(cargo(root).args(["fmt", "--all", "--", "--check"]));
    let clients = context.root.join(crate::clients::CRATES);
    vec![Check::new("format", format(&context.root)), Check::new("clients", format(&clients))]
}

/// clippy over all targets.
pub(crate) fn lint(context: &Context) -> Vec<Check> {
    let args = ["clippy", "--release", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    vec![Check::new("lint", watch(cargo(&context.root).args(args)))]
}

/// The tests have run in this process, and built what they run.
static TESTS_BUILT: AtomicBool = AtomicBool::new(false);

/// How the names of ignored tests begin that are no tests but recipes: they make files that tests compare with.
const RECIPES: &str = "make_the_";

/// All tests: by nextest where it is installed (each test in a process of its own), else by cargo;
/// then the examples in the documentation, which nextest does not run.
pub(crate) fn test(context: &Context) -> Vec<Check> {
    let skips = context.target.join("skipped-tests");
    if let Err(why) = empty_folder(&skips) {
        return vec![Check::new("test", Outcome::Failed(why))];
    }
    let mut tests = cargo(&context.root);
    if find_program("cargo-nextest").is_some() {
        tests.args(["nextest", "run", "--release", "--locked", "--workspace", "--no-fail-fast"]);
        if context.full {
            tests.args(["--run-ignored", "all", "-E", &format!("not test({RECIPES})")]);
        }
    } else {
        tests.args(["test", "--release", "--locked", "--workspace", "--all-targets", "--no-fail-fast"]);
        if context.full {
            tests.args(["--", "--include-ignored", "--skip", RECIPES]);
        }
    }
    tests.env("FALLTHROUGH_SKIPS", &skips);
    if context.full {
        tests.envs(LONG.iter().copied());
    }
    let examples = ["test", "--release", "--locked", "--workspace", "--doc"];
    let ran = watch(&mut tests);
    TESTS_BUILT.store(ran == Outcome::Passed, Ordering::SeqCst);
    let mut checks = vec![Check::new("test", ran)];
    checks.extend(skipped(&skips));
    checks.push(Check::new("examples in the documentation", watch(cargo(&context.root).args(examples))));
    checks
}

/// The long forms of tests, for `--full`.
const LONG: &[(&str, &str)] = &[
    ("FALLTHROUGH_SEEDS", "10000"),
    ("FALLTHROUGH_CASES", "30000"),
    ("FALLTHROUGH_KILLS", "500"),
    ("FALLTHROUGH_EXACT_KILLS", "300"),
    ("FALLTHROUGH_IO_ERRORS", "500"),
    ("FALLTHROUGH_FLIPS", "2000"),
    ("FALLTHROUGH_SLOW_READERS", "500"),
    ("FALLTHROUGH_LARGE_MIB", "1024"),
    ("FALLTHROUGH_LIST_KEYS", "1000000"),
];

/// An empty folder, where tests that could not run here say so.
pub(crate) fn empty_folder(folder: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(told(error)),
        Ok(()) | Err(_) => {}
    }
    std::fs::create_dir_all(folder).map_err(told)
}

/// The tests that said that they could not run: a file each, named like the test, with the reason in it.
fn skipped(folder: &Path) -> Vec<Check> {
    let check = |(test, why)| Check::new(format!("test: {test}"), Outcome::Skipped(why));
    reasons(folder).into_iter().map(check).collect()
}

/// Why the tests that said so could not run, by their names.
pub(crate) fn reasons(folder: &Path) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let reason = |file: std::fs::DirEntry| {
        let why = std::fs::read_to_string(file.path());
        let why = why.unwrap_or_else(|error| format!("no reason can be read: {error}"));
        (file.file_name().to_string_lossy().into_owned(), why)
    };
    files.map(reason).collect()
}

/// The documentation of every crate of ours, without warnings.
pub(crate) fn docs(context: &Context) -> Vec<Check> {
    let mut command = cargo(&context.root);
    command
        .args(["doc", "--release", "--locked", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    vec![Check::new("docs", watch(&mut command))]
}

/// The program, for the layers that run it: see [`build_programs`].
pub(crate) fn build_program(context: &Context) -> Outcome {
    build_programs(context, &["fallthrough-server"])
}

/// The programs of these packages, for the layers that run them. After the tests they are there: what those ran, which is
/// the same but for features of dependencies that only tests use, and would take minutes to build again.
pub(crate) fn build_programs(context: &Context, packages: &[&str]) -> Outcome {
    if TESTS_BUILT.load(Ordering::SeqCst) {
        return Outcome::Passed;
    }
    let mut build = cargo(&context.root);
    build.args(["build", "--release", "--locked"]);
    build.args(packages.iter().flat_map(|package| ["--package", package]));
    watch(&mut build)
}
