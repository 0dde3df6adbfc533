//! `fallthrough key`: access keys.

use clap::{Args, Subcommand};
use fallthrough_bucket::{Grant, Right};
use fallthrough_gateway::admin::{KeyPage, KeyView, NewKey};
use reqwest::Method;

use crate::admin_client::AdminClient;
use crate::cli::bucket::yes_no;
use crate::cli::{Globals, admin, key_env, output};
use crate::failure::{Exit, Failure};
use crate::settings::parse_duration;

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make an access key; its secret is shown once
    Create(CreateArgs),
    /// List the access keys
    List,
    /// Print an access key for other tools: variables to eval, or a profile
    Env(key_env::EnvArgs),
    /// Remove access keys; requests signed with them are refused from then on
    Revoke {
        /// The keys' ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Only tell what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// What `create` can be told. Without a right, the key may do all that its account may.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// May read this bucket (* for all); may be repeated, as the others
    #[arg(long, value_name = "BUCKET")]
    read: Vec<String>,
    /// May write to and delete from this bucket
    #[arg(long, value_name = "BUCKET")]
    write: Vec<String>,
    /// May cause fills of this bucket
    #[arg(long, value_name = "BUCKET")]
    fill: Vec<String>,
    /// May do everything with this bucket
    #[arg(long, value_name = "BUCKET")]
    owner: Vec<String>,
    /// Until it expires, such as 30d; never if not given
    #[arg(long, value_name = "DURATION")]
    expires: Option<String>,
    /// The account it belongs to; root if not given
    #[arg(long, value_name = "ID")]
    account: Option<String>,
}

/// Does what the verb says.
pub(crate) async fn run(command: KeyCommand, globals: &Globals) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(args) => create(args, globals).await,
        KeyCommand::List => list(globals).await,
        KeyCommand::Env(args) => key_env::run(&args, globals).await,
        KeyCommand::Revoke { ids, dry_run } => revoke(&ids, dry_run, globals).await,
    }
}

async fn create(args: CreateArgs, globals: &Globals) -> Result<(), Failure> {
    let rights = [
        (Right::Read, args.read),
        (Right::Write, args.write),
        (Right::Fill, args.fill),
        (Right::Owner, args.owner),
    ];
    let grants: Vec<Grant> = rights
        .into_iter()
        .flat_map(|(right, buckets)| buckets.into_iter().map(move |bucket| Grant { bucket, right }))
        .collect();
    let expires_in_secs = args
        .expires
        .map(|text| parse_duration(&text).map(|duration| duration.as_secs()))
        .transpose()
        .map_err(|wrong| Failure::usage(format!("--expires: {wrong}"), "write it like 30d"))?;
    let body =
        NewKey { account: args.account, grants: (!grants.is_empty()).then_some(grants), expires_in_secs };
    let client = AdminClient::find(globals)?;
    let key: KeyView = client.call(Method::POST, &["keys"], &[], Some(&body)).await?;
    if globals.json {
        output::print_json(&key);
        return Ok(());
    }
    output::print_fields(&[
        ("access key", key.id.clone()),
        ("secret key", key.secret.clone().unwrap_or_default()),
        ("may", may(&key)),
        ("expires", key.expires.clone().unwrap_or_default()),
    ]);
    eprintln!("The secret is shown only now: it cannot be read again.");
    Ok(())
}

async fn list(globals: &Globals) -> Result<(), Failure> {
    let client = AdminClient::find(globals)?;
    let mut keys: Vec<KeyView> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let query: Vec<(&str, &str)> = after.iter().map(|after| ("after", after.as_str())).collect();
        let page: KeyPage = client.get(&["keys"], &query).await?;
        keys.extend(page.keys);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if globals.json {
        output::print_json(&keys);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            let fixed = if key.fixed { "declared" } else { "" };
            vec![
                key.id.clone(),
                key.account.clone(),
                may(key),
                key.created.clone(),
                key.expires.clone().unwrap_or_default(),
                fixed.to_owned(),
            ]
        })
        .collect();
    output::print_rows(&["id", "account", "may", "created", "expires", ""], &rows);
    Ok(())
}

async fn revoke(ids: &[String], dry_run: bool, globals: &Globals) -> Result<(), Failure> {
    let client = AdminClient::find(globals)?;
    for (done, id) in ids.iter().enumerate() {
        let revoked = client.delete(&["keys", id], &[("dry_run", yes_no(dry_run))]).await;
        revoked.map_err(|failure| if done > 0 { failure.exit(Exit::PartlyDone) } else { failure })?;
        match (globals.json, dry_run) {
            (true, _) => output::print_json(&serde_json::json!({ "revoked": id, "dry_run": dry_run })),
            (false, true) => println!("dry run: would revoke {id}"),
            (false, false) => println!("revoked {id}"),
        }
    }
    Ok(())
}

/// What a key may do, in a few words.
fn may(key: &KeyView) -> String {
    match &key.grants {
        None => "all".to_owned(),
        Some(grants) => {
            let words: Vec<String> =
                grants.iter().map(|grant| format!("{} {}", admin::word(grant.right), grant.bucket)).collect();
            words.join(", ")
        }
    }
}
