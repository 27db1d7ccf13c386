"""Corrupted test sets on disk, in the layouts of the released MediMeta-C and MedMNIST-C."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robustmedclip.corruptions import REFERENCE_SIDE, CorruptedOnTheFly, suite
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedImages, CorruptedSet
from robustmedclip.images.pixels import batches
from robustmedclip.images.sets import ImageSet
from robustmedclip.io.corrupted_files import CorruptedFiles
from robustmedclip.io.disk import machine_folder, remove, require_space
from robustmedclip.io.npz import Stream, read_npz, write_npz
from robustmedclip.io.remote import RemoteEntry
from robustmedclip.io.versioned import AtomicDataset, entry_path, filesystem_of, is_local, load_path, save_path
from robustmedclip.progress import track

_CHUNK = 64


class CorruptedSetDataset(AtomicDataset[CorruptedSet]):
    """A :class:`~robustmedclip.images.corrupted.CorruptedSet` as one folder, named after the data set.

    The folder is laid out as the suite says (:mod:`robustmedclip.io.corrupted_files`); ``manifest.json`` says what
    layouts cannot. A set that is corrupted on the fly has the clean file alone.

    Images pass through in small chunks: memory does not grow with the data set. Files are made one by one beside the
    folder, or on a disk of this machine where it is elsewhere; if the process is killed, the next one goes on with the
    file that was not finished. From elsewhere, files are fetched when their conditions are read.

    Parameters
    ----------
    root : str, optional
        The project's folder: where released files lie in it is stored from there, so that the project can be moved.
    **entry
        As of :class:`~robustmedclip.io.versioned.AtomicDataset`.
    """

    def __init__(self, *, root: str | None = None, **entry: Any):
        super().__init__(**entry)
        self._root = root or ""

    def save(self, data: CorruptedSet) -> None:
        """Write `data`; the entry appears whole or not at all."""
        data = replace(data, provenance=_from_root(data.provenance, self._root))
        target, name = save_path(self), f".{Path(entry_path(self)).name}.partial-"
        folder = Path(entry_path(self)).parent if is_local(self) else machine_folder("copies")
        partial = folder / f"{name}{self.fingerprint or _key(data)}"
        for other in folder.glob(f"{name}*") if is_local(self) else ():
            if other != partial:
                remove(other)
        try:
            self._write(partial, data)
            if is_local(self):
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                os.replace(partial, target)
            else:
                RemoteEntry.put(filesystem_of(self), target, partial)
        except Exception:
            remove(partial)
            raise

    def load(self) -> CorruptedSet:
        """Read the entry; of one that is elsewhere, the files of corrupted images are fetched when they are used."""
        if is_local(self):
            return super().load()
        stored = RemoteEntry.stored(filesystem_of(self), load_path(self))
        return _read(stored.path, stored.fetched, self._root)

    def partial_bytes(self) -> int:
        """Size of the files that an interrupted run has left to go on with."""
        folder = Path(entry_path(self))
        files = folder.parent.glob(f".{folder.name}.partial-*/**/*.npz")
        return sum(file.stat().st_size for file in files)

    def _write(self, path: Path, data: CorruptedSet) -> None:
        path.mkdir(parents=True, exist_ok=True)
        missing = [(name, rows) for name, rows in _files(data) if not (path / name).exists()]
        shape = _stored_shape(data.clean)
        required = int(np.prod(shape, dtype=np.int64)) * sum(len(conditions) for _, conditions in missing)
        require_space(path, required, f"'{data.clean.name}'")
        for name, conditions in track(missing, f"corrupting {data.clean.name}"):
            (path / name).parent.mkdir(exist_ok=True)
            unfinished = path / f"{name}.unfinished"
            write_npz(unfinished, **_members(data, conditions))
            os.replace(unfinished, path / name)
        (path / "manifest.json").write_text(json.dumps(_manifest(data), indent=1))

    def _read(self, path: Path) -> CorruptedSet:
        return _read(path, Path, self._root)


def _from_root(provenance: Mapping[str, Any], root: str) -> dict[str, Any]:
    """The provenance, with the place of released files in the project counted from its root."""
    released = (
        {"released": provenance["released"].removeprefix(f"{root}/")} if root and "released" in provenance else {}
    )
    return {**provenance, **released}


def _read(folder: Path, fetched: Callable[[Path], Path], root: str) -> CorruptedSet:
    """The set in a folder, whose files are there once they are `fetched`."""
    manifest = json.loads(fetched(folder / "manifest.json").read_text())
    conditions = tuple(map(Condition.parse, manifest["conditions"]))
    findings = len(manifest["class_names"]) if manifest.get("findings") else None
    files = CorruptedFiles(folder, suite(manifest["suite"]).layout, manifest["split"], conditions, fetched, findings)
    images = read_npz(files.file(CLEAN), mapped=(files.layout.images,))[files.layout.images]
    clean = ImageSet.validated(
        name=manifest["name"],
        split=manifest["split"],
        modality=manifest["modality"],
        class_names=tuple(manifest["class_names"]),
        images=images[..., None] if images.ndim == 3 else images,
        labels=files.labels(CLEAN),
        sample_ids=np.array(manifest["sample_ids"]),
    )
    return CorruptedSet(
        clean=clean,
        suite=manifest["suite"],
        conditions=conditions,
        storage=manifest["storage"],
        provenance=manifest["provenance"],
        corrupted=_corrupted_images(manifest["storage"], manifest["provenance"], clean, files, root),
    )


@dataclass(frozen=True)
class _StoredImages(CorruptedImages):
    """The corrupted images of a set in its own files: a stream."""

    clean: ImageSet
    files: CorruptedFiles

    def batches(self, condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        shape, labels = self.files.shape(condition), self.files.labels(condition)
        if shape != self.clean.images.shape or not np.array_equal(labels, self.clean.labels):
            raise InputError(f"{self.files.folder}: {condition} does not hold the images and labels of {CLEAN}")
        return self.files.batches(condition, batch_size)


def _corrupted_images(
    storage: str, provenance: Mapping[str, Any], clean: ImageSet, files: CorruptedFiles, root: str
) -> CorruptedImages:
    if storage == "materialised":
        return _StoredImages(clean, files)
    if "released" in provenance:
        return files.at(provenance["released"], root)
    return CorruptedOnTheFly(clean, **provenance)


def _manifest(data: CorruptedSet) -> dict[str, Any]:
    clean = data.clean
    return {
        "name": clean.name,
        "split": clean.split,
        "modality": clean.modality,
        "class_names": clean.class_names,
        **({"findings": True} if clean.has_findings else {}),
        "suite": data.suite,
        "conditions": [str(condition) for condition in data.conditions],
        "storage": data.storage,
        "provenance": dict(data.provenance),
        "side": min(clean.images.shape[1:3]),
        "side_of_the_severities": REFERENCE_SIDE,
        "sample_ids": clean.sample_ids.tolist(),
    }


def _key(data: CorruptedSet) -> str:
    """Hash of everything that the files of a set depend on."""
    digest = hashlib.blake2b(json.dumps(_manifest(data)).encode(), digest_size=16)
    for batch in batches(data.clean.images, _CHUNK):
        digest.update(batch.tobytes())
    digest.update(data.clean.labels.tobytes())
    return digest.hexdigest()


def _stored_shape(clean: ImageSet) -> tuple[int, ...]:
    return clean.images.shape[:3] if clean.images.shape[-1] == 1 else clean.images.shape


def _files(data: CorruptedSet) -> Iterator[tuple[str, list[Condition]]]:
    """Each file of a set, and the conditions that it holds one after the other."""
    layout, conditions = suite(data.suite).layout, [CLEAN] if data.storage == "on_the_fly" else data.conditions
    files: dict[str, list[Condition]] = {}
    for condition in conditions:
        files.setdefault(layout.file(data.clean.split, condition), []).append(condition)
    yield from files.items()


def _members(data: CorruptedSet, conditions: list[Condition]) -> dict[str, Any]:
    shape, layout = _stored_shape(data.clean), suite(data.suite).layout
    chunks = (
        chunk[..., 0] if len(shape) == 3 else chunk
        for condition in conditions
        for chunk in data.read(condition, _CHUNK)
    )
    images = Stream((len(conditions) * shape[0], *shape[1:]), np.dtype(np.uint8), chunks)
    labels = np.concatenate([data.clean.labels] * len(conditions))
    as_column = layout.label_column and labels.ndim == 1
    return {layout.images: images, layout.labels: labels[:, None] if as_column else labels}
