//! Answers: JSON, and errors that say what to do.

use axum::Json;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use fallthrough_bucket::BucketError;
use fallthrough_object::{BucketName, Key};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::admin::probe::ProbeReport;

/// Why a call was not done.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: Box<ErrorBody>,
}

/// How an error looks on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A word that programs can compare.
    pub error: String,
    /// What happened, for people.
    pub message: String,
    /// What to do.
    pub mend: String,
    /// What the probe saw, if a shadow was refused for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeReport>,
}

impl ApiError {
    /// An error with this status.
    pub(crate) fn new(
        status: StatusCode,
        error: &str,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let body =
            ErrorBody { error: error.to_owned(), message: message.into(), mend: mend.into(), probe: None };
        Self { status, body: Box::new(body) }
    }

    /// What is answered.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// 400: the call itself is wrong.
    pub(crate) fn bad_request(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message, mend)
    }

    /// 404.
    pub(crate) fn not_found(message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message, mend)
    }

    /// 409: declared in the configuration file.
    pub(crate) fn managed(what: &str) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "managed",
            format!("{what} is declared in the configuration file and can be changed only there"),
            "change the file and reload it: `fallthrough config reload`, or SIGHUP to the server",
        )
    }

    /// 424: the shadow did not pass the probe.
    pub(crate) fn probe_failed(report: ProbeReport) -> Self {
        let mut error = Self::new(
            StatusCode::FAILED_DEPENDENCY,
            "probe_failed",
            "the shadow did not pass the probe, so nothing was saved",
            "mend what failed, or save it unprobed (probe=false, --no-probe)",
        );
        error.body.probe = Some(report);
        error
    }
}

impl From<BucketError> for ApiError {
    fn from(error: BucketError) -> Self {
        let message = error.to_string();
        let (status, word, mend) = match error {
            BucketError::NoSuchBucket(_) => (
                StatusCode::NOT_FOUND,
                "not_found",
                "`fallthrough bucket list` shows the buckets that there are",
            ),
            BucketError::NoSuchKey | BucketError::ImpossibleKey { .. } => {
                (StatusCode::NOT_FOUND, "not_found", "check the key; keys are compared byte by byte")
            }
            BucketError::Managed => (
                StatusCode::CONFLICT,
                "managed",
                "change the configuration file and run `fallthrough config reload`",
            ),
            BucketError::BucketNotEmpty => (
                StatusCode::CONFLICT,
                "not_empty",
                "delete its objects first, or clear its shadow if they are there",
            ),
            BucketError::WouldLoseWritten => (
                StatusCode::CONFLICT,
                "would_lose_written",
                "keep a copy, then purge with written=true (--written)",
            ),
            BucketError::Conflict => (StatusCode::CONFLICT, "conflict", "try again"),
            // Of S3 alone: no operation of this API comes to them.
            BucketError::NoSuchUpload
            | BucketError::NoSuchPart { .. }
            | BucketError::InvalidPart { .. }
            | BucketError::InvalidPartOrder
            | BucketError::PartTooSmall { .. }
            | BucketError::TooLarge { .. }
            | BucketError::WrongLength { .. } => {
                (StatusCode::BAD_REQUEST, "invalid_request", "check the request")
            }
            BucketError::InvalidSettings { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_settings",
                "`docs/config.md` lists what fits together",
            ),
            BucketError::NotOffered { .. } => {
                (StatusCode::NOT_IMPLEMENTED, "not_offered", "docs/semantics.md says what is offered")
            }
            BucketError::ShadowMisconfigured { .. } => (
                StatusCode::FAILED_DEPENDENCY,
                "shadow_misconfigured",
                "`fallthrough shadow test` tells what is wrong",
            ),
            BucketError::OriginFailing { .. } | BucketError::BadOriginAnswer { .. } => (
                StatusCode::FAILED_DEPENDENCY,
                "origin_failing",
                "`fallthrough shadow test` tells what is wrong",
            ),
            BucketError::SlowDown { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "slow_down", "try again in a while")
            }
            BucketError::NotDelivered { .. } => (
                StatusCode::CONFLICT,
                "not_delivered",
                "`fallthrough shadow waiting` shows them; wait until they are delivered, or drop them (force=true, --force)",
            ),
            BucketError::OutboxFull { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "outbox_full", "try again when some are delivered")
            }
            BucketError::QuotaExceeded { .. } => (
                StatusCode::INSUFFICIENT_STORAGE,
                "quota_exceeded",
                "delete objects, or raise the quota (`fallthrough bucket set --quota`)",
            ),
            BucketError::Full => {
                (StatusCode::INSUFFICIENT_STORAGE, "disk_full", "make room on the disk of the store")
            }
            BucketError::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "look at the server's log; try again in a while",
            ),
            BucketError::FillDenied
            | BucketError::Denied
            | BucketError::PreconditionFailed
            | BucketError::RangeNotSatisfiable { .. }
            | BucketError::Archived
            | BucketError::BadBody(_)
            | BucketError::Damaged => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "look at the server's log, and report it if it stays",
            ),
        };
        Self::new(status, word, message, mend)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// A JSON body, or an error that says where it is wrong.
pub(crate) fn parse_body<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(
            format!("the body is not what this call takes: {error}"),
            "/openapi.json describes it",
        )
    })
}

/// A bucket's name from the path.
pub(crate) fn parse_bucket(name: &str) -> Result<BucketName, ApiError> {
    BucketName::parse(name).map_err(|invalid| {
        ApiError::bad_request(invalid.to_string(), "use 3 to 63 lower-case letters, digits, dots and hyphens")
    })
}

/// An object's key from the query.
pub(crate) fn parse_key(key: &str) -> Result<Key, ApiError> {
    Key::parse(key)
        .map_err(|invalid| ApiError::bad_request(invalid.to_string(), "give the key as ?key=, encoded"))
}
