"""DICOM files of one image as 8-bit pixels, as a radiologist's viewer shows them but for the window."""

import zlib
from typing import Any, BinaryIO

import numpy as np

from robustmedclip.io.sources.dicom_decoding import decoded
from robustmedclip.io.sources.dicom_windows import Shown, in_groups, window_of_file
from robustmedclip.io.sources.levels import (
    DEEP_COLOURS,
    LARGEST_FILE,
    NOT_SQUARE,
    Frame,
    Header,
    ImageFileError,
    Window,
    WindowChoice,
    blockwise,
    check_size,
    chosen_frame,
    required,
)

PADDED = "name a padding value: its pixels are shown as black"

_GREY = ("MONOCHROME1", "MONOCHROME2")
_PALETTE = "PALETTE COLOR"
_JPEG_2000_COLOUR = ("YBR_ICT", "YBR_RCT")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", *_JPEG_2000_COLOUR)
_REQUIRED = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
)
_DIRECTORY = "1.2.840.10008.1.3.10"
#: SOP classes whose pixels are no picture.
_NO_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map: its levels are measurements",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation: its pixels are labels",
    "1.2.840.10008.5.1.4.1.1.66.7": "a segmentation: its pixels are labels",
    "1.2.840.10008.5.1.4.1.1.481.2": "a dose grid of radiotherapy: its levels are doses",
}
#: Bytes that are inflated at a time.
_BLOCK = 2**22
_DEFLATED = "1.2.840.10008.1.2.1.99"
_GROUPS, _GROUPS_BIG_ENDIAN = (b"\x02\x00", b"\x08\x00"), b"\x00\x08"


def begins(start: bytes) -> bool:
    """Whether a file that begins with these 132 bytes is DICOM: by its marker, or plainly so without its preamble."""
    if start[128:] == b"DICM":
        return True
    element, kind = start[2:4], start[4:6]
    named = kind.isalpha() and kind.isupper()
    if start[:2] == _GROUPS_BIG_ENDIAN:
        return named and element[:1] == b"\0"
    implicit = int.from_bytes(start[4:8], "little") <= 64
    return start[:2] in _GROUPS and element[1:] == b"\0" and len(start) >= 16 and (named or implicit)


def header(file: BinaryIO, window: WindowChoice | None, frame: Frame | None = None) -> Header:
    """Shape and remarks of a DICOM image, without its pixels; raises ``ImageFileError`` with why it can't be read."""
    dataset, _ = _dataset(file, frame, header_only=True)
    grey = dataset.PhotometricInterpretation in _GREY
    if grey:
        _shown(dataset, window)
    remarks = {
        NOT_SQUARE: not _is_square(dataset),
        PADDED: grey and _padding(dataset) is not None,
        DEEP_COLOURS: dataset.PhotometricInterpretation in _COLOUR and int(dataset.BitsStored) > 8,
    }
    shape = (int(dataset.Rows), int(dataset.Columns), 1 if grey else 3)
    return Header(shape, frozenset(name for name, holds in remarks.items() if holds))


def pixels(file: BinaryIO, window: WindowChoice | None, frame: Frame | None = None) -> np.ndarray:
    """uint8 ``(H, W)`` or ``(H, W, 3)`` of a DICOM image; raises ``ImageFileError`` with why it can't be read."""
    dataset, index = _dataset(file, frame, header_only=False)
    photometric = dataset.PhotometricInterpretation
    stored = decoded(dataset, index)
    if photometric in _GREY:
        shown = _grey(stored, dataset, window)
    elif photometric == _PALETTE:
        shown = _through_palette(stored, dataset)
    else:
        deeper = max(0, int(dataset.BitsStored) - 8)
        shown = (stored >> deeper).astype(np.uint8) if deeper else stored
    shape = (int(dataset.Rows), int(dataset.Columns), *(() if photometric in _GREY else (3,)))
    if shown.dtype != np.uint8 or shown.shape != shape:
        raise ImageFileError(f"holds {shown.dtype} {shown.shape} in place of 8 bits {shape}")
    return shown


def _dataset(file: BinaryIO, frame: Frame | None, header_only: bool) -> tuple[Any, int]:
    """The data set, after all that its header can be refused for, and the index of the frame to read."""
    try:
        import pydicom
    except ImportError:
        raise ImageFileError("is a DICOM file: to read it, install pydicom (pip install pydicom)") from None
    _check_inflated(file)
    dataset = pydicom.dcmread(file, stop_before_pixels=header_only, force=True)
    _check_kind(dataset)
    if lacking := [name for name in _REQUIRED if dataset.get(name) in (None, "")]:
        raise ImageFileError(f"is not a whole DICOM image: it lacks {', '.join(lacking)}")
    check_size(int(dataset.Columns), int(dataset.Rows))
    index = chosen_frame(int(dataset.get("NumberOfFrames") or 1), frame)
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if index < len(groups):
        dataset.PerFrameFunctionalGroupsSequence = [groups[index]]
    _check_pixels(dataset)
    return dataset, index


