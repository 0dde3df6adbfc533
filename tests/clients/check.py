"""One S3 client that we did not write, with its default settings, against a running Fallthrough.

    check.py --ready-file ready.json --client aws|boto3|minio|pyarrow|s3fs|rclone|s5cmd|s3cmd [--program PATH] --home DIR

Makes a bucket, puts objects (an empty one, a small one under a key with a space, a plus and a letter beyond
ASCII, and one of 20 MiB, which most send in parts), lists, reads back and compares every byte, reads ranges, copies,
makes presigned addresses and syncs a tree of 1,000 files where the client can, overwrites, deletes one, deletes the rest,
and removes the bucket. Exits with 1 at the first thing that differs.
"""

import argparse
import configparser
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import urllib.parse
import urllib.request

MIB = 1024 * 1024
ODD_KEY = "folder/a b+c é.txt"


def noise(size, seed):
    """`size` bytes that do not compress, the same for the same seed."""
    out = bytearray()
    block = hashlib.sha256(seed.encode()).digest()
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        out += block * 128  # 4 KiB at a time: fast, and every block still differs from its neighbours.
    return bytes(out[:size])


class Failed(Exception):
    pass


class Client:
    """What the job asks of a client. Keys are relative to the bucket."""

    large_bytes = 20 * MIB

    def __init__(self, ready, program, home):
        self.endpoint = ready["s3"]
        self.access_key = ready["access_key"]
        self.secret_key = ready["secret_key"]
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

    def run(self, *args, check=True):
        """Runs the client's program; its standard output as bytes, or None if it failed and may."""
        done = subprocess.run(
            [self.program, *map(str, args)],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
        )
        if done.returncode == 0:
            return done.stdout
        if check:
            message = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise Failed(f"{' '.join(map(str, args))}: exit {done.returncode}: {message}")
        return None

    def range(self, bucket, key, first, last):
        """Bytes first to last, both included; None where the client has no such command."""
        return None

    def copy(self, bucket, key, to):
        """Copies an object within the bucket, by the server; False where the client has no such command."""
        return False

    def presign(self, bucket, key):
        """An address that anybody can GET; None where the client makes none."""
        return None

    def sync(self, folder, bucket, prefix):
        """Brings the files of a folder below a prefix; False where the client has no such command."""
        return False


