//! `fallthrough model`: tier 3 on its own, and what waits for the models of a running server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fallthrough_gateway::admin::{ModelView, ModelsView};
use fallthrough_object::OsEntropy;

use crate::admin_client::AdminClient;
use crate::cli::engine_flags::{EngineFlags, secret_from};
use crate::cli::model_add::{self, AddArgs};
use crate::cli::{Globals, output};
use crate::failure::{Exit, Failure};
use crate::settings::{Secret, Settings, parse_duration, warn_of_near_misses};
use crate::wiring::model::ModelPlan;
use crate::wiring::ready_file::{ReadyFields, ReadyFile};
use crate::wiring::stop::StopSignals;
use crate::wiring::{logging, root};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Serve the txt2img API over an image model
    Serve(ModelServeArgs),
    /// Declare txt2img servers in the configuration file, after asking each of them
    Add(AddArgs),
    /// Show what waits for the models of the running server, and which servers do the work
    Queue {
        /// Only this model
        model: Option<String>,
    },
}

/// What `model serve` can be told.
#[derive(Debug, Args)]
pub(crate) struct ModelServeArgs {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9903")]
    listen: SocketAddr,
    /// Write address and keys to this file once it accepts; removed at the end
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// The user that clients must present by HTTP Basic; the password is made and shown unless given
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// A file with the password; else FALLTHROUGH_MODEL_PASSWORD
    #[arg(long, value_name = "PATH", requires = "user")]
    password_file: Option<PathBuf>,
    /// Answer anybody, also beyond this machine
    #[arg(long, conflicts_with = "user")]
    anonymous: bool,
    /// Jobs at a time; a graphics card does one, and txt2img servers get --txt2img-concurrency each
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// Jobs that may wait; beyond that clients get 503 with Retry-After
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    queue: u32,
    /// Extra time per picture, to see how slow models behave
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration)]
    delay: Duration,
    #[command(flatten)]
    engine: EngineFlags,
}

/// Does what the verb says.
pub(crate) async fn run(command: ModelCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        ModelCommand::Serve(args) => serve(args, globals).await,
        ModelCommand::Add(args) => model_add::run(args, globals).await,
        ModelCommand::Queue { model } => queue(model.as_deref(), globals).await,
    }
}

async fn queue(model: Option<&str>, globals: &Globals) -> Result<(), Failure> {
    let client = AdminClient::find(globals)?;
    let mut all: ModelsView = client.get(&["models"], &[]).await?;
    if let Some(model) = model {
        all.models.retain(|one| one.name == model);
        if all.models.is_empty() {
            let message = format!("the server has no model {model:?} with a queue");
            let mend = "`fallthrough model queue` shows those that it has: models of kind txt2img";
            return Err(Failure::new(message, mend).exit(Exit::NotFound));
        }
    }
    if globals.json {
        output::print_json(&all);
        return Ok(());
    }
    if all.models.is_empty() {
        println!("no model of this server has a queue");
    }
    for model in &all.models {
        print_queue(model);
    }
    Ok(())
}

/// A model's servers, then its jobs.
fn print_queue(model: &ModelView) {
    println!(
        "{}: {} of {} wait, {} sent away; a new one would have its turn in {} s",
        model.name, model.waiting, model.queue, model.shed, model.retry_after_secs
    );
    let backends = model.backends.iter().map(|backend| {
        let state = match backend.state.as_str() {
            "up" => output::good("up"),
            other => output::bad(other),
        };
        let speed = backend.seconds_per_step_megapixel.map(|secs| format!("{secs:.3}"));
        let checkpoint = backend.checkpoint.clone().unwrap_or_default();
        let counts = [backend.in_flight.to_string(), backend.foreign.to_string()];
        let [in_flight, foreign] = counts;
        let (done, failed) = (backend.done.to_string(), backend.failed.to_string());
        let (url, why) = (backend.url.clone(), backend.why.clone());
        vec![url, state, in_flight, foreign, speed.unwrap_or_default(), done, failed, checkpoint, why]
    });
    let rows: Vec<_> = backends.collect();
    let headings = ["SERVER", "STATE", "OURS", "OTHERS", "S/STEP·MP", "DONE", "FAILED", "CHECKPOINT", "WHY"];
    output::print_rows(&headings, &rows);
    let jobs = model.jobs.iter().map(|job| {
        let place = job.place.map_or_else(|| "now".to_owned(), |place| place.to_string());
        let left = job.left_secs.map(|left| format!("{left:.0} s")).unwrap_or_default();
        vec![place, format!("{:.0} s", job.age_secs), left, job.url.clone().unwrap_or_default()]
    });
    let rows: Vec<_> = jobs.collect();
    if !rows.is_empty() {
        output::print_rows(&["PLACE", "AGE", "DONE IN", "SERVER"], &rows);
    }
}

async fn serve(args: ModelServeArgs, globals: &Globals) -> Result<(), Failure> {
    let layers = globals.layers();
    logging::start(&Settings::load(&layers)?.log)?;
    warn_of_near_misses(&layers.environment);
    let basic = basic(&args)?;
    if basic.is_none() && !args.anonymous && !args.listen.ip().is_loopback() {
        return Err(Failure::usage(
            format!(
                "{} can be reached from other machines, and nobody would be asked for a password",
                args.listen
            ),
            "give --user, or --anonymous if that is what you want",
        ));
    }
    let mut signals = StopSignals::catch()?;
    let running = ModelPlan {
        listen: args.listen,
        engine: args.engine.settings(args.queue)?,
        basic,
        slots: args.slots as usize,
        queue: args.queue as usize,
        delay: args.delay,
    }
    .start()
    .await?;
    let mut fields = ReadyFields::default().text("model", running.url());
    if let Some((user, password)) = &running.basic {
        fields = fields.text("user", user).secret("password", password);
    }
    let _ready = args.ready_file.map(|path| ReadyFile::write(&path, fields)).transpose()?;
    println!("model  {}", running.url());
    if let (Some((user, password)), None) = (&running.basic, &args.password_file) {
        println!("user   {user}\npassword  {}", password.reveal());
    }
    signals.next().await;
    running.shutdown().await;
    Ok(())
}

fn basic(args: &ModelServeArgs) -> Result<Option<(String, Secret)>, Failure> {
    let Some(user) = &args.user else { return Ok(None) };
    if user.is_empty() || user.contains(':') {
        return Err(Failure::usage(
            "--user: a user of HTTP Basic is not empty and has no colon",
            "choose another name",
        ));
    }
    let given = secret_from(args.password_file.as_deref(), "--password-file", "FALLTHROUGH_MODEL_PASSWORD")?;
    let password = given.unwrap_or_else(|| Secret::new(root::random_letters(&OsEntropy, 24)));
    Ok(Some((user.clone(), password)))
}
