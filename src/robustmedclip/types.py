"""The values that flow between the stages: images, conditions, adapters, heads, features and logits."""

import hashlib
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from robustmedclip.errors import InputError

SPLITS = ("train", "val", "test", "pool")


class Condition(NamedTuple):
    """How a test set was degraded: ``clean``, or a corruption at a severity of 1 to 5."""

    corruption: str = "clean"
    severity: int = 0

    def __str__(self) -> str:
        return self.corruption if self == CLEAN else f"{self.corruption}_severity_{self.severity}"

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Inverse of ``str``.

        Raises
        ------
        ValueError
            If `text` is neither ``clean`` nor ``<corruption>_severity_<1..5>``.
        """
        corruption, separator, severity = text.rpartition("_severity_")
        if text == "clean":
            return CLEAN
        if not separator or severity not in ("1", "2", "3", "4", "5"):
            raise ValueError(f"{text!r} is not a condition: expected 'clean' or '<corruption>_severity_<1..5>'")
        return cls(corruption, int(severity))


CLEAN = Condition()


@dataclass(frozen=True)
class LazyImages:
    """Images that are read when they are indexed, in place of an array.

    Attributes
    ----------
    shape : tuple of int
        ``(N, H, W, C)``.
    read : callable
        ``read(rows)``, int64 ``(n,)`` in ``[0, N)``, returns uint8 ``(n, H, W, C)``.
    """

    shape: tuple[int, ...]
    read: Callable[[np.ndarray], np.ndarray]
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """The images at an index, a slice, or an array of indices or booleans along the first axis."""
        rows = np.arange(len(self))[key]
        return self.read(rows) if rows.ndim else self.read(rows[None])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


Images = np.ndarray | LazyImages


def chosen_rows(images: Images, rows: np.ndarray) -> LazyImages:
    """The images at `rows`, in that order, left where they are until they are read."""
    return LazyImages((len(rows), *images.shape[1:]), lambda positions: images[rows[positions]])


def concatenated(parts: Sequence[Images]) -> LazyImages:
    """Images of several sets, one after the other, left where they are until they are read.

    Raises
    ------
    InputError
        If their sizes or channels differ.
    """
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        raise InputError(f"the images differ in size or channels: {', '.join(map(str, shapes))}")
    starts = np.cumsum([0, *map(len, parts)])

    def read(rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *shapes[0]), np.uint8)
        for part, start, end in zip(parts, starts[:-1], starts[1:], strict=True):
            places = np.flatnonzero((rows >= start) & (rows < end))
            if len(places):
                images[places] = part[rows[places] - start]
        return images

    return LazyImages((int(starts[-1]), *shapes[0]), read)


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one split of one data set.

    Built by :meth:`validated` where data enters, and trusted after.

    Attributes
    ----------
    name, split, modality : str
        Data set; ``train``, ``val``, ``test`` or ``pool`` (train and val together); imaging modality.
    class_names : tuple of str
        Class ``i`` is called ``class_names[i]``.
    images : ndarray or LazyImages
        uint8 ``(N, H, W, C)``, C in {1, 3}; may be a read-only memory map.
    labels : ndarray
        int64 ``(N,)`` in ``[0, len(class_names))``.
    sample_ids : ndarray
        str ``(N,)``, unique and stable: it keys an image's randomness and its results.
    origin : mapping
        Where a source has its images from, as far as it is known: ``url``, ``size``, ``licence``, ``citation``.
    """

    name: str
    split: str
    modality: str
    class_names: tuple[str, ...]
    images: Images
    labels: np.ndarray
    sample_ids: np.ndarray
    origin: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: np.ndarray) -> "ImageSet":
        """The images at `indices`, int ``(n,)``, in that order; their pixels are read when they are used."""
        return replace(
            self,
            images=chosen_rows(self.images, indices),
            labels=self.labels[indices],
            sample_ids=self.sample_ids[indices],
        )

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
        if len(self.class_names) < 2 or len(set(self.class_names)) != len(self.class_names):
            yield f"there must be at least two classes with different names, not {list(self.class_names)}"
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:3]:
            yield f"images must be uint8 (N, H, W, 1 or 3), not {images.dtype} {images.shape}"
        if labels.dtype != np.int64 or labels.ndim != 1:
            yield f"labels must be int64 (N,), not {labels.dtype} {labels.shape}"
        elif outside := sorted(set(labels[(labels < 0) | (labels >= len(self.class_names))].tolist())):
            yield f"labels {outside} lie outside the {len(self.class_names)} classes"
        elif self.absent_classes() and self.split != "test":
            yield f"no image of class {', '.join(map(repr, self.absent_classes()))}"
        elif len(np.unique(labels)) < 2:
            yield "images of one class alone"
        if not len(images) == len(labels) == len(ids):
            yield f"{len(images)} images, {len(labels)} labels and {len(ids)} sample ids don't match"
        elif len(np.unique(ids)) != len(ids):
            yield "sample ids are not unique"

    def class_counts(self) -> np.ndarray:
        """Number of images of each class, int64 ``(classes,)``."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    def absent_classes(self) -> list[str]:
        """Classes of which there is no image; only test splits may have some."""
        return [name for name, count in zip(self.class_names, self.class_counts(), strict=True) if not count]

    def content_hash(self) -> str:
        """Hash of the images, their labels, class names and sample ids."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update("\0".join([*map(str, self.images.shape), *self.class_names, *self.sample_ids]).encode())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8"))
        for batch in batches(self.images, 64):
            digest.update(np.ascontiguousarray(batch))
        return digest.hexdigest()


