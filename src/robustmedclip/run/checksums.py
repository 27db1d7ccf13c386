"""Checksums of what is stored, so that a damaged file is named and never scored."""

import hashlib

from fsspec import AbstractFileSystem

_BLOCK = 2**20


def checksums(filesystem: AbstractFileSystem, folder: str) -> dict[str, str]:
    """BLAKE2b, in hexadecimal digits, of each file in a folder by its path inside, hidden files apart."""
    prefix = f"{str(folder).rstrip('/')}/"
    inside = {str(path).removeprefix(prefix): path for path in filesystem.find(folder)}
    return {
        name: _checksum(filesystem, path)
        for name, path in sorted(inside.items())
        if not name.rpartition("/")[2].startswith(".")
    }


def damaged_files(filesystem: AbstractFileSystem, folder: str, expected: dict[str, str]) -> list[str]:
    """Paths in a folder of files that are gone or have another checksum than `expected`."""
    present = checksums(filesystem, folder) if expected else {}
    return [name for name, checksum in expected.items() if present.get(name) != checksum]


def _checksum(filesystem: AbstractFileSystem, path: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with filesystem.open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
