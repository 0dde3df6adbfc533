//! Planted bugs: the tests are run against each, and each must be found.
//!
//! The bugs exist only under a cfg, which makes another build of everything of ours: in a folder of its own.
//! One build serves all; a variable switches one bug on for each run.

use std::process::Command;

use fallthrough_object::Mutant;

use crate::Context;
use crate::command::{capture, cargo, find_program, watch};
use crate::report::{Check, Outcome};

/// Packages whose tests are run against a bug in each crate, its own first. The first that finds it ends the hunt,
/// unless the bug was named: then every layer says whether it finds it, too.
const LAYERS: &[(&str, &[&str])] = &[
    ("object", &["object", "wire", "bucket", "gateway"]),
    ("wire", &["wire", "gateway"]),
    ("shadow", &["shadow", "bucket"]),
    ("bucket", &["bucket", "gateway"]),
    ("gateway", &["gateway"]),
    ("diffusion", &["diffusion"]),
];
/// Packages of all layers, built at once.
const PACKAGES: &[&str] = &["object", "wire", "shadow", "bucket", "gateway", "diffusion"];

/// Which layers ran against a bug, and which of them found it.
#[derive(Debug)]
pub(crate) struct Hunt {
    pub(crate) mutant: Mutant,
    pub(crate) by: Vec<(&'static str, bool)>,
}

impl Hunt {
    pub(crate) fn is_caught(&self) -> bool {
        self.first().is_some()
    }

    /// The first layer that found it.
    fn first(&self) -> Option<&'static str> {
        self.by.iter().find(|layer| layer.1).map(|layer| layer.0)
    }
}

/// The layer of `cargo xtask test`.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    if !context.full {
        let why = "a build of its own; runs with --full, and as `cargo xtask mutants`";
        return vec![Check::new("mutants", Outcome::Skipped(why.to_owned()))];
    }
    vec![Check::new("mutants: store", store(context)), hunted(&hunt(context, &[]))]
}

/// `cargo xtask mutants [NAME]...`: all, or those that are named. Whether each was caught.
///
/// # Errors
/// A name is none; the tests cannot be built or run.
pub(crate) fn run(context: &Context, names: &[String]) -> Result<bool, String> {
    if names.is_empty()
        && let Outcome::Failed(why) = store(context)
    {
        return Err(why);
    }
    let hunts = hunt(context, names)?;
    Ok(hunts.iter().all(Hunt::is_caught))
}

fn hunted(hunts: &Result<Vec<Hunt>, String>) -> Check {
    let outcome = match hunts {
        Err(why) => Outcome::Failed(why.clone()),
        Ok(hunts) => {
            let alive: Vec<_> =
                hunts.iter().filter(|hunt| !hunt.is_caught()).map(|hunt| hunt.mutant.name()).collect();
            if alive.is_empty() { Outcome::Passed } else { Outcome::Failed(format!("alive: {alive:?}")) }
        }
    };
    Check::new("mutants", outcome)
}

/// The store's own, each of which its tests plant and find by themselves.
fn store(context: &Context) -> Outcome {
    let mut command = planted(context);
    command.args(["test", "--release", "--locked", "--package", "fallthrough-store", "mutants"]);
    watch(&mut command)
}

/// Runs the layers of each bug and prints what they found.
fn hunt(context: &Context, names: &[String]) -> Result<Vec<Hunt>, String> {
    if find_program("cargo-nextest").is_none() {
        return Err("cargo-nextest is not installed (cargo install cargo-nextest): without it a test that a bug lets hang is not ended".to_owned());
    }
    let named = |name: &String| {
        Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name).ok_or_else(|| {
            let all: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
            format!("no planted bug is called {name:?}; there are: {}", all.join(", "))
        })
    };
    let mutants: Vec<Mutant> = if names.is_empty() {
        Mutant::ALL.to_vec()
    } else {
        names.iter().map(named).collect::<Result<_, _>>()?
    };
    for package in PACKAGES {
        // Without a bug, everything passes: else a failure says nothing. This also builds.
        if !passes(context, package, None)? {
            return Err(format!("the tests of fallthrough-{package} fail without a planted bug"));
        }
    }
    let mut hunts = Vec::new();
    for mutant in mutants {
        let layers = LAYERS.iter().find(|(place, _)| *place == mutant.place());
        let (_, layers) = layers.ok_or_else(|| format!("no layer looks at {}", mutant.place()))?;
        let mut hunt = Hunt { mutant, by: Vec::new() };
        for package in *layers {
            hunt.by.push((*package, !passes(context, package, Some(mutant))?));
            if names.is_empty() && hunt.is_caught() {
                break;
            }
        }
        println!("{}", line(&hunt));
        hunts.push(hunt);
    }
    let caught = hunts.iter().filter(|hunt| hunt.is_caught()).count();
    println!("planted bugs caught: {caught} of {}", hunts.len());
    for package in PACKAGES {
        let first = hunts.iter().filter(|hunt| hunt.first() == Some(*package)).count();
        println!("  first by {package}: {first}");
    }
    Ok(hunts)
}

fn line(hunt: &Hunt) -> String {
    let by = |caught: bool| {
        let names = hunt.by.iter().filter(|layer| layer.1 == caught).map(|layer| layer.0);
        names.collect::<Vec<_>>().join(", ")
    };
    let word = if hunt.is_caught() { "caught" } else { "ALIVE " };
    let (found, not) = (by(true), by(false));
    let not = if not.is_empty() { String::new() } else { format!(" (not by {not})") };
    format!("{word} {:<26} by {found}{not}:{}", hunt.mutant.name(), hunt.mutant.about())
}

/// Whether the tests of a package pass, with a bug planted or without.
fn passes(context: &Context, package: &str, mutant: Option<Mutant>) -> Result<bool, String> {
    let mut command = planted(context);
    command.args(["nextest", "run", "--release", "--locked", "--profile", "mutants", "--no-tests", "fail"]);
    command.args(["--package", &format!("fallthrough-{package}")]);
    match mutant {
        None => Ok(watch(&mut command) == Outcome::Passed),
        Some(mutant) => {
            command.env("FALLTHROUGH_MUTANT", mutant.name());
            match capture(&mut command) {
                Ok(_) => Ok(true),
                // nextest's word for "tests failed"; anything else is trouble of our own.
                Err(why) if why.contains("exit status: 100") => Ok(false),
                Err(why) => Err(why),
            }
        }
    }
}

/// Cargo in a build with planted bugs.
fn planted(context: &Context) -> Command {
    let mut command = cargo(&context.root);
    command
        .env("RUSTFLAGS", "--cfg fallthrough_mutants")
        .env("CARGO_TARGET_DIR", context.target.join("mutants"));
    command
}
