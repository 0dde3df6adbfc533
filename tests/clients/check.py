"""One S3 client that we did not write, with its default settings, against a running Fallthrough.

    check.py --ready-file ready.json --client NAME [--program PATH] --home DIR

Most make a bucket, put objects (an empty one, a small one under a key with a space, a plus and a letter beyond ASCII,
and one of 20 MiB, which most send in parts), list, read back and compare every byte, read ranges, copy, make
presigned addresses and sync a tree of 1,000 files where the client can, overwrite, delete one, delete the rest, and
remove the bucket (`client.py`). A backup (`backup.py`) and a mounted bucket (`mount.py`) have jobs of their own.

Exits with 1 at the first thing that differs. Where this machine lacks what the client needs, writes why to the file
`skipped` in DIR and exits with 0.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

import backup
import libraries
import mount
import programs
from client import Failed, Skipped

CLIENTS = {
    "aws": programs.Aws,
    "boto3": libraries.Boto3,
    "boto3-1.35": libraries.Boto3,
    "boto3-1.10": libraries.Boto3,
    "minio": libraries.Minio,
    "pyarrow": libraries.Arrow,
    "s3fs": libraries.S3fs,
    "rclone": programs.Rclone,
    "s5cmd": programs.S5cmd,
    "s3cmd": programs.S3cmd,
    "object_store": programs.Crate,
    "aws-sdk-s3": programs.AwsSdk,
    "restic": backup.Restic,
    "s3fs-fuse": mount.S3fsFuse,
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--ready-file", required=True, type=pathlib.Path)
    arguments.add_argument("--client", required=True, choices=CLIENTS)
    arguments.add_argument("--program")
    arguments.add_argument("--home", required=True, type=pathlib.Path)
    given = arguments.parse_args()
    ready = json.loads(given.ready_file.read_text(encoding="utf-8"))
    home = given.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    client = CLIENTS[given.client](ready, given.program or given.client, home)
    bucket = re.sub("[^a-z0-9]", "-", f"check-{given.client}")
    try:
        did = client.job(bucket, home)
    except Skipped as why:
        (home / "skipped").write_text(str(why), encoding="utf-8")
        print(f"{given.client}: skipped: {why}")
        return 0
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"{given.client}: {error}", file=sys.stderr)
        return 1
    print(f"{given.client} ({client.version()}): {', '.join(did)}: every byte as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
