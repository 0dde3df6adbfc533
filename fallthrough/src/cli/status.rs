//! `fallthrough status`: how the server is.

use clap::Args;
use fallthrough_gateway::admin::Status;

use crate::admin_client::AdminClient;
use crate::cli::{Globals, output};
use crate::failure::Failure;
use crate::settings::show_size;

/// What `status` can be told.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {}

/// Prints the status; fails if the server is not ready.
pub(crate) async fn run(_args: &StatusArgs, globals: &Globals) -> Result<(), Failure> {
    let status: Status = AdminClient::find(globals)?.get(&["status"], &[]).await?;
    if globals.json {
        output::print_json(&status);
    } else {
        output::print_fields(&[
            ("ready", if status.ready { output::good("yes") } else { output::bad("no") }),
            ("version", status.version.clone()),
            ("up", format!("{} s", status.uptime_secs)),
            ("s3", status.s3.clone()),
            (
                "buckets",
                if status.buckets < 1000 { status.buckets.to_string() } else { "1000 or more".to_owned() },
            ),
            (
                "damaged",
                match status.quarantined {
                    0 => String::new(),
                    blobs => {
                        output::bad(&format!("{blobs} in quarantine: see `fallthrough doctor quarantine`"))
                    }
                },
            ),
            (
                "undelivered",
                status
                    .waiting
                    .map(|waiting| format!("{} pending, {} dead", waiting.pending, waiting.dead))
                    .unwrap_or_default(),
            ),
            (
                "copies",
                status.copies.map_or_else(String::new, |copies| {
                    let of = copies.limit_bytes.map(|limit| format!(" of {}", show_size(limit)));
                    let held = show_size(copies.charged_bytes);
                    format!("{} objects, {held}{}", copies.objects, of.unwrap_or_default())
                }),
            ),
            ("free", status.store_free_bytes.map(show_size).unwrap_or_default()),
        ]);
    }
    if status.ready {
        Ok(())
    } else {
        Err(Failure::new(
            "the server is not ready",
            "look at its log; it may be stopping, or its disk may fail",
        ))
    }
}
