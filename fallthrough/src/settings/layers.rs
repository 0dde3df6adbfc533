//! Lays the sources of settings over each other: flags > environment > file > presets > defaults.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::settings::problem::Problem;
use crate::settings::schema::{self, Key, Shape};
use crate::settings::tree::{self, Node, Place, SourceFile};

/// What every setting's variable begins with.
pub(crate) const PREFIX: &str = "FALLTHROUGH_";

/// Variables that are no settings: flags of the command line have them.
pub(crate) const RESERVED: [&str; 6] = [
    "FALLTHROUGH_CONFIG",
    "FALLTHROUGH_DATA",
    "FALLTHROUGH_ADMIN",
    "FALLTHROUGH_ADMIN_TOKEN",
    "FALLTHROUGH_ADMIN_TOKEN_FILE",
    "FALLTHROUGH_MODEL_PASSWORD",
];

/// The file that is read if none is named, in this order.
pub(crate) const DEFAULT_FILES: [&str; 2] = ["fallthrough.toml", "/etc/fallthrough/fallthrough.toml"];

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// TOML that a command lays under everything else.
    pub(crate) presets: Option<String>,
    /// `-c/--config`; if not given, the first of [`DEFAULT_FILES`] that exists.
    pub(crate) file: Option<PathBuf>,
    /// The environment; only names that begin with [`PREFIX`] are looked at.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Flags: the flag's name, the path of the key in dots, the value.
    pub(crate) flags: Vec<(String, String, String)>,
}

impl Layers {
    /// Of this process: its environment and, if `file` is not given, the usual places.
    pub(crate) fn of_process(file: Option<PathBuf>) -> Self {
        Self { file, environment: std::env::vars_os().collect(), ..Self::default() }
    }

    /// Adds a flag that sets the key at `path` (in dots) if `value` is given.
    pub(crate) fn flag(mut self, name: &str, path: &str, value: Option<String>) -> Self {
        self.flags.extend(value.map(|value| (name.to_owned(), path.to_owned(), value)));
        self
    }

    /// One tree of all layers, and the problems met while making it.
    pub(crate) fn merge(&self) -> (Node, Vec<Problem>, Option<PathBuf>) {
        let mut problems = Vec::new();
        let mut root = Node::root(Place::Default);
        if let Some(presets) = &self.presets {
            let mut node = parse("the preset", presets, &mut problems);
            tree::replace_places(&mut node, &Place::Preset);
            root.overlay(node);
        }
        let file = self.find_file();
        if let Some(path) = &file {
            match std::fs::read_to_string(path) {
                Ok(text) => root.overlay(parse(&path.display().to_string(), &text, &mut problems)),
                Err(error) => problems.push(Problem {
                    place: Place::Flag(path.display().to_string()),
                    message: format!("the configuration file cannot be read: {error}"),
                    mend: "check the path given with --config, and who may read the file".to_owned(),
                }),
            }
        }
        let mut variables: Vec<_> = self.environment.iter().collect();
        variables.sort_by_key(|(name, _)| in_order(name));
        for (name, value) in variables {
            lay_variable(&mut root, name, value, &mut problems);
        }
        for (name, path, value) in &self.flags {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            // Flags name keys that exist, so that nothing on the way can be a plain value except by a problem
            // that is reported when the section is read.
            if let Err(part) = root.set(&path, Node::text(value, Place::Flag(name.clone()))) {
                problems.push(leads_nowhere(Place::Flag(name.clone()), &part));
            }
        }
        (root, problems, file)
    }

    fn find_file(&self) -> Option<PathBuf> {
        match &self.file {
            Some(path) => Some(path.clone()),
            None => DEFAULT_FILES.iter().map(PathBuf::from).find(|path| path.is_file()),
        }
    }
}

/// Reads TOML; an empty table and a problem if it is none.
fn parse(path: &str, text: &str, problems: &mut Vec<Problem>) -> Node {
    let file = Arc::new(SourceFile { path: Path::new(path).to_owned(), text: text.to_owned() });
    let whole = Place::File { file: Arc::clone(&file), span: 0..0 };
    match toml_edit::Document::parse(text) {
        Ok(document) => tree::of_item(document.as_item(), whole, &file),
        Err(error) => {
            problems.push(Problem {
                place: Place::File { file, span: error.span().unwrap_or(0..0) },
                message: format!("this is not TOML: {}", error.message().replace('\n', ", ")),
                mend: "mend the line; https://toml.io shows how TOML is written".to_owned(),
            });
            Node::root(whole)
        }
    }
}

