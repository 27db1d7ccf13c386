"""A catalog that tells stale entries from fresh ones, damaged from whole ones, and leaves none half-written."""

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout
from kedro.io import DataCatalog, DatasetError
from kedro.io.core import Version, VersionNotFoundError

from robustmedclip.errors import InputError
from robustmedclip.io.checkpoint import TrainingCheckpoint
from robustmedclip.io.disk import machine_folder
from robustmedclip.io.external import is_external
from robustmedclip.io.versioned import (
    AtomicDataset,
    SourceError,
    address,
    entry_path,
    filesystem_of,
    forget_listings,
    is_local,
    is_versioned,
    keeps_manifest,
    load_folder,
    save_folder,
)
from robustmedclip.plan.names import artefact, parts
from robustmedclip.run.checksums import checksums, damaged_files
from robustmedclip.run.contents import Contents
from robustmedclip.run.dataset_types import type_problem

logger = logging.getLogger(__name__)

_SIDECAR = ".fingerprint"
#: How long another run may write an entry before it is said that this one waits for it.
_SECONDS_IN_SILENCE = 5


class FingerprintedCatalog(DataCatalog):
    """DataCatalog in which a versioned entry exists only if it is what a run would make now.

    Kedro's ``--only-missing-outputs`` asks whether an entry exists, not whether it is up to date. Beside each saved
    version a file, written last, keeps a fingerprint of what made it and the checksums of its files: a version
    without that file was never finished, and a version with another fingerprint is stale. Both count as missing. The
    checksums are compared when a version is first read, and a damaged file is named. Two runs don't write an entry at
    the same time on one machine: the second waits, and takes what the first has finished, if it is the same. On an
    object store two machines may: they write the same, object by object, so that whichever comes last changes nothing.
    """

    #: Expected fingerprint of each entry of the pipeline about to run.
    fingerprints: Mapping[str, str] = {}
    #: Checksums of the sources and models of the project.
    contents: Contents | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        #: Folders of versions whose files were compared with their checksums: once in a process.
        self.verified: set[str] = set()

    def exists(self, ds_name: str) -> bool:
        expected = self.fingerprints.get(ds_name)
        return super().exists(ds_name) and expected in (None, self.stored_fingerprint(ds_name))

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        try:
            dataset = super().get(key, *args, **kwargs)
        except DatasetError as error:
            name = self._config_resolver.resolve_pattern(key).get("type")
            problem = type_problem(name) if isinstance(name, str) else None
            raise SourceError(f"The catalog entry '{key}' is wrong: {problem or _sentence(error)}") from error
        if is_versioned(dataset):
            forget_listings(filesystem_of(dataset))
        return dataset

    def forget_versions(self, names: Iterable[str]) -> None:
        """Look anew, when entries are used next, for versions of them that another process may have written."""
        for name in names:
            if is_versioned(self.get(name)):
                self.release(name)

    def part(self, names: Sequence[str]) -> "FingerprintedCatalog":
        """A catalog of some of the entries, that can be sent to another process, which looks for versions itself."""
        self.forget_versions(names)
        part = type(self)({name: self[name] for name in names})
        part.fingerprints = {name: self.fingerprints[name] for name in part.keys() if name in self.fingerprints}
        part.contents = self.contents
        part._validator_specs = {name: spec for name, spec in self._validator_specs.items() if name in part}
        return part

    def is_saved(self, ds_name: str) -> bool:
        """Whether the very version that would be saved is there, finished."""
        dataset: Any = self[ds_name]
        if not is_versioned(dataset) or ds_name not in self.fingerprints:
            return False
        return _record(dataset, save_folder(dataset)).get("fingerprint") == self.fingerprints[ds_name]

    def is_fingerprinted(self, ds_name: str) -> bool:
        """Whether a run leaves a fingerprint beside an entry: whether it is versioned."""
        return is_versioned(self.get(ds_name))

    def writer_of(self, ds_name: str) -> type | None:
        """The class of an entry's dataset, if it is one of robustmedclip's or of a user's own, not one of Kedro's."""
        kind = type(self.get(ds_name))
        return None if kind.__module__.partition(".")[0] in ("kedro", "kedro_datasets") else kind

    def stored_fingerprint(self, ds_name: str) -> str | None:
        """Fingerprint of the version that would be loaded; None if there is none."""
        dataset = self.get(ds_name)
        if not is_versioned(dataset):
            return None
        try:
            return _record(dataset, load_folder(dataset)).get("fingerprint")
        except VersionNotFoundError:
            return None

    def load(self, ds_name: str, version: str | None = None) -> Any:
        try:
            dataset = self.get(ds_name, version=Version(version, None) if version else None)
            if is_versioned(dataset):
                self._verify(ds_name, dataset)
            elif self.contents and is_external(dataset):
                self.contents.verify(ds_name, dataset.paths())
            data = super().load(ds_name, version)
        except DatasetError as error:
            if cause := _first(error, lambda reason: isinstance(reason, InputError)):
                raise SourceError(cause.message) from error
            raise
        if isinstance(data, TrainingCheckpoint):
            data.fingerprint = self.fingerprints.get(artefact("adapter", parts(ds_name)[1]))
        return data

    def save(self, ds_name: str, data: Any) -> None:
        dataset: Any = self[ds_name]
        if not is_versioned(dataset):
            super().save(ds_name, data)
            return
        folder, expected = save_folder(dataset), self.fingerprints.get(ds_name)
        with _writing_alone(ds_name, dataset):
            if self.is_saved(ds_name):
                logger.info("Another run has finished '%s' meanwhile: it is taken as it is", ds_name)
                return
            if expected is not None and filesystem_of(dataset).exists(folder):  # of a worker that died
                filesystem_of(dataset).rm(folder, recursive=True)
            if isinstance(dataset, AtomicDataset):
                dataset.fingerprint = expected
            self._save_new_version(ds_name, data, dataset, folder, expected)

    def _save_new_version(self, ds_name: str, data: Any, dataset: Any, folder: str, fingerprint: str | None) -> None:
        filesystem = filesystem_of(dataset)
        existed = filesystem.exists(folder)
        try:
            super().save(ds_name, data)
            if fingerprint is not None:
                files = {} if keeps_manifest(dataset) else checksums(filesystem, folder)
                record = {"fingerprint": fingerprint, "blake2b": files}
                filesystem.pipe_file(f"{folder}/{_SIDECAR}", json.dumps(record, indent=1).encode())
        except BaseException as error:
            if not existed and filesystem.exists(folder) and not self.is_saved(ds_name):
                filesystem.rm(folder, recursive=True)
            if cause := _first(error, lambda reason: isinstance(reason, InputError)):
                raise SourceError(cause.message) from error
            if cause := _first(error, _is_disk_full):
                raise SourceError(
                    f"No space left while writing '{ds_name}' to {address(dataset, folder)} ({cause}). Nothing of it "
                    "was kept. Free some space, or set 'data' in globals.yml to a place on another disk, then continue "
                    "with --only-missing-outputs."
                ) from cause
            raise

    def _verify(self, ds_name: str, dataset: Any) -> None:
        """Compare the checksums of the version that would be loaded, once.

        Raises
        ------
        SourceError
            Naming the files that are not what was written.
        """
        try:
            folder = load_folder(dataset)
        except VersionNotFoundError:
            return
        if folder in self.verified:
            return
        if damaged := damaged_files(filesystem_of(dataset), folder, _record(dataset, folder).get("blake2b", {})):
            folder = address(dataset, folder)
            files = ", ".join(f"{folder}/{name}" for name in damaged[:10])
            raise SourceError(
                f"'{ds_name}' is damaged: {files} {'are' if len(damaged) > 1 else 'is'} not what was written. Check "
                f"the disk, delete {folder}, and go on with --only-missing-outputs"
            )
        self.verified.add(folder)


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())


def _record(dataset: Any, folder: str) -> dict[str, Any]:
    """Fingerprint and checksums of a version; empty if it was never finished, or written before checksums were."""
    try:
        record = json.loads(filesystem_of(dataset).cat_file(f"{folder}/{_SIDECAR}"))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


@contextmanager
def _writing_alone(name: str, dataset: Any) -> Iterator[None]:
    """Keep other processes of this machine from writing an entry; a process that is gone holds nothing."""
    entry = entry_path(dataset)
    entry = os.path.realpath(entry) if is_local(dataset) else address(dataset, entry)
    lock = FileLock(machine_folder("locks") / f"{hashlib.blake2b(entry.encode(), digest_size=16).hexdigest()}.lock")
    try:
        lock.acquire(timeout=_SECONDS_IN_SILENCE)
    except Timeout:
        logger.warning("Another run is writing '%s': this one waits for it", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _is_disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _first(error: BaseException | None, is_wanted: Callable[[BaseException], bool]) -> Any:
    """The error, or the first of those that led to it, that is wanted."""
    while error is not None and not is_wanted(error):
        error = error.__cause__ or error.__context__
    return error
