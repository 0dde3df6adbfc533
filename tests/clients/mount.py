"""s3fs-fuse: a bucket mounted as a folder, and used as one."""

import os
import pathlib
import shutil
import subprocess
import time

import data
from client import LARGE_KEY, MIB, ODD_KEY, Client, Failed, Skipped, same

# How long a mount may take to come or to go, in seconds.
PATIENCE = 30

# How the machine, and not the server, refuses a mount: beginnings of what libfuse says.
REFUSALS = ("fuse: device not found", "fuse: failed to open /dev/fuse", "fuse: mount failed", "fusermount")


class S3fsFuse(Client):
    def __init__(self, ready, program, home):
        super().__init__(ready, program, home)
        self.folder = home / "mounted"
        self.log = home / "s3fs.log"
        self.password = home / "password"
        self.password.touch(mode=0o600)
        self.password.write_text(f"{self.access_key}:{self.secret_key}", encoding="utf-8")
        self.daemon = None

    def version(self):
        words = self.run("--version").decode().split()
        return "s3fs " + next(word for word in words if word.startswith("V"))

    def mount(self, bucket):
        """Mounts the bucket; returns when the folder is its root."""
        self.folder.mkdir(exist_ok=True)
        options = f"url={self.endpoint},use_path_request_style,passwd_file={self.password}"
        # In the foreground: so it is a process of ours, and what it says can be read.
        with open(self.log, "wb") as log:
            self.daemon = subprocess.Popen(
                [self.program, bucket, self.folder, "-f", "-o", options],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if not self.wait_for(lambda: os.path.ismount(self.folder) or self.daemon.poll() is not None):
            raise Failed(f"no mount after {PATIENCE} s: {self.said()}")
        if self.daemon.poll() is not None:
            refusals = [line for line in self.said().splitlines() if line.startswith(REFUSALS)]
            if refusals:
                raise Skipped(f"FUSE cannot be used on this machine: {refusals[0]}")
            raise Failed(f"s3fs ended with {self.daemon.returncode}: {self.said()}")

    def unmount(self):
        """Unmounts; returns when s3fs has ended, with all that was written sent."""
        subprocess.run(["fusermount", "-u", self.folder], check=True, capture_output=True, timeout=PATIENCE)
        self.daemon.wait(timeout=PATIENCE)

    def again(self, bucket):
        """Mounts anew, so that what is read next comes from the server."""
        self.unmount()
        self.mount(bucket)

    def end(self):
        """Whatever happened: no mount is left, and no process."""
        if self.daemon is None or self.daemon.poll() is not None:
            return
        subprocess.run(["fusermount", "-u", "-z", self.folder], check=False, capture_output=True, timeout=PATIENCE)
        self.daemon.terminate()
        self.daemon.wait(timeout=PATIENCE)

    def said(self):
        return self.log.read_text(encoding="utf-8", errors="replace").strip()

    @staticmethod
    def wait_for(condition):
        """Whether it came true in time: nothing announces a mount, so it is looked at again and again."""
        until = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def job(self, bucket, folder):
        if not pathlib.Path("/dev/fuse").exists():
            raise Skipped("FUSE cannot be used on this machine: there is no /dev/fuse")
        self.make(bucket)
        try:
            self.mount(bucket)
            did = self.use(bucket)
            self.unmount()
        except OSError as error:
            raise Failed(f"{error}; s3fs said: {self.said()}") from error
        finally:
            self.end()
        # Of an empty bucket: nothing may be left but what s3fs was told to remove.
        self.remove(bucket)
        return did

    def use(self, bucket):
        root = self.folder
        files = {
            "empty": b"",
            ODD_KEY: "Fällt durch.\n".encode(),
            LARGE_KEY: data.noise(20 * MIB, bucket),
        }
        for key, body in files.items():
            (root / key).parent.mkdir(exist_ok=True)
            (root / key).write_bytes(body)
        self.again(bucket)
        same("files", data.harvest(root), files)
        same("folder", sorted(os.listdir(root / "folder")), sorted(key[7:] for key in files if key != "empty"))

        # A change in the middle of a large file: s3fs copies the parts around it, by the server.
        large = bytearray(files[LARGE_KEY])
        with open(root / LARGE_KEY, "r+b") as file:
            file.seek(15 * MIB)
            file.write(b"changed")
        large[15 * MIB : 15 * MIB + 7] = b"changed"
        with open(root / ODD_KEY, "ab") as file:
            file.write(b"and more\n")
        files |= {LARGE_KEY: bytes(large), ODD_KEY: files[ODD_KEY] + b"and more\n"}
        os.truncate(root / "empty", 100_000)
        files["empty"] = bytes(100_000)
        os.chmod(root / ODD_KEY, 0o640)
        os.utime(root / ODD_KEY, (1_000_000_000, 1_000_000_000))
        self.again(bucket)
        same("files after changes", data.harvest(root), files)
        told = (root / ODD_KEY).stat()
        same("mode and time of a file", (told.st_mode & 0o777, told.st_mtime), (0o640, 1_000_000_000))

        os.rename(root / LARGE_KEY, root / "renamed.bin")
        files["renamed.bin"] = files.pop(LARGE_KEY)
        os.rename(root / "folder", root / "other folder")
        files["other folder" + ODD_KEY.removeprefix("folder")] = files.pop(ODD_KEY)
        os.symlink("renamed.bin", root / "link")
        self.again(bucket)
        same("a link", os.readlink(root / "link"), "renamed.bin")
        os.remove(root / "link")
        same("files after renaming", data.harvest(root), files)

        data.plant(root / "tree")
        self.again(bucket)
        same("a tree", data.harvest(root / "tree"), data.tree())
        for name in os.listdir(root):
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.again(bucket)
        same("what is left", os.listdir(root), [])
        return ["write", "read", "list", "change", "rename", "link", f"tree of {data.TREE_FILES} files", "delete"]
