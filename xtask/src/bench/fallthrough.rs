//! Our server under measurement.

use std::path::Path;
use std::time::Duration;

use fallthrough_object::{Clock, SystemClock};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{Credentials, Signer};
use http::{HeaderMap, HeaderValue, Method};

use super::client::{Connection, Target};
use super::process::{Process, await_start, fresh};
use super::storm::BUDGET;
use crate::Context;

/// Our server.
pub(crate) struct Fallthrough {
    process: Process,
    address: String,
    admin: String,
    signer: Signer,
    clock: SystemClock,
    started_after: Duration,
    resident_at_start: u64,
}

impl Fallthrough {
    /// With the buckets `bench` (plain), `cold` (a cache over the origin on `origin_port`) and `guarded` (the same, with
    /// a budget for each client), in a new folder.
    pub(crate) fn start(context: &Context, origin_port: u16) -> Result<Self, String> {
        let folder = fresh(context, "fallthrough")?;
        let cache = |name: &str, more: &str| {
            format!(
                "[bucket.{name}]\nmode = \"cache\"\npublic = \"read\"\n\
                 shadow = {{ url = \"http://127.0.0.1:{origin_port}\"{more} }}\n"
            )
        };
        let budget = format!(", client-budget = \"{BUDGET}/day\"");
        let config = format!(
            "[network]\nallow-private-origins = true\n\n[bucket.bench]\npublic = \"read\"\n\n{}\n{}",
            cache("cold", ""),
            cache("guarded", &budget)
        );
        std::fs::write(folder.join("fallthrough.toml"), config).map_err(|error| error.to_string())?;
        Self::start_in(context, &folder)
    }

    /// With what the folder holds already.
    pub(crate) fn start_in(context: &Context, folder: &Path) -> Result<Self, String> {
        let ready = folder.join("ready.json");
        let _ = std::fs::remove_file(&ready); // Left behind by a server that was killed, or not there.
        let args = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", "data"];
        let more = ["--log", "error", "--ready-file", "ready.json"];
        let process = Process::start(&context.program(), &[args.as_slice(), &more].concat(), folder)?;
        let started_after = await_start("fallthrough", || ready.exists())?;
        let text = std::fs::read_to_string(&ready).map_err(|error| error.to_string())?;
        let ready: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let field = |name: &str| ready[name].as_str().map(str::to_owned).ok_or(format!("no {name}"));
        let host = |name: &str| field(name).map(|url| url.trim_start_matches("http://").to_owned());
        let credentials = Credentials::new(field("access_key")?, field("secret_key")?.as_str());
        Ok(Self {
            resident_at_start: process.resident_bytes()?,
            address: host("s3")?,
            admin: host("admin")?,
            signer: Signer::new(credentials, "us-east-1"),
            clock: SystemClock::new(),
            process,
            started_after,
        })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn started_after(&self) -> Duration {
        self.started_after
    }

    pub(crate) fn resident_bytes_at_start(&self) -> u64 {
        self.resident_at_start
    }

    /// A GET without a signature.
    pub(crate) fn unsigned(&self, bucket: &str, key: &str) -> Target {
        let request = format!("GET /{bucket}/{key} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        Target { address: self.address.clone(), request: request.into_bytes() }
    }

    /// A GET that is signed by header; good for a quarter of an hour.
    pub(crate) fn signed(&self, bucket: &str, key: &str) -> Target {
        Target {
            address: self.address.clone(),
            request: self.head(&Method::GET, &path(bucket, key), None, None),
        }
    }

    /// A signed PUT of `body`; good for a quarter of an hour.
    pub(crate) fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Target {
        let mut request = self.head(&Method::PUT, &path(bucket, key), None, Some(body.len()));
        request.extend_from_slice(body);
        Target { address: self.address.clone(), request }
    }

    /// A signed list of a bucket; `query` as it stands in the request line.
    pub(crate) fn list(&self, bucket: &str, query: &str) -> Target {
        let request = self.head(&Method::GET, &format!("/{bucket}"), Some(query), None);
        Target { address: self.address.clone(), request }
    }

    /// Ends the server as an operator would, and waits for it.
    pub(crate) fn stop(self) -> Result<(), String> {
        self.process.stop()
    }

    /// PUTs an object.
    pub(crate) fn store(&self, bucket: &str, key: &str, body: &[u8]) -> Result<(), String> {
        Connection::open(&self.address)?.exchange(&self.put(bucket, key, body).request, 0)
    }

    /// A number of `/metrics`, without the prefix `fallthrough_`.
    pub(crate) fn metric(&self, name: &str) -> Result<f64, String> {
        use std::io::{Read, Write};
        let io = |error: std::io::Error| format!("{}: {error}", self.admin);
        let mut socket = std::net::TcpStream::connect(&self.admin).map_err(io)?;
        let ask = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        socket.write_all(ask.as_bytes()).map_err(io)?;
        let mut page = String::new();
        socket.read_to_string(&mut page).map_err(io)?;
        let wanted = format!("fallthrough_{name} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&wanted));
        value.and_then(|value| value.trim().parse().ok()).ok_or(format!("/metrics has no {name}"))
    }

    fn head(&self, method: &Method, path: &str, query: Option<&str>, length: Option<usize>) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_str(&self.address).expect("an address fits a header"));
        self.signer
            .sign_headers(method, path, query, &mut headers, PayloadMode::Unsigned, self.clock.now())
            .expect("a plain request can be signed");
        let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in &headers {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        if let Some(length) = length {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

fn path(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{key}")
}
