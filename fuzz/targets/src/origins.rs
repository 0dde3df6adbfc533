//! Requests to an origin that is built with the SDK.

use async_trait::async_trait;
use bytes::Bytes;
use fallthrough_object::Key;
use fallthrough_origin::{
    Answer, ListRequest, ListedObject, Listing, Origin, OriginError, OriginService, Request, Timestamp, serve,
};
use fallthrough_wire::xml::parse_list_page;
use http_body_util::{BodyExt as _, Full};

use crate::input::Input;
use crate::runtime::block_on;

const KEYS: [&str; 6] = ["a", "a/b", "a/b/c", "a/c", "b\u{1F600}", "z z"];

#[derive(Debug)]
struct Fixed;

#[async_trait]
impl Origin for Fixed {
    async fn get(&self, request: &Request) -> Result<Answer, OriginError> {
        match request.key.as_str() {
            key if KEYS.contains(&key) => Ok(Answer::bytes(format!("the bytes of {key}"))),
            _ => Err(OriginError::not_found()),
        }
    }

    async fn list(&self, request: &ListRequest) -> Result<Listing, OriginError> {
        let after = request.after.as_deref().unwrap_or("");
        let keys = KEYS.iter().filter(|key| key.starts_with(&request.prefix) && **key > after);
        let mut objects: Vec<_> = keys
            .map(|key| ListedObject {
                key: Key::parse(key).expect("it is a key"),
                size_bytes: 1,
                etag: None,
                last_modified: Timestamp(0),
            })
            .collect();
        let more = objects.len() > request.limit;
        objects.truncate(request.limit);
        Ok(Listing { objects, more })
    }
}

thread_local! {
    static SERVICE: OriginService = serve(Fixed).into_service();
}

/// Lines: method, target; then headers and the body.
///
/// Any request is answered, none by a failure of the server; a part is a part of the object, and a page holds
/// what was asked for.
pub fn origin(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (method, target, headers) = (input.line(), input.line(), input.headers());
    let request = http::Request::builder().method(&*method).uri(&*target);
    let Ok(mut request) = request.body(Full::new(Bytes::copy_from_slice(input.rest()))) else { return };
    *request.headers_mut() = headers;

    let service = SERVICE.with(Clone::clone);
    let (status, headers, body) = block_on(async move {
        let (parts, body) = service.answer(request).await.into_parts();
        let body = body.collect().await.expect("bytes in memory do not break off").to_bytes();
        (parts.status, parts.headers, body)
    });
    assert_ne!(status.as_u16(), 500, "{method} {target}");
    let is_xml = headers.get("content-type").is_some_and(|kind| kind == "application/xml");
    match (status.as_u16(), method.as_str()) {
        (200, "GET") if body.starts_with(b"<?xml") && is_xml => {
            if let Ok(page) = parse_list_page(&body) {
                assert!(page.objects.iter().all(|object| KEYS.contains(&object.key.as_str())));
                assert!(page.objects.iter().all(|object| object.key.starts_with(&page.prefix)));
                assert!(page.objects.len() + page.common_prefixes.len() <= page.max_keys as usize);
                assert!(!page.is_truncated || page.next().is_some());
            }
        }
        (206, "GET") => {
            let range = headers.get("content-range").and_then(|value| value.to_str().ok());
            let range =
                range.and_then(fallthrough_wire::range::parse_content_range).expect("a 206 says which part");
            assert_eq!(range.range.len(), body.len() as u64);
            let whole = KEYS.map(|key| format!("the bytes of {key}"));
            let part = |whole: &String| {
                let at = usize::try_from(range.range.start).unwrap_or(usize::MAX);
                whole.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(&body))
            };
            assert!(whole.iter().any(part));
        }
        _ => {}
    }
}
