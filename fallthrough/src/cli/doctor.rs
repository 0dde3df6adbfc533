//! `fallthrough doctor`: compares what is kept with its checksums, and shows what was found damaged.

use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, Subcommand};
use fallthrough_gateway::admin::{QuarantinePage, QuarantinedView, ScrubCount, ScrubView};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;

use crate::admin_client::AdminClient;
use crate::cli::{Globals, output};
use crate::failure::{Exit, Failure};
use crate::settings::{parse_size, show_size};

/// How often a running pass is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum DoctorCommand {
    /// Compare everything that is kept with its checksums; fails if objects are damaged for good
    Scrub(ScrubArgs),
    /// List damaged blobs, which are kept for you and never served
    Quarantine,
    /// Discard damaged blobs for good, once their objects were put again or deleted
    Discard {
        /// The blobs, as `doctor quarantine` names them
        #[arg(required = true)]
        blobs: Vec<String>,
    },
}

/// What `scrub` can be told.
#[derive(Debug, Args)]
pub(crate) struct ScrubArgs {
    /// Wait for the end of the pass, and show how far it is
    #[arg(long)]
    wait: bool,
    /// Only tell what the scrubber does and has found
    #[arg(long, conflicts_with_all = ["wait", "restart", "rate"])]
    status: bool,
    /// Begin at the beginning, also if a pass is under way
    #[arg(long)]
    restart: bool,
    /// Bytes to read per second, such as 64MiB; 0 for as fast as the disk; as configured if not given
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    rate: Option<u64>,
}

/// Does what the verb says.
pub(crate) async fn run(command: DoctorCommand, globals: &Globals) -> Result<(), Failure> {
    let client = AdminClient::find(globals)?;
    match command {
        DoctorCommand::Scrub(args) => scrub(&args, &client, globals).await,
        DoctorCommand::Quarantine => quarantine(&client, globals).await,
        DoctorCommand::Discard { blobs } => discard(&blobs, &client).await,
    }
}

