"""Entries on another filesystem than this machine's: when they are there, and their copies on a disk of this machine.

An object store writes an object as a whole, but a folder object by object. So a manifest, written last beside an entry,
names its files with their sizes and checksums: without it, nothing is there. What is read is kept in a folder that all
processes of a user on this machine share, by what the manifest says: the same content is fetched once.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock
from fsspec import AbstractFileSystem

from robustmedclip.errors import InputError
from robustmedclip.io.disk import machine_folder, remove, staged

#: Part of the disk that copies leave free: those that were not used for longest go first.
_LEAST_FREE = 0.1
#: What was used later than this stays, for a process may be about to open it.
_SECONDS_IN_USE = 3600

#: What changes with a file, as filesystems call it, the surest first: SFTP and GCS; S3; Azure; others; memory.
_STAMPS = (
    "mtime",
    "ETag",
    "etag",
    "LastModified",
    "last_modified",
    "modified",
    "modificationTime",
    "modify",
    "created",
)


def manifest_path(entry: str) -> str:
    """Where the manifest of an entry lies."""
    path = PurePosixPath(entry)
    return str(path.with_name(f".{path.name}.manifest"))


@dataclass(frozen=True)
class RemoteEntry:
    """A file or folder elsewhere, of which this machine has a copy: each file is fetched when it is first asked for.

    Attributes
    ----------
    filesystem : AbstractFileSystem
        Where the entry lies.
    entry : str
        Its path there.
    files : mapping
        Path in the entry, empty where the entry is a file, to its ``size`` and what else is known of it: ``blake2b``;
        or, of what others put there, its ``address`` and its ``stamp``.
    """

    filesystem: AbstractFileSystem
    entry: str
    files: Mapping[str, Mapping[str, Any]]
    _verified: set[str] = field(default_factory=set)

    @classmethod
    def stored(cls, filesystem: AbstractFileSystem, entry: str) -> "RemoteEntry":
        """The entry, by its manifest."""
        return cls(filesystem, entry, json.loads(filesystem.cat_file(manifest_path(entry))))

    @classmethod
    def listed(cls, filesystem: AbstractFileSystem, entry: str) -> "RemoteEntry":
        """A file or folder that has no manifest, for others put it there: its files as they are now."""
        entry = entry.rstrip("/")
        infos = filesystem.find(entry, detail=True)
        return cls(
            filesystem,
            entry,
            {
                str(path).removeprefix(entry).removeprefix("/"): {
                    "address": str(filesystem.unstrip_protocol(path)),
                    "size": info["size"],
                    "stamp": stamp(info),
                }
                for path, info in infos.items()
            },
        )

    @classmethod
    def put(cls, filesystem: AbstractFileSystem, entry: str, local: Path) -> None:
        """Write an entry; the `local` file or folder becomes its copy."""
        paths = [local] if local.is_file() else sorted(path for path in local.rglob("*") if path.is_file())
        files = {_name(path, local): {"blake2b": _checksum(path), "size": path.stat().st_size} for path in paths}
        stored = cls(filesystem, entry, files)
        for name, path in zip(files, paths, strict=True):
            filesystem.put_file(str(path), stored._remote(name))
        filesystem.pipe_file(manifest_path(entry), json.dumps(files, indent=1).encode())
        with stored._lock():
            if stored.path.exists():
                remove(local)
            else:
                stored.path.parent.mkdir(exist_ok=True)
                os.replace(local, stored.path)

    @property
    def path(self) -> Path:
        """Where the copy is or is to be, by its name and content."""
        return machine_folder("copies") / self._key / PurePosixPath(self.entry).name

    def whole(self) -> Path:
        """The copy with all of its files; raises as :meth:`fetched`."""
        for name in self.files:
            self.fetched(self.path / name)
        return self.path

    def fetched(self, path: Path) -> Path:
        """A file of the copy, under :attr:`path`, as it was written.

        Raises
        ------
        InputError
            If the entry has no such file, or it is damaged where it lies.
        OSError
            If it can't be fetched.
        """
        name = _name(path, self.path)
        if name not in self.files:
            raise InputError(f"{self._address(name)} is not there")
        with self._lock():
            if not path.exists() or (name not in self._verified and not self._is_whole(name, path)):
                self._fetch(name, path)
            self._verified.add(name)
            os.utime(machine_folder("copies") / self._key)
        return path

    def _fetch(self, name: str, path: Path) -> None:
        make_room(self.files[name]["size"])
        with staged(path) as partial:
            self.filesystem.get_file(self._remote(name), str(partial))
            if not self._is_whole(name, partial):
                folder = self.filesystem.unstrip_protocol(str(PurePosixPath(self.entry).parent))
                raise InputError(
                    f"{self._address(name)} is damaged: it is not what was written. Delete {folder}, and go on with "
                    "--only-missing-outputs"
                )

    def _is_whole(self, name: str, path: Path) -> bool:
        facts = self.files[name]
        return path.stat().st_size == facts["size"] and facts.get("blake2b") in (None, _checksum(path))

    def _remote(self, name: str) -> str:
        return f"{self.entry}/{name}" if name else self.entry

    def _address(self, name: str) -> str:
        return str(self.filesystem.unstrip_protocol(self._remote(name)))

    @property
    def _key(self) -> str:
        content = json.dumps([PurePosixPath(self.entry).name, dict(self.files)], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def _lock(self) -> FileLock:
        """Keeps other processes of this machine from fetching the same."""
        return FileLock(machine_folder("locks") / f"{self._key}.lock")


def stamp(info: Mapping[str, Any]) -> str:
    """What changes with a remote file, of what its filesystem says of it."""
    return next((str(info[key]) for key in _STAMPS if info.get(key)), "")


def make_room(needed: int) -> None:
    """Remove copies, those used longest ago first, until a tenth of the disk is free besides `needed` bytes."""
    folder = machine_folder("copies")
    for last_use, copy in sorted((_last_use(path), path) for path in folder.iterdir()):
        disk = shutil.disk_usage(folder)
        if disk.free - needed >= _LEAST_FREE * disk.total or time.time() - last_use < _SECONDS_IN_USE:
            return
        remove(copy)


def _last_use(copy: Path) -> float:
    """When a copy, or a file in it, was last written or used; 0 if another process removes it."""
    try:
        return max(path.stat().st_mtime for path in (copy, *copy.rglob("*")))
    except FileNotFoundError:
        return 0


def _name(path: Path, root: Path) -> str:
    """Path of a file in a folder; empty where it is the file itself."""
    return "" if path == root else path.relative_to(root).as_posix()


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
