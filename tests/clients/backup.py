"""restic: a repository in a bucket, a tree backed up, checked, restored and forgotten."""

import json
import shutil

import data
from client import Client, Failed, same


class Restic(Client):
    def __init__(self, ready, program, home):
        super().__init__(ready, program, home)
        self.env |= {
            "RESTIC_PASSWORD": "a password for a check",
            "RESTIC_CACHE_DIR": str(home / "cache"),
        }

    def version(self):
        return " ".join(self.run("version").decode().split()[:2])

    def snapshots(self):
        return [entry["id"] for entry in json.loads(self.run("snapshots", "--json"))]

    def packs(self):
        """The names of the files that hold the data, as the server lists them."""
        return set(self.run("--no-cache", "list", "packs").decode().split())

    def restored(self, snapshot, folder):
        """What a snapshot holds, brought back without what is cached here."""
        target = folder / "restored"
        self.run("--no-cache", "restore", snapshot, "--target", target)
        files = data.harvest(target / str(folder / "tree").lstrip("/"))
        shutil.rmtree(target)
        return files

    def job(self, bucket, folder):
        """restic makes the bucket, and nothing of it removes one: that goes with the server."""
        self.env["RESTIC_REPOSITORY"] = f"s3:{self.endpoint}/{bucket}/backups"
        tree = folder / "tree"
        data.plant(tree)
        (tree / "large.bin").write_bytes(data.noise(20 * data.MIB, bucket))
        first = data.harvest(tree)

        self.run("init")
        self.run("backup", tree)
        self.run("check", "--read-data")
        [before] = self.snapshots()
        same("the restored tree", self.restored(before, folder), first)

        # Another large file, a file that changes and some that go: pruning has packs to repack and to remove.
        (tree / "large.bin").write_bytes(data.noise(20 * data.MIB, "second"))
        (tree / "0" / "0.txt").write_bytes(b"changed")
        shutil.rmtree(tree / "9")
        second = data.harvest(tree)
        self.run("backup", tree)
        [after] = [snapshot for snapshot in self.snapshots() if snapshot != before]
        same("the older snapshot", self.restored(before, folder), first)
        packs = self.packs()
        self.run("forget", "--keep-last", "1", "--prune")
        same("snapshots after forgetting one", self.snapshots(), [after])
        # restic fills packs to 16 MiB: the large file that nothing needs any more had at least one for itself.
        if not packs - self.packs():
            raise Failed("pruning removed no pack")
        self.run("check", "--read-data")
        same("the newer snapshot, after pruning", self.restored(after, folder), second)
        same("locks that were left", self.run("list", "locks"), b"")
        return ["init", f"backup of {len(first)} files", "check", "restore", "forget", "prune"]