async fn scrub(args: &ScrubArgs, client: &AdminClient, globals: &Globals) -> Result<(), Failure> {
    let before: ScrubView = client.get(&["scrub"], &[]).await?;
    if args.status {
        show(&before, globals.json);
        return judge(&before);
    }
    let rate = args.rate.map(|rate| rate.to_string());
    let mut query = vec![("restart", if args.restart { "true" } else { "false" })];
    if let Some(rate) = &rate {
        query.push(("bytes_per_second", rate));
    }
    let mut view = client.call::<(), ScrubView>(Method::POST, &["scrub"], &query, None).await?;
    if !args.wait {
        show(&view, globals.json);
        if !globals.json {
            println!("`fallthrough doctor scrub --wait` waits for its end, `--status` tells how far it is");
        }
        return Ok(());
    }
    let quiet = globals.json || !std::io::stderr().is_terminal();
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    let style = ProgressStyle::with_template("[{bar:30}] {percent:>3} % of {binary_total_bytes}  {msg}")
        .expect("the template is right");
    bar.set_style(style.progress_chars("=> "));
    let ended = before.passes;
    while view.running || view.passes == ended {
        if let Some(pass) = &view.pass {
            bar.set_length(pass.bytes_total);
            bar.set_position(pass.tally.bytes);
            bar.set_message(format!("{}  {}", speed(&view), counts(pass)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        view = client.get(&["scrub"], &[]).await?;
    }
    bar.finish_and_clear();
    show(&view, globals.json);
    judge(&view)
}

/// Fails if the pass found what nobody but the operator can mend.
fn judge(view: &ScrubView) -> Result<(), Failure> {
    let Some(pass) = view.pass.as_ref() else { return Ok(()) };
    let tally = &pass.tally;
    if tally.damaged_written > 0 {
        return Err(Failure::new(
            format!("{} of the objects that clients wrote are damaged", tally.damaged_written),
            "`fallthrough doctor quarantine` lists them; put them again from where they came from, or delete them",
        ));
    }
    if tally.damaged_rows > 0 {
        return Err(Failure::new(
            format!("{} rows of the index are damaged", tally.damaged_rows),
            "their names are above; `fallthrough object purge --written` gives up such a key, so that it can be put again",
        ));
    }
    if tally.unreadable > 0 {
        return Err(Failure::new(
            format!("the disk could not read {} of the objects", tally.unreadable),
            "look at the system's log for errors of the disk, and scrub again",
        ));
    }
    let unhealed = tally.damaged_filled.saturating_sub(tally.healed);
    if unhealed > 0 {
        return Err(Failure::new(
            format!("{unhealed} damaged copies could not be fetched again"),
            "`fallthrough shadow test` tells why; their next GET tries again, and so does the next pass",
        )
        .exit(Exit::PartlyDone));
    }
    Ok(())
}

fn show(view: &ScrubView, json: bool) {
    if json {
        output::print_json(view);
        return;
    }
    let done = |pass: &ScrubCount| {
        let tally = &pass.tally;
        format!(
            "{} of {} objects, {} of {}",
            tally.objects,
            pass.objects_total.max(tally.objects),
            show_size(tally.bytes),
            show_size(pass.bytes_total.max(tally.bytes))
        )
    };
    let Some(pass) = &view.pass else {
        println!("{}", if view.running { "a pass is about to begin" } else { "nothing was scrubbed yet" });
        return;
    };
    let state = match (&pass.ended, view.running) {
        (Some(ended), false) => format!("ended {ended}"),
        (_, true) => "under way".to_owned(),
        (None, false) => "stopped".to_owned(),
    };
    let limit = match view.limit_bytes_per_second {
        0 => "none".to_owned(),
        limit => format!("{}/s", show_size(limit)),
    };
    output::print_fields(&[
        ("pass", format!("began {}, {state}", pass.started)),
        ("checked", done(pass)),
        ("damaged", bad_if(pass.tally.damaged_written + pass.tally.damaged_filled, &counts(pass))),
        ("rows", format!("{} read, {} damaged", pass.tally.rows, pass.tally.damaged_rows)),
        (
            "unreadable",
            if pass.tally.unreadable > 0 { pass.tally.unreadable.to_string() } else { String::new() },
        ),
        ("quarantine", format!("{} blobs", view.quarantined)),
        ("rate", if view.running { speed(view) } else { String::new() }),
        ("limit", limit),
    ]);
    let rows: Vec<Vec<String>> = view
        .findings
        .iter()
        .map(|found| {
            let object = if found.bucket.is_empty() {
                "(index)".to_owned()
            } else {
                format!("s3://{}/{}", found.bucket, found.key)
            };
            vec![object, found.state.clone(), found.outcome.clone(), found.what.clone()]
        })
        .collect();
    if !rows.is_empty() {
        println!();
        output::print_rows(&["object", "state", "outcome", "what"], &rows);
    }
}

fn bad_if(count: u64, text: &str) -> String {
    if count > 0 { output::bad(text) } else { text.to_owned() }
}

fn counts(pass: &ScrubCount) -> String {
    let tally = &pass.tally;
    format!(
        "{} written, {} filled ({} healed), {} put into quarantine",
        tally.damaged_written, tally.damaged_filled, tally.healed, tally.quarantined
    )
}

fn speed(view: &ScrubView) -> String {
    let left = match view.left_secs {
        Some(secs) if secs >= 3600 => format!(", {} h {} min left", secs / 3600, secs % 3600 / 60),
        Some(secs) if secs >= 60 => format!(", {} min left", secs / 60),
        Some(secs) => format!(", {secs} s left"),
        None => String::new(),
    };
    format!("{}/s{left}", show_size(view.bytes_per_second))
}

async fn quarantine(client: &AdminClient, globals: &Globals) -> Result<(), Failure> {
    let mut all: Vec<QuarantinedView> = Vec::new();
    let mut after = String::new();
    loop {
        let query = [("after", after.as_str())];
        let page: QuarantinePage =
            client.get(&["quarantine"], if after.is_empty() { &[] } else { &query[..] }).await?;
        all.extend(page.blobs);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    if globals.json {
        output::print_json(&all);
        return Ok(());
    }
    let kept = |view: &QuarantinedView| view.kept_bytes.map_or_else(|| "nothing left".to_owned(), show_size);
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|view| {
            let object = format!("s3://{}/{}", view.bucket, view.key);
            vec![
                view.blob.clone(),
                object,
                view.state.clone(),
                kept(view),
                view.found.clone(),
                view.what.clone(),
            ]
        })
        .collect();
    output::print_rows(&["blob", "object", "state", "kept", "found", "what"], &rows);
    Ok(())
}

async fn discard(blobs: &[String], client: &AdminClient) -> Result<(), Failure> {
    for (done, blob) in blobs.iter().enumerate() {
        client
            .delete(&["quarantine", blob], &[])
            .await
            .map_err(|failure| if done > 0 { failure.exit(Exit::PartlyDone) } else { failure })?;
        println!("discarded {blob}");
    }
    Ok(())
}
