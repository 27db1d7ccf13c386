"""Labelled images of one split of one data set."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.errors import InputError
from robustmedclip.images.findings import ABSENT, PRESENT, UNKNOWN, differing, members
from robustmedclip.images.pixels import Images, batches, chosen_rows

SPLITS = ("train", "val", "test", "pool")
#: Splits that may make up the training pool.
POOL_SPLITS = ("train", "val")
#: The column that tells whose images they are.
PATIENT = "patient"


def patients_of(names: Iterable[Any], images: Iterable[object]) -> np.ndarray:
    """Whose each image is, str ``(N,)``; an image of which it isn't known, empty, None or NaN, has one of its own."""
    texts = ["" if pd.isna(name) else str(name).strip() for name in names]
    return np.array([text or f"unknown, of {image}" for text, image in zip(texts, images, strict=True)], np.str_)


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one split of one data set.

    Built by :meth:`validated` where data enters, and trusted after.

    Attributes
    ----------
    name, split, modality : str
        Data set; ``train``, ``val``, ``test`` or ``pool`` (train and val together); imaging modality.
    class_names : tuple of str
        Class ``i`` is called ``class_names[i]``, or finding ``i``.
    images : ndarray or LazyImages
        uint8 ``(N, H, W, C)``, C in {1, 3}; may be a read-only memory map.
    labels : ndarray
        int64 ``(N,)`` in ``[0, len(class_names))``. Where an image may have several findings, ``(N, findings)``: 1 if
        it has the finding, 0 if not, -1 if that is not known.
    sample_ids : ndarray
        str ``(N,)``, unique and stable: it keys an image's randomness and its results.
    origin : mapping
        Where a source has its images from, as far as it is known: ``url``, ``size``, ``licence``, ``citation``.
    synthetic : bool
        Whether a program drew the images.
    release : str, optional
        The release of a published collection that the images are, byte for byte: ``bloodmnist_224``.
    columns : mapping
        What else is known of each image, by name: str ``(N,)`` each. :data:`PATIENT` says whose it is; others are
        those that subgroups are made of.
    """

    name: str
    split: str
    modality: str
    class_names: tuple[str, ...]
    images: Images
    labels: np.ndarray
    sample_ids: np.ndarray
    origin: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
    release: str | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: np.ndarray) -> "ImageSet":
        """The images at `indices`, int ``(n,)``, in that order; their pixels are read when they are used."""
        return replace(
            self,
            images=chosen_rows(self.images, indices),
            labels=self.labels[indices],
            sample_ids=self.sample_ids[indices],
            columns={name: values[indices] for name, values in self.columns.items()},
        )

    @property
    def patients(self) -> np.ndarray | None:
        """Whose each image is, str ``(N,)``, if that is known."""
        return self.columns.get(PATIENT)

    @classmethod
    def validated(cls, **fields: Any) -> "ImageSet":
        """Build a set, checking everything that later stages rely on.

        Raises
        ------
        InputError
            Naming the data set, the split and every violated rule.
        """
        image_set = cls(**fields)
        problems = list(image_set._problems())
        if problems:
            raise InputError(f"Data set '{image_set.name}', split '{image_set.split}': " + "; ".join(problems) + ".")
        return image_set

    def _problems(self) -> Iterator[str]:
        images, labels, ids = self.images, self.labels, self.sample_ids
        if self.split not in SPLITS:
            yield f"the split must be one of {', '.join(SPLITS)}"
        if len(set(self.class_names)) != len(self.class_names) or (len(self.class_names) < 2 and not self.has_findings):
            yield f"there must be at least two classes with different names, not {list(self.class_names)}"
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:3]:
            yield f"images must be uint8 (N, H, W, 1 or 3), not {images.dtype} {images.shape}"
        if labels.dtype != np.int64 or labels.shape[1:] not in ((), (len(self.class_names),)):
            expected = f"int64 (N,), or of findings (N, {len(self.class_names)})"
            yield f"labels must be {expected}, not {labels.dtype} {labels.shape}"
        elif outside := sorted(set(np.unique(labels).tolist()) - set(self._label_values())):
            yield f"labels {outside} lie outside the {len(self.class_names)} classes"
        elif self.absent_classes() and self.split != "test":
            yield f"no image of class {', '.join(map(repr, self.absent_classes()))}"
        elif self.has_findings and not differing(labels):
            yield "no finding that some images have and others don't"
        elif len(np.unique(labels)) < 2:
            yield "images of one class alone"
        if not len(images) == len(labels) == len(ids):
            yield f"{len(images)} images, {len(labels)} labels and {len(ids)} sample ids don't match"
        elif len(np.unique(ids)) != len(ids):
            yield "sample ids are not unique"
        if wrong := [name for name, values in self.columns.items() if values.shape != labels.shape[:1]]:
            yield f"{', '.join(wrong)} must be one text for each of {len(labels)} images"

    @property
    def has_findings(self) -> bool:
        """Whether an image may have several labels."""
        return self.labels.ndim == 2

    def members(self) -> dict[str, np.ndarray]:
        """Which images are of each class, or have each finding, or don't: bool ``(N,)`` each."""
        return members(self.labels, self.class_names)

    def class_counts(self) -> np.ndarray:
        """Number of images of each class, or with each finding, int64 ``(classes,)``."""
        of = self.members()
        return np.array([of[name].sum() for name in self.class_names], np.int64)

    def absent_classes(self) -> list[str]:
        """Classes of which there is no image, and findings that all or none have; only test splits may have some."""
        return [name for name, images in self.members().items() if not images.any()]

    def _label_values(self) -> Iterable[int]:
        return (ABSENT, PRESENT, UNKNOWN) if self.has_findings else range(len(self.class_names))

    def content_hash(self) -> str:
        """Hash of the images, their labels, class names and sample ids."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update("\0".join([*map(str, self.images.shape), *self.class_names, *self.sample_ids]).encode())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        for batch in batches(self.images, 64):
            digest.update(np.ascontiguousarray(batch).data)
        return digest.hexdigest()
