"""What all our persisted entries share: any fsspec path, versions, writes that appear whole or not at all.

The only module that knows what Kedro keeps to itself of its versioned datasets.
"""

import tempfile
from abc import abstractmethod
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeGuard, TypeVar

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from kedro.io.core import (
    AbstractVersionedDataset,
    DatasetError,
    Version,
    get_protocol_and_path,
)

from robustmedclip.errors import InputError
from robustmedclip.io.disk import machine_folder, staged
from robustmedclip.io.remote import RemoteEntry, manifest_path

T = TypeVar("T")
AnyVersionedDataset = AbstractVersionedDataset[Any, Any]


class SourceError(InputError, DatasetError):
    """A source or an intermediate can't be read or written."""


class AtomicDataset(AbstractVersionedDataset[T, T], Generic[T]):
    """Versioned dataset that is there as a whole or not at all.

    On a disk of this machine it is written beside its place and then renamed into it. Elsewhere it is there once its
    manifest is, and what is read of it is kept on a disk of this machine (:mod:`robustmedclip.io.remote`).

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
        forget_listings(self._fs)
        self.metadata = metadata
        super().__init__(PurePosixPath(path), version, self._is_whole, self._fs.glob)

    @abstractmethod
    def _write(self, path: Path, data: T) -> None:
        """Write `data` to the local `path`, a file or a folder that doesn't exist yet."""

    @abstractmethod
    def _read(self, path: Path) -> T:
        """Read from the local `path`."""

    def save(self, data: T) -> None:
        """Write `data`; the entry appears whole or not at all."""
        target = save_path(self)
        if is_local(self):
            with staged(Path(target)) as path:
                self._write(path, data)
        else:
            with tempfile.TemporaryDirectory(dir=machine_folder("copies")) as folder:
                path = Path(folder) / PurePosixPath(target).name
                self._write(path, data)
                RemoteEntry.put(self._fs, target, path)

    def load(self) -> T:
        """Read the entry; what is not on a disk of this machine is fetched first."""
        path = load_path(self)
        return self._read(Path(path) if is_local(self) else RemoteEntry.stored(self._fs, path).whole())

    def _exists(self) -> bool:
        return self._is_whole(load_path(self))

    def _is_whole(self, path: str) -> bool:
        return bool(self._fs.exists(path if is_local(self) else manifest_path(path)))

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


def address(dataset: AnyVersionedDataset, path: str) -> str:
    """A path of a versioned dataset as it can be opened elsewhere: with the protocol, unless it is on this machine."""
    return path if is_local(dataset) else str(filesystem_of(dataset).unstrip_protocol(path))


def keeps_manifest(dataset: AnyVersionedDataset) -> bool:
    """Whether a dataset verifies by itself what it reads."""
    return isinstance(dataset, AtomicDataset) and not is_local(dataset)


def forget_listings(filesystem: AbstractFileSystem) -> None:
    """Let a filesystem list folders as they are now, with what other processes have written."""
    filesystem.dircache.use_listings_cache = False
    filesystem.dircache.clear()
