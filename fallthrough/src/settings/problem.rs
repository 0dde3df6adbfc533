//! What is wrong with the settings: said once, at start, all of it, with place and mend.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use crate::settings::tree::Place;

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) place: Place,
    /// What, in a sentence without a full stop.
    pub(crate) message: String,
    /// What to do.
    pub(crate) mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Default | Place::Preset => f.write_str(&self.message),
            Place::File { .. } | Place::Variable(_) | Place::Flag(_) => {
                write!(f, "{}: {}", self.place, self.message)
            }
        }
    }
}

impl std::error::Error for Problem {}

/// A problem as miette draws it: with the lines of the file around it.
#[derive(Debug)]
pub(crate) struct Drawn<'a> {
    problem: &'a Problem,
    source: Option<NamedSource<String>>,
}

impl<'a> Drawn<'a> {
    /// Prepares `problem` for drawing.
    pub(crate) fn of(problem: &'a Problem) -> Self {
        let source = match &problem.place {
            Place::File { file, .. } => Some(
                NamedSource::new(file.path.display().to_string(), file.text.clone()).with_language("toml"),
            ),
            Place::Default | Place::Preset | Place::Variable(_) | Place::Flag(_) => None,
        };
        Self { problem, source }
    }
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.problem.mend))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|s| s as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        match &self.problem.place {
            Place::File { span, .. } => {
                Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span.clone()))))
            }
            Place::Default | Place::Preset | Place::Variable(_) | Place::Flag(_) => None,
        }
    }
}

/// All that is wrong with the settings.
#[derive(Clone, Debug)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the settings have a problem"),
            count => write!(f, "the settings have {count} problems"),
        }
    }
}

impl std::error::Error for Problems {}
