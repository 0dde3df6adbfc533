//! `fallthrough serve`: tier 1 as a server.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use fallthrough_gateway::Strangers;

use crate::cli::Globals;
use crate::failure::Failure;
use crate::settings::{Settings, warn_of_near_misses};
use crate::wiring::bucket_tier::{BucketTierPlan, RunningBucketTier};
use crate::wiring::logging;
use crate::wiring::ready_file::ReadyFile;
use crate::wiring::reload::Sources;
use crate::wiring::root;
use crate::wiring::stop::{ReloadSignals, StopSignals};

/// What `serve` can be told.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where S3 clients connect; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where the admin API is; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,
    /// Write addresses and keys to this file once all listeners accept; removed at the end
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// What is logged, such as info or info,fallthrough_bucket=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// Serves until it is told to stop.
pub(crate) async fn run(args: ServeArgs, globals: &Globals) -> Result<(), Failure> {
    let text = |address: SocketAddr| address.to_string();
    let layers = globals
        .layers()
        .flag("--listen", "s3.listen", args.listen.map(text))
        .flag("--admin-listen", "admin.listen", args.admin_listen.map(text))
        .flag("--log", "process.log", args.log);
    let settings = Settings::load(&layers)?;
    let log = logging::start(&settings.log)?;
    warn_of_near_misses(&layers.environment);
    let data = settings.store.data.clone();
    let (mut signals, mut hangups) = (StopSignals::catch()?, ReloadSignals::catch()?);
    let sources = Some(Sources { layers, log });
    let running =
        BucketTierPlan { settings, pages: None, strangers: Strangers::AsOthers, sources }.start().await?;
    let ready = args.ready_file.map(|path| ReadyFile::write(&path, running.ready_fields())).transpose();
    let ready = match ready {
        Ok(ready) => ready,
        Err(failure) => {
            running.shutdown().await;
            return Err(failure);
        }
    };
    greet(&running, &data);
    let signal = loop {
        tokio::select! {
            biased;
            signal = signals.next() => break signal,
            () = hangups.next() => {
                // What is wrong has been logged; the server goes on as it was.
                let _ = running.reloader.reload().await;
            }
        }
    };
    tracing::info!(signal, "stopping");
    drop(ready);
    // A second signal does not wait for the grace time.
    tokio::select! {
        biased;
        () = running.shutdown() => Ok(()),
        signal = signals.next() => Err(Failure::new(
            format!("a second {signal} cut the grace time short"),
            "nothing acknowledged is lost; requests in progress were cut off",
        )),
    }
}

/// Says where the server is, and shows a root key that was made just now, once.
fn greet(running: &RunningBucketTier, data: &std::path::Path) {
    println!("S3     {}", running.s3_url());
    println!("admin  {}", running.admin_url());
    if running.root.made_now {
        println!();
        println!("A root account was made; its key is kept in {}:", root::path(data).display());
        println!("  access key  {}", running.root.account.access_key);
        println!("  secret key  {}", running.root.account.secret_key.reveal());
        println!("`fallthrough key env` prints it for your tools.");
    }
}
