//! One request of a case, before it is signed, with what its answer must be.

use crate::body::Body;
use crate::expect::Expect;
use crate::form::Form;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The account under test.
    Main,
    /// Another account.
    Second,
    /// Nobody: no signature.
    Anonymous,
    /// The account under test with another access key or secret.
    Key {
        /// `{access-key}` is the true one.
        access_key: String,
        /// Not the true one, usually.
        secret: String,
    },
}

/// Where the signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing {
    /// In the Authorization header, SigV4.
    Header,
    /// In the query, SigV4, good for so many seconds.
    Query(u64),
    /// In the query, SigV2, good for so many seconds.
    QueryV2(i64),
    /// Among the fields of the form.
    Form,
}

/// How the body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Its SHA-256 is signed.
    Sha256,
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// aws-chunked, each chunk signed.
    SignedChunks,
    /// aws-chunked, each chunk and the trailers signed.
    SignedTrailer,
    /// aws-chunked with trailers, nothing signed.
    UnsignedTrailer,
}

/// How the length of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Content-Length.
    Length,
    /// HTTP's own chunks.
    Chunked,
    /// Not at all; nothing is sent.
    Missing,
}

/// A change of the request after it was signed.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Sets or adds a header.
    Set(String, String),
    /// Sends another method.
    Method(String),
    /// Takes a header away.
    Remove(String),
    /// Replaces text in a header.
    InHeader(String, String, String),
    /// Replaces text in the query.
    InQuery(String, String),
    /// Replaces text in the path.
    InPath(String, String),
    /// Replaces a text in the encoded body by one of the same length.
    InBody(String, String),
}

#[derive(Clone, Debug)]
pub(crate) enum QueryPart {
    /// As it stands, variables replaced.
    Raw(String),
    /// A name and a value that is encoded once variables are replaced.
    Param(String, String),
}

/// A request and what its answer must be. Texts may hold [variables](crate::variables::Variables).
#[derive(Clone, Debug)]
#[must_use = "a call belongs to a case"]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Decoded; encoded once on its way.
    pub(crate) path: String,
    /// As it goes on the wire, instead of `path`.
    pub(crate) raw_path: Option<String>,
    pub(crate) query: Vec<QueryPart>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    /// Instead of `body`.
    pub(crate) form: Option<Form>,
    pub(crate) content_md5: bool,
    pub(crate) who: Who,
    pub(crate) signing: Signing,
    pub(crate) payload: Payload,
    pub(crate) chunk_bytes: usize,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) framing: Framing,
    pub(crate) waits_for_continue: bool,
    pub(crate) region: Option<String>,
    /// Seconds by which the clock of the signature is off.
    pub(crate) clock_off: i64,
    pub(crate) changes: Vec<Change>,
    pub(crate) expect: Expect,
}

/// A request with a decoded path that begins with `/`.
pub(crate) fn call(method: &str, path: impl Into<String>) -> Call {
    Call {
        method: method.to_owned(),
        path: path.into(),
        raw_path: None,
        query: Vec::new(),
        headers: Vec::new(),
        body: Body::Bytes(Vec::new()),
        form: None,
        content_md5: false,
        who: Who::Main,
        signing: Signing::Header,
        payload: Payload::Sha256,
        chunk_bytes: 64 << 10,
        trailers: Vec::new(),
        framing: Framing::Length,
        waits_for_continue: false,
        region: None,
        clock_off: 0,
        changes: Vec::new(),
        expect: Expect::default(),
    }
}

/// GET of a key in the case's bucket.
pub(crate) fn get(key: &str) -> Call {
    call("GET", format!("/{{bucket}}/{key}"))
}

/// HEAD of a key in the case's bucket.
pub(crate) fn head(key: &str) -> Call {
    call("HEAD", format!("/{{bucket}}/{key}"))
}

/// PUT of a key in the case's bucket.
pub(crate) fn put(key: &str, body: impl Into<Body>) -> Call {
    call("PUT", format!("/{{bucket}}/{key}")).body(body)
}

/// DELETE of a key in the case's bucket.
pub(crate) fn delete(key: &str) -> Call {
    call("DELETE", format!("/{{bucket}}/{key}"))
}

/// POST to a key in the case's bucket.
pub(crate) fn post(key: &str, body: impl Into<Body>) -> Call {
    call("POST", format!("/{{bucket}}/{key}")).body(body)
}

/// A request to the case's bucket itself.
pub(crate) fn bucket(method: &str, query: &str) -> Call {
    call(method, "/{bucket}").query(query)
}

/// A list of the case's bucket, second version.
pub(crate) fn list_v2() -> Call {
    bucket("GET", "list-type=2").gives(200)
}

