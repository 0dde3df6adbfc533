//! POST forms: what a page uploads, as far as the form's policy lets it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fallthrough_object::ChecksumAlgorithm;
use fallthrough_wire::date::format_iso;
use fallthrough_wire::sigv4::{Credentials, Signer};

use crate::client::{Reply, checksum};
use crate::world::{MAIN, World};

const BOUNDARY: &str = "----WebKitFormBoundary7MA4YWxkTrZu0gW";

/// A form on its way.
#[derive(Clone)]
struct Form {
    fields: Vec<(String, String)>,
    filename: String,
    file: Vec<u8>,
    behind: String,
}

impl Form {
    fn new(fields: &[(&str, &str)]) -> Self {
        Self {
            fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            filename: "photo.txt".to_owned(),
            file: b"hello".to_vec(),
            behind: String::new(),
        }
    }

    /// Signs a policy with these conditions, besides the bucket and the signature's own fields.
    fn signed(self, world: &World, conditions: &str) -> Self {
        self.signed_for(world, "photos", conditions, Duration::from_secs(600))
    }

    fn signed_for(mut self, world: &World, bucket: &str, conditions: &str, life: Duration) -> Self {
        let now = world.clock.now();
        let signer = Signer::new(Credentials::new(MAIN.0, MAIN.1), "us-east-1");
        let fields = signer.form_fields(now);
        let own = [
            ("x-amz-algorithm", fields.algorithm),
            ("x-amz-credential", &fields.credential),
            ("x-amz-date", &fields.date),
        ];
        let own_conditions: String =
            own.iter().map(|(name, value)| format!(", {{\"{name}\": \"{value}\"}}")).collect();
        let more = if conditions.is_empty() { String::new() } else { format!(", {conditions}") };
        let policy = format!(
            "{{\"expiration\": \"{}\", \"conditions\": [{{\"bucket\": \"{bucket}\"}}{own_conditions}{more}]}}",
            format_iso(now.plus(life)),
        );
        let policy = STANDARD.encode(policy);
        let signature = signer.sign_policy(&policy, now);
        self.fields.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.fields.push(("policy".to_owned(), policy));
        self.fields.push(("x-amz-signature".to_owned(), signature));
        self
    }

    fn file(mut self, filename: &str, bytes: &[u8]) -> Self {
        (self.filename, self.file) = (filename.to_owned(), bytes.to_vec());
        self
    }

    fn change(mut self, name: &str, change: impl Fn(&str) -> String) -> Self {
        let (_, value) = self.fields.iter_mut().find(|(other, _)| other == name).unwrap();
        *value = change(value);
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| other != name);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in &self.fields {
            let part =
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            out.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.filename
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&self.file);
        out.extend_from_slice(format!("\r\n{}--{BOUNDARY}--\r\n", self.behind).as_bytes());
        out
    }

    async fn send(&self, world: &World) -> Reply {
        send(world, "/photos", &self.bytes()).await
    }
}

async fn send(world: &World, path: &str, body: &[u8]) -> Reply {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    world.anonymous().call("POST", path).header("content-type", &kind).body(body).send().await
}

async fn world() -> World {
    let world = World::new().await;
    world.bucket("photos").await;
    world
}

const KEY: &str = "[\"starts-with\", \"$key\", \"up/\"]";

#[tokio::test]
async fn a_signed_form_uploads_its_file_and_its_metadata() {
    let world = world().await;
    let main = world.main();
    let form = Form::new(&[
        ("key", "up/${filename}"),
        ("Content-Type", "text/plain"),
        ("Cache-Control", "max-age=5"),
        ("x-amz-meta-colour", "grün"),
        ("x-ignore-this", "whatever"),
        ("tagging", "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"),
        ("x-amz-checksum-sha256", &checksum(ChecksumAlgorithm::Sha256, b"hello\r\n--")),
    ])
    .file("C:\\fakepath\\a b.txt", b"hello\r\n--")
    .signed(
        &world,
        &format!(
            "{KEY}, [\"starts-with\", \"$content-type\", \"text/\"], [\"eq\", \"$Cache-Control\", \"max-age=5\"], \
             [\"starts-with\", \"$x-amz-meta-colour\", \"\"], [\"starts-with\", \"$tagging\", \"\"], \
             [\"starts-with\", \"$x-amz-checksum-sha256\", \"\"], [\"content-length-range\", 1, 100]"
        ),
    );
    let reply = form.send(&world).await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    assert!(reply.header("location").ends_with("/photos/up/a%20b.txt"), "{}", reply.header("location"));
    let got = main.call("GET", "/photos/up/a b.txt").header("x-amz-checksum-mode", "ENABLED").send().await;
    assert_eq!((got.status, got.body.as_slice()), (200, &b"hello\r\n--"[..]));
    assert_eq!(got.header("etag"), reply.header("etag"));
    assert_eq!(got.header("content-type"), "text/plain");
    assert_eq!(got.header("cache-control"), "max-age=5");
    assert_eq!(got.headers["x-amz-meta-colour"].as_bytes(), "grün".as_bytes());
    assert!(!got.header("x-amz-checksum-sha256").is_empty());
    let bucket =
        world.engine.bucket(&fallthrough_object::BucketName::parse("photos").unwrap()).await.unwrap();
    let key = fallthrough_object::Key::parse("up/a b.txt").unwrap();
    let info = world.engine.stored_here(&bucket, &key).await.unwrap().unwrap();
    assert_eq!((info.tags[0].key.as_str(), info.tags[0].value.as_str()), ("a", "b"));
}

