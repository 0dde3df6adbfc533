"""Initials on a colour of their own, as SVG: /avatars/Ada%20Lovelace.svg

The key is a name and `.svg`. The same name always has the same picture, so a bucket in `compute` mode
draws each of them once.  python3 avatar_svg.py [port]
"""
import base64
import hashlib
import sys
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_to_bytes

LONGEST_NAME = 80


def initials(name):
    words = [word for word in name.split() if word[0].isalnum()] or [name]
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()


def picture(name):
    """The picture of a name: two colours and a wave, all taken from the digest of the name."""
    digest = hashlib.sha256(name.encode()).digest()
    hue = digest[0] * 360 // 256
    second = (hue + 30 + digest[1] % 90) % 360
    crest, trough = 110 + digest[2] % 50, 130 + digest[3] % 60
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200" role="img" aria-label="{escape(name)}">
<defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1">
<stop offset="0" stop-color="hsl({hue} 62% 46%)"/><stop offset="1" stop-color="hsl({second} 66% 34%)"/>
</linearGradient></defs>
<rect width="200" height="200" fill="url(#g)"/>
<path d="M0 {trough} Q50 {crest} 100 {trough} T200 {trough} V200 H0 Z" fill="#fff" opacity=".16"/>
<text x="100" y="104" fill="#fff" font-family="system-ui, sans-serif" font-size="84" font-weight="600"
 text-anchor="middle" dominant-baseline="central">{escape(initials(name))}</text>
</svg>
""".encode()


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, kind="text/plain", body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def do_GET(self):
        raw_bucket, _, raw_key = self.path.split("?")[0].lstrip("/").partition("/")
        if not raw_key:
            return self.answer(501, body=b"this origin has no list\n")
        try:
            key = unquote_to_bytes(raw_key).decode("utf-8")
        except UnicodeDecodeError:
            return self.answer(400, body=b"a key is UTF-8\n")
        name = " ".join(key.removesuffix(".svg").split())
        # 400 says that there can never be such an object; a bucket then asks no more.
        if not key.endswith(".svg") or not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or "/" in name:
            return self.answer(400, body=b"a key is a name of up to 80 characters, and .svg\n")
        body = picture(name)
        etag = '"' + hashlib.sha256(body).hexdigest()[:32] + '"'
        fresh = {"ETag": etag, "Cache_Control": "public, max-age=86400"}
        known = [tag.strip().removeprefix("W/") for tag in self.headers.get("If-None-Match", "").split(",")]
        if etag in known or "*" in known:
            return self.answer(304, **fresh)
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        return self.answer(200, "image/svg+xml", body, Content_MD5=md5, **fresh)

    do_HEAD = do_GET


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8090), Origin)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
