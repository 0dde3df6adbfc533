//! When a server is told to stop, or to read its configuration again.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// The signals that stop a server: SIGINT (Ctrl-C) and SIGTERM. Caught from the moment this is made, so make
/// it before the ready file is written.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// Starts to catch the signals. Must be called within the runtime.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(crate) fn catch() -> Result<Self, Failure> {
        let catch = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(format!("signals cannot be caught: {error}"), "raise the limit of open files")
            })
        };
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    /// Waits for the next one and tells its name. Safe to drop and to call again.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP: the configuration is to be read again. Caught from the moment this is made; until then it ends the process.
#[derive(Debug)]
pub(crate) struct ReloadSignals(tokio::signal::unix::Signal);

impl ReloadSignals {
    /// Starts to catch the signal. Must be called within the runtime.
    ///
    /// # Errors
    /// The operating system refuses.
    pub(crate) fn catch() -> Result<Self, Failure> {
        signal(SignalKind::hangup()).map(Self).map_err(|error| {
            Failure::new(format!("signals cannot be caught: {error}"), "raise the limit of open files")
        })
    }

    /// Waits for the next one. Several that come before this is called again count as one.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}
