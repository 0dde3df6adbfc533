//! Which path leads where, and the token in front of everything below `/admin/`.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use http::{HeaderValue, StatusCode, header};

use crate::admin::answer::ApiError;
use crate::admin::{
    AdminApi, buckets, declared, health, inventory, keys, migration, models, objects, outbox, scrub, shadow,
};

/// Longest body that is taken: a shadow of a few hundred rules.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Paths that need no token, with their handlers.
fn open() -> Vec<(&'static str, MethodRouter<AdminApi>)> {
    vec![
        ("/livez", get(health::livez)),
        ("/readyz", get(health::readyz)),
        ("/metrics", get(health::metrics)),
        ("/openapi.json", get(health::openapi)),
    ]
}

/// Paths that need the token, with their handlers.
fn guarded() -> Vec<(&'static str, MethodRouter<AdminApi>)> {
    vec![
        ("/admin/v1/status", get(health::status)),
        ("/admin/v1/config/reload", post(declared::reload)),
        ("/admin/v1/buckets", get(buckets::list).post(buckets::create)),
        ("/admin/v1/buckets/{name}", get(buckets::info).patch(buckets::change).delete(buckets::delete)),
        (
            "/admin/v1/buckets/{name}/shadow",
            get(shadow::get).put(shadow::put).patch(shadow::patch).delete(shadow::clear),
        ),
        ("/admin/v1/buckets/{name}/shadow/test", post(shadow::test)),
        (
            "/admin/v1/buckets/{name}/migration",
            get(migration::status).post(migration::start).delete(migration::cancel),
        ),
        ("/admin/v1/buckets/{name}/migration/orders/{order}", post(migration::order)),
        ("/admin/v1/buckets/{name}/migration/notes", get(migration::notes)),
        ("/admin/v1/buckets/{name}/inventory", get(inventory::show).post(inventory::take)),
        ("/admin/v1/buckets/{name}/outbox", get(outbox::list).delete(outbox::discard)),
        ("/admin/v1/buckets/{name}/outbox/retry", post(outbox::retry)),
        ("/admin/v1/buckets/{name}/objects/stat", get(objects::stat)),
        ("/admin/v1/buckets/{name}/objects/explain", get(objects::explain)),
        ("/admin/v1/buckets/{name}/objects/purge", post(objects::purge)),
        ("/admin/v1/scrub", get(scrub::status).post(scrub::start)),
        ("/admin/v1/quarantine", get(scrub::quarantine)),
        ("/admin/v1/quarantine/{blob}", delete(scrub::discard)),
        ("/admin/v1/models", get(models::list)),
        ("/admin/v1/keys", get(keys::list).post(keys::create)),
        ("/admin/v1/keys/{id}", get(keys::show).patch(keys::change).delete(keys::revoke)),
        ("/admin/v1/keys/{id}/rotate", post(keys::rotate)),
    ]
}

/// Every path of the API, for the test that compares with its description.
#[cfg(test)]
pub(crate) fn paths() -> Vec<&'static str> {
    open().into_iter().chain(guarded()).map(|(path, _)| path).collect()
}

pub(crate) fn router(api: AdminApi) -> Router {
    let add = |router: Router<AdminApi>, (path, methods): (&str, MethodRouter<AdminApi>)| {
        router.route(path, methods.fallback(wrong_method))
    };
    let guarded = guarded()
        .into_iter()
        .fold(Router::new(), add)
        .route_layer(middleware::from_fn_with_state(api.clone(), require_token));
    open()
        .into_iter()
        .fold(guarded, add)
        .fallback(no_such_path)
        .layer(middleware::map_response(harden))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(api)
}

async fn require_token(State(api): State<AdminApi>, request: Request, next: Next) -> Response {
    if api.parts.token.admits(request.headers()) {
        return next.run(request).await;
    }
    let presented = request.headers().contains_key(header::AUTHORIZATION);
    let message = if presented { "the admin token is wrong" } else { "this call needs the admin token" };
    metrics::counter!("fallthrough_auth_failures_total", "reason" => "admin_token").increment(1);
    let error = ApiError::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        message,
        "send `Authorization: Bearer TOKEN`; unless one is configured, the token is in `admin-token` in the data folder",
    );
    ([(header::WWW_AUTHENTICATE, "Bearer")], error).into_response()
}

async fn no_such_path() -> ApiError {
    ApiError::not_found("there is no such path", "/openapi.json lists the paths")
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take this method",
        "/openapi.json lists the methods",
    )
}

/// Nothing here is to be kept, framed or guessed at by a browser; and errors of extractors, which are plain
/// text, become JSON like all others.
async fn harden(response: Response) -> Response {
    let is_text = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    let mut response = match response.status() {
        status @ (StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY)
            if is_text =>
        {
            let body = axum::body::to_bytes(response.into_body(), MAX_BODY_BYTES).await.unwrap_or_default();
            ApiError::new(
                status,
                "bad_request",
                String::from_utf8_lossy(&body).into_owned(),
                "/openapi.json describes the call",
            )
            .into_response()
        }
        _ => response,
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
