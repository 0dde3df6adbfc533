//! Health, metrics, status and the API's own description.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};

use crate::admin::AdminApi;
use crate::admin::answer::ApiError;
use crate::admin::outbox::WaitingView;
use crate::admin::view::{CopiesView, Status};

/// The description of the API.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// The process is alive: it answers.
pub(crate) async fn livez() -> &'static str {
    "alive\n"
}

/// The store is open and the server is not about to stop. A dead shadow does not make it unready.
pub(crate) async fn readyz(State(api): State<AdminApi>) -> (StatusCode, &'static str) {
    if is_ready(&api) {
        (StatusCode::OK, "ready\n")
    } else if (api.parts.draining)() {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: stopping\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the store does not answer\n")
    }
}

pub(crate) async fn metrics(State(api): State<AdminApi>) -> impl IntoResponse {
    if let Err(error) = api.parts.engine.measure_usage().await {
        // What else there is to tell is told.
        tracing::warn!(error = &error as &dyn std::error::Error, "what buckets hold cannot be read");
    }
    api.parts.engine.show_outbox();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (api.parts.metrics)())
}

pub(crate) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

pub(crate) async fn status(State(api): State<AdminApi>) -> Result<Json<Status>, ApiError> {
    let waiting = api.parts.engine.outbox_of_all();
    Ok(Json(Status {
        version: api.parts.version.to_owned(),
        ready: is_ready(&api),
        uptime_secs: api.parts.clock.monotonic().since(api.started).as_secs(),
        s3: api.parts.s3_address.clone(),
        buckets: api.parts.engine.buckets(None, 1000).await?.len(),
        store_free_bytes: (api.parts.free_bytes)(),
        quarantined: api.parts.engine.quarantined_count(),
        copies: Some(CopiesView::of(api.parts.engine.copies_status().await?)),
        waiting: (waiting.waiting() > 0).then(|| WaitingView::of(waiting)),
    }))
}

fn is_ready(api: &AdminApi) -> bool {
    api.parts.engine.ready() && !(api.parts.draining)()
}
