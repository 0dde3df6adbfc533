//! Lets requests pass that carry the right HTTP Basic credentials, where any are asked for.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::fault::Fault;
use crate::credentials::Credentials;

pub(super) async fn check(
    State(credentials): State<Option<Arc<Credentials>>>,
    request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match credentials {
        Some(credentials) if !given.is_some_and(|given| credentials.matches(given)) => {
            Fault::unauthorized().into_response()
        }
        _ => next.run(request).await,
    }
}
