//! `fallthrough key`: access keys.

use clap::{Args, Subcommand};
use fallthrough_bucket::{Grant, Right};
use fallthrough_gateway::admin::{KeyChange, KeyPage, KeyRotation, KeyView, NewKey};
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
    /// Show an access key, without its secret
    Show {
        /// The key's id
        id: String,
    },
    /// Replace an access key by one that may do the same; the new secret is shown once
    Rotate {
        /// The key's id
        id: String,
        /// For how long the old key goes on beside the new one
        #[arg(long, value_name = "DURATION", default_value = "1d")]
        keep: String,
    },
    /// Limit what an access key may do: to what is given, and nothing else
    Limit(LimitArgs),
    /// Let an access key expire; requests signed with it are refused from then on
    Expire {
        /// The key's id
        id: String,
        /// Until then, such as 30d; 0s is at once
        #[arg(long = "in", value_name = "DURATION", required_unless_present = "never")]
        after: Option<String>,
        /// Never
        #[arg(long, conflicts_with = "after")]
        never: bool,
    },
    /// Refuse an access key from now on, and keep it
    Disable {
        /// The key's id
        id: String,
    },
    /// Let an access key that was disabled, or has expired, be used again
    Enable {
        /// The key's id
        id: String,
    },
    /// Print an access key for other tools: variables to eval, or a profile
    Env(key_env::EnvArgs),
    /// Delete access keys; requests signed with them are refused from then on
    #[command(visible_alias = "delete")]
    Revoke {
        /// The keys' ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Only tell what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// Rights that a key is limited to.
#[derive(Debug, Args)]
pub(crate) struct RightArgs {
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
}

impl RightArgs {
    fn grants(self) -> Vec<Grant> {
        let rights = [
            (Right::Read, self.read),
            (Right::Write, self.write),
            (Right::Fill, self.fill),
            (Right::Owner, self.owner),
        ];
        let grants = rights
            .into_iter()
            .flat_map(|(right, buckets)| buckets.into_iter().map(move |bucket| Grant { bucket, right }));
        grants.collect()
    }
}

/// What `limit` can be told.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// The key's id
    id: String,
    #[command(flatten)]
    rights: RightArgs,
    /// Take every limit away: it may do all that its account may
    #[arg(long, conflicts_with_all = ["read", "write", "fill", "owner"])]
    all: bool,
}

/// What `create` can be told. Without a right, the key may do all that its account may.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    rights: RightArgs,
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
        KeyCommand::Show { id } => show(&id, globals).await,
        KeyCommand::Rotate { id, keep } => rotate(&id, &keep, globals).await,
        KeyCommand::Limit(args) => limit(args, globals).await,
        KeyCommand::Expire { id, after, never: _ } => {
            let secs = after.map(|text| seconds(&text, "--in")).transpose()?;
            change(&id, KeyChange { expires_in_secs: Some(secs), ..KeyChange::default() }, globals).await
        }
        KeyCommand::Disable { id } => {
            change(&id, KeyChange { expires_in_secs: Some(Some(0)), ..KeyChange::default() }, globals).await
        }
        KeyCommand::Enable { id } => {
            change(&id, KeyChange { expires_in_secs: Some(None), ..KeyChange::default() }, globals).await
        }
        KeyCommand::Env(args) => key_env::run(&args, globals).await,
        KeyCommand::Revoke { ids, dry_run } => revoke(&ids, dry_run, globals).await,
    }
}

async fn create(args: CreateArgs, globals: &Globals) -> Result<(), Failure> {
    let grants = args.rights.grants();
    let expires_in_secs = args.expires.map(|text| seconds(&text, "--expires")).transpose()?;
    let body =
        NewKey { account: args.account, grants: (!grants.is_empty()).then_some(grants), expires_in_secs };
    let client = AdminClient::find(globals)?;
    let key: KeyView = client.call(Method::POST, &["keys"], &[], Some(&body)).await?;
    print_new(&key, globals);
    Ok(())
}

fn seconds(text: &str, flag: &str) -> Result<u64, Failure> {
    let duration = parse_duration(text);
    let wrong = |wrong| Failure::usage(format!("{flag}: {wrong}"), "write it like 30d");
    Ok(duration.map_err(wrong)?.as_secs())
}

fn print_new(key: &KeyView, globals: &Globals) {
    if globals.json {
        return output::print_json(key);
    }
    output::print_fields(&[
        ("access key", key.id.clone()),
        ("secret key", key.secret.clone().unwrap_or_default()),
        ("may", may(key)),
        ("expires", key.expires.clone().unwrap_or_default()),
    ]);
    eprintln!("The secret is shown only now: it cannot be read again.");
}

fn print(key: &KeyView, globals: &Globals) {
    if globals.json {
        return output::print_json(key);
    }
    output::print_fields(&[
        ("access key", key.id.clone()),
        ("account", key.account.clone()),
        ("may", may(key)),
        ("created", key.created.clone()),
        ("expires", key.expires.clone().unwrap_or_default()),
        ("declared", yes_no(key.fixed).to_owned()),
    ]);
}

async fn show(id: &str, globals: &Globals) -> Result<(), Failure> {
    let key: KeyView = AdminClient::find(globals)?.get(&["keys", id], &[]).await?;
    print(&key, globals);
    Ok(())
}

async fn rotate(id: &str, keep: &str, globals: &Globals) -> Result<(), Failure> {
    let body = KeyRotation { keep_secs: Some(seconds(keep, "--keep")?) };
    let client = AdminClient::find(globals)?;
    let key: KeyView = client.call(Method::POST, &["keys", id, "rotate"], &[], Some(&body)).await?;
    print_new(&key, globals);
    Ok(())
}

async fn limit(args: LimitArgs, globals: &Globals) -> Result<(), Failure> {
    let grants = args.rights.grants();
    if grants.is_empty() && !args.all {
        let mend = "give --read, --write, --fill or --owner with a bucket, or --all to take every limit away";
        return Err(Failure::usage("nothing is said of what the key may do", mend));
    }
    let grants = (!args.all).then_some(grants);
    change(&args.id, KeyChange { grants: Some(grants), ..KeyChange::default() }, globals).await
}

async fn change(id: &str, change: KeyChange, globals: &Globals) -> Result<(), Failure> {
    let client = AdminClient::find(globals)?;
    let key: KeyView = client.call(Method::PATCH, &["keys", id], &[], Some(&change)).await?;
    print(&key, globals);
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
