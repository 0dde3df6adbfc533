//! Origins that we did not write, behind the built program: moto's server as another S3 provider, Debian's nginx as a web
//! server.
//!
//! What is asked of each is in `tests/origins/`; one that is not here is skipped by name.

use std::path::PathBuf;

use crate::Context;
use crate::command::{command, find_program, watch};
use crate::report::{Check, Outcome};
use crate::rust::build_program;
use crate::tools::{PROVIDER, python_programs};

/// What a check needs beside the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Moto,
    Nginx,
}

/// The checks, as `tests/origins/check.py` calls them.
const CHECKS: &[(&str, Needs)] = &[
    ("reads", Needs::Moto),
    ("writes", Needs::Moto),
    ("conditions", Needs::Moto),
    ("outage", Needs::Moto),
    ("migration", Needs::Moto),
    ("web", Needs::Nginx),
    ("cache", Needs::Nginx),
];

/// How many objects are migrated, and how large the largest is, in MiB: by variables; else few, or with `--full` many.
/// moto looks at all keys for each page of a list, so that ten times as many take a hundred times as long to list.
const OBJECTS: (&str, &str) = ("FALLTHROUGH_FOREIGN_OBJECTS", "20000");
const LARGE_MIB: (&str, &str) = ("FALLTHROUGH_FOREIGN_MIB", "1024");

/// One check each.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    let python = match python_programs(context, &PROVIDER) {
        Ok(programs) => programs.join("python"),
        Err(why) => {
            let skipped = |(name, _): &(&str, Needs)| Check::new(*name, Outcome::Skipped(why.clone()));
            return CHECKS.iter().map(skipped).collect();
        }
    };
    if let Outcome::Failed(why) = build_program(context) {
        return vec![Check::new("origins", Outcome::Failed(why))];
    }
    let check = |(name, needs): &(&str, Needs)| Check::new(*name, check(context, &python, name, *needs));
    CHECKS.iter().map(check).collect()
}

fn check(context: &Context, python: &PathBuf, name: &str, needs: Needs) -> Outcome {
    let home = context.target.join("xtask").join(format!("origins-{name}-{}", std::process::id()));
    let mut command = command(python, &context.root);
    command.args(["tests/origins/check.py", "--check", name]);
    command.arg("--program").arg(context.program()).arg("--home").arg(&home);
    if needs == Needs::Nginx {
        let nginx = find_program("nginx")
            .or_else(|| Some(PathBuf::from("/usr/sbin/nginx")).filter(|path| path.is_file()));
        let Some(nginx) = nginx else {
            return Outcome::Skipped("nginx is not installed (a package of Debian's)".to_owned());
        };
        command.arg("--nginx").arg(nginx);
    }
    for (option, (variable, long)) in [("--objects", OBJECTS), ("--large-mib", LARGE_MIB)] {
        let wanted = std::env::var(variable).ok().or_else(|| context.full.then(|| long.to_owned()));
        command.args(wanted.iter().flat_map(|wanted| [option, wanted]));
    }
    let outcome = watch(&mut command);
    // What a failed check leaves is looked at by people; the next run has a folder of its own.
    if outcome == Outcome::Passed {
        let _ = std::fs::remove_dir_all(&home); // Nothing depends on it.
    }
    outcome
}
