//! What the server answers when there is no picture, in the shapes the web UI uses: a failure is
//! `{error, detail, body, errors}`, and a validation lists `{loc, msg, type}` as its detail.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::model::ModelError;
use crate::request::InvalidField;

/// An answer without a picture.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    error: &'static str,
    detail: Value,
    errors: String,
    retry_after_secs: Option<u64>,
}

impl Fault {
    fn new(status: StatusCode, error: &'static str, detail: impl Into<Value>) -> Self {
        Self { status, error, detail: detail.into(), errors: String::new(), retry_after_secs: None }
    }

    /// 422: `field` of the body is wrong.
    pub(super) fn invalid(field: &str, message: impl Into<String>) -> Self {
        let detail = json!([{"loc": ["body", field], "msg": message.into(), "type": "value_error"}]);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "RequestValidationError", detail)
    }

    /// 422: the body is no JSON object.
    pub(super) fn unreadable(message: impl Into<String>) -> Self {
        let detail = json!([{"loc": ["body"], "msg": message.into(), "type": "value_error.jsondecode"}]);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "RequestValidationError", detail)
    }

    /// 413.
    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "HTTPException", "the request body is too large")
    }

    /// 400, as the web UI answers a name it does not know.
    pub(super) fn unknown_name(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "HTTPException", message.into())
    }

    /// 401.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "HTTPException", "Incorrect username or password")
    }

    /// 404 or 405.
    pub(super) fn no_such_route(status: StatusCode) -> Self {
        Self::new(status, "HTTPException", status.canonical_reason().unwrap_or_default())
    }

    /// 503: the server is on its way down.
    pub(super) fn shutting_down() -> Self {
        let mut fault =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", "the server is shutting down");
        fault.retry_after_secs = Some(1);
        fault
    }
}

impl From<InvalidField> for Fault {
    fn from(invalid: InvalidField) -> Self {
        Self::invalid(invalid.field, invalid.reason)
    }
}

impl From<ModelError> for Fault {
    fn from(error: ModelError) -> Self {
        let errors = error.to_string();
        let mut fault = match error {
            ModelError::Busy { retry_after } => {
                let mut fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", "the queue is full");
                fault.retry_after_secs = Some(retry_after.as_secs().max(1));
                fault
            }
            ModelError::Invalid(what) => return Self::invalid("prompt", what),
            ModelError::Unavailable(what) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", what),
            ModelError::Misconfigured(what) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Misconfigured", what)
            }
            ModelError::OutOfMemory => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "OutOfMemoryError", "out of memory")
            }
            ModelError::Cancelled => Self::new(StatusCode::SERVICE_UNAVAILABLE, "Interrupted", "interrupted"),
            ModelError::Internal(what) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "RuntimeError", what),
        };
        fault.errors = errors;
        fault
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({"error": self.error, "detail": self.detail, "body": "", "errors": self.errors});
        let mut response = (self.status, Json(body)).into_response();
        if let Some(secs) = self.retry_after_secs {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        response
    }
}
