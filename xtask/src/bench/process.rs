//! Processes under measurement: started on core 0, looked at through /proc, ended when dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Context;
use crate::command::{capture, command, find_program};

/// A process on core 0.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `program` in `folder`, on core 0 alone.
    pub(crate) fn start(program: &Path, args: &[&str], folder: &Path) -> Result<Self, String> {
        let mut pinned = taskset(folder)?;
        pinned.args(["--cpu-list", "0"]).arg(program).args(args).stdout(Stdio::null());
        let child = pinned.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { child })
    }

    /// CPU time that the process has used, user and system, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let stat = self.proc("stat")?;
        // The second field may have spaces and ends with the last parenthesis; utime and stime are 14 and 15.
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Bytes in memory now.
    pub(crate) fn resident_bytes(&self) -> Result<u64, String> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| "VmRSS is no number")?;
        Ok(kib * 1024)
    }

    /// Sends a signal, `-KILL` or so.
    ///
    /// # Errors
    /// There is no `kill`, or no such process any more.
    pub(crate) fn signal(&self, signal: &str) -> Result<(), String> {
        capture(command("kill", Path::new("/")).args([signal, &self.child.id().to_string()])).map(|_| ())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// It did not end well.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.signal("-TERM")?;
        let ended = self.child.wait().map_err(|error| error.to_string())?;
        if ended.success() { Ok(()) } else { Err(format!("it ended with {ended}")) }
    }

    /// Waits until it has used no more than a tick of CPU for a second, and tells how long that took.
    ///
    /// # Errors
    /// It ended.
    #[expect(clippy::disallowed_methods, reason = "work in the background gives no event to wait for")]
    pub(crate) fn until_idle(&self) -> Result<Duration, String> {
        let (start, mut before) = (Instant::now(), self.cpu()?);
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.cpu()?;
            if now - before <= Duration::from_millis(10) {
                return Ok(start.elapsed());
            }
            before = now;
        }
    }

    fn proc(&self, file: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It may have ended already.
        let _ = self.child.wait();
    }
}

/// The machine's load average: 0 over one minute, 1 over five, 2 over fifteen; `?` if it does not tell.
pub(crate) fn load_average(which: usize) -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().nth(which).unwrap_or("?").to_owned()
}

/// Puts this process, with all of its threads and those to come, on core 1.
///
/// # Errors
/// There is no `taskset`, or no core 1.
pub(crate) fn pin_the_load(folder: &Path) -> Result<(), String> {
    let mut pin = taskset(folder)?;
    pin.args(["--all-tasks", "--cpu-list", "--pid", "1"]).arg(std::process::id().to_string());
    capture(&mut pin).map(|_| ())
}

fn taskset(folder: &Path) -> Result<Command, String> {
    if find_program("taskset").is_none() {
        return Err("taskset is not installed (util-linux)".to_owned());
    }
    Ok(command("taskset", folder))
}

/// Waits until `there` is, at most ten seconds, and tells how long that took.
#[expect(clippy::disallowed_methods, reason = "a process that starts gives no event to wait for")]
pub(crate) fn await_start(what: &str, there: impl Fn() -> bool) -> Result<Duration, String> {
    let start = Instant::now();
    while !there() {
        if start.elapsed() > Duration::from_secs(10) {
            return Err(format!("{what} did not start"));
        }
        // Nothing announces it: look again.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(start.elapsed())
}

/// An empty folder.
pub(crate) fn fresh(context: &Context, name: &str) -> Result<PathBuf, String> {
    let folder = context.target.join("xtask").join(format!("bench-{name}"));
    let _ = std::fs::remove_dir_all(&folder); // Most often there is none; if it cannot go, the next line fails.
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}
