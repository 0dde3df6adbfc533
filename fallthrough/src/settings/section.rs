//! Reads one table of settings key by key, with types, and collects what is wrong.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fallthrough_object::Rate;

use crate::settings::problem::Problem;
use crate::settings::quantity::{parse_duration, parse_size};
use crate::settings::schema::{Key, Shape};
use crate::settings::secret::Secret;
use crate::settings::tree::{Node, Place, Value};

/// A table that is being read.
pub(crate) struct Section<'a> {
    /// Its path in dots, for messages.
    pub(crate) path: String,
    node: Option<&'a Node>,
    keys: &'static [Key],
    problems: &'a RefCell<Vec<Problem>>,
}

impl<'a> Section<'a> {
    /// The whole tree.
    pub(crate) fn root(node: &'a Node, keys: &'static [Key], problems: &'a RefCell<Vec<Problem>>) -> Self {
        Self { path: String::new(), node: Some(node), keys, problems }
    }

    /// The table under `name`; reads as defaults if it is not there.
    pub(crate) fn section(&self, name: &'static str) -> Self {
        let node = self.raw(name).filter(|node| node.table().is_some());
        Self { path: self.path_of(name), node, keys: self.keys_of(name), problems: self.problems }
    }

    /// The tables under `name`, which the user named, in order of name.
    pub(crate) fn named(&self, name: &'static str) -> Vec<(String, Self)> {
        let rows = self.raw(name).and_then(Node::table).into_iter().flatten();
        rows.filter(|(_, node)| node.table().is_some())
            .map(|(own, node)| (own.clone(), self.below(name, format!("{}.{own}", self.path_of(name)), node)))
            .collect()
    }

    /// The tables of a list under `name`; where the schema takes both, a table alone counts as a list of one.
    pub(crate) fn list(&self, name: &'static str) -> Vec<Self> {
        match self.raw(name) {
            Some(Node { value: Value::List(elements), .. }) => {
                let tables = elements.iter().enumerate().filter(|(_, e)| e.table().is_some());
                tables.map(|(i, e)| self.below(name, format!("{}.{i}", self.path_of(name)), e)).collect()
            }
            Some(node) if node.table().is_some() && matches!(self.key(name).shape, Shape::TableOrList(_)) => {
                vec![self.below(name, self.path_of(name), node)]
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn below(&self, name: &'static str, path: String, node: &'a Node) -> Self {
        Self { path, node: Some(node), keys: self.keys_of(name), problems: self.problems }
    }

    /// The path of one of its keys in dots, for messages.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn key(&self, name: &'static str) -> &'static Key {
        self.keys.iter().find(|key| key.name == name).expect("only keys of the schema are read")
    }

    fn keys_of(&self, name: &'static str) -> &'static [Key] {
        self.key(name).shape.keys().expect("only sections of the schema are read as such")
    }

    fn raw(&self, name: &str) -> Option<&'a Node> {
        self.node?.table()?.get(name)
    }

    /// Whether the key was set anywhere.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Whether the key was set to a list, be it an empty one.
    pub(crate) fn is_list(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|node| matches!(node.value, Value::List(_)))
    }

    /// Adds a problem with the key `name`, where it was set.
    pub(crate) fn problem(&self, name: &str, message: impl Into<String>, mend: impl Into<String>) {
        let place = match self.raw(name) {
            Some(node) => node.place.clone(),
            None => self.node.map_or(Place::Default, |node| node.key_place.clone()),
        };
        let problem = Problem { place, message: message.into(), mend: mend.into() };
        let mut problems = self.problems.borrow_mut();
        // A key that is read twice is wrong once.
        if !problems.iter().any(|told| told.to_string() == problem.to_string()) {
            problems.push(problem);
        }
    }

    /// Reads a value or its default; `None` if neither is there, or with a problem noted.
    fn read<T>(&self, name: &'static str, parse: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let key = self.key(name);
        let (value, is_default) = match self.raw(name) {
            Some(node) => (node.value.clone(), false),
            None if key.default.is_empty() => return None,
            None => (Value::Text(key.default.to_owned()), true),
        };
        match parse(&value) {
            Ok(read) => Some(read),
            Err(wrong) => {
                assert!(!is_default, "the default of {name} reads: {wrong}");
                let mend = if key.default.is_empty() {
                    "`docs/config.md` shows how it is written".to_owned()
                } else {
                    format!("write it like the default, {:?}, or take it out", key.default)
                };
                self.problem(name, format!("{}: {wrong}", self.path_of(name)), mend);
                None
            }
        }
    }

    /// Text.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        self.read(name, as_text)
    }

    /// Text that has to be there; a problem and nothing if it is not.
    pub(crate) fn required(&self, name: &'static str) -> Option<String> {
        if !self.is_set(name) {
            self.problem(
                name,
                format!("{} needs {name:?}", self.path),
                format!("add {name} = \"…\": {}", self.key(name).doc),
            );
        }
        self.text(name).filter(|text| {
            let empty = text.is_empty();
            if empty {
                self.problem(name, format!("{}: it may not be empty", self.path_of(name)), "give it a value");
            }
            !empty
        })
    }

    /// One of the words that the schema lists.
    pub(crate) fn word(&self, name: &'static str) -> Option<String> {
        let Shape::Choice(words) = &self.key(name).shape else {
            unreachable!("only choices are read as words");
        };
        self.read(name, |value| {
            let text = as_text(value)?;
            if words.contains(&text.as_str()) {
                return Ok(text);
            }
            let near = super::unknown::nearest(&text, words);
            let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            Err(format!("{text:?} is not one of {}{hint}", words.join(", ")))
        })
    }

