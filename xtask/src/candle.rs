//! Stable Diffusion in this process: what the feature `candle` adds, which the other layers do not build.
//!
//! The engine is compared with diffusers on weights that are random; see `tier3-model/candle/tests/fixture`. Then the
//! program that has it, and the whole way from a bucket to the engine. candle takes ten minutes of one core to build
//! from nothing, so this is for `--full`.

use std::process::Command;

use crate::Context;
use crate::command::{cargo, find_program, watch};
use crate::report::{Check, Outcome};

/// The layer of `cargo xtask test`.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    if !context.full {
        let why = "candle is long to build; runs with --full, or by itself: cargo nextest run --release -p \
                   fallthrough-candle --features candle";
        return vec![Check::new("candle", Outcome::Skipped(why.to_owned()))];
    }
    let run = |verb: &[&str], package: &str, after: &[&str]| {
        let mut command = cargo(&context.root);
        watch(with_feature(command.args(verb), package).args(after))
    };
    let tests: &[&str] = match find_program("cargo-nextest") {
        Some(_) => &["nextest", "run", "--no-fail-fast"],
        None => &["test", "--no-fail-fast"],
    };
    let strict = ["--all-targets", "--", "-D", "warnings"];
    vec![
        Check::new("candle: lint", run(&["clippy"], "fallthrough-candle", &strict)),
        Check::new("candle: engine", run(tests, "fallthrough-candle", &[])),
        Check::new("candle: lint of the program", run(&["clippy"], "fallthrough-server", &strict)),
        Check::new("candle: program", run(tests, "fallthrough-server", &["--test", "candle"])),
    ]
}

fn with_feature<'a>(command: &'a mut Command, package: &str) -> &'a mut Command {
    command.args(["--release", "--locked", "--package", package, "--features", "candle"])
}
