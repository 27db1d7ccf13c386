"""Corrupted test sets on disk, in the layout of the released MediMeta-C."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robustmedclip.errors import InputError
from robustmedclip.io.npz import Stream, read_npz, write_npz
from robustmedclip.io.versioned import AtomicDataset
from robustmedclip.types import CLEAN, Condition, CorruptedSet, ImageSet, batches

_CHUNK = 64


class CorruptedSetDataset(AtomicDataset[CorruptedSet]):
    """A :class:`~robustmedclip.types.CorruptedSet` as one folder.

    The folder, named after the data set, holds ``<split>/clean.npz`` and
    ``<split>/<corruption>_severity_<1..5>.npz`` with the keys ``images`` (uint8 ``(N, H, W, 3)``, or
    ``(N, H, W)`` for grey images) and ``labels`` (int64 ``(N,)``), as the MediMeta-C of arXiv:2505.15425
    does, and ``manifest.json`` with what the layout cannot say. Images pass through in small chunks:
    memory does not grow with the data set.
    """

    def _write(self, path: Path, data: CorruptedSet) -> None:
        clean = data.clean
        folder = path / clean.split
        folder.mkdir(parents=True)
        grey = clean.images.shape[-1] == 1
        shape = clean.images.shape[:3] if grey else clean.images.shape
        required = int(np.prod(shape, dtype=np.int64)) * len(data.conditions)
        if (free := shutil.disk_usage(folder).free) < required:
            raise OSError(
                28, f"'{clean.name}' needs {required / 1e9:.2f} GB under {folder}, {free / 1e9:.2f} GB are free"
            )
        for condition in data.conditions:
            chunks = data.read(condition, _CHUNK)
            images = Stream(shape, np.dtype(np.uint8), (c[..., 0] if grey else c for c in chunks))
            write_npz(folder / f"{condition}.npz", images=images, labels=clean.labels)
        manifest = {
            "name": clean.name,
            "split": clean.split,
            "modality": clean.modality,
            "class_names": clean.class_names,
            "suite": data.suite,
            "conditions": [str(condition) for condition in data.conditions],
            "provenance": dict(data.provenance),
            "sample_ids": clean.sample_ids.tolist(),
        }
        (path / "manifest.json").write_text(json.dumps(manifest, indent=1))

    def _read(self, path: Path) -> CorruptedSet:
        manifest = json.loads((path / "manifest.json").read_text())
        folder = path / manifest["split"]
        members = read_npz(folder / f"{CLEAN}.npz")
        clean = ImageSet.validated(
            name=manifest["name"],
            split=manifest["split"],
            modality=manifest["modality"],
            class_names=tuple(manifest["class_names"]),
            images=_with_channels(members["images"]),
            labels=members["labels"],
            sample_ids=np.array(manifest["sample_ids"]),
        )

        def read(condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
            file = folder / f"{condition}.npz"
            members = read_npz(file)
            images = _with_channels(members["images"])
            if images.shape != clean.images.shape or not np.array_equal(members["labels"], clean.labels):
                raise InputError(f"{file} does not hold the images and labels of {CLEAN}.npz")
            yield from batches(images, batch_size)

        return CorruptedSet(
            clean=clean,
            suite=manifest["suite"],
            conditions=tuple(map(Condition.parse, manifest["conditions"])),
            provenance=manifest["provenance"],
            read=read,
        )


def _with_channels(images: np.ndarray) -> np.ndarray:
    return images[..., None] if images.ndim == 3 else images
