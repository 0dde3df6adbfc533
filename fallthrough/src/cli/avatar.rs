//! `fallthrough avatar`: tier 2 on its own, the hashes that stand in its addresses, and whether it still draws what it drew.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use fallthrough_avatar::AvatarSettings;
use fallthrough_diffusion::painter::Cast;
use fallthrough_object::OsEntropy;

use crate::cli::engine_flags::{EngineFlags, secret_from};
use crate::cli::{Globals, avatar_audit, avatar_hash};
use crate::failure::Failure;
use crate::settings::{ModelSettings, Secret, Settings, warn_of_near_misses};
use crate::wiring::avatar::AvatarPlan;
use crate::wiring::ready_file::{ReadyFields, ReadyFile};
use crate::wiring::stop::StopSignals;
use crate::wiring::{logging, root};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum AvatarCommand {
    /// Serve avatars as S3 objects: the key is a hash
    Serve(Box<AvatarServeArgs>),
    /// Print the hashes of addresses, as they stand in avatars' URLs
    Hash(avatar_hash::HashArgs),
    /// Draw a sample of the avatars in a bucket anew, and tell how far they have drifted
    Audit(Box<avatar_audit::AuditArgs>),
}

/// What `avatar serve` can be told.
#[derive(Debug, Args)]
pub(crate) struct AvatarServeArgs {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9902")]
    listen: SocketAddr,
    /// Write address and keys to this file once it accepts; removed at the end
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// The access key that requests must be signed with; made and shown unless given
    #[arg(long, value_name = "ID", requires = "secret_key_file")]
    access_key: Option<String>,
    /// A file with its secret
    #[arg(long, value_name = "PATH", requires = "access_key")]
    secret_key_file: Option<PathBuf>,
    /// Answer anybody, signed or not
    #[arg(long, conflicts_with = "access_key")]
    anonymous: bool,
    /// The name under which the results belong together
    #[arg(long, value_name = "NAME", default_value = "v1")]
    edition: String,
    /// Width and height in pixels, 64 to 1024 in steps of 8
    #[arg(long, value_name = "PIXELS", default_value_t = 256, value_parser = side)]
    size: u32,
    /// What the painter draws
    #[arg(long, value_name = "STYLE", default_value = "portrait", value_parser = ["portrait", "critter"], conflicts_with = "engine")]
    style: String,
    #[command(flatten)]
    engine: EngineFlags,
}

/// Jobs that may wait in front of a txt2img server; more are told to come back.
pub(super) const QUEUE: u32 = 64;

pub(super) fn side(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(side) if (64..=1024).contains(&side) && side % 8 == 0 => Ok(side),
        Ok(_) | Err(_) => Err("a size is 64 to 1024 in steps of 8".to_owned()),
    }
}

/// Does what the verb says.
pub(crate) async fn run(command: AvatarCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        AvatarCommand::Serve(args) => serve(*args, globals).await,
        AvatarCommand::Hash(args) => avatar_hash::run(args, globals),
        AvatarCommand::Audit(args) => avatar_audit::run(*args, globals).await,
    }
}

async fn serve(args: AvatarServeArgs, globals: &Globals) -> Result<(), Failure> {
    let layers = globals.layers();
    logging::start(&Settings::load(&layers)?.log)?;
    warn_of_near_misses(&layers.environment);
    let mut signals = StopSignals::catch()?;
    let made_now = !args.anonymous && args.access_key.is_none();
    let model = args.engine.settings(QUEUE)?;
    let running = AvatarPlan {
        listen: args.listen,
        model: model.clone(),
        style: Cast::parse(&args.style).unwrap_or_default(),
        credentials: credentials(&args)?,
        avatars: AvatarSettings {
            edition: args.edition,
            side_px: args.size,
            any_size: model == ModelSettings::Painter,
            ..AvatarSettings::default()
        },
    }
    .start()
    .await?;
    let mut fields = ReadyFields::default().text("origin", running.url());
    if let Some((access_key, secret)) = &running.credentials {
        fields = fields.text("access_key", access_key).secret("secret_key", secret);
    }
    let _ready = args.ready_file.map(|path| ReadyFile::write(&path, fields)).transpose()?;
    println!("origin  {}", running.url());
    if let (Some((access_key, secret)), true) = (&running.credentials, made_now) {
        println!("access key  {access_key}\nsecret key  {}", secret.reveal());
    }
    signals.next().await;
    running.shutdown().await;
    Ok(())
}

fn credentials(args: &AvatarServeArgs) -> Result<Option<(String, Secret)>, Failure> {
    if args.anonymous {
        return Ok(None);
    }
    if let (Some(access_key), Some(path)) = (&args.access_key, &args.secret_key_file) {
        let secret = secret_from(Some(path), "--secret-key-file", "")?;
        return Ok(secret.map(|secret| (access_key.clone(), secret)));
    }
    let access_key = format!("FT{}", root::random_letters(&OsEntropy, 18));
    Ok(Some((access_key, Secret::new(root::random_letters(&OsEntropy, 40)))))
}
