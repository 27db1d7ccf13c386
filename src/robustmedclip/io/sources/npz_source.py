"""Collections of images as one ``.npz`` file: a user's own, and MedMNIST."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from robustmedclip.errors import first_ten
from robustmedclip.images.pixels import LazyImages
from robustmedclip.images.sets import PATIENT, ImageSet, patients_of
from robustmedclip.io.npz import NpzArchive
from robustmedclip.io.sources.download import download
from robustmedclip.io.sources.entries import require_regular
from robustmedclip.io.sources.findings import checked_findings, chosen_findings
from robustmedclip.io.sources.labels import SPLITS, checked_labels, renamed_classes
from robustmedclip.io.sources.source import SourceDataset
from robustmedclip.io.versioned import SourceError
from robustmedclip.progress import volume

logger = logging.getLogger(__name__)

_LARGEST_LABELS = 2**27
_LARGEST_SIDE = 4096
_SIZES = (28, 64, 128, 224)


class NpzDataset(SourceDataset):
    """Images in one ``.npz``; loads ``{split: ImageSet}``.

    The keys are ``<split>_images`` (uint8 ``(N, H, W)`` or ``(N, H, W, 3)``) and ``<split>_labels`` (whole numbers
    ``(N,)`` or ``(N, 1)``, counted from 0 in the order of the plan's ``classes``; of findings ``(N, findings)`` in that
    order, 1, 0, or -1 for not known), for the splits ``train``, ``test`` and, if there is one, ``val``: as
    ``numpy.savez`` or ``numpy.savez_compressed`` write them. ``<split>_ids`` (text ``(N,)``), where there is one, names
    the images, for instance by their files: an image's noise depends on its name.
    ``<split>_groups`` (text or whole numbers ``(N,)``), in all splits or in none, says whose an image is, and
    ``<split>_<name>`` what subgroup it belongs to, for the names in the plan's ``subgroup``. Other keys are not read.

    Parameters
    ----------
    **source
        As in :class:`~robustmedclip.io.sources.source.SourceDataset`; ``class_names`` is needed.
    """

    def _splits(self) -> dict[str, ImageSet]:
        if not self._class_names:
            raise SourceError(f"data_sets.{self._name} needs 'classes' in benchmark.yml")
        return self._archive_splits(self._class_names)

    def _archive_splits(self, class_names: Sequence[str]) -> dict[str, ImageSet]:
        path = str(self._path)
        require_regular(self._fs, path, local=self._protocol == "file")
        archive = NpzArchive(self._fs.open(path, "rb"), path)
        keys = {split: (f"{split}_images", f"{split}_labels") for split in SPLITS}
        present = {split: pair for split, pair in keys.items() if split != "val" or set(pair) & set(archive.names)}
        if missing := [key for pair in present.values() for key in pair if key not in archive.names]:
            raise SourceError(f"{path} has no array {first_ten(missing)}; it has {first_ten(archive.names) or 'none'}")
        parts, columns = {}, {}
        for split, (images_key, labels_key) in present.items():
            images = _images(archive, images_key, path)
            labels = self._chosen(archive.read(labels_key, _LARGEST_LABELS))
            check = checked_findings if self._findings else checked_labels
            labels = check(labels, len(class_names), f"{path}, array '{labels_key}'")
            if len(labels) != len(images):
                raise SourceError(f"{path} has {len(images)} {images_key} and {len(labels)} {labels_key}")
            ids = _sample_ids(archive, split, len(labels), path)
            parts[split] = (images, labels, ids)
            columns[split] = {
                name: _texts(archive, key, len(labels), path)
                for name, key in self._column_keys(archive, split, path).items()
            }
            if PATIENT in columns[split]:
                columns[split][PATIENT] = patients_of(columns[split][PATIENT], ids)
        return self._labelled_splits(class_names, parts, path, columns)

    def _chosen(self, labels: np.ndarray) -> np.ndarray:
        """Of the labels in a file, those that are read."""
        return labels

    def _column_keys(self, archive: NpzArchive, split: str, path: str) -> dict[str, str]:
        """The arrays that say more of each image of a split: all have groups or none, the test split has subgroups."""
        keys = {name: f"{split}_{name}" for name in self._subgroup}
        if any(name.endswith("_groups") for name in archive.names):
            keys[PATIENT] = f"{split}_groups"
        needed = keys.values() if split == "test" else [key for name, key in keys.items() if name == PATIENT]
        if missing := [key for key in needed if key not in archive.names]:
            raise SourceError(f"{path} has no array {first_ten(missing)}; it has {first_ten(archive.names)}")
        return {name: key for name, key in keys.items() if key in archive.names}


def _texts(archive: NpzArchive, key: str, count: int, path: str) -> np.ndarray:
    header = archive.header(key)
    if header.dtype.kind not in "Uiu" or header.shape not in ((count,), (count, 1)):
        raise SourceError(f"{path}: {key} must be text or whole numbers ({count},), not {header.dtype} {header.shape}")
    texts: np.ndarray = archive.read(key, _LARGEST_LABELS).reshape(-1).astype(np.str_)
    return texts


def _sample_ids(archive: NpzArchive, split: str, count: int, path: str) -> list[str]:
    key = f"{split}_ids"
    if key not in archive.names:
        return [f"{split}/{index:06d}" for index in range(count)]
    header = archive.header(key)
    if header.dtype.kind != "U" or header.shape != (count,):
        raise SourceError(f"{path}: {key} must be text ({count},), not {header.dtype} {header.shape}")
    ids: list[str] = archive.read(key, _LARGEST_LABELS).tolist()
    if len(set(ids)) != count:
        raise SourceError(f"{path}: {key} names {count - len(set(ids))} images twice")
    return ids


class MedMNISTDataset(NpzDataset):
    """A 2D collection of MedMNIST; loads ``{split: ImageSet}``. That of ``chestmnist`` are findings.

    Class names, their order, addresses and checksums are those of the medmnist package
    (doi:10.1038/s41597-022-01721-8).

    Parameters
    ----------
    flag : str
        Name of the collection in MedMNIST, e.g. ``bloodmnist``.
    size : int
        Side of the images in pixels: 28, 64, 128 or 224.
    filepath : str
        Folder with ``<flag>.npz`` (28 px) or ``<flag>_<size>.npz``.
    download : bool
        Download the file if the folder does not have it with the right checksum, as
        :func:`~robustmedclip.io.sources.download.download` does.
    **source
        As in :class:`~robustmedclip.io.sources.source.SourceDataset`; ``class_names`` replaces MedMNIST's names, or
        chooses some of the findings.
    """

    def __init__(
        self,
        *,
        flag: str,
        filepath: str,
        size: int = 28,
        download: bool = False,
        **source: Any,
    ):
        self._flag, self._size, self._download = flag, size, download
        self._suffix = "" if size == 28 else f"_{size}"
        super().__init__(filepath=f"{filepath}/{flag}{self._suffix}.npz", **source)

    def origin(self) -> dict[str, str]:
        """Address and licence as MedMNIST states them, unless the plan says otherwise."""
        info = self._info()
        images = sum(info["n_samples"].values())
        known = {
            "size": f"{images} images, {volume(images * self._size**2 * info['n_channels'])} unpacked",
            "licence": info["license"],
            "citation": "Yang et al., MedMNIST v2, Sci Data 10, 41 (2023), doi:10.1038/s41597-022-01721-8",
        }
        if url := info.get(f"url{self._suffix}"):
            known["url"] = url
        return known | self._origin

    def missing(self) -> str | None:
        """Where to get the file, if it is not there."""
        absent = None if self._settings_problem() else super().missing()
        hint = "or let the run download it" if self._download else "or set 'download: true' in its source"
        return absent and f"{absent}, {hint}"

    def load(self) -> dict[str, ImageSet]:
        """The splits, without their pixels; downloads the file if that is wanted and needed.

        They carry the ``release`` (``bloodmnist_224``) if the file has its published checksum. Another file under its
        name is used with a warning, which says how many images it has too many or lacks, and its origin says so.
        """
        if self._download and not self.problems():
            self._fetch()
        splits, md5 = super().load(), self._md5()
        if md5 == self._official_md5():
            return {split: replace(part, release=f"{self._flag}_{self._size}") for split, part in splits.items()}
        official = self._info()["n_samples"]
        counts = [
            f"it has {len(part)} {split} images, {self._flag} has {official[split]}"
            for split, part in splits.items()
            if len(part) != official[split]
        ]
        logger.warning(
            "%s is not the released file byte for byte (its MD5 is %s, not %s)%s: it is used as it is, and no "
            "published figures are shown for it",
            self._path,
            md5,
            self._official_md5(),
            "".join(f"; {count}" for count in counts),
        )
        size = f"another file than released, MD5 {md5}: {sum(map(len, splits.values()))} images"
        return {split: replace(part, origin={**part.origin, "size": size}) for split, part in splits.items()}

    def verified(self) -> dict[str, ImageSet]:
        """The splits, if the file has the checksum of the release."""
        splits, official = super().verified(), self._official_md5()
        if (md5 := self._md5()) != official:
            raise SourceError(f"{self._path} is not the released file: its MD5 is {md5}, not {official}")
        return splits

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail; a file that is yet to be downloaded or verified is not looked at."""
        if problem := self._settings_problem():
            return [problem]
        if not self._download:
            return super().problems()
        if self._protocol != "file":
            return [f"MedMNIST can't be downloaded to {self._path}: choose a local folder, or 'download: false'"]
        return []

    def _settings_problem(self) -> str | None:
        try:
            self._checked_class_names()
        except SourceError as error:
            return error.message
        return None

    def test_shape(self) -> tuple[int, int, int, int]:
        """Shape of the test images, ``(N, H, W, C)``."""
        info = self._info()
        return info["n_samples"]["test"], self._size, self._size, info["n_channels"]

    def signature(self) -> Any:
        """What the images depend on beside a file that is there: settings, and the official checksum of a download."""
        if self._download and not self._settings_problem():
            return [self._describe(), self._official_md5()]
        return super().signature()

    def paths(self) -> list[str]:
        """The file, unless it is one to be downloaded."""
        return [] if self._download else super().paths()

    def _splits(self) -> dict[str, ImageSet]:
        splits, info = self._archive_splits(self._checked_class_names()), self._info()
        expected = (self._size, self._size, info["n_channels"])
        for split, image_set in splits.items():
            if (shape := image_set.images.shape[1:]) != expected:
                raise SourceError(f"{self._path}: the {split} images are {shape}, those of {self._flag} are {expected}")
        return splits

    def _checked_class_names(self) -> tuple[str, ...]:
        info = self._info()
        if ("multi-label" in info["task"]) != self._findings:
            has, needed = ("only", "leave 'task' out") if self._findings else ("more than", "set 'task: findings'")
            raise SourceError(f"{self._flag} has {has} one label per image: {needed}")
        if self._flag.endswith("3d"):
            raise SourceError(f"{self._flag} has volumes: only sets of 2D images are supported")
        if type(self._size) is not int or self._size not in _SIZES:
            raise SourceError(f"the images of {self._flag} have 28, 64, 128 or 224 px: 'size' can't be {self._size!r}")
        if self._findings:
            return chosen_findings(self._names(), self._class_names, self._flag)[0]
        return renamed_classes(self._names(), self._class_names, self._flag)

    def _names(self) -> list[str]:
        named = self._info()["label"]
        return [named[key] for key in sorted(named, key=int)]

    def _chosen(self, labels: np.ndarray) -> np.ndarray:
        if not self._findings:
            return labels
        names = self._names()
        return checked_findings(labels, len(names), str(self._path))[
            :, chosen_findings(names, self._class_names, "")[1]
        ]

    def _info(self) -> dict[str, Any]:
        from medmnist import INFO

        if self._flag not in INFO:
            raise SourceError(f"MedMNIST has no collection {self._flag!r}; it has {', '.join(INFO)}")
        info: dict[str, Any] = INFO[self._flag]
        return info

    def _official_md5(self) -> str:
        return str(self._info()[f"MD5{self._suffix}"])

    def _md5(self) -> str:
        with self._fs.open(str(self._path), "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()

    def _fetch(self) -> None:
        url, md5 = self._info()[f"url{self._suffix}"], self._official_md5()
        try:
            download(url, Path(self._path), md5)
        except (OSError, HTTPException) as error:
            raise SourceError(
                f"Data set '{self._name}': {url} can't be downloaded ({error}). Try again, or download it yourself to "
                f"{self._path} (MD5 {md5})."
            ) from error

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "flag": self._flag, "size": self._size, "download": self._download}


def _images(archive: NpzArchive, key: str, path: str) -> LazyImages:
    header = archive.header(key)
    shape = header.shape
    channels = shape[3] if len(shape) == 4 else 1 if len(shape) == 3 else None
    if header.dtype != np.uint8 or channels not in (1, 3) or not all(1 <= side <= _LARGEST_SIDE for side in shape[1:3]):
        raise SourceError(
            f"{path}: '{key}' must be uint8 (N, H, W) or (N, H, W, 3) with sides up to {_LARGEST_SIDE} px, "
            f"not {header.dtype} {shape}"
        )
    rows = archive.rows(key)
    return LazyImages((*shape[:3], channels), lambda wanted: rows(wanted).reshape(len(wanted), *shape[1:3], channels))
