"""One image file as 8-bit pixels: pictures, and DICOM."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from robustmedclip.io.sources import dicom, pictures
from robustmedclip.io.sources.levels import LARGEST_FILE, Frame, Header, ImageFileError, WindowChoice

#: How files of other formats begin, and what to do with them.
_OTHER_FORMATS = {
    b"\x1f\x8b": "is packed with gzip: unpack it",
    b"PK\x03\x04": "is a zip archive: unpack it",
    b"%PDF": "is a PDF: save its pictures as files of their own",
    b"\x89HDF": "is an HDF5 file: save its pictures as files of their own",
    b"version https://git-lfs": "stands for a file in Git LFS: fetch it with 'git lfs pull'",
    b"\x93NUMPY": "is an array of NumPy: save it as a picture, or all of them in an npz file",
    b"\x89PNG\r\n\x1a\n": "is a PNG whose beginning is damaged",
    b"\xff\xd8\xff": "is a JPEG whose beginning is damaged",
}


@dataclass(frozen=True)
class PixelReader:
    """How an image file becomes pixels.

    Whatever a file says about how it is to be seen is obeyed, or the file is refused with the reason: EXIF orientation,
    colour profile, gamma, palette and transparency of a picture; slope and intercept, modality lookup table, padding,
    palette and colour space of a DICOM file. Its window alone is a choice of the viewer, and applied if that is
    asked for.

    Attributes
    ----------
    size : int, optional
        Side in pixels to bring every image to: the largest centred square, scaled (bicubic).
    window : Window or str, optional
        Levels of grey files of more than 8 bits, and of DICOM whose levels are rescaled or signed; it is needed for
        them, and applies after slope and intercept. Other files of 8 bits, DICOM too, are taken as they are. A window
        that a DICOM file suggests for its display is applied where this is ``file``, and then to 8 bits, too.
    frame : int or str, optional
        Which frame of a file of several is read: its number, from 1, or ``middle``.
    """

    size: int | None = None
    window: WindowChoice | None = None
    frame: Frame | None = None

    def header(self, file: BinaryIO) -> Header:
        """Shape of what :meth:`pixels` returns, and remarks, from the header alone.

        Raises
        ------
        ImageFileError
            If the header shows that the file can't be read.
        """
        with _any_damage(file):
            read_header = dicom.header if _is_dicom(file) else pictures.header
            header = read_header(file, self.window, self.frame)
        return replace(header, shape=(self.size, self.size, header.shape[2])) if self.size else header

    def shape(self, file: BinaryIO) -> tuple[int, int, int]:
        """``(H, W, C)`` of what :meth:`pixels` returns, from the header alone; raises as :meth:`header`."""
        return self.header(file).shape

    def pixels(self, file: BinaryIO) -> np.ndarray:
        """uint8 ``(H, W, C)``, C in {1, 3}.

        Raises
        ------
        ImageFileError
            If the file is damaged, in no known format, of several frames of which none is chosen, too large, of grey
            levels of more than 8 bits without a window, or its levels don't stand for brightness or colour.
        """
        with _any_damage(file):
            read_pixels = dicom.pixels if _is_dicom(file) else pictures.pixels
            pixels = read_pixels(file, self.window, self.frame)
            if self.size:
                picture = Image.fromarray(pixels)
                pixels = np.asarray(ImageOps.fit(picture, (self.size, self.size), Image.Resampling.BICUBIC))
            return pixels if pixels.ndim == 3 else pixels[..., None]


@contextmanager
def _any_damage(file: BinaryIO) -> Iterator[None]:
    """Decoders raise whatever a damaged file leads them to; all of it becomes an ``ImageFileError``."""
    try:
        yield
    except ImageFileError:
        raise
    except UnidentifiedImageError as error:
        raise ImageFileError(_other_format(file)) from error
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageFileError(f"can't be read as an image ({reason})") from error


def _other_format(file: BinaryIO) -> str:
    file.seek(0)
    start = file.read(32)
    if not start:
        return "is empty"
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"avif"):
        return "is HEIC or AVIF, as phones save photographs: convert it to JPEG or PNG"
    known = next((reason for magic, reason in _OTHER_FORMATS.items() if start.startswith(magic)), None)
    return known or f"is in no format that is read: {', '.join(pictures.FORMATS)} and DICOM are"


def _is_dicom(file: BinaryIO) -> bool:
    size = file.seek(0, 2)
    if size > LARGEST_FILE:
        raise ImageFileError(f"has {size} bytes: more than {LARGEST_FILE} are not read")
    file.seek(0)
    start = file.read(132)
    file.seek(0)
    return dicom.begins(start)
