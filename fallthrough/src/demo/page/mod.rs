//! The demo page at `/_demo` on the S3 listener: a text falls through three tiers and comes back as a picture.
//!
//! Server-rendered, so that it can be read and used without JavaScript; the script adds what only a browser
//! can tell: whether an answer was a MISS, JOINED or a HIT, and how long it took. Nothing is fetched from
//! another host, which the content security policy enforces. The page has no powers: the avatar is plain
//! GetObject on a public bucket.

mod describe;
mod view;

use std::sync::Arc;

use axum::body::Body;
use fallthrough_gateway::{PageHandler, PageResponse};
use fallthrough_origin::OriginService;
use http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use serde_json::json;

use describe::{Description, HashKind, TEXT_BYTES_MAX, TEXT_FIRST};

use super::counted::Calls;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
const ICON: &str = include_str!("icon.svg");

/// Everything from this listener and nothing from elsewhere; `blob:` is the picture that the script has read.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the page tells about the tiers below.
#[derive(Clone, Debug)]
pub(super) struct Tiers {
    /// The avatar origin's own count of calls.
    pub(super) calls: Arc<Calls>,
    /// The avatar origin's server, whose counters tell of all keys together.
    pub(super) service: OriginService,
    /// The avatar origin's address.
    pub(super) origin: String,
    /// The image model's address.
    pub(super) model: String,
    /// What draws, in a word or two.
    pub(super) engine: String,
}

/// The pages below `/_demo`.
pub(super) fn pages(tiers: Tiers) -> PageHandler {
    let tiers = Arc::new(tiers);
    PageHandler::new(move |method, uri, headers| {
        let answer = answer(&tiers, method, uri, headers)?;
        Some(Box::pin(std::future::ready(answer)))
    })
}

/// `None` where there is no such page.
fn answer(tiers: &Tiers, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<PageResponse> {
    let query = Query::of(uri);
    let page = match uri.path() {
        "/_demo" | "/_demo/" => page(tiers, &query, headers),
        "/_demo/describe" => describe(&query),
        "/_demo/calls" => calls(tiers, &query),
        "/_demo/style.css" => asset("text/css; charset=utf-8", STYLE),
        "/_demo/script.js" => asset("text/javascript; charset=utf-8", SCRIPT),
        "/_demo/icon.svg" => asset("image/svg+xml", ICON),
        _ => return None,
    };
    Some(match *method {
        Method::GET => page,
        // The server leaves out the body of an answer to HEAD; its length stays.
        Method::HEAD => page,
        _ => {
            let mut refused = respond(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain; charset=utf-8",
                "This page is only for reading: use GET.\n".to_owned(),
            );
            refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            refused
        }
    })
}

fn page(tiers: &Tiers, query: &Query, headers: &HeaderMap) -> PageResponse {
    let text = query.text.as_deref().unwrap_or(TEXT_FIRST);
    match described(text, query.kind) {
        Ok(description) => {
            let here = view::Here { base: base_address(headers), tiers };
            respond(StatusCode::OK, "text/html; charset=utf-8", view::page(&here, &description).into_string())
        }
        Err(refusal) => respond(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", format!("{refusal}\n")),
    }
}

fn describe(query: &Query) -> PageResponse {
    let answer = match query.text.as_deref() {
        None => Err("give a text: /_demo/describe?text=…".to_owned()),
        Some(text) => described(text, query.kind),
    };
    match answer {
        Ok(description) => json_response(StatusCode::OK, &json!(description)),
        Err(refusal) => json_response(StatusCode::BAD_REQUEST, &json!({ "error": refusal })),
    }
}

/// How often the avatar origin was asked for a key: counted there, not derived from what clients were told.
fn calls(tiers: &Tiers, query: &Query) -> PageResponse {
    match query.key.as_deref() {
        Some(key) => {
            let total = tiers.service.counters().snapshot().origin_calls;
            json_response(
                StatusCode::OK,
                &json!({ "key": key, "calls": tiers.calls.of(key), "total": total }),
            )
        }
        None => json_response(StatusCode::BAD_REQUEST, &json!({ "error": "give a key: /_demo/calls?key=…" })),
    }
}

fn described(text: &str, kind: HashKind) -> Result<Description, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("the text has {} bytes; the page takes up to {TEXT_BYTES_MAX}", text.len()));
    }
    Description::of(text, kind)
}

