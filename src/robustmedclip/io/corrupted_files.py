"""The files of a corrupted set, laid out as its suite says.

In the layout of medimeta-c a folder holds ``<split>/clean.npz`` and ``<split>/<corruption>_severity_<1..5>.npz``
with the keys ``images`` (uint8 ``(N, H, W, 3)``, or ``(N, H, W)`` for grey images) and ``labels`` (int ``(N,)``), as
the MediMeta-C of arXiv:2505.15425 does. In that of medmnist-c it holds ``<corruption>.npz`` with the keys
``test_images`` and ``test_labels`` (int ``(5 N, 1)``), the severities one after the other, as the MedMNIST-C of
arXiv:2406.17536 does; and ``clean.npz`` with the same keys, which the released one lacks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import fsspec
import numpy as np
from kedro.io.core import get_protocol_and_path

from robustmedclip.corruptions import FileLayout
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import Condition
from robustmedclip.images.corrupted import CorruptedImages
from robustmedclip.images.pixels import Images, LazyImages, batches
from robustmedclip.io.npz import NpzArchive
from robustmedclip.io.remote import RemoteEntry


@dataclass(frozen=True)
class CorruptedFiles(CorruptedImages):
    """The corrupted images of a data set in files: a stream.

    Attributes
    ----------
    folder : Path
        The folder of the data set, or of its copy.
    layout : FileLayout
        How it is laid out.
    split : str
        Split of the images.
    conditions : sequence of Condition
        Those that the files hold, in their order.
    fetched : callable
        Path of a file in the folder to the same path, once the file is there.
    findings : int, optional
        How many labels an image has, where these are findings.
    """

    folder: Path
    layout: FileLayout
    split: str
    conditions: Sequence[Condition]
    fetched: Callable[[Path], Path] = Path
    findings: int | None = None

    def at(self, address: str, root: str = "") -> "CorruptedFiles":
        """The same files in another place: a folder, or a URL that fsspec knows, whose files are fetched when used.

        The path of a folder counts from `root`.
        """
        protocol, path = get_protocol_and_path(address)
        if protocol == "file":
            return replace(self, folder=Path(root, path), fetched=Path)
        stored = RemoteEntry.listed(fsspec.filesystem(protocol), path)
        return replace(self, folder=stored.path, fetched=stored.fetched)

    def batches(self, condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        """The images under a condition, uint8 ``(<=batch_size, H, W, C)`` each; raises as :meth:`labels`."""
        return batches(self.images(condition), batch_size)

    def file(self, condition: Condition) -> Path:
        """The file that holds a condition."""
        return self.fetched(self.folder / self.layout.file(self.split, condition))

    def labels(self, condition: Condition) -> np.ndarray:
        """Labels of a condition, int64 ``(N,)``, or ``(N, findings)``.

        Raises
        ------
        InputError
            Naming the file, if it is damaged or in another layout.
        """
        with self._archive(condition) as archive:
            rows, shape = self._rows(archive, condition)
            labels = archive.read(self.layout.labels, largest=8 * shape[0] * (self.findings or 1))
        columns = () if self.findings is None else (self.findings,)
        return labels.reshape(-1, *columns)[rows].astype(np.int64)

    def shape(self, condition: Condition) -> tuple[int, int, int, int]:
        """Shape of the images of a condition, ``(N, H, W, C)``; raises as :meth:`labels`."""
        with self._archive(condition) as archive:
            rows, shape = self._rows(archive, condition)
        return (rows.stop - rows.start, *shape[1:]) if len(shape) == 4 else (rows.stop - rows.start, *shape[1:], 1)

    def images(self, condition: Condition) -> Images:
        """Images of a condition, uint8 ``(N, H, W, C)``, left in the file until they are used, compressed or not.

        Raises as :meth:`labels`, here or when they are used.
        """
        path = self.file(condition)
        archive = NpzArchive(open(path, "rb"), str(path))
        rows, _ = self._rows(archive, condition)
        if archive.is_stored(key := self.layout.images):
            images = archive.map(key)[rows]
            return images[..., None] if images.ndim == 3 else images
        shape, read = self.shape(condition), archive.rows(key)
        return LazyImages(shape, lambda places: read(places + rows.start).reshape(len(places), *shape[1:]))

    @contextmanager
    def _archive(self, condition: Condition) -> Iterator[NpzArchive]:
        path = self.file(condition)
        with open(path, "rb") as file:
            yield NpzArchive(file, str(path))

    def _rows(self, archive: NpzArchive, condition: Condition) -> tuple[slice, tuple[int, ...]]:
        """Which rows of its file a condition takes, and the shape of all images in it."""
        path, images, labels = self.file(condition), self.layout.images, self.layout.labels
        if missing := {images, labels} - set(archive.names):
            raise InputError(f"{path} has no {' and no '.join(sorted(missing))}; it has {', '.join(archive.names)}")
        shape, dtype = archive.header(images).shape, archive.header(images).dtype
        label_shape, label_dtype = archive.header(labels).shape, archive.header(labels).dtype
        if dtype != np.uint8 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[-1] not in (1, 3)):
            raise InputError(f"{path}: {images} must be uint8 (N, H, W) or (N, H, W, 3), not {dtype} {shape}")
        if label_dtype.kind not in "iu" or prod(label_shape) != shape[0] * (self.findings or 1):
            raise InputError(f"{path}: {shape[0]} images and {label_dtype} labels {label_shape} don't match")
        held = self.layout.in_file_of(condition, self.conditions)
        if shape[0] % len(held):
            raise InputError(f"{path}: {shape[0]} images can't be those of {len(held)} severities")
        count, position = shape[0] // len(held), held.index(condition)
        return slice(position * count, (position + 1) * count), shape