@dataclass(frozen=True)
class Logits:
    """Scores of one model on one data set under every condition.

    Attributes
    ----------
    model : str
        Name shared by the seeds of one model, e.g. ``phantom_vit_lora_k10``.
    attributes : mapping
        ``base``, ``method`` (``zero-shot``, ``lora``, ...), ``rank``, ``fraction`` and ``seed``;
        the last three are None where they don't apply. ``weights`` is the content hash of the scored model.
    data_set, modality : str
        The data set the images come from.
    class_names : tuple of str
        Column ``c`` of the logits is class ``class_names[c]``.
    conditions : tuple of Condition
        Row ``i`` of the logits is condition ``conditions[i]``; the first is clean.
    logits : ndarray
        float32 ``(conditions, N, classes)``: logit scale times cosine similarity.
    labels : ndarray
        int64 ``(N,)``.
    sample_ids : ndarray
        str ``(N,)``.
    """

    model: str
    data_set: str
    modality: str
    class_names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    logits: np.ndarray
    labels: np.ndarray
    sample_ids: np.ndarray
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Features:
    """Image features of one model on one data set under every condition.

    Attributes
    ----------
    data_set, modality : str
        The data set the images come from.
    class_names : tuple of str
        Its classes.
    conditions : tuple of Condition
        The first is clean.
    labels : ndarray
        int64 ``(N,)``.
    sample_ids : ndarray
        str ``(N,)``.
    width : int
        Dimensions of a feature, D.
    weights : str
        Content hash of the model.
    read : callable
        ``read()`` yields float32 ``(n, D)``, unit features of the N images under the first condition, then the next;
        while they are being computed, once only.
    """

    data_set: str
    modality: str
    class_names: tuple[str, ...]
    conditions: tuple[Condition, ...]
    labels: np.ndarray
    sample_ids: np.ndarray
    width: int
    weights: str
    read: Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class CorruptedSet:
    """A test set under every condition; the images of a condition come batch by batch.

    Attributes
    ----------
    clean : ImageSet
        The uncorrupted test set.
    suite : str
        Corruption suite.
    conditions : tuple of Condition
        The first is clean.
    storage : str
        ``materialised``: the corrupted images are stored; or ``on_the_fly``: they are made, or read from their
        release, when they are used.
    provenance : mapping
        What made the images: the settings of :func:`robustmedclip.corruptions.corrupt`, or ``released``, the
        folder that they were released in.
    read : callable
        ``read(condition, batch_size)`` yields uint8 ``(<=batch_size, H, W, C)`` in the order of ``clean``.
    """

    clean: ImageSet
    suite: str
    conditions: tuple[Condition, ...]
    storage: str
    provenance: Mapping[str, Any]
    read: Callable[[Condition, int], Iterator[np.ndarray]]


@dataclass(frozen=True)
class ReleasedSet:
    """Corrupted images that somebody else made, as their files have them.

    Attributes
    ----------
    folder : str
        Where the files lie.
    labels : mapping
        Condition to int64 ``(N,)``, numbered as the files number the classes; without clean where the release
        lacks it.
    shapes : mapping
        Condition to the shape of its images, ``(N, H, W, C)``.
    images : callable
        Condition to its images, uint8 ``(N, H, W, C)``, left in their file until they are used.
    """

    folder: str
    labels: Mapping[Condition, np.ndarray]
    shapes: Mapping[Condition, tuple[int, int, int, int]]
    images: Callable[[Condition], Images]


@dataclass(frozen=True)
class Adapter:
    """What tuning made of a visual encoder.

    Attributes
    ----------
    config : mapping
        The fields of ``peft.LoraConfig``; empty where all weights were tuned.
    weights : mapping
        Name to array, as peft saves low-rank updates; or the state of the whole encoder.
    metadata : mapping
        What the adapter belongs to: content hash of the base model, data sets, few-shot fraction, seed.
    """

    config: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Head:
    """Classifiers on the image features of an untuned model, one per data set.

    Attributes
    ----------
    classifiers : mapping
        Data set to the arrays of its classifier, float32, as :mod:`robustmedclip.adaptation.heads` reads them.
    metadata : mapping
        What they belong to: content hash of the base model, ``class_names`` of each data set in the order of the
        logits, seed.
    """

    classifiers: Mapping[str, Mapping[str, np.ndarray]]
    metadata: Mapping[str, Any]

    def content_hash(self) -> str:
        """Hash of the arrays, and of the base model."""
        digest = hashlib.blake2b(str(self.metadata["base_model_hash"]).encode(), digest_size=16)
        for data_set, arrays in sorted(self.classifiers.items()):
            for name, array in sorted(arrays.items()):
                digest.update(f"{data_set}|{name}|{array.dtype}|{array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()


def batches(images: Images, size: int) -> Iterator[np.ndarray]:
    """Consecutive slices of at most `size` images; the pages of a memory map are let go once they are consumed."""
    for start in range(0, len(images), size):
        yield images[start : start + size]
        if isinstance(images, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            images._mmap.madvise(mmap.MADV_DONTNEED)


def rebatched(parts: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The rows of all parts, in order, in arrays of `size` rows; the last one may have fewer."""
    pending, count = [], 0
    for part in parts:
        pending.append(part)
        count += len(part)
        if count >= size:
            joined = np.concatenate(pending) if len(pending) > 1 else part
            whole = count - count % size
            for start in range(0, whole, size):
                yield joined[start : start + size]
            pending, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(pending) if len(pending) > 1 else pending[0]