#[tokio::test]
async fn the_form_chooses_its_answer() {
    let world = world().await;
    let any = "[\"starts-with\", \"$success_action_status\", \"\"], [\"starts-with\", \"$success_action_redirect\", \"\"]";
    let rows = [
        ("200", "", 200),
        ("201", "", 201),
        ("204", "", 204),
        ("404", "", 204),
        ("200", "http://a.test/done?x=y", 303),
        ("200", "javascript:alert(1)", 200),
    ];
    for (status, redirect, want) in rows {
        let form = Form::new(&[
            ("key", "up/<&>"),
            ("success_action_status", status),
            ("success_action_redirect", redirect),
        ]);
        let reply = form.signed(&world, &format!("{KEY}, {any}")).send(&world).await;
        assert_eq!(reply.status, want, "{status} {redirect}: {}", reply.text());
        let etag = "%225d41402abc4b2a76b9719d911017c592%22";
        match want {
            201 => {
                let text = reply.text();
                for part in [
                    "<PostResponse>",
                    "<Bucket>photos</Bucket>",
                    "<Key>up/&lt;&amp;&gt;</Key>",
                    "<ETag>&quot;",
                ] {
                    assert!(text.contains(part), "{text}");
                }
            }
            303 => assert_eq!(
                reply.header("location"),
                format!("http://a.test/done?x=y&bucket=photos&key=up%2F%3C%26%3E&etag={etag}")
            ),
            _ => assert!(reply.body.is_empty()),
        }
    }
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_refused_and_nothing_is_kept() {
    let world = world().await;
    let plain = || Form::new(&[("key", "up/k")]);
    let signed = || plain().signed(&world, KEY);
    let sized = |min: u32, max: u32| {
        plain().signed(&world, &format!("{KEY}, [\"content-length-range\", {min}, {max}]"))
    };
    let flip = |text: &str| {
        let last = if text.ends_with('0') { "1" } else { "0" };
        format!("{}{last}", &text[..text.len() - 1])
    };
    let more = |name: &str, value: &str| {
        let mut form = signed();
        form.fields.push((name.to_owned(), value.to_owned()));
        form
    };
    let twice = more("KEY", "up/other");
    let mut two_files = signed();
    two_files.behind =
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b\"\r\n\r\nx\r\n");
    let rows = [
        ("another key", Form::new(&[("key", "other")]).signed(&world, KEY), 403, "AccessDenied"),
        (
            "a key by way of the file's name",
            Form::new(&[("key", "${filename}")]).signed(&world, KEY),
            403,
            "AccessDenied",
        ),
        (
            "another bucket",
            plain().signed_for(&world, "videos", KEY, Duration::from_secs(60)),
            403,
            "AccessDenied",
        ),
        ("expired", plain().signed_for(&world, "photos", KEY, Duration::ZERO), 403, "AccessDenied"),
        ("a field that is not covered", more("x-amz-meta-a", "b"), 403, "AccessDenied"),
        ("a redirect that is not covered", more("success_action_redirect", "http://a"), 403, "AccessDenied"),
        (
            "a field that is missing",
            plain().signed(&world, &format!("{KEY}, [\"starts-with\", \"$acl\", \"\"]")),
            403,
            "AccessDenied",
        ),
        ("too large", sized(0, 4), 400, "EntityTooLarge"),
        ("too small", sized(6, 10), 400, "EntityTooSmall"),
        (
            "another policy",
            signed().change("policy", |_| STANDARD.encode("{}")),
            403,
            "SignatureDoesNotMatch",
        ),
        ("another signature", signed().change("x-amz-signature", flip), 403, "SignatureDoesNotMatch"),
        (
            "a signature that is none",
            signed().change("x-amz-signature", |_| "x".to_owned()),
            400,
            "AuthorizationQueryParametersError",
        ),
        ("no signature", signed().without("x-amz-signature"), 400, "InvalidArgument"),
        ("no policy", signed().without("policy"), 400, "InvalidArgument"),
        (
            "a policy alone",
            plain()
                .signed(&world, KEY)
                .without("x-amz-signature")
                .without("x-amz-algorithm")
                .without("x-amz-credential")
                .without("x-amz-date"),
            400,
            "InvalidArgument",
        ),
        (
            "an unknown key",
            signed().change("x-amz-credential", |text| text.replace("FTMAIN", "NOBODY")),
            403,
            "InvalidAccessKeyId",
        ),
        ("unsigned", plain(), 403, "AccessDenied"),
        ("no key", Form::new(&[]).signed(&world, ""), 400, "InvalidArgument"),
        ("an empty key", Form::new(&[("key", "")]).signed(&world, "{\"key\": \"\"}"), 400, "InvalidArgument"),
        ("a field twice", twice, 400, "InvalidArgument"),
        ("two files", two_files, 400, "IncorrectNumberOfFilesInPostRequest"),
        ("a policy that is none", plain().signed(&world, "[\"eq\"]"), 400, "InvalidPolicyDocument"),
        (
            "a digest that is not the file's",
            Form::new(&[("key", "up/k"), ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")])
                .signed(&world, &format!("{KEY}, [\"starts-with\", \"$content-md5\", \"\"]")),
            400,
            "BadDigest",
        ),
        (
            "a checksum that is not the file's",
            Form::new(&[("key", "up/k"), ("x-amz-checksum-crc32", "AAAAAA==")])
                .signed(&world, &format!("{KEY}, [\"starts-with\", \"$x-amz-checksum-crc32\", \"\"]")),
            400,
            "BadDigest",
        ),
        (
            "too much in front of the file",
            more("x-ignore-a", &"x".repeat(21_000)),
            400,
            "MaxPostPreDataLengthExceededError",
        ),
        (
            "metadata that ends a line",
            Form::new(&[("key", "up/k"), ("x-amz-meta-a", "b\r\nc: d")])
                .signed(&world, &format!("{KEY}, [\"starts-with\", \"$x-amz-meta-a\", \"\"]")),
            400,
            "InvalidArgument",
        ),
        (
            "encryption that is not offered",
            Form::new(&[("key", "up/k"), ("x-amz-server-side-encryption", "AES256")]).signed(
                &world,
                &format!("{KEY}, [\"starts-with\", \"$x-amz-server-side-encryption\", \"\"]"),
            ),
            501,
            "NotImplemented",
        ),
    ];
    for (what, form, status, code) in rows {
        let reply = form.send(&world).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{what}: {}", reply.text());
    }
    // Forms that are none, and places for none.
    let whole = signed().bytes();
    let rows: [(&str, Vec<u8>, u16, &str); 4] = [
        ("/photos", whole[..whole.len() - 6].to_vec(), 400, "MalformedPOSTRequest"),
        ("/photos", b"hello".to_vec(), 400, "MalformedPOSTRequest"),
        ("/photos", Vec::new(), 411, "MissingContentLength"),
        ("/nowhere", whole.clone(), 404, "NoSuchBucket"),
    ];
    for (path, body, status, code) in rows {
        let reply = send(&world, path, &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
    }
    let plain = world.anonymous().call("POST", "/photos").body(&whole).send().await;
    assert_eq!((plain.status, plain.code().as_str()), (412, "PreconditionFailed"));
    let chunked = world
        .anonymous()
        .call("POST", "/photos")
        .header("content-type", &format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(&whole)
        .http_chunked()
        .send()
        .await;
    assert_eq!((chunked.status, chunked.code().as_str()), (411, "MissingContentLength"));
    let main = world.main();
    let twice = main.call("POST", "/photos").header("content-type", "multipart/form-data; boundary=x");
    assert_eq!(twice.send().await.code(), "InvalidRequest");
    let list = world.main().get("/photos").await.text();
    assert!(!list.contains("<Key>"), "{list}");
}

#[tokio::test]
async fn large_files_stream_and_fields_behind_them_say_nothing() {
    let world = world().await;
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|n| if n % 7 == 0 { b'\r' } else { (n % 251) as u8 }).collect();
    let mut form = Form::new(&[("key", "up/big")]).file("big", &bytes).signed(&world, KEY);
    form.behind =
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nelsewhere\r\n");
    let reply = form.send(&world).await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    assert!(world.main().get("/photos/up/big").await.body == bytes);
    assert_eq!(world.main().get("/photos").await.text().matches("<Key>").count(), 1);
}

#[tokio::test]
async fn a_form_may_be_for_what_is_not_there_yet() {
    let world = world().await;
    let form = |value: &str| {
        let form = Form::new(&[("key", "up/k"), ("if-none-match", value)]).file("k", b"first");
        form.signed(&world, &format!("{KEY}, [\"starts-with\", \"$if-none-match\", \"\"]"))
    };
    assert_eq!(form("*").send(&world).await.status, 204);
    let again = form("*").send(&world).await;
    assert_eq!((again.status, again.code().as_str()), (412, "PreconditionFailed"), "{}", again.text());
    assert_eq!(form("\"other\"").send(&world).await.status, 204, "it is another than that");
}
