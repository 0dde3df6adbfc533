"""What is asked of every client, in its own words, and the job that most of them do."""

import http.client
import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import data

MIB = data.MIB
ODD_KEY = "folder/a b+c é.txt"
LARGE_KEY = "folder/large.bin"


class Failed(Exception):
    """The server or the client did something else than what is expected."""


class Skipped(Exception):
    """This machine lacks something that the client needs."""


def same(what, got, expected):
    if got != expected:
        shown = got if len(repr(got)) < 400 else f"{len(got)} bytes that differ"
        wanted = expected if len(repr(expected)) < 400 else f"{len(expected)} bytes"
        raise Failed(f"{what}: got {shown}, expected {wanted}")


def fetch(address):
    """What stands at a presigned address, for anybody."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read()


def send(address, body, method="PUT", status=200):
    """Sends a body to a presigned address, with no header that was not signed."""
    url = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    try:
        connection.request(method, f"{url.path}?{url.query}", body)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        connection.close()
    if answer.status != status:
        raise Failed(f"{method} to a presigned address: {answer.status}: {text}")


class Client:
    """A client. Keys are relative to the bucket; what a client cannot do it answers with None or False."""

    def __init__(self, ready, program, home):
        self.endpoint = ready["s3"]
        self.access_key = ready["access_key"]
        self.secret_key = ready["secret_key"]
        self.admin = ready["admin"]
        self.admin_token = ready["admin_token"]
        self.program = program
        self.home = home
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PYTHONUTF8": "1",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ENDPOINT_URL": self.endpoint,
            "S3_ENDPOINT_URL": self.endpoint,  # s5cmd's own name for it.
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def run(self, *args, check=True, may_end_with=None):
        """Runs the client's program; its standard output as bytes, or None if it failed and may.

        `may_end_with` names the one exit code of a failure that is no failure of the job.
        """
        done = subprocess.run(
            [self.program, *map(str, args)],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
        )
        if done.returncode == 0:
            return done.stdout
        if check and done.returncode != may_end_with:
            message = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise Failed(f"{' '.join(map(str, args))}: exit {done.returncode}: {message}")
        return None

    def version(self):
        """What the client says that it is."""
        return self.run("--version").decode().splitlines()[0].strip()

    def make(self, bucket):
        """Makes a bucket; here by the admin API, for clients that make none."""
        self.ask_admin("POST", "/admin/v1/buckets", {"name": bucket})

    def remove(self, bucket):
        """Removes a bucket that is empty."""
        self.ask_admin("DELETE", f"/admin/v1/buckets/{bucket}", None)

    def ask_admin(self, method, path, document):
        body = None if document is None else json.dumps(document).encode()
        headers = {"Authorization": f"Bearer {self.admin_token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.admin + path, body, headers, method=method)
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path}: {error.code}: {error.read().decode(errors='replace')}") from error

    def range(self, bucket, key, first, last):
        """Bytes first to last, both included; None where the client has no such command."""
        return None

    def copy(self, bucket, key, to):
        """Copies an object within the bucket, by the server; False where the client has no such command."""
        return False

    def presign(self, bucket, key):
        """An address that anybody can GET; None where the client makes none."""
        return None

    def presign_put(self, bucket, key):
        """An address that anybody can PUT to; None where the client makes none."""
        return None

    def sync(self, folder, bucket, prefix):
        """Brings the files of a folder below a prefix; False where the client has no such command."""
        return False

    def more(self, bucket, folder):
        """What this client alone can do; leaves the bucket as it was. Words for what was done."""
        return []

    def job(self, bucket, folder):
        """All of it, in a new bucket that is gone afterwards. Words for what was done."""
        did = ["put", "list", "get", "overwrite", "delete"]
        bodies = {
            "empty": b"",
            ODD_KEY: "Fällt durch.\n".encode(),
            LARGE_KEY: data.noise(20 * MIB, bucket),
        }
        source, copy = folder / "source", folder / "copy"

        def put(key, body):
            source.write_bytes(body)
            self.put(bucket, key, source)

        def get(key):
            copy.unlink(missing_ok=True)
            self.get(bucket, key, copy)
            return copy.read_bytes()

        self.make(bucket)
        for key, body in bodies.items():
            put(key, body)
        same("list", self.list(bucket), {key: len(body) for key, body in bodies.items()})
        for key, body in bodies.items():
            same(f"get {key}", get(key), body)

        large = bodies[LARGE_KEY]
        for first, last in [(0, 0), (MIB - 1, MIB + 1), (len(large) - 5, len(large) - 1)]:
            part = self.range(bucket, LARGE_KEY, first, last)
            if part is not None:
                same(f"range {first}-{last}", part, large[first : last + 1])

        for key in [ODD_KEY, LARGE_KEY]:
            if self.copy(bucket, key, "copies/one") is not False:
                did += ["copy"] if "copy" not in did else []
                same(f"copy of {key}", get("copies/one"), bodies[key])
                self.delete(bucket, "copies/one")
        address = self.presign(bucket, ODD_KEY)
        if address is not None:
            did.append("presigned GET")
            same("presigned address", fetch(address), bodies[ODD_KEY])
        address = self.presign_put(bucket, ODD_KEY)
        if address is not None:
            did.append("presigned PUT")
            bodies[ODD_KEY] = b"by anybody"
            send(address, bodies[ODD_KEY])
            same("get of what was put to a presigned address", get(ODD_KEY), bodies[ODD_KEY])

        tree = folder / "tree"
        data.plant(tree)
        if self.sync(tree, bucket, "tree") is not False:
            did.append(f"sync of {data.TREE_FILES} files")
            # Once more: what is there is not sent again.
            self.sync(tree, bucket, "tree")
            synced = {key: size for key, size in self.list(bucket).items() if key.startswith("tree/")}
            same("a synced tree", synced, {f"tree/{name}": len(body) for name, body in data.tree().items()})
            name, body = next(reversed(data.tree().items()))
            same(f"get tree/{name}", get(f"tree/{name}"), body)
            self.clear(bucket)
            for key, body in bodies.items():
                put(key, body)
        did += self.more(bucket, folder)

        bodies[ODD_KEY] = b"second"
        put(ODD_KEY, bodies[ODD_KEY])
        same("get after an overwrite", get(ODD_KEY), bodies[ODD_KEY])

        self.delete(bucket, ODD_KEY)
        del bodies[ODD_KEY]
        same("list after a delete", self.list(bucket), {key: len(body) for key, body in bodies.items()})
        same("get of a deleted key", self.get(bucket, ODD_KEY, copy, check=False), None)

        self.clear(bucket)
        same("list after deleting all", self.list(bucket), {})
        self.remove(bucket)
        return did
