"""Collections of MedIMeta in their released layout."""

import math
import re
from io import StringIO
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import yaml

from robustmedclip.errors import first_ten
from robustmedclip.images.pixels import LazyImages, chosen_rows
from robustmedclip.images.sets import PATIENT, ImageSet, patients_of
from robustmedclip.io.npz import naming, read_npy
from robustmedclip.io.sources.entries import require_regular
from robustmedclip.io.sources.findings import checked_findings, chosen_findings
from robustmedclip.io.sources.image_files import image_files
from robustmedclip.io.sources.label_table import LARGEST_TABLE
from robustmedclip.io.sources.labels import SPLITS, checked_labels, renamed_classes
from robustmedclip.io.sources.pixels import PixelReader
from robustmedclip.io.sources.source import SourceDataset
from robustmedclip.io.versioned import SourceError

_SINGLE_LABEL = ("BINARY_CLASSIFICATION", "MULTICLASS_CLASSIFICATION", "ORDINAL_REGRESSION")
_SEVERAL_LABELS = ("MULTILABEL_CLASSIFICATION",)
_IMAGE_NAME = re.compile(r"images/(\d{6})\.tiff")
_FILE, _PATIENT = "filepath", "patient_id"
_LARGEST_INFO = 2**18
_LARGEST_SPLIT = 2**24
_LARGEST_LABELS = 2**27
_LARGEST_CHUNK = 2**26
# Deflate, shuffle, Fletcher-32 and LZF, which h5py brings along; others would be loaded as plug-ins.
_FILTERS = {1, 2, 3, 32000}


