//! Logs go to standard error, so that standard output is for results.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;

use crate::failure::Failure;

/// Changes what is logged.
pub(crate) struct LogFilter(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogFilter")
    }
}

impl LogFilter {
    fn of<S: 'static>(handle: Handle<EnvFilter, S>) -> Self {
        Self(Box::new(move |filter| {
            // Fails only where another subscriber was there first, whose filter is its own business.
            let _ = handle.reload(filter);
        }))
    }

    /// From now on this is let through.
    ///
    /// # Errors
    /// The filter cannot be read.
    pub(crate) fn set(&self, filter: &str) -> Result<(), Failure> {
        (self.0)(parse(filter)?);
        Ok(())
    }
}

/// The library that reads requests of S3 in front of us. It logs answers as errors of its own that the gateway turns into
/// others, and bodies that it cannot read, whole. Who names it in the filter gets that.
const S3_LIBRARY: &str = "s3s";

/// Whether `filter` can be read.
///
/// # Errors
/// If it cannot.
pub(crate) fn parse(filter: &str) -> Result<EnvFilter, Failure> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| {
        Failure::new(
            format!("process.log: {filter:?} is not a filter: {error}"),
            "write a level (error, warn, info, debug, trace), or \"info,fallthrough_bucket=debug\"",
        )
    })?;
    let is_named = filter.split(',').any(|part| part.starts_with(S3_LIBRARY));
    let silent = format!("{S3_LIBRARY}=off").parse().ok().filter(|_| !is_named);
    Ok(match silent {
        Some(silent) => parsed.add_directive(silent),
        None => parsed,
    })
}

/// Starts logging what `filter` lets through (`info`, `info,fallthrough_bucket=debug`).
///
/// # Errors
/// The filter cannot be read.
pub(crate) fn start(filter: &str) -> Result<LogFilter, Failure> {
    let parsed = parse(filter)?;
    let ansi =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_filter_reloading();
    let filter = LogFilter::of(subscriber.reload_handle());
    // Somebody else's subscriber is as good: this fails only if there is one already.
    let _ = subscriber.try_init();
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_s3_library_is_silent_unless_it_is_named() {
        for filter in ["info", "error", "info,fallthrough_bucket=debug"] {
            assert!(parse(filter).unwrap().to_string().contains("s3s=off"), "{filter}");
        }
        for filter in ["s3s=debug", "info,s3s::service=warn"] {
            assert!(!parse(filter).unwrap().to_string().contains("off"), "{filter}");
        }
        assert!(parse("info,=").is_err());
    }
}
