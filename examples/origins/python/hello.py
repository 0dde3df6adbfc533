"""A whole origin: /any-bucket/hello falls through to here.  python3 hello.py [port]"""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open; a body needs its Content-Length

    def do_GET(self):
        key = unquote(self.path.split("?")[0]).lstrip("/").partition("/")[2]
        status, body = (200, b"hello, world\n") if key == "hello" else (404, b"") if key else (501, b"")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_HEAD = do_GET


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8090), Origin)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
