"""Debian's nginx as a web server behind a bucket: what it answers, and what a cache makes of it."""

import datetime
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from ground import MIB, Failed, free_port, holds, refusal, same, until, word
from reads import noise

CONFIG = """\
daemon off; master_process off; {user} pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 256; }}
http {{
  types {{ text/html html; text/plain txt; image/png png; }}
  default_type application/octet-stream;
  log_format asked '$request_method|$uri|$status|$http_range|$http_if_none_match|$http_accept_encoding';
  access_log {root}/access.log asked;
  sendfile on;
  gzip on; gzip_types text/plain; gzip_min_length 1;
  {temp}
  server {{
    listen 127.0.0.1:{port};
    root {root}/www;
    location /secret/ {{ deny all; }}
    location /broken/ {{ return 500; }}
    location /busy/ {{ add_header Retry-After 7 always; return 503; }}
    location /gone/ {{ return 410; }}
    location /weak/ {{ sub_filter_types *; sub_filter_last_modified on; sub_filter 'never there' ''; }}
    location /bare/ {{ etag off; }}
    location /short/ {{ add_header Cache-Control "max-age=1"; }}
    location /long/ {{ add_header Cache-Control "max-age=3600"; }}
    location /private/ {{ add_header Cache-Control "private"; }}
    location /unsaid/ {{ }}
  }}
}}
"""
TEMP = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]


class Nginx:
    def __init__(self, program, folder):
        self.folder = folder
        self.port = free_port()
        self.files = folder / "www"
        self.files.mkdir(parents=True)
        temp = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMP)
        user = "user root;" if os.getuid() == 0 else ""
        conf = CONFIG.format(root=folder, port=self.port, temp=temp, user=user)
        (folder / "nginx.conf").write_text(conf, "utf-8")
        (folder / "access.log").touch()
        self.read = 0
        self.program = program
        self.process = None
        self.start()

    def start(self):
        arguments = [self.program, "-c", self.folder / "nginx.conf", "-p", self.folder]
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def answers():
            holds("nginx ended", self.process.poll() is None)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/none", timeout=5)
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False

        until("nginx to answer", answers, 30)
        self.asked()

    def end(self):
        self.process.kill()
        self.process.wait()

    def write(self, name, body, age=None):
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # In place of the old one at once, as whoever publishes files does.
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(body)
        if age:
            when = datetime.datetime.now().timestamp() - age
            os.utime(new, (when, when))
        new.rename(path)

    def ask(self, name, **headers):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{name}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(answer.headers.items()), answer.read()

    def asked(self):
        """What was asked since the last time: method, path, status, Range, If-None-Match, Accept-Encoding."""
        text = (self.folder / "access.log").read_text("utf-8")
        new, self.read = text[self.read :], len(text)
        return [tuple(line.split("|")) for line in new.splitlines()]


def start(ground):
    if not ground.given.nginx:
        raise Failed("no nginx was named")
    nginx = Nginx(ground.given.nginx, ground.home / "nginx")
    ground.running.append(nginx)
    return nginx


def bucket(name, mode, nginx, more=""):
    return f'[bucket.{name}]\nmode = "{mode}"\n[bucket.{name}.shadow]\nurl = "http://127.0.0.1:{nginx.port}"\n{more}\n'


