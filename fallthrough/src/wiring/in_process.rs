//! An origin in this process as a shadow: the same service that would stand behind a socket, without one.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use fallthrough_object::{BodyError, RangeSpec};
use fallthrough_origin::{Origin, OriginService, serve};
use fallthrough_shadow::{ListQuery, ListedPage, Method, RawAnswer, Request, Shadow, ShadowError};
use fallthrough_wire::uri;
use futures::StreamExt;
use http_body_util::{BodyStream, Empty};

/// An origin in this process. It is asked through the SDK's own service, so that HEAD, conditions, ranges and
/// errors are answered as they would be over a socket; the engine's admission is the one that counts.
pub(crate) struct InProcess {
    name: String,
    service: OriginService,
}

impl InProcess {
    /// `origin` under `name`, which also stands as the bucket in the path.
    pub(crate) fn new(name: &str, origin: impl Origin) -> Self {
        Self { name: name.to_owned(), service: serve(origin).into_service() }
    }

    fn request(&self, request: &Request) -> Result<http::Request<Empty<Bytes>>, ShadowError> {
        let method = match request.method {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
        };
        let mut path =
            format!("/{}/{}", uri::encode_path(&self.name), uri::encode_path(request.key.as_str()));
        if let Some(query) = request.extras.raw_query() {
            path = format!("{path}?{query}");
        }
        let mut builder = http::Request::builder()
            .method(method)
            .uri(path)
            .header("x-fallthrough-request-id", &request.request_id)
            .header("x-fallthrough-attempt", request.attempt);
        if let Some(trace) = request.trace {
            builder = builder.header("traceparent", trace.as_str());
        }
        if let Some(range) = request.range {
            builder = builder.header(http::header::RANGE, range_header(range));
        }
        if let Some(etag) = &request.if_match {
            builder = builder.header(http::header::IF_MATCH, etag.to_string());
        }
        if let Some(etag) = &request.if_none_match {
            builder = builder.header(http::header::IF_NONE_MATCH, etag.to_string());
        }
        for (name, value) in &request.extras.headers {
            builder = builder.header(name, value);
        }
        builder.body(Empty::new()).map_err(|error| ShadowError::Malformed {
            reason: format!("the request cannot be made: {error}"),
        })
    }
}

/// The value of a Range header (RFC 9110 §14.2).
fn range_header(range: RangeSpec) -> String {
    match range {
        RangeSpec::FromTo { first, last } => format!("bytes={first}-{last}"),
        RangeSpec::From { first } => format!("bytes={first}-"),
        RangeSpec::Suffix { len } => format!("bytes=-{len}"),
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InProcess({})", self.name)
    }
}

#[async_trait]
impl Shadow for InProcess {
    async fn fetch(&self, request: Request) -> Result<RawAnswer, ShadowError> {
        let asked = self.request(&request)?;
        let answering = tokio::time::timeout(request.header_timeout, self.service.answer(asked));
        let answer = answering.await.map_err(|_| ShadowError::Timeout)?;
        let (parts, body) = answer.into_parts();
        let pieces = BodyStream::new(body).filter_map(|frame| async {
            match frame {
                // Trailers say nothing that the headers have not said.
                Ok(frame) => frame.into_data().ok().map(Ok),
                Err(_) => Some(Err(BodyError::Incomplete)),
            }
        });
        Ok(RawAnswer { status: parts.status, headers: parts.headers, body: Box::pin(pieces) })
    }

    async fn list(&self, _query: ListQuery) -> Result<ListedPage, ShadowError> {
        // What a program could make is not what exists: buckets in front of programs list what is here.
        Err(ShadowError::NoList)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fallthrough_object::{Key, TraceParent};
    use fallthrough_origin::{Answer, OriginError};

    use super::*;

    async fn hello(request: fallthrough_origin::Request) -> Result<Answer, OriginError> {
        match request.key.as_str() {
            "missing" => Err(OriginError::NotFound { ttl: None }),
            "broken" => Err(OriginError::internal("no")),
            name => Ok(format!("hello, {name}").into()),
        }
    }

    async fn ask(key: &str) -> (u16, Vec<u8>) {
        let shadow = InProcess::new("avatar", hello);
        let request = Request::get(Key::parse(key).unwrap(), Duration::from_secs(5));
        let mut answer = shadow.fetch(request).await.unwrap();
        let mut body = Vec::new();
        while let Some(piece) = answer.body.next().await {
            body.extend_from_slice(&piece.unwrap());
        }
        (answer.status.as_u16(), body)
    }

    #[test]
    fn it_is_told_what_it_would_be_over_a_socket() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let request = Request {
            trace: TraceParent::parse(text.as_bytes()),
            ..Request::get(Key::parse("k").unwrap(), Duration::from_secs(5))
        };
        let asked = InProcess::new("avatar", hello).request(&request).unwrap();
        assert_eq!(asked.headers()["traceparent"], text);
    }

    #[tokio::test]
    async fn an_origin_answers_as_it_would_over_a_socket() {
        assert_eq!(ask("a b/ä%?#").await, (200, "hello, a b/ä%?#".as_bytes().to_vec()));
        assert_eq!(ask("missing").await.0, 404);
        assert_eq!(ask("broken").await.0, 500);
    }
}
