//! Settings before they have types: values with the place each came from, layer over layer.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use toml_edit::Item;

/// A configuration file's text, kept so that problems can be shown where they are.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Where it was read from.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) text: String,
}

impl SourceFile {
    /// Line and column of a byte, both from 1; columns count characters.
    pub(crate) fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// Where a value was set.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Nowhere: it is the default.
    Default,
    /// In what a command presets before it looks at files and variables.
    Preset,
    /// In a file, at these bytes.
    File {
        /// The file.
        file: Arc<SourceFile>,
        /// The key's or the value's bytes.
        span: Range<usize>,
    },
    /// In an environment variable.
    Variable(String),
    /// By a flag.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Preset => f.write_str("the preset"),
            Self::File { file, span } => {
                let (line, column) = file.line_and_column(span.start);
                write!(f, "{}:{line}:{column}", file.path.display())
            }
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The value.
    pub(crate) value: Value,
    /// Where the value stands.
    pub(crate) place: Place,
    /// Where its key stands, for problems with the key itself.
    pub(crate) key_place: Place,
}

/// What TOML can say, as far as settings use it.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text; from variables and flags also numbers and booleans, which are then read as the key's type asks.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Bool(bool),
    /// Several.
    List(Vec<Node>),
    /// Named ones.
    Table(BTreeMap<String, Node>),
    /// Something that no setting takes: a float or a date, as it was written.
    Other(String),
}

impl Node {
    /// An empty table, the root of every layer.
    pub(crate) fn root(place: Place) -> Self {
        Self { value: Value::Table(BTreeMap::new()), key_place: place.clone(), place }
    }

    /// A text value from outside a file.
    pub(crate) fn text(text: impl Into<String>, place: Place) -> Self {
        Self { value: Value::Text(text.into()), key_place: place.clone(), place }
    }

    /// The table's rows, if it is one.
    pub(crate) fn table(&self) -> Option<&BTreeMap<String, Self>> {
        match &self.value {
            Value::Table(rows) => Some(rows),
            Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::List(_) | Value::Other(_) => None,
        }
    }

    /// Lays `upper` over this: tables are merged name by name, anything else is replaced.
    pub(crate) fn overlay(&mut self, upper: Self) {
        match (&mut self.value, upper.value) {
            (Value::Table(below), Value::Table(above)) => {
                for (name, node) in above {
                    match below.get_mut(&name) {
                        Some(old) => old.overlay(node),
                        None => {
                            below.insert(name, node);
                        }
                    }
                }
            }
            (value, above) => {
                *value = above;
                self.place = upper.place;
                self.key_place = upper.key_place;
            }
        }
    }

    /// Sets what stands at `path`, making the tables on the way; a number names an element of a list.
    ///
    /// # Errors
    /// The part of `path` that leads nowhere: a number beyond a list's end, or a name below a plain value.
    pub(crate) fn set(&mut self, path: &[String], node: Self) -> Result<(), String> {
        let Some((first, rest)) = path.split_first() else {
            self.overlay(node);
            return Ok(());
        };
        let place = node.place.clone();
        // A list that no lower layer has begins with its first element.
        if first == "0" && matches!(&self.value, Value::Table(rows) if rows.is_empty()) {
            self.value = Value::List(Vec::new());
        }
        match &mut self.value {
            Value::Table(rows) => {
                rows.entry(first.clone()).or_insert_with(|| Self::root(place)).set(rest, node)
            }
            Value::List(elements) => {
                let index = first.parse::<usize>().map_err(|_| first.clone())?;
                if index == elements.len() {
                    elements.push(Self::root(place));
                }
                elements.get_mut(index).ok_or_else(|| first.clone())?.set(rest, node)
            }
            Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::Other(_) => Err(first.clone()),
        }
    }
}

/// Reads one TOML item with the places of all it holds.
pub(crate) fn of_item(item: &Item, key_place: Place, file: &Arc<SourceFile>) -> Node {
    let place = place_in(file, item.span());
    let value = match item {
        Item::None => Value::Table(BTreeMap::new()),
        Item::Value(value) => return of_value(value, key_place, file),
        Item::Table(table) => Value::Table(
            table
                .iter()
                .map(|(name, below)| {
                    let span = table.key(name).and_then(toml_edit::Key::span);
                    (name.to_owned(), of_item(below, place_in(file, span), file))
                })
                .collect(),
        ),
        Item::ArrayOfTables(tables) => Value::List(
            tables.iter().map(|t| of_item(&Item::Table(t.clone()), place_in(file, t.span()), file)).collect(),
        ),
    };
    Node { value, place, key_place }
}

fn of_value(value: &toml_edit::Value, key_place: Place, file: &Arc<SourceFile>) -> Node {
    let place = place_in(file, value.span());
    let value = match value {
        toml_edit::Value::String(text) => Value::Text(text.value().clone()),
        toml_edit::Value::Integer(number) => Value::Integer(*number.value()),
        toml_edit::Value::Boolean(yes) => Value::Bool(*yes.value()),
        toml_edit::Value::Float(_) | toml_edit::Value::Datetime(_) => {
            Value::Other(value.to_string().trim().to_owned())
        }
        toml_edit::Value::Array(array) => {
            Value::List(array.iter().map(|v| of_value(v, place_in(file, v.span()), file)).collect())
        }
        toml_edit::Value::InlineTable(table) => Value::Table(
            table
                .iter()
                .map(|(name, below)| {
                    let span = table.key(name).and_then(toml_edit::Key::span);
                    (name.to_owned(), of_value(below, place_in(file, span), file))
                })
                .collect(),
        ),
    };
    Node { value, place, key_place }
}

fn place_in(file: &Arc<SourceFile>, span: Option<Range<usize>>) -> Place {
    // Tables that only exist through a dotted header have no span of their own.
    Place::File { file: Arc::clone(file), span: span.unwrap_or(0..0) }
}

/// Gives everything below `node` the same place: for values that were written inline in a variable.
pub(crate) fn replace_places(node: &mut Node, place: &Place) {
    node.place = place.clone();
    node.key_place = place.clone();
    match &mut node.value {
        Value::List(elements) => elements.iter_mut().for_each(|e| replace_places(e, place)),
        Value::Table(rows) => rows.values_mut().for_each(|e| replace_places(e, place)),
        Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::Other(_) => {}
    }
}