def check(ground):
    nginx = start(ground)
    bodies = {
        "page.html": b"<p>page</p>", "text.txt": b"text " * 10_000, "empty.txt": b"", "a b+c é%.txt": b"odd",
        "folder/inside.txt": b"inside", "weak/w.txt": b"weak", "bare/b.txt": b"bare", "large.bin": noise(64 * MIB, "large"),
        "noise.bin": noise(300_000, "noise"),
    }
    for name, body in bodies.items():
        nginx.write(name, body, age=86_400)
    nginx.write("secret/s.txt", b"secret")
    ours = ground.ours(bucket("site", "migrate", nginx) + bucket("hiding", "migrate", nginx, 'treat-403-as = "absent"'))
    s3 = ours.s3
    code, told, _ = ours.ctl("shadow", "test", "site")
    same(f"shadow test ({told})", code, 0)
    # A range of a large object that is cold: nginx is asked for the range alone.
    large = bodies["large.bin"]
    nginx.asked()
    etag = nginx.ask("page.html")[0]["ETag"]
    got = s3.get_object(Bucket="site", Key="large.bin", Range="bytes=50000000-50000099")
    same("a range", (got["Body"].read(), word(got)), (large[50_000_000:50_000_100], "PASS"))
    holds(f"what nginx was asked: {(asked := nginx.asked())}", all(line[3] for line in asked if "large" in line[1]))
    # If-Range is judged here: with what is now, the range; with anything else, the whole.
    etag = s3.head_object(Bucket="site", Key="noise.bin")["ETag"]
    for tag, status in [(etag, 206), ('"other"', 200)]:
        got = with_header(s3, "if-range", tag, Bucket="site", Key="noise.bin", Range="bytes=5-9")
        same(f"If-Range {tag}", got["ResponseMetadata"]["HTTPStatusCode"], status)
        expected = bodies["noise.bin"][5:10] if status == 206 else bodies["noise.bin"]
        holds("the bytes of If-Range", got["Body"].read() == expected)
    for name, body in bodies.items():
        there, _ = nginx.ask(urllib.parse.quote(name), **{"Accept-Encoding": "identity"})
        cold = s3.head_object(Bucket="site", Key=name)
        for words in [("MISS", "HIT"), ("HIT",)]:
            got = s3.get_object(Bucket="site", Key=name)
            holds(f"bytes of {name}", got["Body"].read() == body)
            holds(f"{name} was a {word(got)}", word(got) in words)
            same(f"type of {name}", got["ContentType"], there["Content-Type"])
            headers = got["ResponseMetadata"]["HTTPHeaders"]
            same(f"Last-Modified of {name}", headers["last-modified"], there["Last-Modified"])
            holds(f"{name} is not encoded", "content-encoding" not in headers)
            tag = there.get("ETag", "")
            if tag.startswith('"'):
                same(f"ETag of {name}", (got["ETag"], cold["ETag"]), (tag, tag))
            else:
                # None is shown before it is filled; where HEAD tells no length, it is filled for that.
                holds(f"a strong ETag of our own for {tag!r}", got["ETag"].startswith('"ft-'))
                holds(f"HEAD of {name} told {cold.get('ETag')}", cold.get("ETag") in (None, got["ETag"]))
        same(f"length of {name}", cold["ContentLength"], len(body))
    weak = nginx.ask("weak/w.txt", **{"Accept-Encoding": "identity"})[0]["ETag"]
    holds(f"nginx has a weak ETag: {weak}", weak.startswith("W/"))
    encodings = {line[5] for line in nginx.asked() if line[5] not in ("-", "")}
    same("Accept-Encoding of all requests", encodings, {"identity"})
    zipped = nginx.ask("text.txt", **{"Accept-Encoding": "gzip"})[0]
    same("nginx would have compressed it", zipped.get("Content-Encoding"), "gzip")
    same("403 as absence", refusal(s3.get_object, Bucket="hiding", Key="secret/s.txt")[0], 404)
    for key, status in [("none", 404), ("secret/s.txt", 424), ("gone/g", 404), ("folder/", 424), ("folder", 424),
                        ("broken/b", 503), ("busy/b", 503)]:
        for method in (s3.get_object, s3.head_object):
            same(f"{method.__name__} of {key}", refusal(method, Bucket="site", Key=key)[0], status)
    holds("Retry-After", int(refusal(s3.get_object, Bucket="site", Key="busy/b")[2]["retry-after"]) >= 1)
    # It asked to be left alone, and is: what is here is served meanwhile.
    same("what is here, meanwhile", word(s3.get_object(Bucket="site", Key="page.html")), "HIT")
    same("nothing but what was asked for is listed", "none" in [
        one["Key"] for one in s3.list_objects_v2(Bucket="site").get("Contents", [])], False)
    return f"{len(bodies)} files, one of 64 MiB, bytes and headers as nginx has them; no failure told as absence"


def with_header(s3, name, value, **arguments):
    def add(params, **_):
        params["headers"][name] = value

    s3.meta.events.register("before-call.s3.GetObject", add)
    try:
        return s3.get_object(**arguments)
    finally:
        s3.meta.events.unregister("before-call.s3.GetObject", add)


def cache(ground):
    """Freshness as nginx says it, or as the rule says; 304; what is stale while nginx is away."""
    nginx = start(ground)
    for name in ["short/s", "long/l", "private/p", "unsaid/u"]:
        nginx.write(name, b"one", age=1000)
    ours = ground.ours(bucket("site", "cache", nginx) + bucket("ruled", "cache", nginx, 'ttl = "1s"'))
    s3 = ours.s3

    def get(key, bucket="site"):
        answer = s3.get_object(Bucket=bucket, Key=key)
        return answer["Body"].read(), word(answer)

    for name in ["short/s", "long/l", "unsaid/u"]:
        same(f"{name}, cold", get(name), (b"one", "MISS"))
    same("what is private is passed on", [get("private/p")[0] for _ in range(2)], [b"one", b"one"])
    same("and asked for each time", len([line for line in nginx.asked() if "private" in line[1]]), 2)

    def stale(name, bucket):
        """Asks until nginx is asked again: that the time is over tells nobody."""
        return until(f"{name} to be stale", lambda: (get(name, bucket), nginx.asked())[1], 30)

    # By nginx's max-age of 1 s; by the rule's second, where nginx says an hour and where it says nothing.
    get("long/l", "ruled"), get("unsaid/u", "ruled"), nginx.asked()
    for name, where in [("short/s", "site"), ("long/l", "ruled"), ("unsaid/u", "ruled")]:
        asked = stale(name, where)
        same(f"{name} in {where}", [(line[0], line[2]) for line in asked], [("GET", "304")])
        holds(f"it was asked with its ETag: {asked}", '"' in asked[0][4].replace("\\x22", '"'))
    for name in ["short/s", "long/l", "unsaid/u"]:
        nginx.write(name, b"two, another length")
    until("the change to be seen", lambda: get("short/s")[0] == b"two, another length", 30)
    same("its length", s3.head_object(Bucket="site", Key="short/s")["ContentLength"], 19)
    # An hour by nginx, or by default, is not over.
    same("what is fresh", [get("long/l"), get("unsaid/u")], [(b"one", "HIT")] * 2)
    os.remove(nginx.files / "short/s")
    until("its end to be seen", lambda: status(s3, "short/s") == 404, 30)
    # Failure is no absence: nginx goes away.
    nginx.end()
    until("a stale copy not to be served", lambda: status(s3, "unsaid/u", "ruled") == 503, 30)
    same("what is fresh", get("long/l"), (b"one", "HIT"))
    nginx.start()
    until("it to come back", lambda: status(s3, "unsaid/u", "ruled") == 200, 60)
    same("what came", get("unsaid/u", "ruled")[0], b"two, another length")
    return "304 renews, changes and removals are seen after the time, private is not kept"


def status(s3, key, bucket="site"):
    try:
        return s3.get_object(Bucket=bucket, Key=key)["ResponseMetadata"]["HTTPStatusCode"]
    except s3.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
