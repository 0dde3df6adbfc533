//! Finds keys that no setting has, and names the nearest one that there is.

use crate::settings::problem::Problem;
use crate::settings::schema::{Key, Later, Shape};
use crate::settings::tree::{Node, Value};

/// Adds a problem for every unknown key below `node`, for every value of the wrong shape, and for every value
/// that is understood but cannot be had yet.
pub(crate) fn check(node: &Node, keys: &'static [Key], path: &str, problems: &mut Vec<Problem>) {
    let Some(rows) = node.table() else {
        problems.push(wrong_shape(node, path, "a table"));
        return;
    };
    for (name, below) in rows {
        let below_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match keys.iter().find(|key| key.name == name) {
            Some(key) => check_key(below, key, &below_path, problems),
            None => problems.push(unknown(below, name, keys, path)),
        }
    }
}

fn check_key(node: &Node, key: &'static Key, path: &str, problems: &mut Vec<Problem>) {
    // A word that is none of the choices is misspelt rather than early: it is reported where it is read.
    let misspelt = matches!(key.shape, Shape::Choice(words) if !words.contains(&shown(node).as_str()));
    if let Later::Only(values, meanwhile) = key.later
        && !misspelt
        && !values.contains(&shown(node).as_str())
    {
        let what =
            if key.shape.keys().is_some() { path.to_owned() } else { format!("{path} = {:?}", shown(node)) };
        problems.push(Problem {
            place: node.key_place.clone(),
            message: format!("{what} is understood, but not offered yet"),
            mend: format!("take it out; meanwhile {meanwhile}"),
        });
        return;
    }
    match &key.shape {
        Shape::Value(_) | Shape::Choice(_) => {}
        Shape::Table(keys) => check(node, keys, path, problems),
        Shape::Named(what, keys) => match node.table() {
            Some(rows) => {
                for (name, below) in rows {
                    check(below, keys, &format!("{path}.{name}"), problems);
                }
            }
            None => problems.push(wrong_shape(node, path, &format!("a table for each {what}"))),
        },
        Shape::List(keys) => match &node.value {
            Value::List(elements) => check_elements(elements, keys, path, problems),
            Value::Table(_) | Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::Other(_) => {
                problems.push(wrong_shape(node, path, &format!("a list of tables ([[{path}]])")));
            }
        },
        Shape::TableOrList(keys) => match &node.value {
            Value::List(elements) => check_elements(elements, keys, path, problems),
            Value::Table(_) => check(node, keys, path, problems),
            Value::Text(_) | Value::Integer(_) | Value::Bool(_) | Value::Other(_) => {
                problems.push(wrong_shape(node, path, "a table or a list of tables"));
            }
        },
    }
}

fn check_elements(elements: &[Node], keys: &'static [Key], path: &str, problems: &mut Vec<Problem>) {
    for (index, element) in elements.iter().enumerate() {
        check(element, keys, &format!("{path}.{index}"), problems);
    }
}

/// A value as it would be written, for comparing with words.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Text(text) | Value::Other(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        Value::List(_) | Value::Table(_) => "…".to_owned(),
    }
}

fn wrong_shape(node: &Node, path: &str, wanted: &str) -> Problem {
    Problem {
        place: node.key_place.clone(),
        message: format!("{path} must be {wanted}"),
        mend: "`docs/config.md` shows how it is written".to_owned(),
    }
}

fn unknown(node: &Node, name: &str, keys: &'static [Key], path: &str) -> Problem {
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    let place = if path.is_empty() { String::new() } else { format!(" in [{path}]") };
    let kind = if path.is_empty() && node.table().is_some() { "section" } else { "key" };
    let (message, mend) = match nearest(name, &names) {
        Some(near) => {
            (format!("unknown {kind} {name:?}{place}; did you mean {near:?}?"), format!("write {near:?}"))
        }
        None => (format!("unknown {kind} {name:?}{place}"), "take it out".to_owned()),
    };
    Problem {
        place: node.key_place.clone(),
        message,
        mend: format!("{mend}; the {kind}s here are: {}", names.join(", ")),
    }
}

/// The one of `names` that `name` was probably meant to be.
pub(crate) fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    names
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&plain, candidate), *candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
