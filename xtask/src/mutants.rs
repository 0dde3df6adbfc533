//! Planted bugs: the tests are run against each, and each must be found.
//!
//! The bugs exist only under a cfg, which makes another build of everything of ours: in a folder of its own.
//! One build serves all; a variable switches one bug on for each run.

use std::process::Command;

use fallthrough_object::Mutant;

use crate::Context;
use crate::command::{capture, cargo, find_program, watch};
use crate::page::{Page, day_and_commit};
use crate::report::{Check, Outcome};

const PAGE: Page = Page {
    path: "docs/reliability.md",
    begin: "<!-- planted: written by `cargo xtask mutants --write` -->",
    end: "<!-- end of planted -->",
};

/// Packages whose tests are run against a bug in each crate, its own first. The first that finds it ends the hunt,
/// unless every layer was asked for, or the bug was named: then each says whether it finds it, too.
const LAYERS: &[(&str, &[&str])] = &[
    ("object", &["object", "wire", "bucket", "gateway"]),
    ("wire", &["wire", "gateway", "simulation"]),
    ("store", &["store", "bucket", "simulation"]),
    ("shadow", &["shadow", "bucket", "simulation"]),
    ("bucket", &["bucket", "gateway", "simulation"]),
    ("gateway", &["gateway", "simulation"]),
    ("diffusion", &["diffusion"]),
    ("avatar", &["avatar"]),
];
/// Packages of all layers, built at once.
const PACKAGES: &[&str] =
    &["object", "wire", "store", "shadow", "bucket", "gateway", "diffusion", "avatar", "simulation"];

/// Which bugs are hunted, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// These alone; all if there are none.
    pub(crate) names: Vec<String>,
    /// Every layer is run against each, also after one has found it.
    pub(crate) every_layer: bool,
    /// The table is put into docs/reliability.md.
    pub(crate) write: bool,
}

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
    vec![hunted(&hunt(context, &Wish::default()))]
}

/// `cargo xtask mutants [--every-layer] [--write] [NAME]...`: all, or those that are named. Whether each was caught.
///
/// # Errors
/// A name is none; the tests cannot be built or run; the page cannot be written.
pub(crate) fn run(context: &Context, wish: &Wish) -> Result<bool, String> {
    let hunts = hunt(context, wish)?;
    if wish.write {
        PAGE.write(context, &format!("On {}: {}", day_and_commit(context)?, table(&hunts)))?;
    }
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

/// Runs the layers of each bug and prints what they found.
fn hunt(context: &Context, wish: &Wish) -> Result<Vec<Hunt>, String> {
    if find_program("cargo-nextest").is_none() {
        return Err("cargo-nextest is not installed (cargo install cargo-nextest): without it a test that a bug lets hang is not ended".to_owned());
    }
    let named = |name: &String| {
        Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name).ok_or_else(|| {
            let all: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
            format!("no planted bug is called {name:?}; there are: {}", all.join(", "))
        })
    };
    let mutants: Vec<Mutant> = if wish.names.is_empty() {
        Mutant::ALL.to_vec()
    } else {
        wish.names.iter().map(named).collect::<Result<_, _>>()?
    };
    let first_only = wish.names.is_empty() && !wish.every_layer;
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
            if first_only && hunt.is_caught() {
                break;
            }
        }
        println!("{}", line(&hunt));
        hunts.push(hunt);
    }
    println!("{}", table(&hunts));
    Ok(hunts)
}

/// How many were caught, and by which layer.
fn table(hunts: &[Hunt]) -> String {
    let caught = hunts.iter().filter(|hunt| hunt.is_caught()).count();
    let mut table = format!(
        "{caught} of {} planted bugs caught.\n\n\
         | tests of | run against | found it | were the first of its layers |\n| --- | --- | --- | --- |\n",
        hunts.len()
    );
    for package in PACKAGES {
        let ran = hunts.iter().filter_map(|hunt| hunt.by.iter().find(|layer| layer.0 == *package));
        let found = ran.clone().filter(|layer| layer.1).count();
        let first = hunts.iter().filter(|hunt| hunt.first() == Some(*package)).count();
        table.push_str(&format!("| {package} | {} | {found} | {first} |\n", ran.count()));
    }
    let alive = hunts.iter().filter(|hunt| !hunt.is_caught());
    table.extend(
        alive.map(|hunt| format!("\nNot caught: `{}`:{}\n", hunt.mutant.name(), hunt.mutant.about())),
    );
    table
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
            // A case that a planted bug fails is no regression.
            command.env("FALLTHROUGH_MUTANT", mutant.name()).env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_layers_that_look_for_it() {
        for mutant in Mutant::ALL {
            let layers = LAYERS.iter().find(|(place, _)| *place == mutant.place());
            let (place, layers) = layers.unwrap_or_else(|| panic!("no layer looks at {}", mutant.place()));
            assert_eq!(layers.first(), Some(place));
            assert!(layers.iter().all(|layer| PACKAGES.contains(layer)), "{place}");
        }
    }

    #[test]
    fn the_table_counts_what_each_layer_found() {
        let [one, two, ..] = Mutant::ALL else { panic!("there are bugs") };
        let hunts = [
            Hunt { mutant: *one, by: vec![("bucket", false), ("simulation", true)] },
            Hunt { mutant: *two, by: vec![("bucket", false)] },
        ];
        let table = table(&hunts);
        assert!(table.starts_with("1 of 2 planted bugs caught."), "{table}");
        assert!(
            table.contains("| bucket | 2 | 0 | 0 |\n") && table.contains("| simulation | 1 | 1 | 1 |\n"),
            "{table}"
        );
        assert!(table.contains(&format!("Not caught: `{}`", two.name())), "{table}");
    }
}
