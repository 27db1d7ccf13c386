"""Pictures as 8-bit pixels, as a viewer shows them."""

import struct
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from robustmedclip.io.sources.levels import (
    DEEP_COLOURS,
    NOT_SQUARE,
    Frame,
    Header,
    ImageFileError,
    WindowChoice,
    blockwise,
    check_size,
    chosen_frame,
    required,
)

Conversion = Callable[[Image.Image], Image.Image]

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
TRANSPARENT = "are partly transparent: shown over black"
TURNED = "are turned as their EXIF orientation says"
PROFILED = "have a colour profile or a gamma that is not sRGB's: converted to sRGB"

_DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "F")
_GREY = ("1", "L", "LA", "La")
_SIDEWAYS = (5, 6, 7, 8)
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 256, 257, 258, 262, 339
_MIN_IS_WHITE, _SIGNED = 0, 2
#: Where a PNG has them, in its first chunk.
_DEPTH, _COLOUR_TYPE = 24, 25
_GREY_WITH_ALPHA = 4
_SRGB_GAMMA = 1 / 2.2
_SAME_GAMMA = 0.05  # as libpng: smaller differences don't show
_SAME_LEVELS = 3
_SAME_SIDES = 0.01


def header(file: BinaryIO, window: WindowChoice | None, frame: Frame | None = None) -> Header:
    """Shape and remarks of a picture, without its pixels; raises ``ImageFileError`` with why it can't be read."""
    with _opened(file, window, frame) as image:
        orientation = _orientation(image, file)
        width, height = _unturned_size(image)
        if orientation in _SIDEWAYS:
            width, height = height, width
        remarks = {
            TRANSPARENT: image.has_transparency_data,
            TURNED: orientation != 1,
            NOT_SQUARE: not _is_square(image),
            PROFILED: image.mode not in _DEEP_GREY and _to_srgb(image) is not None,
            DEEP_COLOURS: image.mode not in _DEEP_GREY and _bits(image, file) > 8,
        }
        grey = image.mode in (*_DEEP_GREY, *_GREY)
        return Header((height, width, 1 if grey else 3), frozenset(name for name, holds in remarks.items() if holds))


def pixels(file: BinaryIO, window: WindowChoice | None, frame: Frame | None = None) -> np.ndarray:
    """uint8 ``(H, W)`` or ``(H, W, 3)`` of a picture; raises ``ImageFileError`` with why it can't be read."""
    with _opened(file, window, frame) as image:
        if image.mode in _DEEP_GREY:
            return blockwise(required(window).apply, np.asarray(ImageOps.exif_transpose(image)))
        grey, convert, transparent = image.mode in _GREY, _to_srgb(image), image.has_transparency_data
        upright = ImageOps.exif_transpose(image)  # a TIFF file is turned already, and its tag is gone
        layers = upright.convert("LA" if grey else "RGBA") if transparent else upright
        colours = upright if upright.mode == "CMYK" and convert else layers.convert("L" if grey else "RGB")
        shown = np.asarray(convert(colours) if convert else colours)
        return _over_black(shown, np.asarray(layers.getchannel("A"))) if transparent else shown


def _opened(file: BinaryIO, window: WindowChoice | None, frame: Frame | None) -> ImageFile.ImageFile:
    """The picture, its pixels still in the file, after all that its header can be refused for."""
    image = Image.open(file, formats=FORMATS)
    check_size(*image.size)
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        image.seek(chosen_frame(frames, frame))
        check_size(*image.size)
    deep, bits = image.mode in _DEEP_GREY, _bits(image, file)
    if deep:
        required(window)
    if isinstance(image, TiffImageFile):
        _check_tiff(image, deep)
    if image.mode == "LAB":
        raise ImageFileError("has colours of CIELAB: convert it to RGB")
    if image.format in ("JPEG", "MPO") and image.mode == "CMYK" and "adobe" not in image.info:
        raise ImageFileError("has four colours and does not say which: convert it to RGB")
    if image.has_transparency_data and (deep or (image.format == "PNG" and image.mode in _GREY and bits < 8)):
        raise ImageFileError("makes one of its levels transparent: save it without transparency")
    if image.format == "PNG" and bits > 8 and _of_png(file, _COLOUR_TYPE) == _GREY_WITH_ALPHA:
        raise ImageFileError(f"has {bits} bits of grey and an opacity, and 8 are read: save it without transparency")
    return image


