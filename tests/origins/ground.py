"""What the checks stand on: our server as a process, the origins that we did not write, and how both are asked."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import boto3
import botocore.config
import botocore.exceptions

MIB = 1024 * 1024
PATIENCE = 300


class Failed(Exception):
    """Something is not as it should be."""


def same(what, got, expected):
    if got != expected:
        shown = [text if len(text) < 600 else f"{text[:600]}…" for text in (repr(got), repr(expected))]
        raise Failed(f"{what}: got {shown[0]}, expected {shown[1]}")


def holds(what, truth):
    if not truth:
        raise Failed(what)


def until(what, truth, seconds=PATIENCE):
    """Waits until `truth` gives something true, which is returned. Nothing announces it: look again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = truth()
        if found:
            return found
        time.sleep(0.05)
    raise Failed(f"{what} did not come about within {seconds} s")


def client(endpoint, access_key, secret_key):
    """One attempt for each call: what a server answers is what is looked at."""
    config = botocore.config.Config(
        signature_version="s3v4",
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
        read_timeout=120,
        max_pool_connections=50,
    )
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=config,
    )


def refusal(call, **arguments):
    """Status, code and headers of a call that is to be refused."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        meta = error.response["ResponseMetadata"]
        return meta["HTTPStatusCode"], error.response["Error"]["Code"], meta["HTTPHeaders"]
    raise Failed(f"{arguments} was not refused")


def word(answer):
    """What `X-Cache` said."""
    return answer["ResponseMetadata"]["HTTPHeaders"].get("x-cache")


class Ours:
    """`fallthrough serve`, with its data in a folder."""

    def __init__(self, program, folder, config):
        self.program = program
        self.folder = folder
        self.ready_file = folder / "ready.json"
        self.process = None
        self.most_resident = 0
        folder.mkdir(parents=True)
        (folder / "fallthrough.toml").write_text(f"[network]\nallow-private-origins = true\n{config}", "utf-8")
        self.start()

    def start(self):
        self.ready_file.unlink(missing_ok=True)
        arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data", "data"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, *arguments, "--log", "warn", "--ready-file", self.ready_file],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

        def ready():
            holds(f"the server ended: {self.log()}", self.process.poll() is None)
            return self.ready_file.exists()

        until("the server to be ready", ready, 60)
        self.ready = json.loads(self.ready_file.read_text("utf-8"))
        self.s3 = client(self.ready["s3"], self.ready["access_key"], self.ready["secret_key"])

    def log(self):
        return (self.folder / "server.log").read_text("utf-8", errors="replace")

    def kill(self):
        self.note_memory()
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.note_memory()
        self.process.send_signal(signal.SIGTERM)
        same("the end of the server", self.process.wait(60), 0)

    def note_memory(self):
        """Keeps the most memory that any of its processes has had resident, in bytes."""
        if self.process.poll() is None:
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text("ascii")
            peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
            self.most_resident = max(self.most_resident, int(peak.split()[1]) * 1024)
        return self.most_resident

    def ctl(self, *arguments):
        """A command against it: exit code, and what it printed."""
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "NO_COLOR": "1",
                "FALLTHROUGH_ADMIN": self.ready["admin"],
                "FALLTHROUGH_ADMIN_TOKEN": self.ready["admin_token"],
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )
        return done.returncode, done.stdout + done.stderr, done.stdout

    def told(self, *arguments):
        """A command that has to succeed, and its JSON."""
        code, everything, out = self.ctl(*arguments, "--json")
        holds(f"{arguments}: exit {code}: {everything}", code == 0)
        return json.loads(out)

    def metric(self, name, label=""):
        """The sum of a metric over its labels, or of those with this one."""
        with urllib.request.urlopen(f"{self.ready['admin']}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        values = [line.rsplit(" ", 1)[1] for line in lines if re.split("[{ ]", line)[0] == name and label in line]
        return sum(map(float, values))

    def waiting(self, bucket):
        """How many changes are pending, and how many dead."""
        waiting = self.told("shadow", "get", bucket)["waiting"]
        return waiting["pending"], waiting["dead"]

    def drained(self, bucket):
        until("everything to be delivered", lambda: self.waiting(bucket)[0] == 0)

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Provider:
    """moto, which stands for another S3 provider."""

    def __init__(self, log):
        script = pathlib.Path(__file__).with_name("provider_process.py")
        self.process = subprocess.Popen(
            [sys.executable, script, "0", log],
            env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.port = json.loads(self.process.stdout.readline())
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.s3 = client(self.endpoint, "elsewhere", "elsewhere-secret")

    def do(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def rule(self, name, more=""):
        """A bucket that falls through to the bucket `name` here."""
        return (
            f'endpoint = "{self.endpoint}"\nname = "{name}"\ncredentials = "file:../moto.keys"\n{more}\n'
        )

    def end(self):
        self.process.kill()
        self.process.wait()


KEYS_FILE = "[default]\naws_access_key_id = elsewhere\naws_secret_access_key = elsewhere-secret\n"


class Ground:
    """A folder, and what runs in it; everything ends with it."""

    def __init__(self, given):
        self.given = given
        self.home = given.home.absolute()
        self.home.mkdir(parents=True)
        (self.home / "moto.keys").write_text(KEYS_FILE, "utf-8")
        self.running = []

    def provider(self):
        provider = Provider(self.home / "moto.log")
        self.running.append(provider)
        return provider

    def ours(self, config, name="ours"):
        ours = Ours(self.given.program, self.home / name, config)
        self.running.append(ours)
        return ours

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.end()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def upload(s3, bucket, key, parts, **more):
    """An object of several parts."""
    begun = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]
    sent = []
    for number, body in enumerate(parts, 1):
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=begun, PartNumber=number, Body=body)
        sent.append({"PartNumber": number, "ETag": part["ETag"]})
    listed = {"Parts": sent}
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=begun, MultipartUpload=listed)["ETag"]


FIELDS = [
    "ContentLength", "ETag", "ContentType", "CacheControl", "ContentDisposition", "ContentEncoding",
    "ContentLanguage", "ExpiresString", "Metadata",
]


def described(answer, *more):
    """What GET and HEAD say of an object, as far as both sides have to agree."""
    return {field: answer[field] for field in [*FIELDS, *more] if field in answer}


def listed(s3, bucket):
    """Everything, as key, size and ETag."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {one["Key"]: (one["Size"], one["ETag"]) for page in pages for one in page.get("Contents", [])}


def compare(ours, theirs, our_bucket, their_bucket, bodies=True):
    """Object by object: keys, sizes, ETags, headers, metadata, tags, bytes. How many there are."""
    keys = listed(theirs, their_bucket)
    same("the two lists", listed(ours, our_bucket), keys)
    for key in keys if bodies else []:
        here, there = ours.get_object(Bucket=our_bucket, Key=key), theirs.get_object(Bucket=their_bucket, Key=key)
        same(f"headers of {key!r}", described(here), described(there))
        holds(f"bytes of {key!r} differ", here["Body"].read() == there["Body"].read())
        tags = [s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
                for s3, bucket in [(ours, our_bucket), (theirs, their_bucket)]]
        same(f"tags of {key!r}", *[sorted(set_, key=lambda tag: tag["Key"]) for set_ in tags])
    return len(keys)
