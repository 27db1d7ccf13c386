"""Files of images, decoded when they are used."""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from fsspec import AbstractFileSystem

from robustmedclip.errors import SHOWN, first_ten
from robustmedclip.images.pixels import LazyImages
from robustmedclip.io.sources.levels import ImageFileError
from robustmedclip.io.sources.pixels import PixelReader
from robustmedclip.io.versioned import SourceError
from robustmedclip.progress import track

logger = logging.getLogger(__name__)


def image_files(filesystem: AbstractFileSystem, paths: Sequence[str], reader: PixelReader) -> LazyImages:
    """The images of some files, one each; their headers are read now, their pixels when they are used.

    Grey images among coloured ones get three equal channels. The log says of how many files something was obeyed that a user
    should know: transparency, orientation, a colour profile, padding.

    Parameters
    ----------
    filesystem : AbstractFileSystem
        Where the files are.
    paths : sequence of str
        The files.
    reader : PixelReader
        How they become pixels.

    Raises
    ------
    SourceError
        Here or on reading, naming the files that can't be read, at most ten; or if the images differ in size.
    """

    def apply(function: Callable[[BinaryIO], Any], path: str) -> Any:
        try:
            with filesystem.open(path, "rb") as file:
                return function(file)
        except OSError as error:
            raise ImageFileError(f"can't be read ({error})") from error

    def damaged() -> Iterator[tuple[str, str]]:
        for path in paths:
            try:
                apply(reader.pixels, path)
            except ImageFileError as error:
                yield str(error), path

    def complaint() -> SourceError:
        reasons: dict[str, list[str]] = {}
        for reason, path in islice(damaged(), SHOWN):
            reasons.setdefault(reason, []).append(path)
        same = {
            reason: f" (the same: {first_ten(others)})" if others else "" for reason, (_, *others) in reasons.items()
        }
        return SourceError("; ".join(f"{first} {reason}{same[reason]}" for reason, (first, *_) in reasons.items()))

    try:
        headers = [apply(reader.header, path) for path in track(paths, "reading headers of images")]
    except ImageFileError:
        raise complaint() from None
    for remark in sorted(set().union(*(header.remarks for header in headers))):
        remarked = [path for path, header in zip(paths, headers, strict=True) if remark in header.remarks]
        logger.info("%d of %d images %s (the first: %s)", len(remarked), len(paths), remark, remarked[0])
    shapes = [header.shape for header in headers]
    sizes = sorted({shape[:2] for shape in shapes})
    if len(sizes) > 1:
        named = [
            f"{width}x{height} ({paths[[s[:2] for s in shapes].index((height, width))]})" for height, width in sizes
        ]
        raise SourceError(f"the images differ in size: {first_ten(named)}: set 'size' in the source")
    shape = (*sizes[0], max(channels for *_, channels in shapes))

    def read(rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *shape), np.uint8)
        for image, row in zip(images, rows.tolist(), strict=True):
            try:
                pixels = apply(reader.pixels, paths[row])
            except ImageFileError:
                raise complaint() from None
            if pixels.shape[:2] != shape[:2]:
                raise SourceError(f"{paths[row]} has changed its size since the run began")
            image[...] = pixels
        return images

    return LazyImages((len(paths), *shape), read)