def _check_inflated(file: BinaryIO) -> None:
    """Refuse a deflated data set that is too large once it is inflated, as a whole, before it is."""
    from pydicom.filereader import read_dataset

    file.seek(128)
    if file.read(4) == b"DICM":
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if meta.get("TransferSyntaxUID") == _DEFLATED:
            inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
            pending = file.read()
            while pending and not inflate.eof:
                size += len(inflate.decompress(pending, _BLOCK))
                pending = inflate.unconsumed_tail
                if size > LARGEST_FILE:
                    raise ImageFileError(f"is a deflated DICOM file of more than {LARGEST_FILE} bytes: save it smaller")
    file.seek(0)


def _check_kind(dataset: Any) -> None:
    """Refuse what is DICOM and no picture."""
    from pydicom.uid import UID

    if dataset.file_meta.get("MediaStorageSOPClassUID") == _DIRECTORY or "DirectoryRecordSequence" in dataset:
        raise ImageFileError("is a DICOMDIR, a list of other files: leave it out")
    sop_class = UID(str(dataset.get("SOPClassUID") or ""))
    if sop_class in _NO_PICTURES:
        raise ImageFileError(f"is {_NO_PICTURES[sop_class]}, not a picture")
    is_known_and_no_image = sop_class.name != sop_class and "Image" not in sop_class.name
    if not dataset.get("Rows") or is_known_and_no_image:
        kind = f"of the kind {sop_class.name!r}" if sop_class else "of no stated kind"
        raise ImageFileError(f"is a DICOM file {kind} that holds no picture: leave it out")


def _check_pixels(dataset: Any) -> None:
    """Refuse pixels that don't stand for brightness or colour in a way that is read."""
    photometric, bits = dataset.PhotometricInterpretation, int(dataset.BitsStored)
    samples = int(dataset.SamplesPerPixel)
    if photometric not in (*_GREY, _PALETTE, *_COLOUR) or (photometric in _COLOUR) != (samples == 3):
        raise ImageFileError(
            f"has the photometric interpretation {photometric} with {samples} samples per pixel, which is not read: "
            "save it as RGB or MONOCHROME2"
        )
    if int(dataset.BitsAllocated) not in (8, 16, 32) or not 1 <= bits <= int(dataset.BitsAllocated):
        raise ImageFileError(f"stores {bits} bits of {dataset.BitsAllocated}: only 8, 16 or 32 allocated bits are read")
    if int(dataset.get("HighBit") or bits - 1) != bits - 1:
        raise ImageFileError(f"has the highest bit {dataset.HighBit} of {bits} stored ones: save it with {bits - 1}")
    if photometric in _JPEG_2000_COLOUR and "JPEG 2000" not in _syntax_name(dataset):
        raise ImageFileError(f"is {photometric} and not JPEG 2000, which contradict each other: save it as RGB")
    if photometric == _PALETTE and "RedPaletteColorLookupTableDescriptor" not in dataset:
        raise ImageFileError("is PALETTE COLOR and brings no palette: save it as RGB")
    if dataset.get("PixelPresentation") in ("COLOR", "MIXED"):
        raise ImageFileError("shows some levels in colour (PixelPresentation): save it as RGB")
    if photometric == "MONOCHROME2" and dataset.get("PresentationLUTShape") == "INVERSE":
        raise ImageFileError("is MONOCHROME2 and asks to be shown inverted: save it one way")


def _syntax_name(dataset: Any) -> str:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return syntax.name if syntax else ""


def _grey(raw: np.ndarray, dataset: Any, window: WindowChoice | None) -> np.ndarray:
    padded = _is_padding(raw, dataset)
    unused = 8 * raw.dtype.itemsize - int(dataset.BitsStored)
    stored = (raw << unused) >> unused if unused > 0 else raw  # bits beyond those stored hold overlays, not levels
    show = _shown(dataset, window)
    shown = stored if show is None else blockwise(lambda block: show(_rescaled(block, dataset)), stored)
    shown = 255 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown
    return shown if padded is None else np.where(padded, np.uint8(0), shown)


