//! Signatures: what is signed verifies, and what verifies means what was signed.

use std::time::Duration;

use fallthrough_object::{BucketName, Timestamp};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{AuthError, Credentials, Presented, Secret, Signer, VerifyPolicy};
use fallthrough_wire::uri::{Query, Target, split_path_style};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method};

use crate::input::Input;

const NOW: Timestamp = Timestamp(1_369_353_600_000);
const METHODS: [Method; 4] = [Method::GET, Method::PUT, Method::DELETE, Method::HEAD];

#[derive(Clone, Debug)]
struct Request {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
}

/// What a server understands of a request, as far as it is signed.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    method: Method,
    target: Target,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

impl Request {
    fn read(input: &mut Input<'_>) -> Self {
        let method = METHODS[usize::from(input.byte()) % METHODS.len()].clone();
        Self { method, path: input.line(), query: input.line(), headers: input.headers() }
    }

    fn presented(&self) -> Result<Option<Presented>, AuthError> {
        let policy = VerifyPolicy::default();
        Presented::parse(&self.method, &self.path, Some(&self.query), &self.headers, NOW, &policy)
    }

    fn is_proved(&self) -> bool {
        let presented = self.presented().ok().flatten();
        presented.is_some_and(|presented| presented.verify((), &Secret::new("secret"), None).is_ok())
    }

    /// `None` if it would be refused whoever signed it.
    fn meaning(&self) -> Option<Meaning> {
        let target = split_path_style(&self.path).ok()?;
        if let Target::Bucket { bucket } | Target::Object { bucket, .. } = &target {
            BucketName::parse(bucket).ok()?;
        }
        let query = Query::parse(&self.query).ok()?;
        let mut query: Vec<_> =
            query.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        query.sort();
        let signed = |name: &str| name.starts_with("x-amz-") || name == "host" || name == "content-type";
        let mut headers: Vec<_> = self
            .headers
            .keys()
            .filter(|name| signed(name.as_str()))
            .map(|name| (name.to_string(), self.header(name)))
            // One that is signed and empty, and one that is signed and not there, have one canonical form.
            .filter(|(_, value)| !value.is_empty())
            .collect();
        headers.sort();
        Some(Meaning { method: self.method.clone(), target, query, headers })
    }

    /// All values as one list, with runs of white space made one.
    fn header(&self, name: &http::HeaderName) -> String {
        let value = |value: &HeaderValue| {
            let words = value.as_bytes().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            words.map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
        };
        self.headers.get_all(name).iter().map(value).collect::<Vec<_>>().join(",")
    }
}

/// A request (method, path, query, headers up to an empty line), whether it is presigned, and another request.
///
/// Any claim is read or refused. A signed request verifies; with the other's path, query or headers it does not,
/// unless it still means the same.
pub fn signature(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut request = Request::read(&mut input);
    let presigned = input.byte() & 1 == 1;
    let other = Request::read(&mut input);

    assert!(!request.is_proved(), "nobody has signed it");
    if !matches!(request.presented(), Ok(None)) {
        return;
    }
    request.path.insert(0, '/');
    request.headers.insert(HOST, HeaderValue::from_static("s3.example.com"));
    request.headers.remove("x-amz-content-sha256");
    // Who signs puts the parameters of a signature in, and nobody else does.
    let is_free = Query::parse(&request.query)
        .is_ok_and(|query| query.iter().all(|(name, _)| !name.starts_with("X-Amz-")));
    if !is_free || !matches!(request.presented(), Ok(None)) || !sign(&mut request, presigned) {
        return;
    }
    assert!(request.is_proved(), "what is signed verifies: {request:?}");
    let meant = request.meaning();

    for mut changed in changes(&request, &other, presigned) {
        if !changed.is_proved() {
            continue;
        }
        // What no client signed, S3 lets be added: presigned uploads live by it.
        if !request.headers.contains_key(CONTENT_TYPE) {
            changed.headers.remove(CONTENT_TYPE);
        }
        if let Some(meaning) = changed.meaning() {
            assert_eq!(Some(meaning), meant, "{request:?} and {changed:?}");
        }
    }
}

fn sign(request: &mut Request, presigned: bool) -> bool {
    let signer = Signer::new(Credentials::new("AK/1", "secret"), "eu");
    let Request { method, path, query, headers } = request;
    if presigned {
        let hour = Duration::from_secs(3600);
        let signed = signer.presign(method, path, Some(query), headers, hour, NOW);
        signed.map(|signed| *query = signed).is_ok()
    } else {
        let payload = PayloadMode::Unsigned;
        signer.sign_headers(method, path, Some(query), headers, payload, NOW).is_ok()
    }
}

/// The signed request with a part of another.
fn changes(request: &Request, other: &Request, presigned: bool) -> Vec<Request> {
    let mut changes = vec![
        Request { method: other.method.clone(), ..request.clone() },
        Request { path: format!("/{}", other.path), ..request.clone() },
    ];
    // The proof stays where it is.
    let proof = if presigned { request.query.find("X-Amz-Algorithm=") } else { None };
    let proof = proof.map_or("", |at| &request.query[at..]);
    changes.push(Request { query: format!("{}&{proof}", other.query), ..request.clone() });
    for (name, value) in &other.headers {
        for append in [true, false] {
            let mut changed = request.clone();
            if append {
                changed.headers.append(name, value.clone());
            } else {
                changed.headers.insert(name, value.clone());
            }
            changes.push(changed);
        }
    }
    for name in request.headers.keys().filter(|name| **name != AUTHORIZATION) {
        let mut changed = request.clone();
        changed.headers.remove(name);
        changes.push(changed);
    }
    changes
}
