"""Files of images, decoded when they are used."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import numpy as np
from fsspec import AbstractFileSystem

from robustmedclip.errors import first_ten
from robustmedclip.images.pixels import LazyImages
from robustmedclip.io.sources.levels import DEEP_COLOURS, Header, ImageFileError
from robustmedclip.io.sources.pixels import PixelReader
from robustmedclip.io.versioned import SourceError
from robustmedclip.progress import track

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def image_files(filesystem: AbstractFileSystem, paths: Sequence[str], reader: PixelReader) -> LazyImages:
    """The images of some files, one each; their headers are read now, their pixels when they are used.

    Grey images among coloured ones get three equal channels. The log says of how many files something was obeyed that a
    user should know: transparency, orientation, a colour profile, padding.

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
        Here or on reading, naming the files that can't be read, ten for each reason; or if the images differ in size.
    """
    files = _Files(filesystem, paths, reader)
    try:
        headers = [files.apply(reader.header, path) for path in track(paths, "reading headers of images")]
    except ImageFileError:
        raise files.complaint() from None
    _log_remarks(paths, headers)
    shape = _common_shape(paths, headers)

    def read(rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *shape), np.uint8)
        for image, row in zip(images, rows.tolist(), strict=True):
            image[...] = files.pixels(paths[row], shape)
        return images

    return LazyImages((len(paths), *shape), read)


@dataclass(frozen=True)
class _Files:
    filesystem: AbstractFileSystem
    paths: Sequence[str]
    reader: PixelReader

    def apply(self, function: Callable[[BinaryIO], Result], path: str) -> Result:
        """`function` of an open file; raises ``ImageFileError``."""
        try:
            with self.filesystem.open(path, "rb") as file:
                return function(file)
        except OSError as error:
            raise ImageFileError(f"can't be read ({error})") from error

    def pixels(self, path: str, shape: tuple[int, int, int]) -> np.ndarray:
        """Pixels that fit into an array of the shape; ``SourceError`` names what is wrong with this and other files."""
        try:
            pixels = self.apply(self.reader.pixels, path)
        except ImageFileError:
            raise self.complaint() from None
        if pixels.shape[:2] != shape[:2] or pixels.shape[2] > shape[2]:
            raise SourceError(f"{path} has changed its size since the run began")
        return pixels

    def complaint(self) -> SourceError:
        """What is wrong with the files that can't be read: of each reason, ten of them and how many more."""
        reasons: dict[str, list[str]] = {}
        for reason, path in self._damaged():
            reasons.setdefault(reason, []).append(path)
        same = {
            reason: f" (the same: {first_ten(others)})" if others else "" for reason, (_, *others) in reasons.items()
        }
        count = sum(map(len, reasons.values()))
        several = f"{count} of {len(self.paths)} images can't be read: " if count > 1 else ""
        shown = [f"{first} {reason}{same[reason]}" for reason, (first, *_) in reasons.items()]
        return SourceError(several + first_ten(shown, "; "))

    def _damaged(self) -> Iterator[tuple[str, str]]:
        for path in track(self.paths, "looking for images that can't be read"):
            try:
                self.apply(self.reader.pixels, path)
            except ImageFileError as error:
                yield str(error), path


def _log_remarks(paths: Sequence[str], headers: Sequence[Header]) -> None:
    remarked: dict[str, list[str]] = {}
    for path, header in zip(paths, headers, strict=True):
        for remark in header.remarks:
            remarked.setdefault(remark, []).append(path)
    for remark, of in sorted(remarked.items()):
        level = logging.WARNING if remark == DEEP_COLOURS else logging.INFO
        logger.log(level, "%d of %d images %s (the first: %s)", len(of), len(paths), remark, of[0])


def _common_shape(paths: Sequence[str], headers: Sequence[Header]) -> tuple[int, int, int]:
    """``(H, W, C)`` of all images, in colour if one is; ``SourceError`` if they differ in size."""
    examples = {header.shape[:2]: path for path, header in zip(reversed(paths), reversed(headers), strict=True)}
    if len(examples) > 1:
        named = [f"{width}x{height} ({path})" for (height, width), path in sorted(examples.items())]
        raise SourceError(f"the images differ in size: {first_ten(named)}: set 'size' in the source")
    return (*next(iter(examples)), max(header.shape[2] for header in headers))