    /// One text or several. From variables and flags, commas divide.
    pub(crate) fn texts(&self, name: &'static str) -> Vec<String> {
        let one = |text: &str| -> Vec<String> {
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
            inner.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        self.read(name, |value| match value {
            Value::List(elements) => elements.iter().map(|element| as_text(&element.value)).collect(),
            other => as_text(other).map(|text| one(&text)),
        })
        .unwrap_or_default()
    }

    /// A path. Those in a file are relative to the file's folder, others to the working folder.
    pub(crate) fn path(&self, name: &'static str) -> Option<PathBuf> {
        let text = self.text(name).filter(|text| !text.is_empty())?;
        let folder = match self.raw(name).map(|node| &node.place) {
            Some(Place::File { file, .. }) => file.path.parent().map(Path::to_owned),
            Some(Place::Default | Place::Preset | Place::Variable(_) | Place::Flag(_)) | None => None,
        };
        Some(match folder {
            Some(folder) => folder.join(text),
            None => PathBuf::from(text),
        })
    }

    /// A duration.
    pub(crate) fn duration(&self, name: &'static str) -> Option<Duration> {
        self.read(name, |value| match value {
            Value::Integer(number) => Err(format!("{number} has no unit; write \"{number}s\" for seconds")),
            other => parse_duration(&as_text(other)?),
        })
    }

    /// A size in bytes.
    pub(crate) fn size(&self, name: &'static str) -> Option<u64> {
        self.read(name, |value| match value {
            Value::Integer(number) => {
                u64::try_from(*number).map_err(|_| format!("{number} is not a size: it is negative"))
            }
            other => parse_size(&as_text(other)?),
        })
    }

    /// A number of things, at least 1.
    pub(crate) fn count(&self, name: &'static str) -> Option<u32> {
        self.read(name, |value| {
            let number = match value {
                Value::Integer(number) => *number,
                other => {
                    let text = as_text(other)?;
                    text.parse().map_err(|_| format!("{text:?} is not a whole number"))?
                }
            };
            u32::try_from(number)
                .ok()
                .filter(|count| *count >= 1)
                .ok_or_else(|| format!("{number} is out of range: it must be 1 to {}", u32::MAX))
        })
    }

    /// Yes or no.
    pub(crate) fn switch(&self, name: &'static str) -> Option<bool> {
        self.read(name, |value| match value {
            Value::Bool(yes) => Ok(*yes),
            other => match as_text(other)?.as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" => Ok(false),
                text => Err(format!("{text:?} is neither true nor false")),
            },
        })
    }

    /// An address and a port to listen on.
    pub(crate) fn address(&self, name: &'static str) -> Option<SocketAddr> {
        self.read(name, |value| {
            let text = as_text(value)?;
            let text = text
                .strip_prefix("localhost:")
                .map_or_else(|| text.clone(), |port| format!("127.0.0.1:{port}"));
            text.parse().map_err(|_| format!("{text:?} is not an address and port such as \"0.0.0.0:9900\""))
        })
    }

    /// So many in a stretch of time.
    pub(crate) fn rate(&self, name: &'static str) -> Option<Rate> {
        self.read(name, |value| as_text(value)?.parse())
    }

    /// A URL that begins with http:// or https://, without credentials in it.
    pub(crate) fn url(&self, name: &'static str) -> Option<url::Url> {
        self.read(name, |value| parse_url(&as_text(value)?))
    }

    /// A secret, inline or from the file that `NAME-file` names; not both at the same rank.
    pub(crate) fn secret(&self, name: &'static str, file_name: &'static str) -> Option<Secret> {
        let rank = |name: &str| self.raw(name).map(|node| rank(&node.place));
        if rank(name).is_some() && rank(name) == rank(file_name) {
            self.problem(
                name,
                format!("{} and {file_name} are both set", self.path_of(name)),
                "keep one of them",
            );
            return None;
        }
        if rank(name) > rank(file_name) {
            let text = self.text(name)?;
            if text.is_empty() {
                self.problem(name, format!("{}: it may not be empty", self.path_of(name)), "give it a value");
                return None;
            }
            return Some(Secret::new(text));
        }
        match Secret::read(&self.path(file_name)?) {
            Ok(secret) => Some(secret),
            Err(wrong) => {
                let mend = "check the path, and that this user may read the file";
                self.problem(file_name, format!("{}: {wrong}", self.path_of(file_name)), mend);
                None
            }
        }
    }
}

/// Reads an origin's URL.
///
/// # Errors
/// What would be right. The text is not repeated if it holds credentials.
pub(crate) fn parse_url(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|error| format!("{text:?} is not a URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user or a password in it is not taken".to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("{text:?} does not begin with http:// or https:// and a host"));
    }
    Ok(url)
}

/// Sources in order of precedence.
fn rank(place: &Place) -> u8 {
    match place {
        Place::Default => 0,
        Place::Preset => 1,
        Place::File { .. } => 2,
        Place::Variable(_) => 3,
        Place::Flag(_) => 4,
    }
}

fn as_text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(number) => Err(format!("{number} is a number; write it in quotes")),
        Value::Bool(yes) => Err(format!("{yes} is not text")),
        Value::Other(written) => Err(format!("{written} is not text")),
        Value::List(_) => Err("a list is not text".to_owned()),
        Value::Table(_) => Err("a table is not text".to_owned()),
    }
}
