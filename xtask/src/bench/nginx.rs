//! Debian's nginx, the known server beside ours: files with sendfile, and `proxy_cache` over the same origin.

use std::path::PathBuf;

use super::client::Target;
use super::process::{Process, await_start, fresh};
use crate::Context;
use crate::command::find_program;

/// nginx, one process: `/` are files, `/cold/` is a cache over the origin.
#[derive(Debug)]
pub(crate) struct Nginx {
    process: Process,
    address: String,
}

impl Nginx {
    /// With a file `SIZE.bin` of each size.
    pub(crate) fn start(context: &Context, sizes: &[usize], origin_port: u16) -> Result<Self, String> {
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
        // The cache is told what ours does by itself: one request per key, at any length of wait, and
        // connections to the origin kept alive.
        let config = format!(
            "daemon off; master_process off; user root; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; open_file_cache max=100;
  proxy_cache_path {root}/cache levels=2 keys_zone=cold:10m max_size=1g use_temp_path=off;
  upstream origin {{ server 127.0.0.1:{origin_port}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024; root {root};
    location /cold/ {{
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_cache cold; proxy_cache_valid 200 1h; proxy_cache_lock on;
      proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;
    }}
  }}
}}
"
        );
        write("nginx.conf".to_owned(), config.into_bytes())?;
        let (conf, prefix) = (folder.join("nginx.conf"), folder.join(""));
        let args = ["-c".as_ref(), conf.as_os_str(), "-p".as_ref(), prefix.as_os_str()];
        let args: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
        let process = Process::start(&program, &args, &folder)?;
        let address = format!("127.0.0.1:{port}");
        await_start("nginx", || std::net::TcpStream::connect(&address).is_ok())?;
        Ok(Self { process, address })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// A GET of `path`.
    pub(crate) fn target(&self, path: &str) -> Target {
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        Target { address: self.address.clone(), request: request.into_bytes() }
    }
}