class MedIMetaDataset(SourceDataset):
    """One task of one collection of MedIMeta (arXiv:2404.16000); loads ``{split: ImageSet}``.

    The folder ``<filepath>/<id>`` holds ``info.yaml``, ``splits/<split>.txt``, ``task_labels/<task>.npy`` and the
    images as ``images.hdf5`` (read if it is there) or ``images/<index>.tiff``. Class names and the order of the label
    ids are those of ``info.yaml``. Where there is an ``annotations.csv``, its ``patient_id`` says whose an image is,
    and the plan's ``subgroup`` may name other columns of it.

    Parameters
    ----------
    filepath : str
        Folder with a folder per collection.
    id : str
        The collection, e.g. ``pbc``.
    task : str
        One of its tasks, e.g. ``cell class``: with one label per image, or of findings one with several.
    **source
        As in :class:`~robustmedclip.io.sources.source.SourceDataset`; ``class_names`` replaces the names of
        ``info.yaml``, or chooses some of the findings.
    """

    def __init__(self, *, filepath: str, id: str, task: str, **source: Any):
        super().__init__(filepath=f"{filepath}/{id}", **source)
        self._id, self._task = id, task

    def _splits(self) -> dict[str, ImageSet]:
        known = self._task_classes()
        labels_file = self._path / "task_labels" / f"{self._task}.npy"
        with self._open(labels_file) as file:
            labels = read_npy(file, str(labels_file), _LARGEST_LABELS)
        if self._findings:
            class_names, columns_of = chosen_findings(known, self._class_names, f"{self._path}, task {self._task!r}")
            labels = checked_findings(labels, len(known), str(labels_file))[:, columns_of]
        else:
            class_names = renamed_classes(known, self._class_names, f"{self._path / 'info.yaml'}, task {self._task!r}")
            labels = checked_labels(labels, len(class_names), str(labels_file))
        rows = {split: self._split_rows(split, len(labels)) for split in SPLITS}
        images = self._images(len(labels))
        parts = {
            split: (chosen_rows(images, of), labels[of], [f"{row:06d}" for row in of.tolist()])
            for split, of in rows.items()
            if len(of)
        }
        columns = self._columns(len(labels))
        of_splits = {
            split: {name: values[of] for name, values in columns.items()} for split, of in rows.items() if len(of)
        }
        return self._labelled_splits(class_names, parts, f"{labels_file} with splits/", of_splits)

    def _columns(self, count: int) -> dict[str, np.ndarray]:
        """Patients, where ``annotations.csv`` has them, and subgroups, str ``(count,)`` each."""
        path = self._path / "annotations.csv"
        if not self._fs.exists(str(path)):
            if self._subgroup:
                raise SourceError(f"there is no {path}, which 'subgroup' in benchmark.yml is read from")
            return {}
        table = pd.read_csv(StringIO(self._text(path, LARGEST_TABLE)), dtype=str, keep_default_na=False)
        if absent := [name for name in (_FILE, *self._subgroup) if name not in table.columns]:
            raise SourceError(f"{path} has no column {first_ten(absent)}; it has {first_ten(table.columns)}")
        names = [f"images/{row:06d}.tiff" for row in range(count)]
        rows = table.drop_duplicates(_FILE).set_index(_FILE).reindex(names)
        if len(missing := rows.index[rows.isna().all(axis=1)]) and len(rows.columns):
            raise SourceError(f"{path} does not list {first_ten(missing)}")
        columns = {name: rows[name].to_numpy(np.str_) for name in self._subgroup}
        if _PATIENT in rows:
            columns[PATIENT] = patients_of(rows[_PATIENT], rows.index)
        return columns

    def _task_classes(self) -> tuple[str, ...]:
        path = self._path / "info.yaml"
        try:
            info = yaml.safe_load(self._text(path, _LARGEST_INFO))
            if (described := _scalar(info["id"])) != self._id:
                raise SourceError(f"{path} describes {described!r}, not {self._id!r}")
            tasks = {task["task_name"]: task for task in info["tasks"]}
            if self._task not in tasks:
                raise SourceError(f"{path} has no task {self._task!r}; it has {first_ten(map(repr, tasks))}")
            target, labels = _scalar(tasks[self._task]["task_target"]), tasks[self._task]["labels"]
            if target not in (_SEVERAL_LABELS if self._findings else _SINGLE_LABEL):
                if target in _SEVERAL_LABELS:
                    raise SourceError(f"{path}: {self._task!r} has several labels per image: set 'task: findings'")
                raise SourceError(
                    f"{path}: {self._task!r} is {target}, which is no task with "
                    f"{'several labels' if self._findings else 'one label'} per image"
                )
            names = [_scalar(labels[label]) for label in range(len(labels))]
        except (yaml.YAMLError, LookupError, TypeError, AttributeError, RecursionError, ValueError) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(
                f"{path} is damaged or not the info.yaml of MedIMeta ({type(error).__name__}: {error})"
            ) from error
        if "/" in self._task or len(set(names)) != len(names):
            raise SourceError(f"{path}: task {self._task!r} is not usable: its classes are {first_ten(names)}")
        return tuple(names)

    def _split_rows(self, split: str, count: int) -> np.ndarray:
        """Rows of a split, ascending; an empty split has no file."""
        path = self._path / "splits" / f"{split}.txt"
        if not self._fs.exists(str(path)):
            return np.empty(0, np.int64)
        lines = self._text(path, _LARGEST_SPLIT).split()
        matches = [_IMAGE_NAME.fullmatch(line) for line in lines]
        if wrong := [repr(line[:80]) for line, match in zip(lines, matches, strict=True) if match is None]:
            raise SourceError(f"{path} has lines that are not of the form images/000123.tiff: {first_ten(wrong)}")
        rows = np.array(sorted(int(match[1]) for match in matches if match), dtype=np.int64)
        if len(np.unique(rows)) != len(rows):
            raise SourceError(f"{path} lists an image more than once")
        if len(rows) and rows[-1] >= count:
            raise SourceError(f"{path} lists images/{rows[-1]:06d}.tiff, and there are labels of {count} images")
        return rows

    def _images(self, count: int) -> LazyImages:
        if self._fs.exists(str(self._path / "images.hdf5")):
            return _hdf5_images(self._open(self._path / "images.hdf5"), str(self._path / "images.hdf5"), count)
        names = [f"{row:06d}.tiff" for row in range(count)]
        entries = self._entries("images")
        if missing := sorted(set(names) - set(entries.files)):
            reasons = {name: f" ({reason})" for name, reason in entries.refused.items()}
            paths = [f"{self._path / 'images' / name}{reasons.get(name, '')}" for name in missing]
            raise SourceError(f"there is neither {self._path / 'images.hdf5'} nor {first_ten(paths)}")
        return image_files(self._fs, [str(self._path / "images" / name) for name in names], PixelReader())

    def _open(self, path: PurePosixPath) -> Any:
        try:
            require_regular(self._fs, str(path), local=self._protocol == "file")
            return self._fs.open(str(path), "rb")
        except FileNotFoundError as error:
            raise SourceError(f"there is no {path}: unpack the archive so that it lies there") from error
        except OSError as error:
            raise SourceError(f"{path} can't be opened ({error})") from error

    def _text(self, path: PurePosixPath, largest: int) -> str:
        with self._open(path) as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            raise SourceError(f"{path} is larger than {largest} bytes")
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError as error:
            raise SourceError(f"{path} is not text ({error})") from error

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "id": self._id, "task": self._task}


