//! S3 clients that we did not write, with their default settings, against `fallthrough serve`.
//!
//! What each of them does is in `tests/clients/`; a client that is not here is skipped by name.

use std::path::{Path, PathBuf};

use crate::Context;
use crate::command::{command, find_program, watch};
use crate::report::{Check, Outcome};
use crate::rust::build_program;
use crate::server::Server;
use crate::tools::python_programs;

/// The clients, as `tests/clients/check.py` calls them; each with its program, if it is one.
const CLIENTS: &[(&str, Option<&str>)] = &[
    ("aws", Some("aws")),
    ("boto3", None),
    ("minio", None),
    ("pyarrow", None),
    ("s3fs", None),
    ("rclone", Some("rclone")),
    ("s5cmd", Some("s5cmd")),
    ("s3cmd", Some("s3cmd")),
];

/// One check per client.
pub(crate) fn layer(context: &Context) -> Vec<Check> {
    if let Outcome::Failed(why) = build_program(context) {
        return vec![Check::new("clients", Outcome::Failed(why))];
    }
    let server = match Server::start(context, "serve") {
        Ok(server) => server,
        Err(why) => return vec![Check::new("clients", Outcome::Failed(why))],
    };
    let programs = python_programs(context);
    let python = programs.as_ref().ok().map(|programs| programs.join("python"));
    CLIENTS
        .iter()
        .map(|(client, program)| {
            let outcome = match place(*program, programs.as_deref()) {
                Ok(place) => {
                    let python = python.clone().unwrap_or_else(|| PathBuf::from("python3"));
                    check(context, &server, client, &python, place.as_deref())
                }
                Err(why) => Outcome::Skipped(why),
            };
            Check::new(*client, outcome)
        })
        .collect()
}

/// Where the client's program is: in our environment, else on the PATH; `None` for a Python library.
fn place(program: Option<&str>, programs: Result<&Path, &String>) -> Result<Option<PathBuf>, String> {
    match (program, programs) {
        (Some(program), Ok(programs)) if programs.join(program).is_file() => Ok(Some(programs.join(program))),
        (Some(program), programs) => find_program(program).map(Some).ok_or_else(|| match programs {
            Err(why) if program != "rclone" && program != "s3cmd" => why.clone(),
            _ => format!("{program} is not installed (a package of Debian's)"),
        }),
        (None, Ok(_)) => Ok(None),
        (None, Err(why)) => Err(why.clone()),
    }
}

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
    command.arg("--home").arg(home);
    watch(&mut command)
}
