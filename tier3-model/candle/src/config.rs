//! The `config.json` files of a pipeline, and everything that can be wrong with a folder of weights.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Why a folder is no model that can be used here. Each message ends with the file, tensor or key that is meant.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is not there, or cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// None of several files, of which one is needed, is there.
    #[error("{} has neither {}", folder.display(), names.join(" nor "))]
    NoneOf {
        /// Where they were looked for.
        folder: PathBuf,
        /// What was looked for.
        names: Vec<String>,
    },
    /// A file is damaged.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// In what way.
        what: String,
    },
    /// A weight file has no such tensor.
    #[error("{}: there is no tensor {name}", path.display())]
    NoTensor {
        /// The weight file.
        path: PathBuf,
        /// Its full name.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("{}: tensor {name} has the shape {found:?}, and config.json asks for {expected:?}", path.display())]
    Shape {
        /// The weight file.
        path: PathBuf,
        /// Its full name.
        name: String,
        /// What the file has.
        found: Vec<usize>,
        /// What is needed.
        expected: Vec<usize>,
    },
    /// The model is of a kind that is not supported.
    #[error("{}: {what} is not supported", path.display())]
    Unsupported {
        /// The file that says so.
        path: PathBuf,
        /// Key and value.
        what: String,
    },
    /// The tensors could not be made.
    #[error("tensors: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// One `config.json`.
#[derive(Debug)]
pub(crate) struct Config {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Config {
    pub(crate) fn read(path: &Path) -> Result<Self, LoadError> {
        let text = read_text(path)?;
        let fields = serde_json::from_str(&text)
            .map_err(|error| LoadError::Damaged { path: path.to_owned(), what: error.to_string() })?;
        Ok(Self { path: path.to_owned(), fields })
    }

    /// As [`Self::read`]; without the file, one in which nothing is said.
    pub(crate) fn read_if_there(path: &Path) -> Result<Self, LoadError> {
        match path.try_exists() {
            Ok(false) => Ok(Self { path: path.to_owned(), fields: Map::new() }),
            Ok(true) | Err(_) => Self::read(path),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, expected: &str) -> LoadError {
        LoadError::Damaged { path: self.path.clone(), what: format!("{name} is not {expected}") }
    }

    pub(crate) fn unsupported(&self, name: &str) -> LoadError {
        let value = self.get(name).map(Value::to_string).unwrap_or_default();
        LoadError::Unsupported { path: self.path.clone(), what: format!("{name} = {value}") }
    }

    pub(crate) fn count(&self, name: &str, default: usize) -> Result<usize, LoadError> {
        self.get(name).map_or(Ok(default), |value| count(value).ok_or_else(|| self.wrong(name, "a number")))
    }

    /// A list of numbers, or one number for each of `len` places.
    pub(crate) fn counts(&self, name: &str, len: usize, default: usize) -> Result<Vec<usize>, LoadError> {
        let wrong = || self.wrong(name, &format!("a number or a list of {len}"));
        match self.get(name) {
            None => Ok(vec![default; len]),
            Some(Value::Array(values)) if values.len() == len => {
                values.iter().map(|value| count(value).ok_or_else(wrong)).collect()
            }
            Some(value) => count(value).map(|value| vec![value; len]).ok_or_else(wrong),
        }
    }

    /// A list that is needed and has at least one number.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<usize>, LoadError> {
        let values = self.get(name).and_then(Value::as_array).filter(|values| !values.is_empty());
        let numbers: Option<Vec<usize>> = values.and_then(|values| values.iter().map(count).collect());
        numbers.ok_or_else(|| self.wrong(name, "a list of numbers"))
    }

    pub(crate) fn number(&self, name: &str, default: f64) -> Result<f64, LoadError> {
        self.get(name).map_or(Ok(default), |value| value.as_f64().ok_or_else(|| self.wrong(name, "a number")))
    }

    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, LoadError> {
        self.get(name)
            .map_or(Ok(default), |value| value.as_bool().ok_or_else(|| self.wrong(name, "true or false")))
    }

    pub(crate) fn text<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, LoadError> {
        self.get(name).map_or(Ok(default), |value| value.as_str().ok_or_else(|| self.wrong(name, "a text")))
    }

    /// Texts of which each must be one of `with` (true) or `without` (false).
    pub(crate) fn kinds(
        &self,
        name: &str,
        len: usize,
        with: &str,
        without: &str,
    ) -> Result<Vec<bool>, LoadError> {
        let values = self.get(name).and_then(Value::as_array).filter(|values| values.len() == len);
        let values = values.ok_or_else(|| self.wrong(name, &format!("a list of {len} kinds of blocks")))?;
        let kind = |value: &Value| match value.as_str() {
            Some(kind) if kind == with => Ok(true),
            Some(kind) if kind == without => Ok(false),
            Some(_) | None => Err(self.unsupported(name)),
        };
        values.iter().map(kind).collect()
    }

    /// Refuses what would silently be computed in another way: each must be absent or as given.
    pub(crate) fn only(&self, expected: &[(&str, Value)]) -> Result<(), LoadError> {
        for (name, expected) in expected {
            let same = |value: &Value| match (value.as_f64(), expected.as_f64()) {
                (Some(value), Some(expected)) => value == expected,
                _ => value == expected,
            };
            if self.get(name).is_some_and(|value| !same(value)) {
                return Err(self.unsupported(name));
            }
        }
        Ok(())
    }

    /// Refuses parts of a network that are not built here: each must be absent.
    pub(crate) fn none(&self, names: &[&str]) -> Result<(), LoadError> {
        match names.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(self.unsupported(name)),
            None => Ok(()),
        }
    }
}

fn count(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|value| usize::try_from(value).ok())
}

/// A text file, whole: these are configurations and vocabularies.
pub(crate) fn read_text(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|source| LoadError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(fields: Value) -> Config {
        let Value::Object(fields) = fields else { panic!("an object") };
        Config { path: "config.json".into(), fields }
    }

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_wrong_is_named() {
        let read = config(json!({"a": 3, "b": [1, 2], "c": "x", "d": null, "e": true}));
        assert_eq!(read.count("a", 7).unwrap(), 3);
        assert_eq!(read.count("d", 7).unwrap(), 7);
        assert_eq!(read.counts("b", 2, 9).unwrap(), [1, 2]);
        assert_eq!(read.counts("a", 2, 9).unwrap(), [3, 3]);
        assert_eq!(read.counts("z", 2, 9).unwrap(), [9, 9]);
        for (told, expected) in [
            (read.count("c", 1).map(|_| ()), "config.json: c is not a number"),
            (read.counts("b", 3, 1).map(|_| ()), "config.json: b is not a number or a list of 3"),
            (read.list("z").map(|_| ()), "config.json: z is not a list of numbers"),
            (read.flag("c", true).map(|_| ()), "config.json: c is not true or false"),
            (read.only(&[("a", json!(3.0)), ("e", json!(false))]), "config.json: e = true is not supported"),
            (read.none(&["d", "c"]), "config.json: c = \"x\" is not supported"),
        ] {
            assert_eq!(told.unwrap_err().to_string(), expected);
        }
    }
}
