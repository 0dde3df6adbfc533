//! Why a command ended without doing its work: what happened, what to do, and the exit code.

use std::fmt;
use std::process::ExitCode;

use crate::settings::Problems;

/// Exit codes, as `docs/cli.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 1: it did not work.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 3: what was named does not exist.
    NotFound,
    /// 4: the other side (a shadow, an origin, the admin API) refused.
    RemoteRefused,
    /// 5: some of it is done, some is not.
    PartlyDone,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
            Exit::NotFound => Self::from(3),
            Exit::RemoteRefused => Self::from(4),
            Exit::PartlyDone => Self::from(5),
        }
    }
}

/// A failure as people read it. Every one ends with what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, in a sentence without a full stop.
    pub(crate) message: String,
    /// What to do.
    pub(crate) mend: String,
    /// Problems of the settings, each shown where it is.
    pub(crate) problems: Option<Problems>,
}

impl Failure {
    /// Something did not work.
    pub(crate) fn new(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), mend: mend.into(), problems: None }
    }

    /// The same failure with another exit code.
    pub(crate) fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The command line is wrong in a way that its parser cannot see.
    pub(crate) fn usage(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(message, mend).exit(Exit::Usage)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let mend = "mend the lines above; `fallthrough config check` looks at them without starting anything";
        Self { problems: Some(problems.clone()), ..Self::new(problems.to_string(), mend) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  help: {}", self.message, self.mend)
    }
}

impl std::error::Error for Failure {}
