//! The fuzz targets under libFuzzer: `fuzz/targets` says what each of them promises.
//!
//! Their seeds are replayed by the ordinary tests. This drives them on, which needs a nightly compiler, cargo-fuzz and
//! a build of everything of its own, in a folder of its own, with traces of coverage in every crate. There is no
//! address sanitizer in it: no line of ours is `unsafe`, and it would double the time of the build.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Context;
use crate::command::{capture, command, find_program, watch};
use crate::report::{Check, Outcome};

/// Long enough to notice that a target breaks at once; `cargo xtask fuzz --seconds N` looks for more.
const SLICE_SECS: u64 = 5;

/// What a target may take, in MiB; libFuzzer ends it beyond.
const MEMORY_MIB: u64 = 1024;

/// How long one input may take, in seconds.
const INPUT_SECS: u64 = 10;

/// Longer inputs only make the rest slower.
const INPUT_BYTES: u64 = 4096;

/// The layer of `cargo xtask test`.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    let skipped = |why: String| vec![Check::new("fuzz", Outcome::Skipped(why))];
    if !context.full {
        let why =
            "a build of its own; runs with --full, and as `cargo xtask fuzz` (the seeds ran in the tests)";
        return skipped(why.to_owned());
    }
    if let Err(why) = tools(context) {
        return skipped(why);
    }
    match targets(&context.root).and_then(|targets| build(context).map(|()| targets)) {
        Ok(targets) => {
            let check = |name: String| {
                let outcome = drive(context, &name, SLICE_SECS);
                Check::new(name, outcome)
            };
            targets.into_iter().map(check).collect()
        }
        Err(why) => vec![Check::new("fuzz", Outcome::Failed(why))],
    }
}

/// `cargo xtask fuzz [--seconds N] [TARGET]...`: all, or those that are named, for so long each. Whether nothing was
/// found.
///
/// # Errors
/// A name is none; what is needed is not here; the programs cannot be built.
pub(crate) fn run(context: &Context, seconds: u64, names: &[String]) -> Result<bool, String> {
    let all = targets(&context.root)?;
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        return Err(format!("no fuzz target is called {unknown:?}; there are: {}", all.join(", ")));
    }
    tools(context)?;
    build(context)?;
    let mut sound = true;
    for name in all.iter().filter(|name| names.is_empty() || names.contains(name)) {
        if let Outcome::Failed(why) = drive(context, name, seconds) {
            println!("{name}: {why}");
            sound = false;
        }
    }
    Ok(sound)
}

/// All targets, for so many seconds together, at least [`SLICE_SECS`] each: how many there are, seconds of each, and
/// whether nothing was found.
///
/// # Errors
/// What is needed is not here; the programs cannot be built.
pub(crate) fn all(context: &Context, seconds: u64) -> Result<(usize, u64, bool), String> {
    let count = targets(&context.root)?.len();
    let each = (seconds / count as u64).max(SLICE_SECS);
    Ok((count, each, run(context, each, &[])?))
}

/// Whether what this needs is here, else what is missing.
fn tools(context: &Context) -> Result<(), String> {
    if find_program("cargo-fuzz").is_none() {
        return Err("cargo-fuzz is not installed (cargo install cargo-fuzz)".to_owned());
    }
    let rustup = find_program("rustup").ok_or("rustup is not installed, and a nightly compiler is needed")?;
    let list = capture(command(rustup, &context.root).args(["toolchain", "list"]))?;
    if list.lines().any(|line| line.starts_with("nightly")) {
        Ok(())
    } else {
        Err("no nightly compiler is installed (rustup toolchain install nightly)".to_owned())
    }
}

/// The names of the programs, in order.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = root.join("fuzz/fuzz_targets");
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for file in std::fs::read_dir(&folder).map_err(told)? {
        let path = file.map_err(told)?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    if names.is_empty() { Err(format!("{}: no target", folder.display())) } else { Ok(names) }
}

/// Where all of it is built, and what is found is kept.
fn folder(context: &Context) -> PathBuf {
    context.target.join("fuzz")
}

fn nightly(context: &Context) -> Command {
    let mut cargo = command("rustup", &context.root);
    // That of the compiler that built us.
    cargo.env_remove("CARGO").args(["run", "nightly", "cargo"]);
    cargo
}

fn build(context: &Context) -> Result<(), String> {
    let mut cargo = nightly(context);
    cargo.args(["fuzz", "build", "--fuzz-dir", "fuzz", "--sanitizer", "none", "--target-dir"]);
    match watch(cargo.arg(folder(context))) {
        Outcome::Passed => Ok(()),
        Outcome::Failed(why) | Outcome::Skipped(why) => Err(why),
    }
}

/// Drives one target on from its seeds and from what earlier runs kept.
fn drive(context: &Context, name: &str, seconds: u64) -> Outcome {
    match program(context, name) {
        Ok(program) => drive_program(context, &program, name, seconds),
        Err(why) => Outcome::Failed(why),
    }
}

fn drive_program(context: &Context, program: &Path, name: &str, seconds: u64) -> Outcome {
    let corpus = folder(context).join("corpus").join(name);
    let found = folder(context).join("found").join(name);
    for folder in [&corpus, &found] {
        if let Err(error) = std::fs::create_dir_all(folder) {
            return Outcome::Failed(format!("{}: {error}", folder.display()));
        }
    }
    // New inputs go into the first folder; the seeds in the second stay as they are.
    let mut run = command(program, &context.root);
    run.arg(&corpus).arg(context.root.join("fuzz/corpus-seeds").join(name));
    run.arg(format!("-artifact_prefix={}/", found.display()));
    for (option, value) in [
        ("max_total_time", seconds),
        ("rss_limit_mb", MEMORY_MIB),
        ("timeout", INPUT_SECS),
        ("max_len", INPUT_BYTES),
        ("print_final_stats", 1),
        ("verbosity", 0),
    ] {
        run.arg(format!("-{option}={value}"));
    }
    match watch(&mut run) {
        Outcome::Failed(_) => Outcome::Failed(format!("the input that shows it is in {}", found.display())),
        other => other,
    }
}

/// The built program of a target, below the name of the machine that it was built for.
fn program(context: &Context, name: &str) -> Result<PathBuf, String> {
    let told = capture(nightly(context).args(["--version", "--verbose"]))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("cargo does not say for which machine it builds")?;
    Ok(folder(context).join(host).join("release").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program_and_seeds_and_nothing_else_has() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root");
        let names = targets(root).expect("the programs are there");
        let mut seeded: Vec<String> = std::fs::read_dir(root.join("fuzz/corpus-seeds"))
            .expect("the seeds are there")
            .map(|folder| folder.expect("it can be read").file_name().into_string().expect("a plain name"))
            .collect();
        seeded.sort();
        assert_eq!(names, seeded);
        let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).expect("it can be read");
        let manifest: toml::Table = manifest.parse().expect("it is TOML");
        let programs = manifest["bin"].as_array().expect("programs");
        let mut built: Vec<_> = programs.iter().filter_map(|program| program["name"].as_str()).collect();
        built.sort_unstable();
        assert_eq!(names, built);
        for name in &names {
            let text = root.join(format!("fuzz/fuzz_targets/{name}.rs"));
            let text = std::fs::read_to_string(text).expect("it can be read");
            assert!(text.contains(&format!("::{name}(bytes)")), "{name} runs something else");
        }
    }
}
