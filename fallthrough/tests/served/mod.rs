//! The program as a user runs it: a served process on free ports, and commands against it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a start or a stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the program, without anything from the environment that could change what it does.
pub fn fallthrough(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fallthrough"));
    command.env_clear().env("HOME", folder).env("NO_COLOR", "1").current_dir(folder);
    command
}

/// What a command printed and how it ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn run(command: &mut Command) -> Ran {
    command.output().unwrap().into()
}

/// A process that serves until it is dropped or stopped.
pub struct Served {
    child: Child,
    pub folder: PathBuf,
    pub ready_file: PathBuf,
    pub ready: Value,
}

impl Served {
    /// Starts `arguments` in `folder` and waits for its ready file.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let ready_file = folder.join("ready.json");
        let mut child = fallthrough(folder)
            .args(arguments)
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        loop {
            // The file is renamed into place when it is complete: whoever sees it can read all of it.
            if let Ok(text) = std::fs::read(&ready_file) {
                let ready = serde_json::from_slice(&text).unwrap();
                return Self { child, folder: folder.to_owned(), ready_file, ready };
            }
            if let Some(status) = child.try_wait().unwrap() {
                let mut told = String::new();
                child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
                panic!("it ended with {status}: {told}");
            }
            assert!(begun.elapsed() < PATIENCE, "it is not ready after {PATIENCE:?}");
            std::thread::yield_now();
        }
    }

    /// `serve` on free ports with its data in `folder`.
    pub fn serve(folder: &Path, more: &[&str]) -> Self {
        let mut arguments = vec![
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data",
            "data",
            "--log",
            "warn",
        ];
        arguments.extend(more);
        Self::start(folder, &arguments)
    }

    pub fn text(&self, field: &str) -> &str {
        self.ready[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.ready))
    }

    /// Runs a command against this server.
    pub fn ctl(&self, arguments: &[&str]) -> Ran {
        let mut command = fallthrough(&self.folder);
        command.env("FALLTHROUGH_ADMIN", self.text("admin"));
        command.env("FALLTHROUGH_ADMIN_TOKEN", self.text("admin_token"));
        run(command.args(arguments))
    }

    /// Runs a command that has to succeed, and reads its JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let ran = self.ctl(&with_json);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        ran.json()
    }

    /// Sends a signal and waits for the end; the exit code.
    pub fn stop(mut self, signal: &str) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < PATIENCE, "it does not stop");
            std::thread::yield_now();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have been stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
