"""Pixels that are read when they are used, and streams of them."""

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from robustmedclip.errors import InputError


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


def stacked(images: Images | Sequence[np.ndarray]) -> Images:
    """The images as one array, unless they are one or are read when they are used.

    Raises
    ------
    InputError
        If their sizes or channels differ.
    """
    if isinstance(images, LazyImages):
        return images
    try:
        return np.asanyarray(images)
    except ValueError as error:
        raise InputError("the images differ in size or channels: bring them to one") from error


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


def batches(images: Images, size: int) -> Iterator[np.ndarray]:
    """Consecutive slices of at most `size` images; the pages of a memory map are let go once they are consumed."""
    for start in range(0, len(images), size):
        yield images[start : start + size]
        if isinstance(images, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            images._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def rows_of(parts: Iterable[np.ndarray], rows: np.ndarray) -> Iterator[np.ndarray]:
    """The rows at `rows`, int64 ``(n,)``, ascending, of a stream, as they come."""
    start = 0
    for part in parts:
        inside = rows[(rows >= start) & (rows < start + len(part))] - start
        start += len(part)
        if len(inside):
            yield part[inside]


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