def _scalar(value: Any) -> str:
    """A value of a YAML file as text; lists that name each other could be endless as text."""
    if isinstance(value, bool):
        raise SourceError(f"info.yaml has {value} in place of text, as YAML takes yes, no, on and off: quote it")
    if not isinstance(value, str | int | float):
        raise TypeError(f"a {type(value).__name__} in place of text")
    return str(value)


def _hdf5_images(file: Any, path: str, count: int) -> LazyImages:
    """The dataset ``images`` of an open HDF5 file, uint8 ``(count, H, W)`` or ``(count, H, W, 1 or 3)``."""
    import h5py

    with naming(path):
        content = h5py.File(file, "r")
        if not isinstance(content.get("images", getlink=True), h5py.HardLink):
            raise ValueError(f"it has no dataset 'images' of its own; it has {first_ten(content)}")
        dataset = content["images"]
        _check_hdf5(dataset, count)
        shape = (*dataset.shape[:3], dataset.shape[3] if dataset.ndim == 4 else 1)

    def read(rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *shape[1:]), np.uint8)
        with naming(path):
            for image, row in zip(images, rows.tolist(), strict=True):
                image[...] = dataset[row].reshape(shape[1:])
        return images

    return LazyImages(shape, read)


def _check_hdf5(dataset: Any, count: int) -> None:
    """Raise ``ValueError`` unless the dataset holds `count` images; nothing of them is read."""
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.dtype != np.uint8 or dataset.ndim not in (3, 4):
        raise ValueError("'images' is not uint8 (N, H, W) or (N, H, W, 3)")
    shape = dataset.shape
    if (dataset.ndim == 4 and shape[3] not in (1, 3)) or not all(1 <= side <= 4096 for side in shape[1:3]):
        raise ValueError(f"'images' is {shape}, not (N, H, W) or (N, H, W, 3) with sides up to 4096 px")
    if shape[0] != count:
        raise ValueError(f"it holds {shape[0]} images, and there are labels of {count}")
    if dataset.is_virtual or dataset.external:
        raise ValueError("'images' lies in other files")
    settings = dataset.id.get_create_plist()
    if not {settings.get_filter(i)[0] for i in range(settings.get_nfilters())} <= _FILTERS:
        raise ValueError("'images' is compressed in a way that is not supported: repack it with gzip")
    if dataset.chunks is None:
        complete = dataset.id.get_storage_size() == dataset.nbytes
    elif math.prod(dataset.chunks) > _LARGEST_CHUNK:
        raise ValueError(f"'images' has chunks of {dataset.chunks}: more than {_LARGEST_CHUNK} bytes")
    else:
        chunks = math.prod(-(-side // chunk) for side, chunk in zip(shape, dataset.chunks, strict=True))
        complete = dataset.id.get_num_chunks() == chunks
    if not complete:
        raise ValueError("'images' was not written to the end")
