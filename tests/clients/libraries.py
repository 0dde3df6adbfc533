"""Libraries of Python, each in the words of `client.Client`."""

import importlib.metadata
import os
import urllib.parse

from client import LARGE_KEY, MIB, Client, Failed, fetch, same, send


class Library(Client):
    """A client that is imported."""

    package = None

    def version(self):
        return f"{self.package} {importlib.metadata.version(self.package)}"


class Boto3(Library):
    """Any boto3: which one is a matter of the environment that runs this."""

    package = "boto3"

    def __init__(self, ready, program, home):
        super().__init__(ready, program, home)
        os.environ.clear()
        os.environ.update(self.env)
        import boto3
        import botocore.config
        import botocore.exceptions

        self.error = botocore.exceptions.ClientError
        # Versions before 1.28 read no endpoint from the environment.
        self.s3 = boto3.client("s3", endpoint_url=self.endpoint)
        v4 = botocore.config.Config(signature_version="s3v4")
        self.s3_v4 = boto3.client("s3", endpoint_url=self.endpoint, config=v4)

    def make(self, bucket):
        self.s3.create_bucket(Bucket=bucket)

    def put(self, bucket, key, path):
        # What people write: put_object, and upload_file for what lies on a disk.
        if path.stat().st_size > MIB:
            self.s3.upload_file(str(path), bucket, key)
        else:
            self.s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())

    def get(self, bucket, key, path, check=True):
        try:
            answer = self.s3.get_object(Bucket=bucket, Key=key)
        except self.error as error:
            code = error.response["Error"]["Code"]
            if check or code != "NoSuchKey":
                raise Failed(f"get_object: {code}") from error
            return None
        path.write_bytes(answer["Body"].read())
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

    def presign_put(self, bucket, key):
        return self.s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key})

    def more(self, bucket, folder):
        """What is presigned by version 4, which in us-east-1 has to be asked for; a large body; metadata."""
        what = {"Bucket": bucket, "Key": "more/one"}
        send(self.s3_v4.generate_presigned_url("put_object", Params=what), b"by version 4")
        same("get by version 4", fetch(self.s3_v4.generate_presigned_url("get_object", Params=what)), b"by version 4")
        large = self.s3.get_object(Bucket=bucket, Key=LARGE_KEY)["Body"].read()
        self.s3.put_object(Bucket=bucket, Key="more/one", Body=large, Metadata={"made-by": "check"})
        same("a large body in one request", self.s3.get_object(**what)["Body"].read(), large)
        same("metadata", self.s3.head_object(**what)["Metadata"], {"made-by": "check"})
        send(self.s3.generate_presigned_url("delete_object", Params=what), None, "DELETE", 204)
        same("what is left of it", self.s3.list_objects(Bucket=bucket, Prefix="more/").get("Contents", []), [])
        return ["presigned by version 4", "presigned DELETE", "20 MiB in one request", "metadata"]

    def clear(self, bucket):
        keys = [{"Key": key} for key in self.list(bucket)]
        answer = self.s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        if answer.get("Errors") or len(answer["Deleted"]) != len(keys):
            raise Failed(f"delete_objects: {answer}")

    def remove(self, bucket):
        self.s3.delete_bucket(Bucket=bucket)
        if bucket in [entry["Name"] for entry in self.s3.list_buckets()["Buckets"]]:
            raise Failed("the bucket is still listed")


class Minio(Library):
    package = "minio"

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

    def presign_put(self, bucket, key):
        return self.s3.presigned_put_object(bucket, key)

    def clear(self, bucket):
        keys = [self.minio.deleteobjects.DeleteObject(key) for key in self.list(bucket)]
        errors = list(self.s3.remove_objects(bucket, keys))
        if errors:
            raise Failed(f"remove_objects: {errors}")

    def remove(self, bucket):
        self.s3.remove_bucket(bucket)


class Arrow(Library):
    package = "pyarrow"

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

    def sync(self, folder, bucket, prefix):
        self.fs.copy_files(str(folder), f"{bucket}/{prefix}", self.fs.LocalFileSystem(), self.s3)

    def clear(self, bucket):
        self.s3.delete_dir_contents(bucket)

    def remove(self, bucket):
        self.s3.delete_dir(bucket)


class S3fs(Library):
    package = "s3fs"

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
