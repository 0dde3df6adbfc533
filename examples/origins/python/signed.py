"""An origin that answers only requests which one access key has signed (AWS Signature Version 4).

    ORIGIN_ACCESS_KEY=AK ORIGIN_SECRET_KEY=secret python3 signed.py [port]

Everything that SigV4 needs for GET and HEAD is in `signature_fault`; the rest is an origin like any other.
"""
import hashlib
import hmac
import os
import sys
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote_to_bytes

ACCESS_KEY = os.environ.get("ORIGIN_ACCESS_KEY", "")
SECRET_KEY = os.environ.get("ORIGIN_SECRET_KEY", "")
EMPTY = hashlib.sha256(b"").hexdigest()
SKEW = timedelta(minutes=15)


def encoded(raw):
    """Escapes decoded once and written again as SigV4 has it."""
    return quote(unquote_to_bytes(raw), safe="-._~")


def signature_fault(method, target, headers, now):
    """Why the signature of a request without a body is not believed; None if it is."""
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    fields = dict(field.strip().partition("=")[::2] for field in rest.split(","))
    credential = fields.get("Credential", "").split("/")
    if scheme != "AWS4-HMAC-SHA256" or len(credential) != 5:
        return "the request is not signed"
    access_key, day, region, service, terminal = credential
    if not hmac.compare_digest(access_key.encode(), ACCESS_KEY.encode()):
        return "the access key is not known"
    date, payload = headers.get("x-amz-date", ""), headers.get("x-amz-content-sha256", "")
    try:
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return "x-amz-date is missing or malformed"
    if abs(now - signed_at) > SKEW or day != date[:8] or (service, terminal) != ("s3", "aws4_request"):
        return "the signature is for another time or service"
    if payload not in (EMPTY, "UNSIGNED-PAYLOAD"):
        return "a request of this kind has no body"
    names = fields.get("SignedHeaders", "").split(";")
    # What is not signed, anybody on the way may have added.
    present = {name.lower() for name in headers.keys()}
    if any(name not in names for name in present if name == "host" or name.startswith("x-amz-")):
        return "a header is not signed"
    path, _, query = target.partition("?")
    # Piece by piece, so that an escaped slash stays one.
    path = "/".join(encoded(piece) for piece in path.split("/"))
    pairs = sorted((encoded(p.partition("=")[0]), encoded(p.partition("=")[2])) for p in query.split("&") if p)
    lines = [f"{name}:{','.join(' '.join(v.split()) for v in headers.get_all(name, []))}\n" for name in names]
    canonical = "\n".join(
        [method, path, "&".join(f"{n}={v}" for n, v in pairs), "".join(lines), ";".join(names), payload]
    )
    scope = "/".join(credential[1:])
    to_sign = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + SECRET_KEY).encode()
    for part in (day, region, service, terminal, to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return None if hmac.compare_digest(key.hex(), fields.get("Signature", "")) else "the signature does not match"


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        # http.server folds slashes at the beginning of `path`; what was signed is in the request line.
        target = self.requestline.split(" ")[1]
        fault = signature_fault(self.command, target, self.headers, datetime.now(timezone.utc))
        if fault:
            return self.answer(403, fault.encode() + b"\n")
        key = unquote_to_bytes(target.partition("?")[0]).lstrip(b"/").partition(b"/")[2]
        if not key:
            return self.answer(501, b"this origin has no list\n")
        if key != b"hello":
            return self.answer(404, b"no such key\n")
        return self.answer(200, b"hello, signer\n")

    do_HEAD = do_GET


if __name__ == "__main__":
    if not ACCESS_KEY or not SECRET_KEY:
        sys.exit("set ORIGIN_ACCESS_KEY and ORIGIN_SECRET_KEY: there is no default secret")
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8090), Origin)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
