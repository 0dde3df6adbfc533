//! `fallthrough config`: looking at the configuration without starting anything.

use clap::Subcommand;
use fallthrough_gateway::admin::Reloaded;
use http::Method;

use crate::admin_client::AdminClient;
use crate::cli::{Globals, output};
use crate::failure::Failure;
use crate::settings::{near_misses, reference};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration: file, environment and flags
    Check,
    /// Print what holds, defaults included, without secrets
    Show,
    /// Let the running server read its configuration again, as SIGHUP does
    Reload,
    /// Print docs/config.md: every key with its type, default and meaning
    Reference,
}

/// Does what the verb says.
pub(crate) async fn run(command: ConfigCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check => check(globals),
        ConfigCommand::Show => {
            output::print_json(&globals.settings()?.show());
            Ok(())
        }
        ConfigCommand::Reload => reload(globals).await,
        ConfigCommand::Reference => {
            print!("{}", reference::markdown());
            Ok(())
        }
    }
}

async fn reload(globals: &Globals) -> Result<(), Failure> {
    let client = AdminClient::find(globals)?;
    let done: Reloaded = client.call::<(), _>(Method::POST, &["config", "reload"], &[], None).await?;
    if globals.json {
        output::print_json(&done);
    } else if done.changed.is_empty() {
        println!("nothing changed");
    }
    for line in done.changed.iter().filter(|_| !globals.json) {
        println!("{line}");
    }
    Ok(())
}

fn check(globals: &Globals) -> Result<(), Failure> {
    let layers = globals.layers();
    let near: Vec<String> = near_misses(&layers.environment)
        .into_iter()
        .map(|(name, meant)| format!("{name} is no setting and has no effect; did you mean {meant}?"))
        .collect();
    let settings = globals.settings()?;
    let file = settings.file.as_ref().map(|file| file.display().to_string());
    if globals.json {
        output::print_json(&serde_json::json!({ "ok": true, "file": file, "warnings": near }));
        return Ok(());
    }
    for warning in &near {
        println!("warning: {warning}");
    }
    println!(
        "ok: {}, {} accounts, {} models, {} origins, {} managed buckets",
        file.unwrap_or_else(|| "no file".to_owned()),
        settings.accounts.len(),
        settings.models.len(),
        settings.origins.len(),
        settings.buckets.len()
    );
    Ok(())
}
