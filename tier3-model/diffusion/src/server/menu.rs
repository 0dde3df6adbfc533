//! What the server offers: names for other programs' menus, and settings nobody can change.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use serde_json::{Value, json};

use super::Shared;
use super::call::title;
use super::fault::Fault;
use super::jobs::read_object;
use crate::encode::Format;
use crate::model::ModelCard;
use crate::request::NoiseSource;

/// `GET /sdapi/v1/sd-models`
pub(super) async fn models(State(jobs): Shared) -> Json<Value> {
    let card = &jobs.card;
    Json(json!([{
        "title": title(card),
        "model_name": card.name,
        "hash": card.fingerprint.model_hash,
        "sha256": null,
        "filename": card.name,
        "config": null,
    }]))
}

/// `GET /sdapi/v1/samplers`
pub(super) async fn samplers(State(jobs): Shared) -> Json<Value> {
    let entry = |name: &String| json!({"name": name, "aliases": [], "options": {}});
    Json(jobs.card.samplers.iter().map(entry).collect())
}

/// `GET /sdapi/v1/schedulers`
pub(super) async fn schedulers(State(jobs): Shared) -> Json<Value> {
    let entry = |name: &String| json!({"name": name.to_lowercase(), "label": name});
    Json(jobs.card.schedulers.iter().map(entry).collect())
}

/// `GET /sdapi/v1/options`
pub(super) async fn options(State(jobs): Shared) -> Json<Value> {
    Json(current_options(&jobs.card))
}

fn current_options(card: &ModelCard) -> Value {
    json!({
        "sd_model_checkpoint": title(card),
        "sd_checkpoint_hash": card.fingerprint.model_hash,
        "samples_format": Format::default().extension(),
        "randn_source": NoiseSource::default().name(),
        "CLIP_stop_at_last_layers": 1,
    })
}

/// `POST /sdapi/v1/options`: accepts what is so already and refuses every change.
pub(super) async fn set_options(
    State(jobs): Shared,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Fault> {
    let current = current_options(&jobs.card);
    for (name, value) in read_object(body)? {
        let by_name = name == "sd_model_checkpoint" && value == jobs.card.name;
        if !by_name && current.get(&name) != Some(&value) {
            return Err(Fault::invalid(&name, "cannot be changed here; send it in override_settings"));
        }
    }
    Ok(Json(Value::Null))
}

/// `GET /sdapi/v1/memory`: in the web UI's way of saying that a figure is not to be had.
pub(super) async fn memory() -> Json<Value> {
    let unknown = json!({"error": "not measured by this engine"});
    Json(json!({"ram": unknown, "cuda": unknown}))
}

/// `GET /internal/ping`
pub(super) async fn ping() -> Json<Value> {
    Json(json!({}))
}
