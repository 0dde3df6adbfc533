//! The project's own chores: `cargo xtask test` runs every check that CI runs.
//!
//! Each check is a *layer*; a layer reports checks as passed, failed or skipped with a reason. A skipped
//! check never counts as passed. Nothing here is compiled into the product.

mod bench;
mod browser;
mod candle;
mod clients;
mod command;
mod fuzz;
mod languages;
mod licences;
mod mutants;
mod origins;
mod page;
mod report;
mod rust;
mod server;
mod tidy;
mod tools;
mod torture;
mod tutorials;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use report::{Check, Report};

const HELP: &str = "\
cargo xtask test [--full] [--only LAYER]...   run the checks that CI runs
cargo xtask tidy                              only the crate graph and the text rules
cargo xtask bench [--quick] [--write]         measure the built program beside nginx
cargo xtask bench --objects N [--write]       measure it with N small objects in one bucket
cargo xtask mutants [--every-layer] [--write] [NAME]...
                                              run the tests against each planted bug
cargo xtask fuzz [--seconds N] [TARGET]...    drive fuzz targets on, each for a minute or N seconds
cargo xtask torture --minutes N [--no-mutants]
                                              the long forms of the tests, then every planted bug, which takes as
                                              long as it takes; writes docs/reliability.md
cargo xtask layers                            list the layers

--full         also Stable Diffusion, the planted bugs, the fuzz targets, the clients that are long to build, and the
               tests marked #[ignore = \"...\"]
--only LAYER   this layer only; may be repeated
--no-install   use what is here: install no Python and no npm package
--quick        a tenth of the requests
--every-layer  not only the first that finds a bug
--no-mutants   leave the planted bugs, and their table, as they are
--write        put the figures into docs/performance.md, or the planted bugs into docs/reliability.md";

/// What every layer is told.
#[derive(Debug)]
pub(crate) struct Context {
    /// The checkout's root folder.
    root: PathBuf,
    /// Where cargo builds; tools that we install for ourselves live in its folder `tools`.
    target: PathBuf,
    /// Run the long tests as well.
    full: bool,
    /// Packages may be installed into the target folder.
    install: bool,
}

impl Context {
    /// Where packages for the checks are installed: nothing outside the target folder is touched.
    fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The built program.
    fn program(&self) -> PathBuf {
        self.target.join("release").join("fallthrough")
    }
}

struct Layer {
    name: &'static str,
    about: &'static str,
    run: fn(&Context) -> Vec<Check>,
}

/// In order: what is quick to fail comes first.
const LAYERS: &[Layer] = &[
    Layer { name: "tidy", about: "crate graph, text rules, links in documents", run: tidy::layer },
    Layer { name: "format", about: "rustfmt", run: rust::format },
    Layer { name: "lint", about: "clippy, warnings denied", run: rust::lint },
    Layer { name: "test", about: "unit, property, race and end-to-end tests", run: rust::test },
    Layer {
        name: "candle",
        about: "Stable Diffusion in this process, behind its feature",
        run: candle::layer,
    },
    Layer { name: "mutants", about: "planted bugs, each to be found", run: mutants::layer },
    Layer { name: "fuzz", about: "fuzz targets driven on by libFuzzer", run: fuzz::layer },
    Layer { name: "docs", about: "rustdoc, warnings denied", run: rust::docs },
    Layer { name: "deny", about: "licences, bans, sources", run: licences::layer },
    Layer { name: "clients", about: "S3 clients that we did not write", run: clients::layer },
    Layer {
        name: "origins",
        about: "origins that we did not write, and a migration from one",
        run: origins::layer,
    },
    Layer {
        name: "languages",
        about: "the example origins in other languages, by `origin test`",
        run: languages::layer,
    },
    Layer { name: "tutorials", about: "the pages of docs/tutorials, pasted", run: tutorials::layer },
    Layer { name: "browser", about: "the demo page in Chromium", run: browser::layer },
];

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything asked for succeeded.
fn run(args: Vec<String>) -> Result<bool, String> {
    let mut args = args.into_iter();
    let task = args.next().unwrap_or_default();
    let (mut full, mut install, mut only, mut names) = (false, true, Vec::new(), Vec::new());
    let (mut minutes, mut seconds) = (30, 60);
    let mut objects = None;
    let mut planted = true;
    let mut wish = bench::Wish { quick: false, write: false };
    let mut hunted = mutants::Wish::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--full" => full = true,
            "--minutes" if task == "torture" => {
                minutes = args.next().and_then(|text| text.parse().ok()).ok_or("--minutes needs a number")?;
            }
            "--seconds" if task == "fuzz" => {
                seconds = args.next().and_then(|text| text.parse().ok()).ok_or("--seconds needs a number")?;
            }
            "--no-mutants" if task == "torture" => planted = false,
            "--no-install" => install = false,
            "--objects" if task == "bench" => {
                let number =
                    args.next().and_then(|text| text.parse().ok()).filter(|number| *number >= 10_000);
                objects = Some(number.ok_or("--objects needs a number, at least 10000")?);
            }
            "--quick" if task == "bench" => wish.quick = true,
            "--write" if task == "bench" => wish.write = true,
            "--write" if task == "mutants" => hunted.write = true,
            "--every-layer" if task == "mutants" => hunted.every_layer = true,
            "--only" => only.push(args.next().ok_or("--only needs the name of a layer")?),
            name if matches!(task.as_str(), "mutants" | "fuzz") && !name.starts_with('-') => {
                names.push(name.to_owned())
            }
            other => return Err(format!("unknown argument {other:?}\n\n{HELP}")),
        }
    }
    match task.as_str() {
        "test" | "bench" | "mutants" | "fuzz" | "torture" => {}
        "tidy" => only = vec!["tidy".to_owned()],
        "layers" => {
            for layer in LAYERS {
                println!("{:<9} {}", layer.name, layer.about);
            }
            return Ok(true);
        }
        "" | "help" | "--help" | "-h" => {
            println!("{HELP}");
            return Ok(true);
        }
        other => return Err(format!("unknown task {other:?}\n\n{HELP}")),
    }
    if let Some(unknown) = only.iter().find(|name| LAYERS.iter().all(|layer| layer.name != **name)) {
        let names: Vec<_> = LAYERS.iter().map(|layer| layer.name).collect();
        return Err(format!("unknown layer {unknown:?}; there are: {}", names.join(", ")));
    }

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask lies in the checkout's root")?;
    let target = rust::target_directory(root)?;
    let context = Context { root: root.to_owned(), target, full, install };
    if task == "bench" {
        if let report::Outcome::Failed(why) = rust::build_program(&context) {
            return Err(why);
        }
        return match objects {
            Some(objects) => bench::run_many(&context, objects, wish),
            None => bench::run(&context, wish),
        }
        .map(|()| true);
    }
    if task == "mutants" {
        hunted.names = names;
        return mutants::run(&context, &hunted);
    }
    if task == "fuzz" {
        return fuzz::run(&context, seconds, &names);
    }
    if task == "torture" {
        return torture::run(&context, minutes, planted);
    }
    let mut report = Report::default();
    for layer in LAYERS.iter().filter(|layer| only.is_empty() || only.iter().any(|name| name == layer.name)) {
        println!("\n== {}: {}", layer.name, layer.about);
        report.run(layer.name, || (layer.run)(&context));
    }
    report.print();
    Ok(report.succeeded())
}