class Aws(Client):
    def make(self, bucket):
        self.run("s3", "mb", f"s3://{bucket}")

    def put(self, bucket, key, path):
        self.run("s3", "cp", "--no-progress", path, f"s3://{bucket}/{key}")

    def get(self, bucket, key, path, check=True):
        return self.run("s3", "cp", "--no-progress", f"s3://{bucket}/{key}", path, check=check)

    def list(self, bucket):
        out = self.run("s3", "ls", "--recursive", f"s3://{bucket}/").decode()
        return {line.split(maxsplit=3)[3]: int(line.split(maxsplit=3)[2]) for line in out.splitlines()}

    def delete(self, bucket, key):
        self.run("s3", "rm", f"s3://{bucket}/{key}")

    def range(self, bucket, key, first, last):
        path = self.home / "range"
        self.run("s3api", "get-object", "--bucket", bucket, "--key", key, "--range", f"bytes={first}-{last}", path)
        return path.read_bytes()

    def copy(self, bucket, key, to):
        self.run("s3", "cp", "--no-progress", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def presign(self, bucket, key):
        return self.run("s3", "presign", f"s3://{bucket}/{key}").decode().strip()

    def sync(self, folder, bucket, prefix):
        self.run("s3", "sync", "--no-progress", folder, f"s3://{bucket}/{prefix}")

    def clear(self, bucket):
        self.run("s3", "rm", "--recursive", f"s3://{bucket}/")

    def remove(self, bucket):
        self.run("s3", "rb", f"s3://{bucket}")


class Boto3(Client):
    def __init__(self, ready, program, home):
        super().__init__(ready, program, home)
        os.environ.clear()
        os.environ.update(self.env)
        import boto3
        import botocore.exceptions

        self.error = botocore.exceptions.ClientError
        self.s3 = boto3.client("s3")

    def make(self, bucket):
        self.s3.create_bucket(Bucket=bucket)

    def put(self, bucket, key, path):
        # What people write: put_object, and upload_file for what lies on a disk.
        if path.stat().st_size > MIB:
            self.s3.upload_file(str(path), bucket, key)
        else:
            self.s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), Metadata={"made-by": "check"})

    def get(self, bucket, key, path, check=True):
        try:
            answer = self.s3.get_object(Bucket=bucket, Key=key)
        except self.error as error:
            code = error.response["Error"]["Code"]
            if check or code != "NoSuchKey":
                raise Failed(f"get_object: {code}") from error
            return None
        path.write_bytes(answer["Body"].read())
        if answer["ContentLength"] <= MIB and answer["Metadata"] != {"made-by": "check"}:
            raise Failed(f"metadata came back as {answer['Metadata']}")
        return b""

    def list(self, bucket):
        # Two at a time, so that continuation tokens are used.
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
        v2 = {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}
        v1 = {entry["Key"]: entry["Size"] for entry in self.s3.list_objects(Bucket=bucket).get("Contents", [])}
        if v1 != v2:
            raise Failed(f"ListObjects says {v1}, ListObjectsV2 says {v2}")
        return v2

    def delete(self, bucket, key):
        self.s3.delete_object(Bucket=bucket, Key=key)

    def range(self, bucket, key, first, last):
        answer = self.s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{last}")
        if answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            raise Failed(f"a range was answered with {answer['ResponseMetadata']['HTTPStatusCode']}")
        return answer["Body"].read()

    def copy(self, bucket, key, to):
        self.s3.copy({"Bucket": bucket, "Key": key}, bucket, to)

    def presign(self, bucket, key):
        return self.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})

    def clear(self, bucket):
        keys = [{"Key": key} for key in self.list(bucket)]
        answer = self.s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        if answer.get("Errors") or len(answer["Deleted"]) != len(keys):
            raise Failed(f"delete_objects: {answer}")

    def remove(self, bucket):
        self.s3.delete_bucket(Bucket=bucket)
        if bucket in [entry["Name"] for entry in self.s3.list_buckets()["Buckets"]]:
            raise Failed("the bucket is still listed")


class Minio(Client):
    def __init__(self, ready, program, home):
        super().__init__(ready, program, home)
        import minio
        import minio.commonconfig
        import minio.deleteobjects

        self.minio = minio
        host = urllib.parse.urlsplit(self.endpoint).netloc
        self.s3 = minio.Minio(host, self.access_key, self.secret_key, secure=False)

    def make(self, bucket):
        self.s3.make_bucket(bucket)

    def put(self, bucket, key, path):
        self.s3.fput_object(bucket, key, str(path))

    def get(self, bucket, key, path, check=True):
        try:
            self.s3.fget_object(bucket, key, str(path))
        except self.minio.error.S3Error as error:
            if check or error.code != "NoSuchKey":
                raise Failed(f"fget_object: {error.code}") from error
            return None
        return b""

    def list(self, bucket):
        return {entry.object_name: entry.size for entry in self.s3.list_objects(bucket, recursive=True)}

    def delete(self, bucket, key):
        self.s3.remove_object(bucket, key)

    def range(self, bucket, key, first, last):
        with self.s3.get_object(bucket, key, offset=first, length=last - first + 1) as answer:
            return answer.read()

    def copy(self, bucket, key, to):
        self.s3.copy_object(bucket, to, self.minio.commonconfig.CopySource(bucket, key))

    def presign(self, bucket, key):
        return self.s3.presigned_get_object(bucket, key)

    def clear(self, bucket):
        keys = [self.minio.deleteobjects.DeleteObject(key) for key in self.list(bucket)]
        errors = list(self.s3.remove_objects(bucket, keys))
        if errors:
            raise Failed(f"remove_objects: {errors}")

    def remove(self, bucket):
        self.s3.remove_bucket(bucket)


