//! `fallthrough bucket`: making, listing, showing, changing and deleting buckets.

use clap::{Args, Subcommand};
use fallthrough_bucket::{BucketMode, PublicAccess, PublicFill};
use fallthrough_gateway::admin::{
    BucketChange, BucketPage, BucketView, HeldView, NewBucketBody, Rule, ShadowAnswer,
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin_client::AdminClient;
use crate::cli::shadow_flags::PrefixedShadowFlags;
use crate::cli::{Globals, admin, output};
use crate::failure::{Exit, Failure};
use crate::settings::{parse_size, show_size};

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Make a bucket
    Create(Box<CreateArgs>),
    /// List the buckets
    List,
    /// Show a bucket
    Info {
        /// The bucket
        bucket: String,
    },
    /// Change a bucket
    Set(Box<SetArgs>),
    /// Delete empty buckets
    Delete {
        /// The buckets
        #[arg(required = true)]
        buckets: Vec<String>,
        /// Only tell what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// What both making and changing can be told.
#[derive(Debug, Args)]
pub(crate) struct BucketFlags {
    /// How it treats its shadow
    #[arg(long, value_parser = ["plain", "migrate", "cache", "compute"])]
    mode: Option<String>,
    /// Everybody may read (without a value: read)
    #[arg(long, value_parser = ["none", "read"], num_args = 0..=1, require_equals = true, default_missing_value = "read")]
    public: Option<String>,
    /// Who may cause fills on a public bucket
    #[arg(long, value_parser = ["budget", "signed", "open"])]
    public_fill: Option<String>,
    /// The most that its copies may hold, such as 50GiB (in cache and compute); none takes the limit away
    #[arg(long, value_name = "SIZE", value_parser = size_or_none)]
    cache_limit: Option<Limit>,
    /// The most that clients may write, such as 50GiB; none takes the quota away
    #[arg(long, value_name = "SIZE", value_parser = size_or_none)]
    quota: Option<Limit>,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    shadow: PrefixedShadowFlags,
}

/// A size in bytes, or that there shall be no limit.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<u64>);

fn size_or_none(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    parse_size(text).map(|bytes| Limit(Some(bytes)))
}

/// What `create` can be told.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name
    bucket: String,
    /// The account that is to own it; root if not given
    #[arg(long, value_name = "ACCOUNT")]
    owner: Option<String>,
    #[command(flatten)]
    flags: BucketFlags,
}

/// What `set` can be told.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The bucket
    bucket: String,
    /// The account that is to own it
    #[arg(long, value_name = "ACCOUNT")]
    owner: Option<String>,
    #[command(flatten)]
    flags: BucketFlags,
    /// Remove the shadow; what was copied stays, and the bucket becomes plain
    #[arg(long, conflicts_with_all = ["shadow_way", "shadow_provider", "shadow_name", "shadow_region", "shadow_access_key"])]
    clear_shadow: bool,
}

/// Does what the verb says.
pub(crate) async fn run(command: BucketCommand, globals: &Globals) -> Result<(), Failure> {
    let client = AdminClient::find(globals)?;
    match command {
        BucketCommand::Create(args) => create(&client, *args, globals).await,
        BucketCommand::List => list(&client, globals).await,
        BucketCommand::Info { bucket } => info(&client, &bucket, globals).await,
        BucketCommand::Set(args) => set(&client, *args, globals).await,
        BucketCommand::Delete { buckets, dry_run } => delete(&client, &buckets, dry_run, globals).await,
    }
}

async fn create(client: &AdminClient, args: CreateArgs, globals: &Globals) -> Result<(), Failure> {
    let patch = args.flags.shadow.patch(globals)?;
    let rule: Option<Rule> = (!patch.is_empty()).then_some(Value::Object(patch)).map(of_json);
    let body = NewBucketBody {
        name: args.bucket,
        owner: args.owner,
        mode: args.flags.mode.map(of_word::<BucketMode>),
        public: args.flags.public.map(of_word::<PublicAccess>),
        public_fill: args.flags.public_fill.map(of_word::<PublicFill>),
        shadow: rule.into_iter().collect(),
        cache_limit_bytes: args.flags.cache_limit.and_then(|limit| limit.0),
        quota_bytes: args.flags.quota.and_then(|limit| limit.0),
    };
    let (probe, dry_run) = (yes_no(!args.flags.shadow.no_probe), yes_no(args.flags.dry_run));
    let query = [("probe", probe), ("dry_run", dry_run)];
    let answer: ShadowAnswer = client
        .call(Method::POST, &["buckets"], &query, Some(&body))
        .await
        .map_err(|refused| admin::refused(refused, globals.json))?;
    if globals.json {
        output::print_json(&answer);
        return Ok(());
    }
    if let Some(report) = &answer.probe {
        admin::print_probe(report);
    }
    match answer.bucket {
        Some(bucket) if bucket.shadow.is_empty() => println!("made bucket {}", bucket.name),
        Some(bucket) => println!(
            "made bucket {} ({}), which falls through to {}",
            bucket.name,
            admin::word(bucket.mode),
            admin::falls_through_to(&bucket)
        ),
        None => println!("dry run: nothing was made"),
    }
    Ok(())
}