/// A list of the case's bucket, first version.
pub(crate) fn list_v1() -> Call {
    bucket("GET", "").gives(200)
}

impl Call {
    pub(crate) fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds to the query as it stands, such as `uploads` or `list-type=2`.
    pub(crate) fn query(mut self, text: &str) -> Self {
        if !text.is_empty() {
            self.query.push(QueryPart::Raw(text.to_owned()));
        }
        self
    }

    /// Adds a parameter whose value is encoded.
    pub(crate) fn param(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push(QueryPart::Param(name.to_owned(), value.into()));
        self
    }

    pub(crate) fn raw_path(mut self, path: &str) -> Self {
        self.raw_path = Some(path.to_owned());
        self
    }

    /// Adds a header, which is signed if it is of those that are.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds several headers.
    pub(crate) fn with_all(mut self, headers: &[(&str, &str)]) -> Self {
        self.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// Adds the Content-MD5 of the body.
    pub(crate) fn md5(mut self) -> Self {
        self.content_md5 = true;
        self
    }

    pub(crate) fn by_second(mut self) -> Self {
        self.who = Who::Second;
        self
    }

    pub(crate) fn anonymous(mut self) -> Self {
        self.who = Who::Anonymous;
        self
    }

    pub(crate) fn keyed(mut self, access_key: &str, secret: &str) -> Self {
        self.who = Who::Key { access_key: access_key.to_owned(), secret: secret.to_owned() };
        self
    }

    /// Signs in the query, for so many seconds.
    pub(crate) fn presigned(mut self, secs: u64) -> Self {
        self.signing = Signing::Query(secs);
        self
    }

    /// Signs in the query by SigV2, for so many seconds.
    pub(crate) fn presigned_v2(mut self, secs: i64) -> Self {
        self.signing = Signing::QueryV2(secs);
        self
    }

    /// The form has the signature in it, and the account's key is what it is made with.
    pub(crate) fn signed_by_form(mut self) -> Self {
        self.signing = Signing::Form;
        self
    }

    /// Has this Content-Type, instead of another.
    pub(crate) fn typed(mut self, content_type: &str) -> Self {
        self.headers.retain(|(name, _)| name != "content-type");
        self.with("content-type", content_type)
    }

    /// Goes to another path.
    pub(crate) fn to(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// Bytes in an aws-chunk.
    pub(crate) fn chunks_of(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes;
        self
    }

    /// Adds a trailer, which is also announced.
    pub(crate) fn trailer(mut self, name: &str, value: impl Into<String>) -> Self {
        self.trailers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Sends `Expect: 100-continue` and the body only when it is asked for.
    pub(crate) fn waits_for_continue(mut self) -> Self {
        self.waits_for_continue = true;
        self
    }

    /// Signs for another region.
    pub(crate) fn in_region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// Signs by a clock that is so many seconds off.
    pub(crate) fn clock_off(mut self, secs: i64) -> Self {
        self.clock_off = secs;
        self
    }

    pub(crate) fn then_set(mut self, name: &str, value: &str) -> Self {
        self.changes.push(Change::Set(name.to_owned(), value.to_owned()));
        self
    }

    /// Sends another method than was signed.
    pub(crate) fn sent_as(mut self, method: &str) -> Self {
        self.changes.push(Change::Method(method.to_owned()));
        self
    }

    pub(crate) fn then_remove(mut self, name: &str) -> Self {
        self.changes.push(Change::Remove(name.to_owned()));
        self
    }

    pub(crate) fn then_in_header(mut self, name: &str, from: &str, to: &str) -> Self {
        self.changes.push(Change::InHeader(name.to_owned(), from.to_owned(), to.to_owned()));
        self
    }

    pub(crate) fn then_in_query(mut self, from: &str, to: &str) -> Self {
        self.changes.push(Change::InQuery(from.to_owned(), to.to_owned()));
        self
    }

    pub(crate) fn then_in_path(mut self, from: &str, to: &str) -> Self {
        self.changes.push(Change::InPath(from.to_owned(), to.to_owned()));
        self
    }

    pub(crate) fn then_in_body(mut self, from: &str, to: &str) -> Self {
        self.changes.push(Change::InBody(from.to_owned(), to.to_owned()));
        self
    }

    /// Whether it needs a second account.
    pub(crate) fn needs_second(&self) -> bool {
        let second = |text: &String| text.contains("{second");
        self.who == Who::Second
            || self.headers.iter().any(|(_, value)| second(value))
            || matches!(&self.body, Body::Text(text) if second(text))
    }
}
