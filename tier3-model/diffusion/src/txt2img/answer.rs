//! What a backend's answer means: pictures, refusals, and whether it is an answer to what was asked.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::Trouble;
use crate::encode::{self, Format};
use crate::model::ModelError;
use crate::pool::{is_called, same_hash};
use crate::request::Txt2Img;

/// Largest part of an error's text that is passed on.
const DETAIL_CHARS_MAX: usize = 300;
/// A backend that is busy and does not say for how long is left alone for this.
const BUSY_FOR: Duration = Duration::from_secs(2);

/// A txt2img answer, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) images: Vec<String>,
    pub(super) info: String,
}

/// The `info` of an answer.
#[derive(Deserialize)]
pub(super) struct Info {
    #[serde(default)]
    pub(super) index_of_first_image: usize,
    #[serde(default)]
    pub(super) sd_model_hash: Option<String>,
    #[serde(default)]
    pub(super) sd_model_name: Option<String>,
    #[serde(default)]
    pub(super) seed: Option<i64>,
    #[serde(default)]
    pub(super) steps: Option<i64>,
    #[serde(default)]
    pub(super) version: Option<String>,
}

/// What an answer without success means.
pub(super) fn refused(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> ModelError {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = told["error"].as_str().unwrap_or_default();
    let detail = detail(&told["detail"]);
    if error.contains("OutOfMemory")
        || told["errors"].as_str().is_some_and(|text| text.contains("out of memory"))
    {
        return ModelError::OutOfMemory;
    }
    match status.as_u16() {
        401 | 403 => ModelError::Misconfigured(format!("the backend refuses our credentials ({status})")),
        404 => ModelError::Misconfigured(
            "the backend has no txt2img API: start it with its API enabled".to_owned(),
        ),
        400 | 413 | 422 => ModelError::Invalid(detail),
        429 | 503 if retry_after.is_some() || error == "Busy" => {
            ModelError::Busy { retry_after: retry_after.unwrap_or(BUSY_FOR) }
        }
        502..=504 | 429 => ModelError::Unavailable(format!("{status} {detail}")),
        300..=399 => {
            ModelError::Misconfigured(format!("the backend redirects ({status}): set its final address"))
        }
        _ => ModelError::Internal(format!("{status} {error} {detail}")),
    }
}

/// The picture of an answer, in base64; those before it are grids.
pub(super) fn first(answer: &Answer, index: usize) -> Result<&str, ModelError> {
    let image = answer.images.get(index);
    image.map(String::as_str).ok_or_else(|| ModelError::Internal("an answer without a picture".to_owned()))
}

/// Reads an answer as [`Txt2ImgClient`] does, whatever its model.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_answer(body: &[u8], request: &Txt2Img, wish: Format) -> Option<(Bytes, Format)> {
    let answer: Answer = parse(body).ok()?;
    let info: Info = parse(answer.info.as_bytes()).ok()?;
    picture(first(&answer, info.index_of_first_image).ok()?, request, wish).ok()
}

/// Decodes a picture from base64, checks its size, and makes sure that no metadata is left.
pub(super) fn picture(base64: &str, request: &Txt2Img, wish: Format) -> Result<(Bytes, Format), ModelError> {
    let broken = |what: String| ModelError::Internal(format!("the backend's picture is broken: {what}"));
    let base64 = base64.split_once("base64,").map_or(base64, |(_, data)| data);
    let bytes = BASE64.decode(base64.trim()).map_err(|error| broken(error.to_string()))?;
    let (width, height) = encode::dimensions(&bytes).map_err(|error| broken(error.to_string()))?;
    if (width, height) != (request.width, request.height) {
        return Err(broken(format!("{width}×{height} instead of {}×{}", request.width, request.height)));
    }
    if Format::sniff(&bytes) == Some(wish) && encode::is_bare(&bytes) {
        return Ok((bytes.into(), wish));
    }
    encode::reencode(&bytes, wish).map(|bytes| (bytes, wish)).map_err(|error| broken(error.to_string()))
}

/// Whether the answer is to what was asked. A backend that tells what it did must have done it.
pub(super) fn check_echo(info: &Info, request: &Txt2Img) -> Result<(), ModelError> {
    for (what, told, asked) in [("seed", info.seed, request.seed), ("steps", info.steps, request.steps)] {
        if told.is_some_and(|told| told != i64::from(asked)) {
            let told = told.unwrap_or_default();
            return Err(ModelError::Internal(format!("the backend used {what} {told} instead of {asked}")));
        }
    }
    Ok(())
}

/// Whether the checkpoint that was asked for has answered. The web UI silently uses the loaded one in place of one that
/// it does not have.
pub(super) fn check_model(info: &Info, model: &str, expected: &str) -> Result<(), Trouble> {
    let right = match (&info.sd_model_hash, &info.sd_model_name) {
        // stable-diffusion.cpp's server has one checkpoint and computes no hashes: its name must do.
        (None, Some(name)) => is_called(name, model),
        (hash, _) => same_hash(hash.as_deref().unwrap_or_default(), expected),
    };
    if right {
        return Ok(());
    }
    let told = info.sd_model_hash.as_ref().or(info.sd_model_name.as_ref()).cloned().unwrap_or_default();
    Err(Trouble::LacksModel(format!(
        "the backend answered with model {told:?} instead of {model:?} ({expected})"
    )))
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ModelError> {
    serde_json::from_slice(body)
        .map_err(|error| ModelError::Internal(format!("the backend's answer cannot be read: {error}")))
}

/// The text of a `detail`, which is a string or a list of what failed to validate.
fn detail(detail: &Value) -> String {
    let text = match detail {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    text.chars().take(DETAIL_CHARS_MAX).collect()
}
