//! A case: what is there, what is asked, and what must be answered.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::body::Body;
use crate::call::{Call, call};
use crate::ground::Mode;
use crate::report::Result;
use crate::scene::Scene;

/// Which ways of running a case make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// Objects are where they are asked for: nothing is read that a case did not write.
    Plain,
    /// Also with the objects behind the bucket, at an S3 origin.
    PlainAndS3,
    /// Also with the objects behind the bucket, at an HTTP server.
    All,
}

impl Modes {
    /// Whether it can be run so.
    pub fn contain(self, mode: Mode) -> bool {
        match mode {
            Mode::Plain => true,
            Mode::ColdS3 => self != Self::Plain,
            Mode::ColdHttp => self == Self::All,
        }
    }
}

/// A part of a case that is not a row.
pub(crate) type Script =
    for<'a> fn(&'a mut Scene<'_>) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// One step of a case.
#[derive(Clone)]
pub(crate) enum Step {
    /// Puts an object where reading finds it.
    Place { key: String, body: Body, headers: Vec<(String, String)> },
    /// Asks and compares.
    Ask(Box<Call>),
    /// Does what is not a row.
    Script(Script),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { key, .. } => write!(f, "place {key:?}"),
            Self::Ask(call) => write!(f, "{} {}", call.method, call.path),
            Self::Script(_) => f.write_str("script"),
        }
    }
}

/// A case of a group.
#[derive(Clone, Debug)]
pub struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) modes: Modes,
    /// Whether `{bucket}` is made before the first step.
    pub(crate) has_bucket: bool,
    pub(crate) steps: Vec<Step>,
}

impl Case {
    /// `group/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// The group it belongs to.
    pub fn group(&self) -> &'static str {
        self.group
    }

    /// How it can be run.
    pub fn modes(&self) -> Modes {
        self.modes
    }

    /// Whether a second account is needed.
    pub(crate) fn needs_second(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Ask(call) if call.needs_second()))
    }

    /// Puts an object where reading finds it: into the bucket, or behind it.
    pub(crate) fn place(&mut self, key: &str, body: impl Into<Body>) -> &mut Self {
        self.place_with(key, body, &[])
    }

    /// The same with headers.
    pub(crate) fn place_with(
        &mut self,
        key: &str,
        body: impl Into<Body>,
        headers: &[(&str, &str)],
    ) -> &mut Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.steps.push(Step::Place { key: key.to_owned(), body: body.into(), headers });
        self
    }

    /// Several objects whose bytes are their keys.
    pub(crate) fn place_keys(&mut self, keys: &[&str]) -> &mut Self {
        for key in keys {
            self.place(key, key.as_bytes());
        }
        self
    }

    /// Asks and compares.
    pub(crate) fn ask(&mut self, call: Call) -> &mut Self {
        self.steps.push(Step::Ask(Box::new(call)));
        self
    }

    pub(crate) fn script(&mut self, script: Script) -> &mut Self {
        self.steps.push(Step::Script(script));
        self
    }

    /// `{bucket}` is a name only.
    pub(crate) fn without_bucket(&mut self) -> &mut Self {
        self.has_bucket = false;
        self
    }

    /// Makes `{other}`, a second bucket.
    pub(crate) fn with_other(&mut self) -> &mut Self {
        self.ask(call("PUT", "/{other}").gives(200))
    }

    /// Runs as these, whatever the group says.
    pub(crate) fn modes_are(&mut self, modes: Modes) -> &mut Self {
        self.modes = modes;
        self
    }
}

/// The cases of a group, as they are written down.
#[derive(Debug)]
pub(crate) struct Table {
    group: &'static str,
    modes: Modes,
    pub(crate) cases: Vec<Case>,
}

impl Table {
    pub(crate) fn new(group: &'static str, modes: Modes) -> Self {
        Self { group, modes, cases: Vec::new() }
    }

    /// A new case with an empty bucket.
    pub(crate) fn case(&mut self, name: impl Into<String>) -> &mut Case {
        self.cases.push(Case {
            group: self.group,
            name: name.into(),
            modes: self.modes,
            has_bucket: true,
            steps: Vec::new(),
        });
        self.cases.last_mut().expect("it was just pushed")
    }
}
