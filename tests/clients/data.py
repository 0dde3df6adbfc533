"""Bytes and files for the clients to carry: the same for the same seed."""

import hashlib

MIB = 1024 * 1024

# Files of the tree that is synced, backed up, or written through a mount.
TREE_FILES = 1000


def noise(size, seed):
    """`size` bytes that do not compress."""
    out = bytearray()
    block = hashlib.sha256(seed.encode()).digest()
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        out += block * 128  # 4 KiB at a time: fast, and every block still differs from its neighbours.
    return bytes(out[:size])


def tree():
    """The tree: small files in ten folders, as their paths and their bytes."""
    return {f"{number % 10}/{number}.txt": str(number).encode() for number in range(TREE_FILES)}


def plant(folder):
    """Writes the tree below a folder."""
    for name, body in tree().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def harvest(folder):
    """The files below a folder, as their paths and their bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