class Arrow(Client):
    def __init__(self, ready, program, home):
        super().__init__(ready, program, home)
        from pyarrow import fs

        self.fs = fs
        self.s3 = fs.S3FileSystem(
            access_key=self.access_key,
            secret_key=self.secret_key,
            endpoint_override=self.endpoint,
            region="us-east-1",
            allow_bucket_creation=True,
            allow_bucket_deletion=True,
        )

    def make(self, bucket):
        self.s3.create_dir(bucket)

    def put(self, bucket, key, path):
        with self.s3.open_output_stream(f"{bucket}/{key}") as out:
            out.write(path.read_bytes())

    def get(self, bucket, key, path, check=True):
        try:
            with self.s3.open_input_stream(f"{bucket}/{key}") as source:
                path.write_bytes(source.read())
        except FileNotFoundError as error:
            if check:
                raise Failed(f"open_input_stream: {error}") from error
            return None
        return b""

    def list(self, bucket):
        infos = self.s3.get_file_info(self.fs.FileSelector(bucket, recursive=True))
        files = [info for info in infos if info.type == self.fs.FileType.File]
        # A folder that it empties it keeps as an empty object.
        return {info.path.removeprefix(f"{bucket}/"): info.size for info in files}

    def delete(self, bucket, key):
        self.s3.delete_file(f"{bucket}/{key}")

    def range(self, bucket, key, first, last):
        with self.s3.open_input_file(f"{bucket}/{key}") as source:
            return source.read_at(last - first + 1, first)

    def copy(self, bucket, key, to):
        self.s3.copy_file(f"{bucket}/{key}", f"{bucket}/{to}")

    def clear(self, bucket):
        self.s3.delete_dir_contents(bucket)

    def remove(self, bucket):
        self.s3.delete_dir(bucket)


class S3fs(Client):
    def __init__(self, ready, program, home):
        super().__init__(ready, program, home)
        import s3fs

        self.s3 = s3fs.S3FileSystem(
            key=self.access_key,
            secret=self.secret_key,
            client_kwargs={"endpoint_url": self.endpoint, "region_name": "us-east-1"},
            use_listings_cache=False,
        )

    def make(self, bucket):
        self.s3.mkdir(bucket)

    def put(self, bucket, key, path):
        self.s3.put(str(path), f"{bucket}/{key}")

    def get(self, bucket, key, path, check=True):
        try:
            self.s3.get(f"{bucket}/{key}", str(path))
        except FileNotFoundError as error:
            if check:
                raise Failed(f"get: {error}") from error
            return None
        return b""

    def list(self, bucket):
        self.s3.invalidate_cache()
        found = self.s3.find(bucket, detail=True)
        return {path.removeprefix(f"{bucket}/"): entry["size"] for path, entry in found.items()}

    def delete(self, bucket, key):
        self.s3.rm(f"{bucket}/{key}")

    def range(self, bucket, key, first, last):
        with self.s3.open(f"{bucket}/{key}", "rb") as source:
            source.seek(first)
            return source.read(last - first + 1)

    def copy(self, bucket, key, to):
        self.s3.copy(f"{bucket}/{key}", f"{bucket}/{to}")

    def presign(self, bucket, key):
        return self.s3.url(f"{bucket}/{key}")

    def clear(self, bucket):
        for key in self.list(bucket):
            self.s3.rm(f"{bucket}/{key}")

    def remove(self, bucket):
        self.s3.rmdir(bucket)