async fn list(client: &AdminClient, globals: &Globals) -> Result<(), Failure> {
    let mut buckets: Vec<BucketView> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let query: Vec<(&str, &str)> = after.iter().map(|after| ("after", after.as_str())).collect();
        let page: BucketPage = client.get(&["buckets"], &query).await?;
        buckets.extend(page.buckets);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if globals.json {
        output::print_json(&buckets);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = buckets
        .iter()
        .map(|bucket| {
            vec![
                bucket.name.clone(),
                admin::word(bucket.mode),
                admin::word(bucket.public),
                if bucket.managed { "managed".to_owned() } else { String::new() },
                admin::falls_through_to(bucket),
            ]
        })
        .collect();
    output::print_rows(&["name", "mode", "public", "managed", "falls through to"], &rows);
    Ok(())
}

async fn info(client: &AdminClient, bucket: &str, globals: &Globals) -> Result<(), Failure> {
    let view: BucketView = client.get(&["buckets", bucket], &[]).await?;
    if globals.json {
        output::print_json(&view);
        return Ok(());
    }
    output::print_fields(&[
        ("name", view.name.clone()),
        ("mode", admin::word(view.mode)),
        ("public", admin::word(view.public)),
        ("public fill", admin::word(view.public_fill)),
        ("owner", view.owner.clone()),
        ("created", view.created.clone()),
        (
            "managed",
            if view.managed {
                "yes: changed in the configuration file only".to_owned()
            } else {
                String::new()
            },
        ),
        ("falls through to", admin::falls_through_to(&view)),
        ("copies", view.usage.map_or_else(String::new, |usage| held(usage.copies, view.cache_limit_bytes))),
        ("written", view.usage.map_or_else(String::new, |usage| held(usage.written, view.quota_bytes))),
    ]);
    Ok(())
}

/// How much there is of how much there may be.
fn held(held: HeldView, limit_bytes: Option<u64>) -> String {
    let of = limit_bytes.map(|limit| format!(" of {}", show_size(limit))).unwrap_or_default();
    format!("{} objects, {}{of}", held.objects, show_size(held.charged_bytes.unwrap_or(held.bytes)))
}

async fn set(client: &AdminClient, args: SetArgs, globals: &Globals) -> Result<(), Failure> {
    let patch = args.flags.shadow.patch(globals)?;
    let dry_run = yes_no(args.flags.dry_run);
    let change = BucketChange {
        owner: args.owner,
        mode: args.flags.mode.clone().map(of_word::<BucketMode>),
        public: args.flags.public.map(of_word::<PublicAccess>),
        public_fill: args.flags.public_fill.map(of_word::<PublicFill>),
        cache_limit_bytes: args.flags.cache_limit.map(|limit| limit.0),
        quota_bytes: args.flags.quota.map(|limit| limit.0),
    };
    let touches_shadow = args.clear_shadow || !patch.is_empty();
    // The mode goes with the shadow if that changes as well: one without the other may not fit.
    let rest = BucketChange { mode: if touches_shadow { None } else { change.mode }, ..change };
    if !touches_shadow && rest == BucketChange::default() {
        return Err(Failure::usage(
            "nothing to change was given",
            "name what to change; see `fallthrough bucket set --help`",
        ));
    }
    let mut shadow_saved = false;
    if args.clear_shadow {
        let query = [("dry_run", dry_run)];
        let path = ["buckets", &args.bucket, "shadow"];
        let answer: ShadowAnswer = client.call::<(), _>(Method::DELETE, &path, &query, None).await?;
        admin::print_change(&answer, globals.json);
        shadow_saved = answer.saved;
    } else if !patch.is_empty() {
        let probe = yes_no(!args.flags.shadow.no_probe);
        let mut query = vec![("probe", probe), ("dry_run", dry_run)];
        query.extend(args.flags.mode.as_deref().map(|mode| ("mode", mode)));
        let path = ["buckets", &args.bucket, "shadow"];
        let answer: ShadowAnswer = client
            .call(Method::PATCH, &path, &query, Some(&patch))
            .await
            .map_err(|refused| admin::refused(refused, globals.json))?;
        admin::print_change(&answer, globals.json);
        shadow_saved = answer.saved;
    }
    if rest == BucketChange::default() {
        return Ok(());
    }
    let path = ["buckets", args.bucket.as_str()];
    let answer = client.call(Method::PATCH, &path, &[("dry_run", dry_run)], Some(&rest)).await;
    let answer: ShadowAnswer = answer.map_err(|refused| {
        let failure = Failure::from(refused);
        if shadow_saved { failure.exit(Exit::PartlyDone) } else { failure }
    })?;
    admin::print_change(&answer, globals.json);
    Ok(())
}

async fn delete(
    client: &AdminClient,
    buckets: &[String],
    dry_run: bool,
    globals: &Globals,
) -> Result<(), Failure> {
    let mut done: Vec<&String> = Vec::new();
    for bucket in buckets {
        let deleted = client.delete(&["buckets", bucket], &[("dry_run", yes_no(dry_run))]).await;
        if let Err(failure) = deleted {
            return Err(if done.is_empty() { failure } else { failure.exit(Exit::PartlyDone) });
        }
        done.push(bucket);
        match (globals.json, dry_run) {
            (true, _) => output::print_json(&serde_json::json!({ "deleted": bucket, "dry_run": dry_run })),
            (false, true) => println!("dry run: would delete bucket {bucket} if it is empty"),
            (false, false) => println!("deleted bucket {bucket}"),
        }
    }
    Ok(())
}

/// A word that the parser of the command line has checked.
pub(crate) fn of_word<T: DeserializeOwned>(word: String) -> T {
    of_json(Value::String(word))
}

fn of_json<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the flags are named and typed like the fields of the API")
}

/// A boolean as the query spells it.
pub(crate) fn yes_no(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}
