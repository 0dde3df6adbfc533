//! The program as a user runs it: a served process on free ports, and commands against it.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]
#![allow(dead_code, reason = "each file of tests uses a part of it")]

pub(crate) mod asking;
pub(crate) mod client;
pub(crate) mod large;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

/// A command of the program, without anything from the environment that could change what it does.
pub(crate) fn fallthrough(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fallthrough"));
    command.env_clear().env("HOME", folder).env("NO_COLOR", "1").current_dir(folder);
    command
}

/// What a command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
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

pub(crate) fn run(command: &mut Command) -> Ran {
    command.output().unwrap().into()
}

/// Sends a signal, `-TERM` or so, to a process of ours.
pub(crate) fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// `serve` on free ports with its data in the folder `data` of the working folder.
pub(crate) const SERVE: [&str; 9] =
    ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", "data", "--log", "warn"];

/// What a process writes, taken as it comes: nobody who writes into a full pipe gets anything done.
struct Told {
    text: Arc<(Mutex<String>, Condvar)>,
}

/// How much of it is kept.
const TOLD_BYTES: usize = 1 << 20;

impl Told {
    fn follow(stream: ChildStderr) -> Self {
        let text = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let kept = Arc::clone(&text);
        // Ends with the process, whose end closes the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let (text, more) = &*kept;
                let mut text = text.lock().unwrap();
                if text.len() < TOLD_BYTES {
                    text.push_str(&line);
                    text.push('\n');
                }
                more.notify_all();
            }
        });
        Self { text }
    }

    fn text(&self) -> String {
        self.text.0.lock().unwrap().clone()
    }

    /// Waits for `what`; long enough for any machine.
    fn wait_for(&self, what: &str) {
        let (text, more) = &*self.text;
        let waited = more
            .wait_timeout_while(text.lock().unwrap(), Duration::from_secs(60), |text| !text.contains(what))
            .unwrap();
        assert!(!waited.1.timed_out(), "it never told {what:?}: {}", waited.0.as_str());
    }
}

/// A process that serves until it is dropped or stopped.
pub(crate) struct Served {
    child: Child,
    // Kept open: a program whose output nobody takes would be told so.
    _stdout: BufReader<ChildStdout>,
    told: Told,
    pub(crate) folder: PathBuf,
    pub(crate) ready_file: PathBuf,
    pub(crate) ready: Value,
}

impl Served {
    /// Starts `arguments` in `folder` and waits for its ready file.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = fallthrough(folder);
        command.args(arguments);
        Self::start_command(folder, command).unwrap_or_else(|ran| panic!("it ended: {}", ran.err))
    }

    /// Starts the program by `command`, which may be another program that starts it; how it ended if it did so
    /// before it was ready.
    pub(crate) fn start_command(folder: &Path, mut command: Command) -> Result<Self, Ran> {
        let ready_file = folder.join("ready.json");
        let mut child = command
            .arg("--ready-file")
            .arg(&ready_file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The first line comes when the ready file stands; none comes if the start failed.
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        if stdout.read_line(&mut String::new()).unwrap() == 0 {
            return Err(child.wait_with_output().unwrap().into());
        }
        let ready = serde_json::from_slice(&std::fs::read(&ready_file).unwrap()).unwrap();
        let told = Told::follow(child.stderr.take().unwrap());
        Ok(Self { child, _stdout: stdout, told, folder: folder.to_owned(), ready_file, ready })
    }

    /// `serve` on free ports with its data in `folder`.
    pub(crate) fn serve(folder: &Path, more: &[&str]) -> Self {
        let mut arguments = SERVE.to_vec();
        arguments.extend(more);
        Self::start(folder, &arguments)
    }

    /// The server's process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub(crate) fn told(&self) -> String {
        self.told.text()
    }

    /// Waits until it has logged this.
    pub(crate) fn wait_until_told(&self, what: &str) {
        self.told.wait_for(what);
    }

    /// How it ended, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.ready[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.ready))
    }

    /// Runs a command against this server.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Ran {
        let mut command = fallthrough(&self.folder);
        command.env("FALLTHROUGH_ADMIN", self.text("admin"));
        command.env("FALLTHROUGH_ADMIN_TOKEN", self.text("admin_token"));
        run(command.args(arguments))
    }

    /// Runs a command that has to succeed, and reads its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let ran = self.ctl(&with_json);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        ran.json()
    }

    /// The most memory that the process has had resident, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// The memory that the process has resident, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        value.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal and waits for the end; the exit code.
    pub(crate) fn stop(mut self, signal: &str) -> i32 {
        self::signal(self.child.id(), signal);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have been stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
