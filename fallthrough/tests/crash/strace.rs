//! `strace`, which ends a process at the Nth of a system call, or lets the call fail.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What is done to which calls of each thread.
#[derive(Clone, Debug)]
pub(crate) struct Injection {
    pub(crate) call: &'static str,
    /// `signal=KILL`, `error=EIO`, ...
    pub(crate) what: &'static str,
    /// From the Nth on, of each thread.
    pub(crate) nth: u64,
    /// Whether all later ones are hit, too.
    pub(crate) lasting: bool,
}

impl Injection {
    fn expression(&self) -> String {
        let Self { call, what, nth, lasting } = self;
        format!("inject={call}:{what}:when={nth}{}", if *lasting { "+" } else { "" })
    }

    /// The command that starts another one with this done to it; what it sees is written to `trace`.
    pub(crate) fn around(&self, trace: &Path) -> Command {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-y", "-o"]).arg(trace);
        command.args(["-e", &format!("trace={}", self.call), "-e", &self.expression(), "--"]);
        command
    }
}

/// Why there is no strace that works here; `None` if there is one.
pub(crate) fn missing() -> Option<String> {
    let injection = Injection { call: "fsync", what: "error=EIO", nth: 1, lasting: false };
    let tried = injection.around(Path::new("/dev/null")).arg("true").output();
    match tried {
        Err(error) => Some(format!("strace cannot be run: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("strace does not work here: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A strace that is attached to all threads of a process.
pub(crate) struct Attached {
    strace: Child,
    trace: PathBuf,
}

impl Attached {
    /// Attaches; when it returns, every call counts.
    pub(crate) fn to(pid: u32, injection: &Injection, trace: PathBuf) -> Self {
        let mut strace = Command::new("strace")
            .args(["-f", "-y", "-o"])
            .arg(&trace)
            .args(["-e", &format!("trace={}", injection.call), "-e", &injection.expression()])
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        // It says little more: one line when it lets go.
        strace.stderr = Some(told.into_inner());
        Self { strace, trace }
    }

    /// Waits for the end of the process, which was killed; the traced calls, one a line.
    ///
    /// Told to let go of a process that is about to end, strace may wait for ever for the thread that it lets
    /// go first.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.strace.wait().unwrap();
        self.lines()
    }

    /// Lets go of the process, which goes on unharmed; the traced calls, one a line. Not for a process that may
    /// end meanwhile: see [`Attached::end`].
    pub(crate) fn detach(mut self) -> Vec<String> {
        crate::served::signal(self.strace.id(), "-INT");
        self.strace.wait().unwrap();
        self.lines()
    }

    fn lines(&self) -> Vec<String> {
        let lines = std::fs::read_to_string(&self.trace).unwrap();
        lines.lines().map(str::to_owned).collect()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // It may have ended with the process that it was attached to.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// Whether a traced call was one that failed by injection.
pub(crate) fn is_injected(line: &str) -> bool {
    line.ends_with("(INJECTED)")
}

/// The line on which the call that ends at `lines[at]` began: where other threads came between, an earlier one,
/// which has its arguments.
pub(crate) fn begun(lines: &[String], at: usize) -> &str {
    let thread = lines[at].split_whitespace().next();
    let begun = lines[..at]
        .iter()
        .rev()
        .find(|line| line.split_whitespace().next() == thread && line.ends_with("<unfinished ...>"));
    begun.filter(|_| lines[at].contains("<... ")).unwrap_or(&lines[at])
}

/// What kind of step a traced call is, such as `fdatasync index` or `rename staging → blob`.
pub(crate) fn step(line: &str) -> String {
    let call = line.split_whitespace().nth(1).and_then(|rest| rest.split('(').next()).unwrap_or("?");
    let places = [
        ("index.redb", "index"),
        ("/staging/", "staging"),
        ("/blobs/", "blobs"),
        ("TCP", "socket"),
        ("socket:", "socket"),
    ];
    let place = places.iter().find(|(part, _)| line.contains(part)).map_or("other", |(_, name)| name);
    format!("{call} {place}")
}
