"""Levels of images as 8 bits, and what is said of files that have none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Larger files are refused, and such as are larger once they are inflated.
LARGEST_FILE = 2**28
#: Larger images are refused before anything is allocated.
LARGEST_PIXELS = 2**25
#: Remarks that are worth a warning.
DEEP_COLOURS = "have colours of more than 8 bits, of which the highest 8 are taken, as viewers do"
NOT_SQUARE = "have pixels that are not square: taken as if they were"
_BLOCK = 2**20


class ImageFileError(ValueError):
    """What is wrong with an image file, as the end of a sentence that begins with its name."""


@dataclass(frozen=True)
class Header:
    """What a file says of its image before a pixel is read.

    Attributes
    ----------
    shape : tuple of int
        ``(H, W, C)`` of its pixels, C in {1, 3}, turned as they are to be seen.
    remarks : frozenset of str
        What was done, as the file asks, and a user should know: ends of a sentence that begins with ``3 images``.
    """

    shape: tuple[int, int, int]
    remarks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Window:
    """The levels that become 0 (`low` and below) and 255 (`high` and above); linear and rounded between them."""

    low: float
    high: float

    @classmethod
    def parse(cls, setting: Mapping[str, float]) -> "Window":
        """From ``{low, high}``, or from ``{center, width}`` as DICOM defines them (PS3.3 C.11.2.1.2.1, LINEAR).

        Raises
        ------
        ValueError
            If it is neither, or the range is empty.
        """
        numbers = isinstance(setting, Mapping) and all(
            isinstance(value, (int, float)) and np.isfinite(value) for value in setting.values()
        )
        if numbers and set(setting) == {"low", "high"} and setting["low"] < setting["high"]:
            return cls(setting["low"], setting["high"])
        if numbers and set(setting) == {"center", "width"} and setting["width"] > 1:
            middle, half = setting["center"] - 0.5, (setting["width"] - 1) / 2
            return cls(middle - half, middle + half)
        raise ValueError(f"expected {{center, width}} with a width above 1, {{low, high}} or file, found {setting!r}")

    def apply(self, levels: np.ndarray) -> np.ndarray:
        """uint8 of the shape of `levels`, which are real numbers."""
        scaled = (levels.astype(np.float64) - self.low) * (255 / (self.high - self.low))
        if not np.isfinite(scaled).all():
            raise ImageFileError("holds levels that are not finite numbers")
        rounded: np.ndarray = np.rint(scaled.clip(0, 255))
        return rounded.astype(np.uint8)


#: The levels to show: a window for all files, or ``file``: that which each DICOM file suggests.
WindowChoice = Window | Literal["file"]


def required(window: WindowChoice | None) -> Window:
    """The window for all files; raises ``ImageFileError`` if there is none, with what to set."""
    if window is None or window == "file":
        raise ImageFileError(
            "does not hold plain 8-bit levels: set 'window' in the source, as {center, width}, {low, high} or, for the "
            "window that a DICOM file suggests, file"
        )
    return window


#: Which frame of a file of several is read: a number from 1, or the one in the middle.
Frame = int | Literal["middle"]


def chosen_frame(frames: int, frame: Frame | None) -> int:
    """Index, from 0, of the frame to read of a file; that of a file with one frame is always 0.

    Raises
    ------
    ImageFileError
        If there are several and none is chosen, or fewer than the number of the chosen one.
    """
    if frames <= 1:
        return 0
    if frame is None:
        raise ImageFileError(
            f"has {frames} frames: choose one by 'frame' in the source, a number from 1 or middle, or save each as an "
            "image of its own"
        )
    if frame == "middle":
        return (frames - 1) // 2
    if frame > frames:
        raise ImageFileError(f"has {frames} frames, and 'frame' in the source asks for number {frame}")
    return frame - 1


def check_size(width: int, height: int) -> None:
    """Raise ``ImageFileError`` unless an image has between 1 and :data:`LARGEST_PIXELS` pixels."""
    if width < 1 or height < 1 or width * height > LARGEST_PIXELS:
        raise ImageFileError(f"is {width} x {height} px: between 1 and {LARGEST_PIXELS} pixels are read")


def blockwise(function: Callable[[np.ndarray], np.ndarray], levels: np.ndarray) -> np.ndarray:
    """`function` of blocks of rows, so that its intermediates stay small."""
    rows = max(1, _BLOCK // levels.shape[1])
    return np.concatenate([function(levels[start : start + rows]) for start in range(0, len(levels), rows)])
