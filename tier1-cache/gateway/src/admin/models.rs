//! `/admin/v1/models`: what waits for the image models of this process, and who does the work.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::admin::AdminApi;

/// The models that have a queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelsView {
    /// In order of name.
    pub models: Vec<ModelView>,
}

/// One model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelView {
    /// Its name in the configuration.
    pub name: String,
    /// Jobs that wait.
    pub waiting: usize,
    /// Most jobs that may wait.
    pub queue: usize,
    /// Jobs that were sent away because the queue was full.
    pub shed: u64,
    /// What somebody who is sent away now would be told.
    pub retry_after_secs: u64,
    /// The servers that do the work.
    pub backends: Vec<ModelBackendView>,
    /// Jobs that are being done, then those that wait, in the order of their turns.
    pub jobs: Vec<ModelJobView>,
}

/// A server that does the work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelBackendView {
    /// Its address, without credentials.
    pub url: String,
    /// `up`, `resting` or `down`.
    pub state: String,
    /// Why it may not be asked, if it may not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Jobs of ours that it has.
    pub in_flight: usize,
    /// Jobs of others that it has, as far as it tells.
    pub foreign: u32,
    /// Seconds per (step × megapixel), a moving average, if it was measured lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_per_step_megapixel: Option<f64>,
    /// The checkpoint that it used last, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Pictures that it made.
    pub done: u64,
    /// Jobs that it failed at.
    pub failed: u64,
}

/// A job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelJobView {
    /// Its place among those that wait, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    /// The address of the server that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Since when it has been here, in seconds.
    pub age_secs: f64,
    /// How long until it is done, in seconds, as far as can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_secs: Option<f64>,
}

pub(crate) async fn list(State(api): State<AdminApi>) -> Json<ModelsView> {
    Json(ModelsView { models: (api.parts.models)() })
}