def _shown(dataset: Any, window: WindowChoice | None) -> Shown | None:
    """How levels become 8 bits; None where they are to be shown as they are stored."""
    if window == "file" and (suggested := window_of_file(dataset)) is not None:
        return suggested
    if _is_plain(dataset):
        return None
    if window == "file":
        raise ImageFileError(
            "suggests no window for its display: set 'window' in the source, as {center, width} or {low, high}"
        )
    return _fitting(required(window), dataset).apply


def _is_plain(dataset: Any) -> bool:
    """Whether the stored levels are those to show, from 0 to 255."""
    eight = int(dataset.BitsStored) == int(dataset.BitsAllocated) == 8 and int(dataset.PixelRepresentation) == 0
    return eight and not _has_table(dataset) and _rescale(dataset) == (1, 0)


def _has_table(dataset: Any) -> bool:
    """Whether levels go through a table of the modality; one without entries stands for none."""
    tables = dataset.get("ModalityLUTSequence") or ()
    return any(table.get("LUTDescriptor") and table.get("LUTData") for table in tables)


def _fitting(window: Window, dataset: Any) -> Window:
    """The window; raises ``ImageFileError`` if it is narrower than a step between two levels: all is black or white."""
    slope = abs(_rescale(dataset)[0])
    if not _has_table(dataset) and slope > window.high - window.low:
        raise ImageFileError(
            f"has the slope {slope:g}: a step of its levels is larger than the window, from {window.low:g} to "
            f"{window.high:g}, so that it would be black and white alone"
        )
    return window


def _rescaled(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """Levels after the modality's table, or slope and intercept."""
    if _has_table(dataset):
        from pydicom.pixels.processing import apply_modality_lut

        return apply_modality_lut(stored, dataset)
    slope, intercept = _rescale(dataset)
    return stored.astype(np.float64) * slope + intercept


def _rescale(dataset: Any) -> tuple[float, float]:
    """Slope and intercept: of an enhanced file's functional groups, or of the file; 1 and 0 where there is none."""
    places = in_groups(dataset, "PixelValueTransformationSequence")
    slopes, intercepts = ([place.get(name) for place in places] for name in ("RescaleSlope", "RescaleIntercept"))
    try:
        slope = float(next((value for value in reversed(slopes) if value not in (None, "")), 1))
        intercept = float(next((value for value in reversed(intercepts) if value not in (None, "")), 0))
    except (TypeError, ValueError) as error:
        raise ImageFileError(f"has a slope or an intercept that is not a number ({error})") from error
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise ImageFileError(f"has the slope {slope:g} and the intercept {intercept:g}, which leave no picture")
    return slope, intercept


def _padding(dataset: Any) -> tuple[int, int] | None:
    """First and last stored value that stand for no tissue; None where there are none."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value in (None, ""):
        return None
    try:
        ends = sorted((int(value), int(value if limit in (None, "") else limit)))
    except (TypeError, ValueError) as error:
        raise ImageFileError(f"has a padding value that is not a number ({error})") from error
    return ends[0], ends[1]


def _is_padding(raw: np.ndarray, dataset: Any) -> np.ndarray | None:
    """Where an array of stored values is padding; values that are stated with the other sign count as well."""
    if (padding := _padding(dataset)) is None:
        return None
    whole = 2 ** (8 * raw.dtype.itemsize)
    first, length = padding[0], padding[1] - padding[0]
    is_padding: np.ndarray = (raw.astype(np.int64) - first) % whole <= length
    return is_padding


def _is_square(dataset: Any) -> bool:
    for name in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        sides = dataset.get(name)
        if sides is not None and len(sides) == 2 and min(map(float, sides)) > 0:
            return abs(float(sides[0]) / float(sides[1]) - 1) < 0.01
    return True


def _through_palette(indices: np.ndarray, dataset: Any) -> np.ndarray:
    """The colours of a palette, 8 bits: of wider entries the highest 8, unless they hold no more than 8."""
    from pydicom.pixels.processing import apply_color_lut

    entries, first, _ = dataset.RedPaletteColorLookupTableDescriptor
    for name in ("Red", "Green", "Blue"):
        data = dataset.get(f"{name}PaletteColorLookupTableData") or b""
        if entries % 2 and len(data) == entries + 1:  # 8 bits an entry, and a byte to make the length even
            setattr(dataset, f"{name}PaletteColorLookupTableData", data[:entries])
    colours = apply_color_lut(indices, dataset)[..., :3]
    if colours.dtype == np.uint8:
        return colours
    table = apply_color_lut(np.arange(first, first + (entries or 2**16)), dataset)
    return (colours >> 8 if table.max() > 255 else colours).astype(np.uint8)
