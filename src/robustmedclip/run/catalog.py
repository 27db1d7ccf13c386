"""A catalog that can tell a stale entry from a fresh one, and leaves no half-written version behind."""

import errno
from collections.abc import Callable, Mapping
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from kedro.io import DataCatalog, DatasetError
from kedro.io.core import AbstractVersionedDataset, VersionNotFoundError

from robustmedclip.errors import InputError
from robustmedclip.io.versioned import SourceError

_SIDECAR = ".fingerprint"


class FingerprintedCatalog(DataCatalog):
    """DataCatalog in which a versioned entry exists only if it is what a run would make now.

    Kedro's ``--only-missing-outputs`` asks whether an entry exists, not whether it is up to date.
    Each saved version therefore keeps a fingerprint of what made it, written last: a version
    without one was never finished, and a version with another one is stale. Both count as missing.
    """

    #: Expected fingerprint of each entry of the pipeline about to run.
    fingerprints: Mapping[str, str] = {}

    def exists(self, ds_name: str) -> bool:
        expected = self.fingerprints.get(ds_name)
        return super().exists(ds_name) and expected in (None, self.stored_fingerprint(ds_name))

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().get(key, *args, **kwargs)
        except DatasetError as error:
            raise SourceError(f"The catalog entry '{key}' is wrong: {' '.join(str(error).split())}") from error

    def is_fingerprinted(self, ds_name: str) -> bool:
        """Whether a run leaves a fingerprint beside an entry: whether it is versioned."""
        return _is_versioned(self.get(ds_name))

    def stored_fingerprint(self, ds_name: str) -> str | None:
        """Fingerprint of the version that would be loaded; None if there is none."""
        dataset = self.get(ds_name)
        if not _is_versioned(dataset):
            return None
        try:
            sidecar = f"{dataset._get_load_path().parent}/{_SIDECAR}"
        except VersionNotFoundError:
            return None
        filesystem = _filesystem(dataset)
        return filesystem.cat_file(sidecar).decode() if filesystem.exists(sidecar) else None

    def load(self, ds_name: str, version: str | None = None) -> Any:
        try:
            return super().load(ds_name, version)
        except DatasetError as error:
            if cause := _first(error, lambda one: isinstance(one, InputError)):
                raise SourceError(cause.message) from error
            raise

    def save(self, ds_name: str, data: Any) -> None:
        dataset = self[ds_name]
        if not _is_versioned(dataset):
            super().save(ds_name, data)
            return
        version = str(dataset._get_versioned_path(dataset.resolve_save_version()).parent)
        filesystem = _filesystem(dataset)
        existed = filesystem.exists(version)
        try:
            super().save(ds_name, data)
            if ds_name in self.fingerprints:
                filesystem.pipe_file(f"{version}/{_SIDECAR}", self.fingerprints[ds_name].encode())
        except BaseException as error:
            if not existed and filesystem.exists(version):
                filesystem.rm(version, recursive=True)
            if cause := _first(error, lambda one: isinstance(one, InputError)):
                raise SourceError(cause.message) from error
            if cause := _first(error, _is_disk_full):
                raise SourceError(
                    f"No space left while writing '{ds_name}' to {version} ({cause}). Nothing of it was kept. "
                    "Free some space, or point the catalog at another disk, then continue with "
                    "--only-missing-outputs."
                ) from cause
            raise


def _is_versioned(dataset: Any) -> bool:
    return isinstance(dataset, AbstractVersionedDataset) and dataset._version is not None


def _filesystem(dataset: AbstractVersionedDataset) -> AbstractFileSystem:
    return getattr(dataset, "_fs", None) or LocalFileSystem(auto_mkdir=True)


def _is_disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _first(error: BaseException | None, wanted: Callable[[BaseException], bool]) -> Any:
    """The error, or the first of those that led to it, that is `wanted`."""
    while error is not None and not wanted(error):
        error = error.__cause__ or error.__context__
    return error