def _check_tiff(image: TiffImageFile, deep: bool) -> None:
    if deep and image.tag_v2.get(_PHOTOMETRIC) == _MIN_IS_WHITE:
        raise ImageFileError("shows low levels as white: invert it, so that they are black")
    if not deep and _SIGNED in np.atleast_1d(image.tag_v2.get(_SAMPLE_FORMAT, 1)):
        raise ImageFileError("holds signed levels: convert it to levels from 0 to 255")


def _is_square(image: Image.Image) -> bool:
    """Whether pixels are as wide as high, by the densities that a file states."""
    across, down = map(float, image.info.get("dpi") or image.info.get("jfif_density") or (1, 1))
    return min(across, down) <= 0 or abs(across / down - 1) < _SAME_SIDES


def _unturned_size(image: Image.Image) -> tuple[int, int]:
    if isinstance(image, TiffImageFile):
        return int(image.tag_v2[_WIDTH]), int(image.tag_v2[_HEIGHT])
    return image.size


def _orientation(image: Image.Image, file: BinaryIO) -> int:
    """The EXIF orientation, 1 to 8; pixels are decoded only where it may come after them."""
    late = image.format == "PNG" and _has_late_metadata(file)
    exif = image.getexif() if late else Image.Image.getexif(image)
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _has_late_metadata(file: BinaryIO) -> bool:
    """Whether a PNG has chunks after its pixels that may tell its orientation."""
    position, place, pixels_seen, late = file.tell(), 8, False, False
    size = file.seek(0, 2)
    while place + 8 <= size and not late:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        late = pixels_seen and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
        pixels_seen |= kind == b"IDAT"
        place += 12 + length
    file.seek(position)
    return late


def _bits(image: Image.Image, file: BinaryIO) -> int:
    """Bits per channel in the file; Pillow's modes don't tell for colours."""
    if isinstance(image, TiffImageFile):
        return int(max(image.tag_v2.get(_BITS, (1,))))
    return _of_png(file, _DEPTH) if image.format == "PNG" else 8


def _of_png(file: BinaryIO, place: int) -> int:
    """A byte of a PNG."""
    position = file.tell()
    file.seek(place)
    byte: int = file.read(1)[0]
    file.seek(position)
    return byte


def _over_black(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours with their opacity (uint8, ``(H, W)``) over black; ``ImageFileError`` if only the opacity varies."""
    visible = colours[alpha > 0]
    if not len(visible):
        raise ImageFileError("is transparent throughout: save it without transparency")
    if alpha.min() < alpha.max() and (visible == visible[0]).all():
        raise ImageFileError("holds its picture in its transparency alone: save it as levels of grey")
    opacity = alpha if colours.ndim == 2 else alpha[..., None]
    over_black: np.ndarray = (colours.astype(np.uint16) * opacity + 127) // 255
    return over_black.astype(np.uint8)


def _to_srgb(image: Image.Image) -> Conversion | None:
    """A function from the picture's levels (L, RGB or CMYK) to those of sRGB; None where they are the same."""
    profile = image.info.get("icc_profile")
    mode = "L" if image.mode in _GREY else "CMYK" if image.mode == "CMYK" else "RGB"
    if profile:
        return _profile_conversion(profile, mode)
    gamma = image.info.get("gamma")
    if image.format != "PNG" or not gamma or "srgb" in image.info or abs(gamma / _SRGB_GAMMA - 1) < _SAME_GAMMA:
        return None
    curve = np.rint(255 * (np.arange(256) / 255) ** (_SRGB_GAMMA / gamma)).astype(np.uint8)
    return lambda picture: Image.fromarray(curve[np.asarray(picture)])


@lru_cache(maxsize=8)
def _profile_conversion(profile: bytes, mode: str) -> Conversion | None:
    """The conversion from an ICC profile to sRGB; None if it changes no level by more than 3, or is broken."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != {"L": "GRAY"}.get(mode, mode):
            return None
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent)
    except (ImageCms.PyCMSError, OSError):
        return None

    def convert(picture: Image.Image) -> Image.Image:
        shown = ImageCms.applyTransform(picture, transform) or picture
        return shown.getchannel("G") if mode == "L" else shown

    steps = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "CMYK":
        return convert
    levels = steps[None] if mode == "L" else np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    change = np.asarray(convert(Image.fromarray(levels))).astype(int) - levels
    return convert if np.abs(change).max() > _SAME_LEVELS else None
