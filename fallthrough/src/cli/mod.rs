//! The command line: nouns, then verbs. Each noun is described and done in a file of its own.

mod admin;
mod avatar;
mod avatar_audit;
mod avatar_hash;
mod bucket;
mod completion;
mod config;
mod doctor;
mod engine_flags;
mod joined;
mod key;
mod key_env;
mod member_flag;
mod migrate;
mod model;
mod model_add;
mod object;
mod origin;
mod output;
mod reference;
mod serve;
mod shadow;
mod shadow_flags;
mod status;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::demo;
use crate::failure::{Exit, Failure};
use crate::settings::{Drawn, Layers, Settings};

/// An S3-compatible object store whose buckets fall through: what a bucket does not have it fetches from behind
/// (another S3 provider, an HTTP server, or a program that answers GetObject), streams to the client, and keeps.
#[derive(Debug, Parser)]
#[command(name = "fallthrough", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 the command line is wrong; 3 not found; 4 the other side \
                          refused; 5 partly done.";

/// What every command can be told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Globals {
    /// The configuration file; else ./fallthrough.toml, else /etc/fallthrough/fallthrough.toml, if there is one
    #[arg(short, long, global = true, value_name = "PATH", env = "FALLTHROUGH_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The data folder
    #[arg(long, global = true, value_name = "DIR", env = "FALLTHROUGH_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The admin API of the server to talk to; else the one that the configuration describes
    #[arg(long, global = true, value_name = "URL", env = "FALLTHROUGH_ADMIN", help_heading = "Admin API")]
    pub(crate) admin: Option<String>,
    /// A file with the admin API's token; else the one in the data folder
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "FALLTHROUGH_ADMIN_TOKEN_FILE",
        help_heading = "Admin API"
    )]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// The admin API's token; every user of this machine can read it here, so prefer the file or the variable
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "FALLTHROUGH_ADMIN_TOKEN",
        hide_env_values = true,
        help_heading = "Admin API"
    )]
    pub(crate) admin_token: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Globals {
    /// Where this command's settings come from: the process's environment, the file, and `--data`.
    pub(crate) fn layers(&self) -> Layers {
        let data = self.data.as_ref().map(|path| path.display().to_string());
        Layers::of_process(self.config.clone()).flag("--data", "store.data", data)
    }

    /// The settings without any flags of a command of its own.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings::load(&self.layers())?)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all three tiers with something to look at: one command, one folder, no configuration
    Demo(demo::DemoArgs),
    /// Run the server
    Serve(serve::ServeArgs),
    /// Tell how the server is
    Status(status::StatusArgs),
    /// Look after what is kept: compare it with its checksums, and what was found damaged
    #[command(subcommand)]
    Doctor(doctor::DoctorCommand),
    /// Buckets
    #[command(subcommand)]
    Bucket(bucket::BucketCommand),
    /// What a bucket falls through to
    #[command(subcommand)]
    Shadow(shadow::ShadowCommand),
    /// Moving what is behind a bucket here
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Access keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Single objects and what is known about them
    #[command(subcommand)]
    Object(object::ObjectCommand),
    /// Origins: programs that answer GetObject
    #[command(subcommand)]
    Origin(origin::OriginCommand),
    /// The avatar origin on its own (tier 2)
    #[command(subcommand)]
    Avatar(avatar::AvatarCommand),
    /// The image model on its own (tier 3)
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// The configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completion(completion::CompletionArgs),
    /// Print docs/cli.md
    #[command(hide = true)]
    Reference,
}

/// Parses the command line and does what it says; the whole program.
pub(crate) fn run() -> ExitCode {
    let matches = Cli::command().get_matches_from(joined::join(std::env::args_os()));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    output::warn_of_secrets_in_arguments();
    let outcome = runtime(&cli.command).and_then(|runtime| {
        let done = runtime.block_on(Box::pin(dispatch(cli)));
        // Tasks that nobody awaits any more (a blocked read of a dead disk) must not keep the process.
        runtime.shutdown_background();
        done
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            failure.exit.into()
        }
    }
}

/// Servers use all processors; commands need no thread but their own.
fn runtime(command: &Command) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = match command {
        Command::Demo(_) | Command::Serve(_) | Command::Avatar(_) | Command::Model(_) => {
            tokio::runtime::Builder::new_multi_thread()
        }
        Command::Status(_)
        | Command::Doctor(_)
        | Command::Bucket(_)
        | Command::Shadow(_)
        | Command::Migrate(_)
        | Command::Key(_)
        | Command::Object(_)
        | Command::Origin(_)
        | Command::Config(_)
        | Command::Completion(_)
        | Command::Reference => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build().map_err(|error| {
        Failure::new(
            format!("the runtime cannot start: {error}"),
            "free some memory or raise the limit of threads",
        )
    })
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { globals, command } = cli;
    // One TLS library for all clients. Fails only if one was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match command {
        Command::Demo(args) => demo::run(args, &globals).await,
        Command::Serve(args) => serve::run(args, &globals).await,
        Command::Status(args) => status::run(&args, &globals).await,
        Command::Doctor(command) => doctor::run(command, &globals).await,
        Command::Bucket(command) => bucket::run(command, &globals).await,
        Command::Shadow(command) => shadow::run(command, &globals).await,
        Command::Migrate(command) => migrate::run(command, &globals).await,
        Command::Key(command) => key::run(command, &globals).await,
        Command::Object(command) => object::run(command, &globals).await,
        Command::Origin(command) => origin::run(command, &globals).await,
        Command::Avatar(command) => avatar::run(command, &globals).await,
        Command::Model(command) => model::run(command, &globals).await,
        Command::Config(command) => config::run(command, &globals).await,
        Command::Completion(args) => completion::run(&args, &mut Cli::command()),
        Command::Reference => reference::run(&Cli::command()),
    }
}

/// Prints a failure to standard error: problems of the settings where they are, then what to do.
fn report(failure: &Failure) {
    let fancy = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for problem in failure.problems.iter().flat_map(|problems| &problems.0) {
        if fancy {
            let mut drawn = String::new();
            let handler = miette::GraphicalReportHandler::new();
            if handler.render_report(&mut drawn, &Drawn::of(problem)).is_ok() {
                eprintln!("{drawn}");
                continue;
            }
        }
        eprintln!("{problem}\n  help: {}", problem.mend);
    }
    eprintln!("error: {failure}");
    if failure.exit == Exit::Usage {
        eprintln!("  `fallthrough --help` lists the commands");
    }
}
