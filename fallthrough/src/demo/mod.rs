//! `fallthrough demo`: the three tiers as three real servers over loopback HTTP, in one process and folder.

use crate::cli::Globals;
use crate::failure::Failure;

/// What `demo` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {}

/// Runs the demo until it is told to stop.
///
/// # Errors
/// What kept it from starting, with what to do.
pub(crate) async fn run(_args: DemoArgs, _globals: &Globals) -> Result<(), Failure> {
    Err(Failure::new("the demo is not built into this version", "use `fallthrough serve`"))
}