/// Elements of a list in the order of their numbers, a whole table before what stands in it.
fn in_order(name: &OsString) -> Vec<(usize, String)> {
    let parts = name.to_str().unwrap_or_default().split("__");
    parts.map(|part| (part.parse().unwrap_or(usize::MAX), part.to_owned())).collect()
}

fn lay_variable(root: &mut Node, name: &OsString, value: &OsString, problems: &mut Vec<Problem>) {
    let Some(name) = name.to_str() else { return };
    let Some(rest) = name.strip_prefix(PREFIX) else { return };
    // A name without `__` cannot be a setting; the ones that look as if they were meant to be are found by
    // `near_misses`.
    if RESERVED.contains(&name) || !rest.contains("__") {
        return;
    }
    let place = Place::Variable(name.to_owned());
    let Some(value) = value.to_str() else {
        problems.push(Problem {
            place,
            message: "the value is not UTF-8".to_owned(),
            mend: "set it to text, or unset it".to_owned(),
        });
        return;
    };
    let parts: Vec<&str> = rest.split("__").collect();
    let path = resolve(root, &parts);
    let node = inline_or_text(value, &place);
    if let Err(part) = root.set(&path, node) {
        problems.push(leads_nowhere(place, &part));
    }
}

fn leads_nowhere(place: Place, part: &str) -> Problem {
    Problem {
        message: format!("{part:?} leads nowhere: there is no table or list element to set it in"),
        place,
        mend: "elements of lists are numbered from 0 without a gap; `docs/config.md` lists the keys"
            .to_owned(),
    }
}

/// The path in the tree that a variable's parts mean: kebab case, and the user's own names as they stand in
/// lower layers.
fn resolve(root: &Node, parts: &[&str]) -> Vec<String> {
    let mut path = Vec::with_capacity(parts.len());
    let mut keys: &'static [Key] = schema::ROOT;
    let mut names_next = false;
    let mut here = Some(root);
    for part in parts {
        let plain = part.to_ascii_lowercase().replace('_', "-");
        let existing = here.and_then(Node::table).and_then(|rows| {
            rows.keys().find(|name| name.to_ascii_lowercase().replace(['_', '.'], "-") == plain).cloned()
        });
        let name = existing.unwrap_or(plain);
        if names_next {
            names_next = false;
        } else if name.parse::<usize>().is_err() {
            let shape = keys.iter().find(|key| key.name == name).map(|key| &key.shape);
            names_next = matches!(shape, Some(Shape::Named(..)));
            keys = shape.and_then(Shape::keys).unwrap_or_default();
        }
        here = here.and_then(|node| match &node.value {
            tree::Value::Table(rows) => rows.get(&name),
            tree::Value::List(elements) => elements.get(name.parse::<usize>().ok()?),
            tree::Value::Text(_) | tree::Value::Integer(_) | tree::Value::Bool(_) | tree::Value::Other(_) => {
                None
            }
        });
        path.push(name);
    }
    path
}

/// Tables and lists may be written inline in a variable; everything else is text.
fn inline_or_text(value: &str, place: &Place) -> Node {
    if value.starts_with(['{', '['])
        && let Ok(document) = toml_edit::Document::parse(format!("value = {value}"))
    {
        let file = Arc::new(SourceFile { path: PathBuf::new(), text: String::new() });
        let mut node = tree::of_item(&document.as_table()["value"], place.clone(), &file);
        tree::replace_places(&mut node, place);
        return node;
    }
    Node::text(value, place.clone())
}

/// Variables that begin like settings but are none, such as `FALLTHROUGH_S3_LISTEN` with one underscore:
/// each with what was probably meant.
pub(crate) fn near_misses(environment: &[(OsString, OsString)]) -> Vec<(String, String)> {
    let sections = schema::ROOT.iter().map(|key| key.name.to_uppercase());
    let starts: Vec<String> = sections.map(|section| format!("{section}_")).collect();
    environment
        .iter()
        .filter_map(|(name, _)| name.to_str())
        .filter(|name| !RESERVED.contains(name))
        .filter_map(|name| {
            let rest = name.strip_prefix(PREFIX).filter(|rest| !rest.contains("__"))?;
            let start = starts.iter().find(|start| rest.starts_with(start.as_str()))?;
            let meant = format!("{PREFIX}{}__{}", start.trim_end_matches('_'), &rest[start.len()..]);
            Some((name.to_owned(), meant))
        })
        .collect()
}

/// Warns of [`near_misses`] in the log: a server that starts with defaults where its user meant something else
/// must say so.
pub(crate) fn warn_of_near_misses(environment: &[(OsString, OsString)]) {
    for (name, meant) in near_misses(environment) {
        tracing::warn!("{name} is no setting and has no effect; did you mean {meant}?");
    }
}
