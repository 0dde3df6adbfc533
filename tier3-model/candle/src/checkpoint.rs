//! Weight files: safetensors, read tensor by tensor, hashed on the way.
//!
//! A file is eight bytes of length, a JSON header of that length, and data. Each tensor becomes f32 as it is read, so
//! that no file is in memory as a whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::config::LoadError;

/// The longest header that is read: the format's own bound.
const HEADER_BYTES_MAX: u64 = 100_000_000;

/// The tensors of one file.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    tensors: RefCell<BTreeMap<String, Tensor>>,
    /// Of the whole file.
    pub(crate) sha256: [u8; 32],
}

/// Where a tensor lies in the data.
struct Place {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    start: u64,
    end: u64,
}

impl Checkpoint {
    /// Reads the first of `names` that is in `folder`.
    ///
    /// # Errors
    /// [`LoadError::NoneOf`], [`LoadError::File`], and [`LoadError::Damaged`] with what is wrong.
    pub(crate) fn read_one(folder: &Path, names: &[&str]) -> Result<Self, LoadError> {
        match names.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
            Some(path) => Self::read(&path),
            None => Err(LoadError::NoneOf {
                folder: folder.to_owned(),
                names: names.iter().map(|&name| name.to_owned()).collect(),
            }),
        }
    }

    fn read(path: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::File { path: path.to_owned(), source };
        let damaged = |what: String| LoadError::Damaged { path: path.to_owned(), what };
        let file = std::fs::File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut file = Hashing { file: BufReader::with_capacity(1 << 20, file), hash: Sha256::new() };
        let mut len = [0; 8];
        file.read_exact(&mut len).map_err(failed)?;
        let len = u64::from_le_bytes(len);
        let data = size
            .checked_sub(8)
            .and_then(|rest| rest.checked_sub(len))
            .filter(|_| len <= HEADER_BYTES_MAX)
            .ok_or_else(|| damaged(format!("is no safetensors file: a header of {len} bytes in {size}")))?;
        let mut header = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_exact(&mut header).map_err(failed)?;
        let header: Map<String, Value> =
            serde_json::from_slice(&header).map_err(|error| damaged(format!("header: {error}")))?;
        let mut places = Vec::new();
        for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
            places.extend(place(name, &value).map_err(damaged)?);
        }
        places.sort_by_key(|place| place.start);
        let mut at = 0;
        let mut tensors = BTreeMap::new();
        for place in places {
            if place.start < at || place.end < place.start || place.end > data {
                return Err(damaged(format!("tensor {} lies outside of the data", place.name)));
            }
            file.skip(place.start - at).map_err(failed)?;
            let mut bytes = vec![0; usize::try_from(place.end - place.start).unwrap_or(usize::MAX)];
            file.read_exact(&mut bytes).map_err(failed)?;
            at = place.end;
            let expected = place.shape.iter().product::<usize>() * place.dtype.size_in_bytes();
            if bytes.len() != expected {
                return Err(damaged(format!(
                    "tensor {} has {} bytes, not {expected}",
                    place.name,
                    bytes.len()
                )));
            }
            let tensor = Tensor::from_raw_buffer(&bytes, place.dtype, &place.shape, &Device::Cpu)?;
            tensors.insert(place.name, tensor.to_dtype(DType::F32)?);
        }
        file.skip(data - at).map_err(failed)?;
        let sha256 = file.hash.finalize().into();
        Ok(Self { path: path.to_owned(), tensors: RefCell::new(tensors), sha256 })
    }

    /// All of its tensors.
    pub(crate) fn root(&self) -> Scope<'_> {
        Scope { checkpoint: self, prefix: String::new() }
    }
}

/// What a header says of one tensor; `None` for integers, which are tables that are computed here.
fn place(name: String, value: &Value) -> Result<Option<Place>, String> {
    let wrong = || format!("header: tensor {name} is not described as it should be");
    let numbers =
        |key: &str| -> Option<Vec<u64>> { value.get(key)?.as_array()?.iter().map(Value::as_u64).collect() };
    let dtype = match value.get("dtype").and_then(Value::as_str).ok_or_else(wrong)? {
        "F64" => DType::F64,
        "F32" => DType::F32,
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        "I64" | "I32" | "I16" | "I8" | "U8" | "BOOL" => return Ok(None),
        other => return Err(format!("tensor {name} is of type {other}, which is not supported")),
    };
    let shape: Option<Vec<usize>> =
        numbers("shape").and_then(|shape| shape.into_iter().map(|side| usize::try_from(side).ok()).collect());
    // The product must fit, and no tensor is larger than what its bytes say: checked again when they are read.
    let shape = shape
        .filter(|shape| shape.iter().try_fold(8usize, |size, side| size.checked_mul(*side)).is_some())
        .ok_or_else(wrong)?;
    match numbers("data_offsets").as_deref() {
        Some(&[start, end]) => Ok(Some(Place { name, dtype, shape, start, end })),
        _ => Err(wrong()),
    }
}

