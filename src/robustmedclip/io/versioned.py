"""What all our persisted entries share: any fsspec path, versions, atomic writes.

The only module that knows what Kedro keeps to itself of its versioned datasets.
"""

import errno
import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeGuard, TypeVar

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from kedro.io.core import (
    AbstractVersionedDataset,
    DatasetError,
    Version,
    get_filepath_str,
    get_protocol_and_path,
)

from robustmedclip.errors import InputError
from robustmedclip.progress import volume

T = TypeVar("T")
AnyVersionedDataset = AbstractVersionedDataset[Any, Any]


class SourceError(InputError, DatasetError):
    """A source or an intermediate can't be read or written."""


class AtomicDataset(AbstractVersionedDataset[T, T], Generic[T]):
    """Versioned dataset that is written beside its place and then renamed into it.

    Parameters
    ----------
    filepath : str
        Path or URL that fsspec knows.
    version : kedro.io.core.Version, optional
        Set by Kedro for ``versioned: true``.
    credentials, fs_args : dict, optional
        Passed to the filesystem.
    metadata : dict, optional
        For plugins such as Kedro-Viz.
    """

    #: What a run makes of this entry, as a hash; set by the catalog.
    fingerprint: str | None = None

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        self._protocol, path = get_protocol_and_path(filepath, version)
        options = {"auto_mkdir": True} if self._protocol == "file" else {}
        self._fs = fsspec.filesystem(self._protocol, **options, **(credentials or {}), **(fs_args or {}))
        self.metadata = metadata
        self._fetched: tempfile.TemporaryDirectory[str] | None = None
        super().__init__(PurePosixPath(path), version, self._fs.exists, self._fs.glob)

    @abstractmethod
    def _write(self, path: Path, data: T) -> None:
        """Write `data` to the local `path`, a file or a folder that doesn't exist yet."""

    @abstractmethod
    def _read(self, path: Path) -> T:
        """Read from the local `path`."""

    def save(self, data: T) -> None:
        """Write `data`; the entry appears whole or not at all."""
        target = get_filepath_str(self._get_save_path(), self._protocol)
        if self._protocol == "file":
            with staged(Path(target)) as path:
                self._write(path, data)
        else:
            with tempfile.TemporaryDirectory() as folder:
                local = Path(folder) / PurePosixPath(target).name
                self._write(local, data)
                self._fs.put(str(local), target, recursive=True)

    def load(self) -> T:
        """Read the entry; a remote one is fetched first."""
        source = get_filepath_str(self._get_load_path(), self._protocol)
        if self._protocol == "file":
            return self._read(Path(source))
        self._fetched = tempfile.TemporaryDirectory()
        local = Path(self._fetched.name) / PurePosixPath(source).name
        self._fs.get(source, str(local), recursive=True)
        return self._read(local)

    def _exists(self) -> bool:
        return bool(self._fs.exists(get_filepath_str(self._get_load_path(), self._protocol)))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "protocol": self._protocol, "version": self._version}


def is_versioned(dataset: object) -> TypeGuard[AnyVersionedDataset]:
    """Whether a dataset keeps a version per run."""
    return isinstance(dataset, AbstractVersionedDataset) and dataset._version is not None


def entry_path(dataset: AnyVersionedDataset) -> str:
    """Path of a versioned dataset on its filesystem, without a version."""
    return str(dataset._filepath)


def load_path(dataset: AnyVersionedDataset) -> str:
    """Path of the version that would be loaded.

    Raises
    ------
    VersionNotFoundError
        If there is none.
    """
    return str(dataset._get_load_path())


def load_folder(dataset: AnyVersionedDataset) -> str:
    """Folder of the version that would be loaded; raises as :func:`load_path`."""
    return str(PurePosixPath(load_path(dataset)).parent)


def save_path(dataset: AnyVersionedDataset) -> str:
    """Where the next version is saved; raises DatasetError if it is there already."""
    return str(dataset._get_save_path())


def save_folder(dataset: AnyVersionedDataset) -> str:
    """Folder of the version that would be saved."""
    version = dataset.resolve_save_version()
    assert version is not None
    return str(PurePosixPath(dataset._get_versioned_path(version)).parent)


def filesystem_of(dataset: AnyVersionedDataset) -> AbstractFileSystem:
    """The filesystem that a versioned dataset lies on."""
    return getattr(dataset, "_fs", None) or LocalFileSystem(auto_mkdir=True)


def is_local(dataset: AnyVersionedDataset) -> bool:
    """Whether a versioned dataset lies on a disk of this machine."""
    return getattr(dataset, "_protocol", "file") == "file"


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A path beside `target` that becomes `target` on success and vanishes on failure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    remove(partial)
    try:
        yield partial
        os.replace(partial, target)
    except BaseException:
        remove(partial)
        raise


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise ``OSError`` (``ENOSPC``) unless `needed` bytes for `what` are free under the local `folder`."""
    if (free := shutil.disk_usage(folder).free) < needed:
        raise OSError(errno.ENOSPC, f"{what} needs {volume(needed)} under {folder}, {volume(free)} are free")


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
