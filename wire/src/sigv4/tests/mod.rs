use std::time::Duration;

use fallthrough_object::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::error::{S3Code, S3Error};
use crate::payload::PayloadMode;
use crate::{date, uri};

mod botocore;

const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const HOST: &str = "examplebucket.s3.amazonaws.com";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn signer() -> Signer {
    Signer::new(Credentials::new(ACCESS_KEY, SECRET), "us-east-1")
}

fn now() -> Timestamp {
    date::parse_amz("20130524T000000Z").unwrap()
}

type Rows<'a> = &'a [(&'a str, &'a str)];
type Edit = fn(&mut Request);

fn headers(rows: Rows<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in rows {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

/// A request that is changed a little before it is verified.
#[derive(Clone)]
struct Request {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    now: Timestamp,
    policy: VerifyPolicy,
    secret: &'static str,
}

impl Request {
    fn new(method: &str, path: &str, query: &str, rows: &[(&str, &str)]) -> Self {
        Self {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers(rows),
            now: now(),
            policy: VerifyPolicy::default(),
            secret: SECRET,
        }
    }

    /// A good request, signed in its header.
    fn signed() -> Self {
        let mut request = Self::new("PUT", "/b/k", "x=1", &[("host", HOST), ("x-amz-meta-a", "1")]);
        let payload = PayloadMode::Unsigned;
        let (path, query) = (request.path.clone(), request.query.clone());
        signer()
            .sign_headers(&request.method, &path, Some(&query), &mut request.headers, payload, now())
            .unwrap();
        request
    }

    /// A good presigned request.
    fn presigned() -> Self {
        let mut request = Self::new("GET", "/b/k", "", &[("host", HOST)]);
        let hour = Duration::from_secs(3600);
        request.query = signer()
            .presign(&request.method, "/b/k", Some("x=a%20b"), &request.headers, hour, now())
            .unwrap();
        request
    }

    fn parse(&self) -> Result<Option<Presented>, AuthError> {
        Presented::parse(&self.method, &self.path, Some(&self.query), &self.headers, self.now, &self.policy)
    }

    fn verify(&self) -> Result<Verified<&'static str>, AuthError> {
        let presented = self.parse()?.expect("the request carries a signature");
        assert_eq!(presented.access_key(), ACCESS_KEY);
        presented.verify("alice", &Secret::new(self.secret), None)
    }

    fn code(&self) -> S3Code {
        S3Error::from(self.verify().map(|_| ()).unwrap_err()).code
    }

    fn edit_authorization(&mut self, from: &str, to: &str) {
        let text = self.headers["authorization"].to_str().unwrap().to_owned();
        assert!(text.contains(from), "{text}");
        self.headers.insert("authorization", HeaderValue::from_str(&text.replace(from, to)).unwrap());
    }

    fn put(&mut self, name: &'static str, value: &'static str) {
        self.headers.insert(name, HeaderValue::from_static(value));
    }

    fn add(&mut self, name: &'static str, value: &'static str) {
        self.headers.append(name, HeaderValue::from_static(value));
    }

    fn take(&mut self, name: &str) {
        assert!(self.headers.remove(name).is_some(), "{name}");
    }

    fn edit_query(&mut self, from: &str, to: &str) {
        assert!(self.query.contains(from), "{}", self.query);
        self.query = self.query.replace(from, to);
    }
}

#[test]
fn the_examples_of_the_s3_documentation_verify() {
    let hash_of_body = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    let rows: &[(&str, &str, &str, Rows<'_>, &str)] = &[
        (
            "GET",
            "/test.txt",
            "",
            &[("range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY)],
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            "",
            &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-content-sha256", hash_of_body),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            "lifecycle",
            &[("x-amz-content-sha256", EMPTY)],
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            "max-keys=2&prefix=J",
            &[("x-amz-content-sha256", EMPTY)],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for (method, path, query, extra, signature) in rows {
        let mut request = Request::new(method, path, query, extra);
        request.headers.insert("host", HeaderValue::from_static(HOST));
        request.headers.insert("x-amz-date", HeaderValue::from_static("20130524T000000Z"));
        let mut names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders={},Signature={signature}",
            names.join(";")
        );
        request.headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
        let verified = request.verify().unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert_eq!((verified.principal(), verified.place()), (&"alice", AuthPlace::Header));
        if !extra.iter().any(|(name, _)| *name == "date") {
            // What we would sign is the same to the byte.
            let mut again = request.headers.clone();
            let payload = PayloadMode::parse(extra.last().unwrap().1).unwrap();
            signer().sign_headers(&request.method, path, Some(query), &mut again, payload, now()).unwrap();
            let text = again["authorization"].to_str().unwrap();
            assert_eq!(text.replace(", ", ","), authorization);
        }
    }
}

#[test]
fn the_presigned_example_of_the_s3_documentation() {
    let day = Duration::from_secs(86_400);
    let query =
        signer().presign(&Method::GET, "/test.txt", None, &headers(&[("host", HOST)]), day, now()).unwrap();
    let want = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3\
                %2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
                &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    assert_eq!(query, want);
    let verified = Request::new("GET", "/test.txt", &query, &[("host", HOST)]).verify().unwrap();
    assert_eq!((verified.place(), verified.payload()), (AuthPlace::Query, PayloadMode::Unsigned));
}

#[test]
fn the_chunked_examples_of_the_s3_documentation() {
    // Mode, what is signed besides the rest, seed, signatures of 65,536, 1,024 and 0 bytes of `a`.
    let rows = [
        (
            PayloadMode::SignedChunks,
            ("content-length", "66824"),
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            [
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ],
        ),
        (
            PayloadMode::SignedChunksWithTrailer,
            ("x-amz-trailer", "x-amz-checksum-crc32c"),
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            [
                "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            ],
        ),
    ];
    for (mode, extra, seed, chunks) in rows {
        let mut request = Request::new(
            "PUT",
            "/examplebucket/chunkObject.txt",
            "",
            &[
                ("host", "s3.amazonaws.com"),
                ("x-amz-date", "20130524T000000Z"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ("x-amz-content-sha256", &mode.header_value()),
                ("content-encoding", "aws-chunked"),
                ("x-amz-decoded-content-length", "66560"),
                extra,
            ],
        );
        let mut names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let names = names.join(";");
        let credential = format!("{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request");
        let text =
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={seed}");
        request.headers.insert("authorization", HeaderValue::from_str(&text).unwrap());
        let verified = request.verify().unwrap_or_else(|error| panic!("{mode:?}: {error}"));
        assert_eq!(verified.payload(), mode);
        let mut chain = verified.chunk_chain();
        for (len, want) in [65_536, 1024, 0].into_iter().zip(chunks) {
            let signature = chain.sign_chunk(key::sha256(&vec![b'a'; len]));
            assert_eq!(std::str::from_utf8(&signature).unwrap(), want, "{mode:?} {len}");
        }
    }
}

#[test]
fn what_botocore_signs_verifies() {
    for vector in botocore::VECTORS {
        let mut request = Request::new(vector.method, vector.path, vector.query, vector.headers);
        request.now = date::parse_amz("20240229T123500Z").unwrap();
        let verified = request.verify().unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(verified.scope().region, "eu-west-1");
        request.path.push('x');
        assert!(matches!(request.verify(), Err(AuthError::Mismatch { .. })), "{}", vector.name);
    }
    assert!(botocore::VECTORS.len() > 15);
}

#[test]
fn both_readings_of_an_escaped_slash_are_accepted() {
    for signed in ["/b/a/c", "/b/a%2Fc"] {
        let mut request = Request::new("GET", signed, "", &[("host", HOST)]);
        let mut map = request.headers.clone();
        signer().sign_headers(&Method::GET, signed, None, &mut map, PayloadMode::Unsigned, now()).unwrap();
        request.headers = map;
        request.path = "/b/a%2fc".to_owned();
        request.verify().unwrap();
        // Not the other way round: what stands as a slash is one.
        request.path = "/b/a/c".to_owned();
        assert_eq!(request.verify().is_ok(), signed == "/b/a/c");
    }
}

#[test]
fn a_request_without_authentication_is_anonymous() {
    for query in ["", "X-Amz-Date=1", "Signature=1", "AWSAccessKeyId=1", "x-amz-signature=1", "prefix=%zz"] {
        let request = Request::new("GET", "/b/k", query, &[("host", HOST), ("x-amz-acl", "private")]);
        assert!(request.parse().unwrap().is_none(), "{query}");
    }
}

#[test]
fn whatever_is_signed_cannot_be_changed() {
    let good = Request::signed();
    assert!(good.verify().is_ok());
    let edits: [(&str, Edit); 9] = [
        ("method", |r| r.method = Method::DELETE),
        ("path", |r| r.path = "/b/K".to_owned()),
        ("query value", |r| r.query = "x=2".to_owned()),
        ("query added", |r| r.query = "x=1&y=1".to_owned()),
        ("query dropped", |r| r.query = String::new()),
        ("host", |r| r.put("host", "other")),
        ("metadata", |r| r.put("x-amz-meta-a", "2")),
        ("signature", |r| {
            let text = r.headers["authorization"].to_str().unwrap().to_owned();
            let flipped = if text.ends_with('0') { '1' } else { '0' };
            let text = format!("{}{flipped}", &text[..text.len() - 1]);
            r.headers.insert("authorization", HeaderValue::from_str(&text).unwrap());
        }),
        ("secret", |r| r.secret = "another"),
    ];
    for (what, edit) in edits {
        let mut request = good.clone();
        edit(&mut request);
        assert_eq!(request.code(), S3Code::SignatureDoesNotMatch, "{what}");
    }
}

#[test]
fn refused_headers_have_the_codes_of_s3() {
    use S3Code::{
        AccessDenied, AuthorizationHeaderMalformed, InvalidArgument, InvalidRequest, NotImplemented,
        RequestTimeTooSkewed,
    };
    let good = Request::signed();
    let edits: &[(&str, Edit, S3Code)] = &[
        ("skew past", |r| r.now = Timestamp(r.now.0 + 900_001), RequestTimeTooSkewed),
        ("skew future", |r| r.now = Timestamp(r.now.0 - 900_001), RequestTimeTooSkewed),
        ("unsigned x-amz", |r| r.put("x-amz-acl", "public-read"), AccessDenied),
        ("host not signed", |r| r.edit_authorization("=host;", "="), AccessDenied),
        ("date not signed", |r| r.edit_authorization("x-amz-date;", ""), AccessDenied),
        (
            "order",
            |r| r.edit_authorization("host;x-amz-content-sha256", "x-amz-content-sha256;host"),
            AuthorizationHeaderMalformed,
        ),
        ("case", |r| r.edit_authorization("=host;", "=Host;"), AuthorizationHeaderMalformed),
        ("twice signed", |r| r.edit_authorization("=host;", "=host;host;"), AuthorizationHeaderMalformed),
        ("no payload hash", |r| r.take("x-amz-content-sha256"), InvalidRequest),
        ("bad payload hash", |r| r.put("x-amz-content-sha256", "x"), InvalidArgument),
        (
            "ecdsa chunks",
            |r| r.put("x-amz-content-sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
            NotImplemented,
        ),
        ("no date", |r| r.take("x-amz-date"), AccessDenied),
        ("bad date", |r| r.put("x-amz-date", "today"), AccessDenied),
        (
            "scope of another day",
            |r| r.edit_authorization("/20130524/", "/20130523/"),
            AuthorizationHeaderMalformed,
        ),
        ("service", |r| r.edit_authorization("/s3/", "/ec2/"), AuthorizationHeaderMalformed),
        ("terminal", |r| r.edit_authorization("aws4_request", "aws5_request"), AuthorizationHeaderMalformed),
        ("short scope", |r| r.edit_authorization("/us-east-1/s3", ""), AuthorizationHeaderMalformed),
        ("no access key", |r| r.edit_authorization(ACCESS_KEY, ""), AuthorizationHeaderMalformed),
        (
            "upper-case signature",
            |r| r.edit_authorization("Signature=", "Signature=A"),
            AuthorizationHeaderMalformed,
        ),
        ("no signature", |r| r.edit_authorization(", Signature=", ", Sig="), AuthorizationHeaderMalformed),
        (
            "field twice",
            |r| r.edit_authorization(", Signature=", ", Signature=0, Signature="),
            AuthorizationHeaderMalformed,
        ),
        ("sigv2", |r| r.put("authorization", "AWS AK:sig"), InvalidRequest),
        ("sigv4a", |r| r.edit_authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), NotImplemented),
        ("bearer", |r| r.put("authorization", "Bearer x"), InvalidArgument),
        ("empty", |r| r.put("authorization", ""), InvalidArgument),
        ("two authorizations", |r| r.add("authorization", "x"), InvalidArgument),
        ("two hosts", |r| r.add("host", "x"), InvalidRequest),
        ("two dates", |r| r.add("x-amz-date", "20130524T000000Z"), InvalidRequest),
        ("both places", |r| r.query = Request::presigned().query, InvalidArgument),
        ("region", |r| r.policy.region = Some("eu-west-1".to_owned()), AuthorizationHeaderMalformed),
    ];
    for (what, edit, code) in edits {
        let mut request = good.clone();
        edit(&mut request);
        assert_eq!(request.code(), *code, "{what}");
    }
    let mut request = good;
    request.policy.region = Some("us-east-1".to_owned());
    request.now = Timestamp(request.now.0 + 900_000);
    assert!(request.verify().is_ok(), "at the edge of the skew, in the right region");
}

#[test]
fn refused_presigned_urls_have_the_codes_of_s3() {
    use S3Code::{
        AccessDenied, AuthorizationQueryParametersError, InvalidArgument, InvalidRequest,
        SignatureDoesNotMatch,
    };
    let good = Request::presigned();
    let edits: &[(&str, Edit, S3Code)] = &[
        ("expired", |r| r.now = Timestamp(r.now.0 + 3_600_001), AccessDenied),
        ("from the future", |r| r.now = Timestamp(r.now.0 - 900_001), AccessDenied),
        ("longer life", |r| r.edit_query("Expires=3600", "Expires=3601"), SignatureDoesNotMatch),
        ("no life", |r| r.edit_query("Expires=3600", "Expires=0"), AccessDenied),
        ("too long a life", |r| r.edit_query("Expires=3600", "Expires=604801"), AccessDenied),
        ("negative life", |r| r.edit_query("Expires=3600", "Expires=-1"), AccessDenied),
        (
            "a life that is none",
            |r| r.edit_query("Expires=3600", "Expires=1h"),
            AuthorizationQueryParametersError,
        ),
        ("empty life", |r| r.edit_query("Expires=3600", "Expires="), AuthorizationQueryParametersError),
        ("life twice", |r| r.query.push_str("&X-Amz-Expires=9"), AuthorizationQueryParametersError),
        ("signature twice", |r| r.query.push_str("&X-Amz-Signature=0"), AuthorizationQueryParametersError),
        ("no signature", |r| r.edit_query("X-Amz-Signature", "X-Amz-Sig"), AuthorizationQueryParametersError),
        (
            "no algorithm",
            |r| r.edit_query("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""),
            AuthorizationQueryParametersError,
        ),
        ("algorithm", |r| r.edit_query("AWS4-HMAC-SHA256", "AWS5"), AuthorizationQueryParametersError),
        (
            "bad date",
            |r| r.edit_query("Date=20130524T000000Z", "Date=20130524"),
            AuthorizationQueryParametersError,
        ),
        ("unsigned x-amz", |r| r.put("x-amz-acl", "public-read"), AccessDenied),
        ("host not signed", |r| r.edit_query("SignedHeaders=host", "SignedHeaders=range"), AccessDenied),
        ("other parameter", |r| r.edit_query("x=a%20b", "x=a"), SignatureDoesNotMatch),
        ("added parameter", |r| r.query.push_str("&response-content-type=text/html"), SignatureDoesNotMatch),
        ("method", |r| r.method = Method::PUT, SignatureDoesNotMatch),
        ("sigv2", |r| r.query = "AWSAccessKeyId=a&Expires=1&Signature=x".to_owned(), InvalidRequest),
        ("sigv2 as well", |r| r.query.push_str("&AWSAccessKeyId=a&Signature=x"), InvalidArgument),
        ("region", |r| r.policy.region = Some("eu-west-1".to_owned()), AuthorizationQueryParametersError),
    ];
    for (what, edit, code) in edits {
        let mut request = good.clone();
        edit(&mut request);
        assert_eq!(request.code(), *code, "{what}");
    }
    let mut request = good;
    request.now = Timestamp(request.now.0 + 3_600_000);
    assert!(request.verify().is_ok(), "in its last second");
    request.now = Timestamp(request.now.0 + 1000);
    let error = S3Error::from(request.verify().map(|_| ()).unwrap_err());
    assert_eq!(error.message, "Request has expired");
    request.query = request.query.replace("a%20b", "a+b");
    request.now = now();
    assert!(request.verify().is_ok(), "a plus sign in a query is a space");
}

#[test]
fn the_date_header_serves_where_x_amz_date_is_missing() {
    for (text, fits) in
        [("Fri, 24 May 2013 00:00:00 GMT", true), ("20130524T000000Z", true), ("yesterday", false)]
    {
        let mut request = Request::new(
            "GET",
            "/b/k",
            "",
            &[("host", HOST), ("date", text), ("x-amz-content-sha256", EMPTY)],
        );
        let scope = Scope { date: "20130524".into(), region: "r".into(), service: "s3".into() };
        let names = ["date", "host", "x-amz-content-sha256"];
        let canonical = canonical::Canonical {
            method: &request.method,
            raw_path: &request.path,
            raw_query: "",
            headers: &request.headers,
            signed_headers: &names,
            payload: EMPTY,
        };
        let text = canonical.string_to_sign("20130524T000000Z", &scope, canonical::EscapedSlash::Kept);
        let signature = SigningKey::derive(&Secret::new(SECRET), &scope).sign(text.as_bytes());
        let mut authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={}, Signature=",
            names.join(";")
        );
        crate::hex::push32(&mut authorization, &signature);
        request.headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
        assert_eq!(request.verify().is_ok(), fits);
    }
}

#[test]
fn only_verified_keys_are_cached_and_the_oldest_one_leaves() {
    let keys = SigningKeyCache::new(2);
    let verify = |region: &str, secret: &str| {
        let mut request = Request::new("GET", "/b/k", "", &[("host", HOST)]);
        let signer = Signer::new(Credentials::new(ACCESS_KEY, SECRET), region);
        signer
            .sign_headers(&Method::GET, "/b/k", None, &mut request.headers, PayloadMode::Unsigned, now())
            .unwrap();
        request.parse().unwrap().unwrap().verify((), &Secret::new(secret), Some(&keys)).is_ok()
    };
    let scope = |region: &str| Scope { date: "20130524".into(), region: region.into(), service: "s3".into() };
    let has = |region: &str| keys.get(&Secret::new(SECRET), &scope(region)).is_some();
    assert!(!verify("a", "wrong") && keys.is_empty());
    assert!(verify("a", SECRET) && verify("b", SECRET) && verify("a", SECRET));
    assert_eq!(keys.len(), 2);
    assert!(verify("c", SECRET));
    assert_eq!((has("a"), has("b"), has("c"), keys.len()), (true, false, true, 2));
    assert!(!verify("a", "wrong"), "a cached key belongs to its secret");
}

#[test]
fn what_cannot_be_signed_is_an_error() {
    let mut none = HeaderMap::new();
    let sign = |path: &str, map: &mut HeaderMap| {
        signer().sign_headers(&Method::GET, path, None, map, PayloadMode::Unsigned, now()).map(|_| ())
    };
    assert_eq!(sign("/k", &mut none), Err(SignError::NoHost));
    assert_eq!(sign("k", &mut headers(&[("host", HOST)])), Err(SignError::NotAPath));
    for secs in [0, 604_801] {
        let life = Duration::from_secs(secs);
        let got = signer().presign(&Method::GET, "/k", None, &headers(&[("host", HOST)]), life, now());
        assert_eq!(got, Err(SignError::BadExpiry { secs }));
    }
    let bad = Signer::new(Credentials::new("a\nb", SECRET), "r");
    let got = bad.sign_headers(
        &Method::GET,
        "/k",
        None,
        &mut headers(&[("host", HOST)]),
        PayloadMode::Unsigned,
        now(),
    );
    assert_eq!(got.map(|_| ()), Err(SignError::BadCredentials));
}

proptest! {
    #[test]
    fn what_we_sign_we_verify(key in "(?s).{1,40}", name in "(?s).{0,10}", value in "(?s).{0,20}", meta in "[ -~é]{0,30}") {
        let path = format!("/bucket/{}", uri::encode_path(&key));
        let query = format!("list-type=2&{}={}", uri::encode_query(&name), uri::encode_query(&value));
        let mut request = Request::new("GET", &path, &query, &[("host", HOST)]);
        request.headers.insert("x-amz-meta-k", HeaderValue::from_bytes(meta.as_bytes()).unwrap());
        let hour = Duration::from_secs(3600);
        let presigned = signer().presign(&request.method, &path, Some(&query), &request.headers, hour, now()).unwrap();
        let mut other = request.clone();
        other.query = presigned;
        prop_assert!(other.verify().is_ok());
        signer().sign_headers(&Method::GET, &path, Some(&query), &mut request.headers, PayloadMode::of_bytes(b"x"), now()).unwrap();
        prop_assert!(request.verify().is_ok());
        request.path.push('x');
        prop_assert!(request.verify().is_err());
    }

    #[test]
    fn any_claim_is_read_or_refused(path in "\\PC{0,20}", query in "(X-Amz-Algorithm=AWS4-HMAC-SHA256&)?\\PC{0,40}", header in "(AWS4-HMAC-SHA256 (Credential=)?)?[ -~]{0,60}") {
        let mut request = Request::new("GET", &path, &query, &[("host", HOST), ("x-amz-content-sha256", EMPTY), ("x-amz-date", "20130524T000000Z")]);
        let _ = request.parse();
        request.headers.insert("authorization", HeaderValue::from_str(&header).unwrap());
        prop_assert!(!matches!(request.parse(), Ok(Some(_) | None)));
    }
}