/// A file that is hashed as it is read.
struct Hashing {
    file: BufReader<std::fs::File>,
    hash: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let len = self.file.read(into)?;
        self.hash.update(&into[..len]);
        Ok(len)
    }
}

impl Hashing {
    fn skip(&mut self, len: u64) -> std::io::Result<()> {
        let skipped = std::io::copy(&mut self.by_ref().take(len), &mut std::io::sink())?;
        if skipped < len { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// The tensors below one name.
#[derive(Clone, Debug)]
pub(crate) struct Scope<'a> {
    checkpoint: &'a Checkpoint,
    prefix: String,
}

impl<'a> Scope<'a> {
    /// What lies below `name`.
    pub(crate) fn at(&self, name: impl std::fmt::Display) -> Scope<'a> {
        Scope { checkpoint: self.checkpoint, prefix: format!("{}{name}.", self.prefix) }
    }

    /// Whether there is a tensor `name` here.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.checkpoint.tensors.borrow().contains_key(&format!("{}{name}", self.prefix))
    }

    /// Takes the tensor `name`, which must have `shape`.
    ///
    /// # Errors
    /// [`LoadError::NoTensor`] and [`LoadError::Shape`].
    pub(crate) fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor, LoadError> {
        let (path, name) = (self.checkpoint.path.clone(), format!("{}{name}", self.prefix));
        match self.checkpoint.tensors.borrow_mut().remove(&name) {
            None => Err(LoadError::NoTensor { path, name }),
            Some(tensor) if tensor.dims() != shape => {
                Err(LoadError::Shape { path, name, found: tensor.dims().to_vec(), expected: shape.to_vec() })
            }
            Some(tensor) => Ok(tensor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> tempfile::NamedTempFile {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn tensors_are_read_by_name_and_shape_and_the_whole_file_is_hashed() {
        let header = r#"{"__metadata__":{"format":"pt"},
            "a.half":{"dtype":"F16","shape":[2],"data_offsets":[12,16]},
            "a.full":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},
            "ids":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut data = vec![9, 9, 9, 9];
        data.extend(1.5f32.to_le_bytes());
        data.extend((-2.0f32).to_le_bytes());
        data.extend([0x00, 0x3C, 0x00, 0xC0, 7]);
        let file = file(header, &data);
        let checkpoint = Checkpoint::read(file.path()).unwrap();
        let expected: [u8; 32] = Sha256::digest(std::fs::read(file.path()).unwrap()).into();
        assert_eq!(checkpoint.sha256, expected);
        let scope = checkpoint.root().at("a");
        assert!(scope.has("half") && !checkpoint.root().has("ids"));
        assert_eq!(scope.take("half", &[2]).unwrap().to_vec1::<f32>().unwrap(), [1.0, -2.0]);
        let told = scope.take("full", &[2]).unwrap_err().to_string();
        assert!(told.ends_with("tensor a.full has the shape [1, 2], and config.json asks for [2]"), "{told}");
        let told = scope.take("none", &[2]).unwrap_err().to_string();
        assert!(told.ends_with(": there is no tensor a.none"), "{told}");
    }

    #[test]
    fn damaged_files_are_refused() {
        for (header, data, expected) in [
            ("{", &[][..], "header: "),
            ("[]", &[], "header: "),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 3], "outside of the data"),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, &[0; 4], "has 4 bytes, not 8"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, &[0; 4], "outside of the data"),
            (r#"{"a":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]}}"#, &[0], "of type F8_E5M2"),
            (r#"{"a":{"shape":[1],"data_offsets":[0,1]}}"#, &[0], "not described as it should be"),
            (
                r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#,
                &[],
                "not described as it should be",
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#,
                &[0; 6],
                "tensor b lies outside of the data",
            ),
        ] {
            let told = Checkpoint::read(file(header, data).path()).unwrap_err().to_string();
            assert!(told.contains(expected), "{header}: {told}");
        }
        let short = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(short.path(), [255; 20]).unwrap();
        let told = Checkpoint::read(short.path()).unwrap_err().to_string();
        assert!(told.contains("is no safetensors file"), "{told}");
    }
}
