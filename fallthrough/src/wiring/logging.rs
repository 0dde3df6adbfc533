//! Logs go to standard error, so that standard output is for results.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Starts logging what `filter` lets through (`info`, `info,fallthrough_bucket=debug`).
///
/// # Errors
/// The filter cannot be read.
pub(crate) fn start(filter: &str) -> Result<(), Failure> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| {
        Failure::new(
            format!("process.log: {filter:?} is not a filter: {error}"),
            "write a level (error, warn, info, debug, trace), or \"info,fallthrough_bucket=debug\"",
        )
    })?;
    let ansi =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // Somebody else's subscriber is as good: this fails only if there is one already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .try_init();
    Ok(())
}
