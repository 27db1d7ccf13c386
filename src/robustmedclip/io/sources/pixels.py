"""One image file as 8-bit pixels: pictures, and DICOM."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
#: Larger images are refused before anything is allocated.
LARGEST_PIXELS = 2**25
LARGEST_FILE = 2**28
_BLOCK = 2**20
_DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "F")
_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "RGB")
_DEFLATED = "1.2.840.10008.1.2.1.99"


class ImageFileError(ValueError):
    """What is wrong with an image file, as the end of a sentence that begins with its name."""


@dataclass(frozen=True)
class Window:
    """Which levels become 0 (`low` and below) and 255 (`high` and above); linear and rounded between them."""

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
        raise ValueError(f"expected {{center, width}} with a width above 1 or {{low, high}}, found {setting!r}")

    def apply(self, levels: np.ndarray) -> np.ndarray:
        """uint8 of the shape of `levels`, which are real numbers."""
        scaled = (levels.astype(np.float64) - self.low) * (255 / (self.high - self.low))
        if not np.isfinite(scaled).all():
            raise ImageFileError("holds levels that are not finite numbers")
        return np.rint(scaled.clip(0, 255)).astype(np.uint8)


@dataclass(frozen=True)
class PixelReader:
    """How an image file becomes pixels.

    Attributes
    ----------
    size : int, optional
        Side in pixels to bring every image to: the largest centred square, scaled (bicubic).
    window : Window, optional
        Levels of grey files of more than 8 bits, and of DICOM whose levels are rescaled or signed; it is needed for them,
        and applies after slope and intercept. Other files of 8 bits, DICOM too, are taken as they are. A window that a
        DICOM file suggests for its display is never applied.
    """

    size: int | None = None
    window: Window | None = None

    def shape(self, file: BinaryIO) -> tuple[int, int, int]:
        """``(H, W, C)`` of what :meth:`pixels` returns, from the header alone.

        Raises
        ------
        ImageFileError
            If the header shows that the file can't be read.
        """
        with _any_damage():
            height, width, channels = (self._dicom if _is_dicom(file) else self._picture)(file, header_only=True)
        return (self.size, self.size, channels) if self.size else (height, width, channels)

    def pixels(self, file: BinaryIO) -> np.ndarray:
        """uint8 ``(H, W, C)``, C in {1, 3}.

        Raises
        ------
        ImageFileError
            If the file is damaged, in no known format, of several frames, too large, of more than 8 bits without a
            window, or its levels don't stand for brightness or colour.
        """
        with _any_damage():
            pixels = (self._dicom if _is_dicom(file) else self._picture)(file, header_only=False)
            if self.size:
                picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
                pixels = np.asarray(ImageOps.fit(picture, (self.size, self.size), Image.Resampling.BICUBIC))
            return pixels if pixels.ndim == 3 else pixels[..., None]

    def _picture(self, file: BinaryIO, header_only: bool) -> Any:
        with Image.open(file, formats=FORMATS) as image:
            _check_size(*image.size)
            if getattr(image, "n_frames", 1) > 1:
                raise ImageFileError(f"has {image.n_frames} frames: save each as an image of its own")
            if deep := image.mode in _DEEP_GREY:
                self._require_window()
            elif _bits(image, file) > 8:
                raise ImageFileError("has colours of more than 8 bits: convert it to 8 bits")
            if deep and image.format == "TIFF" and image.tag_v2.get(262) == 0:
                raise ImageFileError("shows low levels as white: invert it, so that they are black")
            grey = deep or image.mode in ("1", "L", "LA", "La")
            if header_only:
                return (image.height, image.width, 1 if grey else 3)
            pixels = np.asarray(image if deep else image.convert("L" if grey else "RGB"))
            return _blockwise(self.window.apply, pixels) if deep else pixels

    def _dicom(self, file: BinaryIO, header_only: bool) -> Any:
        try:
            import pydicom
        except ImportError:
            raise ImageFileError("is a DICOM file: to read it, install pydicom (pip install pydicom)") from None
        from pydicom.pixels import apply_modality_lut

        _require_inflated(file)
        dataset = pydicom.dcmread(file, stop_before_pixels=header_only)
        height, width = int(dataset.Rows), int(dataset.Columns)
        _check_size(width, height)
        if int(dataset.get("NumberOfFrames") or 1) > 1:
            raise ImageFileError(f"has {dataset.NumberOfFrames} frames: save each as an image of its own")
        photometric, bits = dataset.get("PhotometricInterpretation"), int(dataset.BitsStored)
        if photometric not in _PHOTOMETRIC or (photometric == "RGB") != (int(dataset.SamplesPerPixel) == 3):
            raise ImageFileError(
                f"has the photometric interpretation {photometric} with {dataset.SamplesPerPixel} samples per pixel: "
                f"only {', '.join(_PHOTOMETRIC)} are read"
            )
        if photometric == "RGB" and bits > 8:
            raise ImageFileError("has colours of more than 8 bits: convert it to 8 bits")
        rescaled = "ModalityLUTSequence" in dataset or (
            float(dataset.get("RescaleSlope", 1)) != 1 or float(dataset.get("RescaleIntercept", 0)) != 0
        )
        plain = bits == int(dataset.BitsAllocated) == 8 and int(dataset.PixelRepresentation) == 0 and not rescaled
        levels = photometric != "RGB" and not plain
        if levels:
            self._require_window()
        if header_only:
            return (height, width, 3 if photometric == "RGB" else 1)
        pixels = dataset.pixel_array
        if levels:
            pixels = _blockwise(lambda block: self.window.apply(apply_modality_lut(block, dataset)), pixels)
        if pixels.dtype != np.uint8 or pixels.shape[:2] != (height, width):
            raise ImageFileError(f"holds {pixels.dtype} {pixels.shape} in place of 8 bits {(height, width)}")
        return 255 - pixels if photometric == "MONOCHROME1" else pixels

    def _require_window(self) -> None:
        if self.window is None:
            raise ImageFileError(
                "does not hold plain 8-bit levels: set 'window' in the source, as {center, width} or {low, high}"
            )


@contextmanager
def _any_damage() -> Iterator[None]:
    """Decoders raise whatever a damaged file leads them to; all of it becomes an ``ImageFileError``."""
    try:
        yield
    except ImageFileError:
        raise
    except UnidentifiedImageError as error:
        raise ImageFileError(f"is in no format that is read: {', '.join(FORMATS)} and DICOM are") from error
    except Exception as error:
        raise ImageFileError(f"can't be read as an image ({str(error) or type(error).__name__})") from error


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > LARGEST_PIXELS:
        raise ImageFileError(f"is {width} x {height} px: between 1 and {LARGEST_PIXELS} pixels are read")


def _is_dicom(file: BinaryIO) -> bool:
    size = file.seek(0, 2)
    if size > LARGEST_FILE:
        raise ImageFileError(f"has {size} bytes: more than {LARGEST_FILE} are not read")
    file.seek(128)
    marker = file.read(4)
    file.seek(0)
    return marker == b"DICM"


def _require_inflated(file: BinaryIO) -> None:
    """A deflated data set would be inflated as a whole, however large."""
    from pydicom.filereader import read_dataset

    file.seek(132)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") == _DEFLATED:
        raise ImageFileError("is a deflated DICOM file: save it uncompressed")
    file.seek(0)


def _bits(image: Image.Image, file: BinaryIO) -> int:
    """Bits per channel in the file; Pillow's modes don't tell for colours."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,)))
    if image.format == "PNG":  # the depth in the IHDR chunk
        position = file.tell()
        file.seek(24)
        depth = file.read(1)[0]
        file.seek(position)
        return depth
    return 8


def _blockwise(function: Any, levels: np.ndarray) -> np.ndarray:
    """`function` of blocks of rows, so that its intermediates stay small."""
    rows = max(1, _BLOCK // levels.shape[1])
    return np.concatenate([function(levels[start : start + rows]) for start in range(0, len(levels), rows)])