#[derive(Debug, Default)]
struct Query {
    text: Option<String>,
    key: Option<String>,
    kind: HashKind,
}

impl Query {
    fn of(uri: &Uri) -> Self {
        let mut query = Self::default();
        for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "text" => query.text = Some(value.into_owned()),
                "key" => query.key = Some(value.into_owned()),
                "hash" => query.kind = HashKind::parse(&value),
                // Links come back with parameters that somebody else has added.
                _ => {}
            }
        }
        query
    }
}

/// The address by which the reader came here, for links to copy. What is not plainly a host is not shown.
fn base_address(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    if plain && !host.is_empty() { format!("http://{host}") } else { "http://localhost:9900".to_owned() }
}

fn asset(content_type: &'static str, text: &'static str) -> PageResponse {
    respond(StatusCode::OK, content_type, text.to_owned())
}

fn json_response(status: StatusCode, value: &serde_json::Value) -> PageResponse {
    respond(status, "application/json", value.to_string())
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> PageResponse {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use fallthrough_origin::{Answer, OriginError, Request, serve};
    use http_body_util::BodyExt;

    use super::*;

    fn tiers() -> Tiers {
        Tiers {
            calls: Arc::new(Calls::default()),
            service: serve(|_: Request| async { Ok::<_, OriginError>(Answer::bytes("avatar")) })
                .into_service(),
            origin: "http://127.0.0.1:1".to_owned(),
            model: "http://127.0.0.1:2".to_owned(),
            engine: "painter".to_owned(),
        }
    }

    async fn get(path: &str) -> (StatusCode, HeaderMap, String) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, header::HeaderValue::from_static("127.0.0.1:9900"));
        let uri: Uri = path.parse().expect("a path");
        let answer = answer(&tiers(), &Method::GET, &uri, &headers).expect("there is such a page");
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.expect("a body in memory").to_bytes();
        (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn the_page_works_without_a_script() {
        let (status, headers, html) = get("/_demo?text=Hello+World").await;
        assert_eq!(status, StatusCode::OK);
        // md5sum of "Hello World".
        assert!(html.contains("b10a8db164e0754105b7a99be72e3fe5"));
        assert!(html.contains(r#"src="/avatar/b10a8db164e0754105b7a99be72e3fe5?s=256""#));
        assert!(html.contains("http://127.0.0.1:9900/avatar/b10a8db164e0754105b7a99be72e3fe5"));
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        // An address elsewhere would be refused by the policy; there is none to begin with.
        assert!(!html.contains("https://") && !html.contains("//cdn"));
    }

    #[tokio::test]
    async fn what_is_typed_is_shown_and_never_run() {
        let (_, _, html) = get("/_demo?text=%3Cscript%3Ealert(1)%3C/script%3E%22%27").await;
        assert!(!html.contains("<script>alert"));
        assert!(html.contains("&lt;script&gt;alert(1)"));
    }

    #[tokio::test]
    async fn texts_that_are_too_long_are_refused() {
        let (status, _, body) =
            get(&format!("/_demo/describe?text={}", "x".repeat(TEXT_BYTES_MAX + 1))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body.contains("1025 bytes"), "{body}");
        let (status, _, _) = get("/_demo/describe").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn description_and_count_are_json() {
        let (status, _, body) = get("/_demo/describe?text=a&hash=sha256").await;
        assert_eq!(status, StatusCode::OK);
        let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(value["md5"], "0cc175b9c0f1b6a831c399e269772661");
        assert_eq!(value["key"], value["sha256"]);
        assert!(value["traits"].as_array().is_some_and(|traits| traits.len() >= 10));
        let (_, _, body) = get("/_demo/calls?key=0cc175b9c0f1b6a831c399e269772661").await;
        assert_eq!(body, r#"{"calls":0,"key":"0cc175b9c0f1b6a831c399e269772661","total":0}"#);
    }

    #[test]
    fn only_known_paths_and_reading_methods() {
        let headers = HeaderMap::new();
        assert!(answer(&tiers(), &Method::GET, &Uri::from_static("/_demo/../secret"), &headers).is_none());
        let refused = answer(&tiers(), &Method::PUT, &Uri::from_static("/_demo"), &headers).expect("a page");
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
