"""Checkpoints of trainings that are under way."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

import fsspec
import numpy as np
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from kedro.io import AbstractDataset, DatasetError
from kedro.io.core import get_protocol_and_path
from safetensors import SafetensorError
from safetensors.numpy import load, save

from robustmedclip.adaptation.checkpoint import Checkpoint, TrainingState
from robustmedclip.io.disk import staged
from robustmedclip.io.versioned import forget_listings

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_CHECKPOINTS = 10


class TrainingCheckpoint(Checkpoint):
    """Keeps the state of a training in one file beside the place of its adapter.

    The file is replaced as a whole, after an epoch and at most every ten seconds. Its name has the key of the
    training and the fingerprint: a state of other inputs, settings or code is never gone on from.

    Attributes
    ----------
    fingerprint : str, optional
        That of the adapter, which tells by what code it is made.
    listeners : list of callable
        Each is called with the row of every finished epoch.
    """

    def __init__(self, filesystem: AbstractFileSystem, adapter: PurePosixPath):
        self._fs, self._adapter = filesystem, adapter
        self._path, self._written = "", time.monotonic()
        self.fingerprint: str | None = None
        self.listeners: list[Callable[[Mapping[str, float]], None]] = []

    def open(self, key: str) -> None:
        key = f"{key}-{self.fingerprint}" if self.fingerprint else key
        self._path = str(self._adapter.with_name(f".{self._adapter.name}.partial-{key}.safetensors"))

    def last(self) -> TrainingState | None:
        if not self._fs.exists(self._path):
            return None
        content = self._fs.cat_file(self._path)
        try:
            arrays = load(content)
            size = int.from_bytes(content[:8], "little")
            record = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["record"])
            if record["blake2b"] != _checksum(record["history"], arrays):
                raise ValueError("it is not what was written")
        except (SafetensorError, ValueError, KeyError) as error:
            logger.warning("The checkpoint %s can't be read (%s); the training starts anew", self._path, error)
            return None
        return TrainingState(record["history"], record["kept"], arrays)

    def record(self, row: Mapping[str, float], state: Callable[[], TrainingState] | None = None) -> None:
        for listener in self.listeners:
            listener(row)
        if state is not None and time.monotonic() - self._written >= _SECONDS_BETWEEN_CHECKPOINTS:
            self._write(state())
            self._written = time.monotonic()

    def _write(self, state: TrainingState) -> None:
        history = list(map(dict, state.history))
        checksum = _checksum(history, state.arrays)
        record = json.dumps({"history": history, "kept": state.kept, "blake2b": checksum})
        content = save(dict(state.arrays), metadata={"record": record})
        try:
            if isinstance(self._fs, LocalFileSystem):
                with staged(Path(self._path)) as partial:
                    partial.write_bytes(content)
            else:
                self._fs.pipe_file(self._path, content)
        except Exception as error:  # of whatever library a filesystem uses
            logger.warning("No checkpoint can be written to %s (%s); the training goes on without", self._path, error)


def _checksum(history: Sequence[Mapping[str, float]], arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(json.dumps(history).encode(), digest_size=16)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}|{array.dtype}|{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class TrainingCheckpointDataset(AbstractDataset[NoReturn, TrainingCheckpoint]):
    """The checkpoint of the training that makes the adapter at `filepath`; an input of the training.

    Parameters
    ----------
    filepath : str
        Of the adapter's entry.
    credentials, fs_args : dict, optional
        Passed to the filesystem.
    metadata : dict, optional
        For plugins such as Kedro-Viz.
    """

    def __init__(
        self,
        *,
        filepath: str,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        protocol, path = get_protocol_and_path(filepath)
        options = {"auto_mkdir": True} if protocol == "file" else {}
        self._fs = fsspec.filesystem(protocol, **options, **(credentials or {}), **(fs_args or {}))
        forget_listings(self._fs)
        self._filepath, self.metadata = PurePosixPath(path), metadata

    def load(self) -> TrainingCheckpoint:
        return TrainingCheckpoint(self._fs, self._filepath)

    def save(self, data: NoReturn) -> None:
        raise DatasetError("A checkpoint is written by its training")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
