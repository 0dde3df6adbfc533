//! The servers under measurement, each one process on core 0.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fallthrough_object::{Clock, SystemClock};
use fallthrough_wire::payload::PayloadMode;
use fallthrough_wire::sigv4::{Credentials, Signer};
use http::{HeaderMap, HeaderValue, Method};

use super::client::Target;
use crate::Context;
use crate::command::{command, find_program};

/// CPU time that a process has used, user and system, in steps of 10 ms.
pub(crate) fn cpu(pid: u32) -> Result<Duration, String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| error.to_string())?;
    // The second field may have spaces and ends with the last parenthesis; utime and stime are 14 and 15.
    let rest = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn pinned(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Result<Command, String> {
    if find_program("taskset").is_none() {
        return Err("taskset is not installed (util-linux)".to_owned());
    }
    let mut pinned = command("taskset", folder);
    pinned.args(["--cpu-list", "0"]).arg(program);
    Ok(pinned)
}

/// Waits until `there` is, at most ten seconds.
#[expect(clippy::disallowed_methods, reason = "a process that starts gives no event to wait for")]
fn await_start(what: &str, there: impl Fn() -> bool) -> Result<Duration, String> {
    let start = Instant::now();
    while !there() {
        if start.elapsed() > Duration::from_secs(10) {
            return Err(format!("{what} did not start"));
        }
        // Nothing announces it: look again.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(start.elapsed())
}

fn fresh(context: &Context, name: &str) -> Result<PathBuf, String> {
    let folder = context.target.join("xtask").join(format!("bench-{name}"));
    let _ = std::fs::remove_dir_all(&folder); // Most often there is none; if it cannot go, the next line fails.
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Our server.
pub(crate) struct Fallthrough {
    child: Child,
    address: String,
    signer: Signer,
    clock: SystemClock,
    started_after: Duration,
    resident_at_start: u64,
}

impl Fallthrough {
    pub(crate) fn start(context: &Context, origin_port: u16) -> Result<Self, String> {
        let folder = fresh(context, "fallthrough")?;
        let config = format!(
            "[network]\nallow-private-origins = true\n\n[bucket.bench]\npublic = \"read\"\n\n[bucket.cold]\nmode = \"cache\"\npublic = \"read\"\nshadow = {{ url = \"http://127.0.0.1:{origin_port}\" }}\n"
        );
        std::fs::write(folder.join("fallthrough.toml"), config).map_err(|error| error.to_string())?;
        let ready = folder.join("ready.json");
        let child = pinned(context.program(), &folder)?
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", "data"])
            .args(["--log", "error", "--ready-file", "ready.json"])
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("fallthrough: {error}"))?;
        let started_after = await_start("fallthrough", || ready.exists())?;
        let text = std::fs::read_to_string(&ready).map_err(|error| error.to_string())?;
        let ready: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let field = |name: &str| ready[name].as_str().map(str::to_owned).ok_or(format!("no {name}"));
        let credentials = Credentials::new(field("access_key")?, field("secret_key")?.as_str());
        Ok(Self {
            resident_at_start: resident(child.id()),
            address: field("s3")?.trim_start_matches("http://").to_owned(),
            signer: Signer::new(credentials, "us-east-1"),
            clock: SystemClock::new(),
            child,
            started_after,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
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
        Target { address: self.address.clone(), request: self.request(&Method::GET, bucket, key, None) }
    }

    /// PUTs an object.
    pub(crate) fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Result<(), String> {
        let mut request = self.request(&Method::PUT, bucket, key, Some(body.len()));
        request.extend_from_slice(body);
        super::client::load(&Target { address: self.address.clone(), request }, 1, 1, 0)
    }

    fn request(&self, method: &Method, bucket: &str, key: &str, length: Option<usize>) -> Vec<u8> {
        let path = format!("/{bucket}/{key}");
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_str(&self.address).expect("an address fits a header"));
        self.signer
            .sign_headers(method, &path, None, &mut headers, PayloadMode::Unsigned, self.clock.now())
            .expect("a plain request can be signed");
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
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

impl Drop for Fallthrough {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It may have ended already.
        let _ = self.child.wait();
    }
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// nginx with files, one process.
pub(crate) struct Nginx {
    child: Child,
    address: String,
}

impl Nginx {
    pub(crate) fn start(context: &Context, sizes: &[usize]) -> Result<Self, String> {
        let program = find_program("nginx")
            .or_else(|| Some(PathBuf::from("/usr/sbin/nginx")).filter(|path| path.is_file()))
            .ok_or("nginx is not installed (apt-get install nginx)")?;
        let folder = fresh(context, "nginx")?;
        let write = |name: String, bytes: Vec<u8>| {
            std::fs::write(folder.join(&name), bytes).map_err(|error| format!("{name}: {error}"))
        };
        for size in sizes {
            write(format!("{size}.bin"), vec![b'x'; *size])?;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| error.to_string())?
            .port();
        let root = folder.display();
        let config = format!(
            "daemon off; master_process off; user root; pid {root}/pid; error_log {root}/error.log;\nevents {{ worker_connections 512; }}\nhttp {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; open_file_cache max=100; server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
        );
        write("nginx.conf".to_owned(), config.into_bytes())?;
        let child = pinned(program, &folder)?
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .arg("-p")
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("nginx: {error}"))?;
        let address = format!("127.0.0.1:{port}");
        await_start("nginx", || std::net::TcpStream::connect(&address).is_ok())?;
        Ok(Self { child, address })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn target(&self, key: &str) -> Target {
        let request = format!("GET /{key} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        Target { address: self.address.clone(), request: request.into_bytes() }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill(); // It may have ended already.
        let _ = self.child.wait();
    }
}