class Rclone(Client):
    def __init__(self, ready, program, home):
        super().__init__(ready, program, home)
        self.env |= {
            "RCLONE_CONFIG_FT_TYPE": "s3",
            "RCLONE_CONFIG_FT_PROVIDER": "Other",
            "RCLONE_CONFIG_FT_ENV_AUTH": "true",
            "RCLONE_CONFIG_FT_ENDPOINT": self.endpoint,
            "RCLONE_CONFIG": str(home / "rclone.conf"),
        }
        (home / "rclone.conf").touch()

    def make(self, bucket):
        self.run("mkdir", f"ft:{bucket}")

    def put(self, bucket, key, path):
        self.run("copyto", path, f"ft:{bucket}/{key}")

    def get(self, bucket, key, path, check=True):
        return self.run("copyto", f"ft:{bucket}/{key}", path, check=check)

    def list(self, bucket):
        entries = json.loads(self.run("lsjson", "--recursive", "--files-only", f"ft:{bucket}"))
        return {entry["Path"]: entry["Size"] for entry in entries}

    def delete(self, bucket, key):
        self.run("deletefile", f"ft:{bucket}/{key}")

    def range(self, bucket, key, first, last):
        return self.run("cat", "--offset", first, "--count", last - first + 1, f"ft:{bucket}/{key}")

    def copy(self, bucket, key, to):
        self.run("copyto", f"ft:{bucket}/{key}", f"ft:{bucket}/{to}")

    def presign(self, bucket, key):
        return self.run("link", f"ft:{bucket}/{key}").decode().strip()

    def sync(self, folder, bucket, prefix):
        self.run("sync", folder, f"ft:{bucket}/{prefix}")

    def clear(self, bucket):
        self.run("delete", f"ft:{bucket}")

    def remove(self, bucket):
        self.run("rmdir", f"ft:{bucket}")


