//! The built program, run for a layer's checks on free ports in a folder of its own, and ended with them.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::Context;
use crate::command::command;

/// Longest wait for the ready file. It is there within a second on an idle machine.
const START_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A running `fallthrough`. Dropping it ends the process and removes its folder.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    /// Starts `fallthrough COMMAND` on free loopback ports and waits until its ready file is there.
    ///
    /// # Errors
    /// The program ended, or was not ready in time; what it printed is in `server.log` and in the message.
    pub(crate) fn start(context: &Context, subcommand: &str) -> Result<Self, String> {
        let folder = context.target.join("xtask").join(format!("{subcommand}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder); // Most often there is none; if it cannot go, the next line fails.
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let log = std::fs::File::create(folder.join("server.log"))
            .map_err(|error| format!("server.log: {error}"))?;
        let errors = log.try_clone().map_err(|error| format!("server.log: {error}"))?;
        let child = command(context.program(), &folder)
            .arg(subcommand)
            .arg("--data")
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(folder.join("ready.json"))
            .env("FALLTHROUGH_S3__LISTEN", "127.0.0.1:0")
            .env("FALLTHROUGH_ADMIN__LISTEN", "127.0.0.1:0")
            .env("NO_COLOR", "1")
            .stdout(Stdio::from(log))
            .stderr(Stdio::from(errors))
            .spawn()
            .map_err(|error| format!("{} could not be started: {error}", context.program().display()))?;
        let mut server = Self { child, folder };
        server.wait_until_ready(subcommand)?;
        Ok(server)
    }

    /// The ready file: addresses and keys.
    pub(crate) fn ready_file(&self) -> PathBuf {
        self.folder.join("ready.json")
    }

    /// A folder that goes with the server.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    #[expect(clippy::disallowed_methods, reason = "a file's coming is no event that std could wait for")]
    fn wait_until_ready(&mut self, subcommand: &str) -> Result<(), String> {
        let start = std::time::Instant::now();
        // The ready file is renamed into place, so it is whole as soon as it is there.
        while !self.ready_file().exists() {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || start.elapsed() > START_MAX {
                let log = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
                let how = ended.map_or_else(
                    || "was not ready in time".to_owned(),
                    |status| format!("ended with {status}"),
                );
                return Err(format!("`fallthrough {subcommand}` {how}: {}", log.trim()));
            }
            // Nothing announces it: look again.
            std::thread::sleep(POLL);
        }
        println!("`fallthrough {subcommand}` ready after {} ms", start.elapsed().as_millis());
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that has already ended cannot be killed, and its folder may be gone: both are what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
