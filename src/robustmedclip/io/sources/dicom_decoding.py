"""The pixels of DICOM files, out of whatever they are compressed as."""

import re
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from robustmedclip.io.sources.levels import ImageFileError

_JPEG_8_BIT = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
#: Packages that decode, by the module of each.
_DECODERS = {"pylibjpeg": "pylibjpeg", "openjpeg": "pylibjpeg-openjpeg", "gdcm": "python-gdcm"}
#: The one that decodes JPEG of 12 bits; under the GPL, so that it is no dependency.
_EXTENDED_DECODER = {"libjpeg": "pylibjpeg-libjpeg"}
_CUT_OFF = re.compile(r"less than expected \((\d+) vs (\d+) bytes")


def decoded(dataset: Any, index: int) -> np.ndarray:
    """The pixels of a frame as they are stored; colours as RGB.

    Raises
    ------
    ImageFileError
        If they are missing, damaged, or compressed in a way that no installed decoder reads.
    """
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import (
        ExplicitVRBigEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEG2000TransferSyntaxes,
    )

    if not dataset.get("PixelData"):
        raise ImageFileError("is a DICOM file without pixels, or with levels that are not whole numbers")
    if not dataset.file_meta.get("TransferSyntaxUID"):
        if dataset["PixelData"].is_undefined_length:
            raise ImageFileError("does not say how its pixels are compressed: it lacks the transfer syntax")
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _JPEG_8_BIT and int(dataset.SamplesPerPixel) == 3:
        return _jpeg_colours(dataset, index)
    if syntax in JPEG2000TransferSyntaxes:
        _check_signs(dataset, index)
    return _with_advice(lambda: pixel_array(dataset, index=index, correct_unused_bits=False), syntax)


def _frame(dataset: Any, index: int) -> bytes:
    """The compressed bytes of a frame."""
    from pydicom.encaps import get_frame

    frames = int(dataset.get("NumberOfFrames") or 1)
    return bytes(get_frame(dataset.PixelData, index, number_of_frames=frames))


def _jpeg_colours(dataset: Any, index: int) -> np.ndarray:
    """RGB of a JPEG frame: by its markers (JFIF, Adobe), or, where it has none, by the photometric interpretation."""
    picture = Image.open(BytesIO(_frame(dataset, index)), formats=("JPEG",))
    if dataset.PhotometricInterpretation == "RGB" and not {"jfif", "adobe_transform"} & set(picture.info):
        picture.draft("YCbCr", picture.size)  # no conversion
        return np.asarray(picture)
    return np.asarray(picture.convert("RGB"))


def _check_signs(dataset: Any, index: int) -> None:
    """Refuse a JPEG 2000 frame with signs that the data set denies: decoders make different levels of it."""
    from pydicom.pixels.utils import get_j2k_parameters

    if get_j2k_parameters(_frame(dataset, index)).get("is_signed") and int(dataset.PixelRepresentation) == 0:
        raise ImageFileError("has signed pixels, and says that they have no sign: save it uncompressed")


def _with_advice(decode: Callable[[], np.ndarray], syntax: Any) -> np.ndarray:
    try:
        return decode()
    except (RuntimeError, NotImplementedError) as error:
        if "missing dependencies" in str(error) or "does not support" in str(error):
            raise ImageFileError(f"is compressed as {syntax.name}: {_ways_to_read(syntax)}") from error
        raise ImageFileError(
            f"is compressed as {syntax.name}, and no decoder makes sense of it: it is damaged. Get it again, or leave "
            "it out"
        ) from error
    except ValueError as error:
        if sizes := _CUT_OFF.search(str(error)):
            raise ImageFileError(
                f"is cut off: it has {sizes[1]} of {sizes[2]} bytes of pixels. Get it again"
            ) from error
        raise


def _ways_to_read(syntax: Any) -> str:
    """Which decoders to install, if one is missing; with all of them, there is none for the file."""
    decoders = _DECODERS | (_EXTENDED_DECODER if syntax in _JPEG_8_BIT else {})
    if missing := [package for module, package in decoders.items() if find_spec(module) is None]:
        return f"to read it, install a decoder (pip install {' '.join(missing)}), or save it uncompressed"
    return "there is no decoder for it, save it uncompressed"