class S5cmd(Client):
    def make(self, bucket):
        self.run("mb", f"s3://{bucket}")

    def put(self, bucket, key, path):
        self.run("cp", path, f"s3://{bucket}/{key}")

    def get(self, bucket, key, path, check=True):
        return self.run("cp", f"s3://{bucket}/{key}", path, check=check)

    def list(self, bucket):
        found = {}
        out = self.run("--json", "ls", f"s3://{bucket}/*", check=False) or b""
        for line in out.decode().splitlines():
            entry = json.loads(line)
            if entry.get("type") == "file":
                found[entry["key"].removeprefix(f"s3://{bucket}/")] = entry.get("size", 0)
        return found

    def delete(self, bucket, key):
        self.run("rm", f"s3://{bucket}/{key}")

    def copy(self, bucket, key, to):
        self.run("cp", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def presign(self, bucket, key):
        return self.run("presign", f"s3://{bucket}/{key}").decode().strip()

    def sync(self, folder, bucket, prefix):
        self.run("sync", f"{folder}/", f"s3://{bucket}/{prefix}/")

    def clear(self, bucket):
        self.run("rm", f"s3://{bucket}/*")

    def remove(self, bucket):
        self.run("rb", f"s3://{bucket}")


class S3cmd(Client):
    def __init__(self, ready, program, home):
        super().__init__(ready, program, home)
        host = urllib.parse.urlsplit(self.endpoint).netloc
        config = configparser.RawConfigParser()
        # What `s3cmd --configure` asks for, and nothing else. The host as bucket host means path style.
        config["default"] = {
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "host_base": host,
            "host_bucket": host,
            "use_https": "False",
        }
        with open(home / ".s3cfg", "w", encoding="utf-8") as file:
            config.write(file)

    def make(self, bucket):
        self.run("mb", f"s3://{bucket}")

    def put(self, bucket, key, path):
        self.run("--no-progress", "put", path, f"s3://{bucket}/{key}")

    def get(self, bucket, key, path, check=True):
        return self.run("--no-progress", "get", "--force", f"s3://{bucket}/{key}", path, check=check)

    def list(self, bucket):
        out = self.run("ls", "--recursive", f"s3://{bucket}/").decode()
        rows = [line.split(maxsplit=3) for line in out.splitlines()]
        return {row[3].removeprefix(f"s3://{bucket}/"): int(row[2]) for row in rows}

    def delete(self, bucket, key):
        self.run("del", f"s3://{bucket}/{key}")

    def copy(self, bucket, key, to):
        self.run("cp", f"s3://{bucket}/{key}", f"s3://{bucket}/{to}")

    def presign(self, bucket, key):
        return self.run("signurl", f"s3://{bucket}/{key}", "+600").decode().strip()

    def sync(self, folder, bucket, prefix):
        self.run("--no-progress", "sync", f"{folder}/", f"s3://{bucket}/{prefix}/")

    def clear(self, bucket):
        self.run("del", "--recursive", "--force", f"s3://{bucket}/")

    def remove(self, bucket):
        self.run("rb", f"s3://{bucket}")


CLIENTS = {
    "aws": Aws,
    "boto3": Boto3,
    "minio": Minio,
    "pyarrow": Arrow,
    "s3fs": S3fs,
    "rclone": Rclone,
    "s5cmd": S5cmd,
    "s3cmd": S3cmd,
}

# Files of the tree that is synced.
TREE_FILES = 1000


def same(what, got, expected):
    if got != expected:
        shown = got if len(repr(got)) < 400 else f"{len(got)} bytes that differ"
        wanted = expected if len(repr(expected)) < 400 else f"{len(expected)} bytes"
        raise Failed(f"{what}: got {shown}, expected {wanted}")


def job(client, bucket, folder):
    bodies = {
        "empty": b"",
        ODD_KEY: "Fällt durch.\n".encode(),
        "folder/large.bin": noise(client.large_bytes, bucket),
    }
    source, copy = folder / "source", folder / "copy"

    def put(key, body):
        source.write_bytes(body)
        client.put(bucket, key, source)

    def get(key):
        copy.unlink(missing_ok=True)
        client.get(bucket, key, copy)
        return copy.read_bytes()

    client.make(bucket)
    for key, body in bodies.items():
        put(key, body)
    same("list", client.list(bucket), {key: len(body) for key, body in bodies.items()})
    for key, body in bodies.items():
        same(f"get {key}", get(key), body)

    large = bodies["folder/large.bin"]
    for first, last in [(0, 0), (MIB - 1, MIB + 1), (len(large) - 5, len(large) - 1)]:
        part = client.range(bucket, "folder/large.bin", first, last)
        if part is not None:
            same(f"range {first}-{last}", part, large[first : last + 1])

    for key in [ODD_KEY, "folder/large.bin"]:
        if client.copy(bucket, key, "copies/one") is not False:
            same(f"copy of {key}", get("copies/one"), bodies[key])
            client.delete(bucket, "copies/one")
    address = client.presign(bucket, ODD_KEY)
    if address is not None:
        with urllib.request.urlopen(address, timeout=30) as answer:
            same("presigned address", answer.read(), bodies[ODD_KEY])

    tree = folder / "tree"
    for number in range(TREE_FILES):
        path = tree / f"{number % 10}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number), encoding="utf-8")
    if client.sync(tree, bucket, "tree") is not False:
        # Once more: what is there is not sent again.
        client.sync(tree, bucket, "tree")
        synced = {key: size for key, size in client.list(bucket).items() if key.startswith("tree/")}
        wanted = {f"tree/{number % 10}/{number}.txt": len(str(number)) for number in range(TREE_FILES)}
        same("a synced tree", synced, wanted)
        client.clear(bucket)
        for key, body in bodies.items():
            put(key, body)

    bodies[ODD_KEY] = b"second"
    put(ODD_KEY, bodies[ODD_KEY])
    same("get after an overwrite", get(ODD_KEY), bodies[ODD_KEY])

    client.delete(bucket, ODD_KEY)
    del bodies[ODD_KEY]
    same("list after a delete", client.list(bucket), {key: len(body) for key, body in bodies.items()})
    same("get of a deleted key", client.get(bucket, ODD_KEY, copy, check=False), None)

    client.clear(bucket)
    same("list after deleting all", client.list(bucket), {})
    client.remove(bucket)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--ready-file", required=True, type=pathlib.Path)
    arguments.add_argument("--client", required=True, choices=CLIENTS)
    arguments.add_argument("--program")
    arguments.add_argument("--home", required=True, type=pathlib.Path)
    given = arguments.parse_args()
    ready = json.loads(given.ready_file.read_text(encoding="utf-8"))
    home = given.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    client = CLIENTS[given.client](ready, given.program or given.client, home)
    try:
        job(client, f"check-{given.client}", home)
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"{given.client}: {error}", file=sys.stderr)
        return 1
    print(f"{given.client}: put, list, get, copy, presign, sync, overwrite, delete: every byte as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
