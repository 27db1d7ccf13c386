"""The window that a DICOM file suggests for its display: levels to 8 bits, as a radiologist's viewer opens it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from robustmedclip.io.sources.levels import ImageFileError, Window

#: uint8 of levels after slope and intercept, of their shape.
Shown = Callable[[np.ndarray], np.ndarray]


def in_groups(dataset: Any, sequence: str) -> list[Any]:
    """The data set, and after it the items of a sequence in its functional groups, those of the frame last."""
    places = [dataset]
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(groups) or ():
            places += group.get(sequence) or ()
    return places


def window_of_file(dataset: Any) -> Shown | None:
    """What the file suggests first: a lookup table, or a window (PS3.3 C.11.2); None if it suggests nothing.

    Raises
    ------
    ImageFileError
        If it can't be followed.
    """
    tables = [table for table in dataset.get("VOILUTSequence") or () if table.get("LUTData")]
    if tables:
        return _through_table(tables[0])
    places = [
        place for place in in_groups(dataset, "FrameVOILUTSequence") if place.get("WindowWidth") not in (None, "")
    ]
    if not places:
        return None
    try:
        center, width = (_first(places[-1].get(name)) for name in ("WindowCenter", "WindowWidth"))
    except (TypeError, ValueError) as error:
        raise ImageFileError(f"suggests a window that is not a number ({error})") from error
    function = str(places[-1].get("VOILUTFunction") or "LINEAR")
    if function == "SIGMOID" and width > 0:
        return lambda levels: np.rint(255 / (1 + np.exp(-4 * (levels - center) / width))).astype(np.uint8)
    if function == "LINEAR_EXACT" and width > 0:
        return Window(center - width / 2, center + width / 2).apply
    if function == "LINEAR" and width > 1:
        return Window.parse({"center": center, "width": width}).apply
    raise ImageFileError(f"suggests the window {center:g}, {width:g} ({function}), which shows nothing: set your own")


def _first(value: Any) -> float:
    """The first of several values, as a number."""
    return float(value if isinstance(value, str | float | int) else value[0])


def _through_table(table: Any) -> Shown:
    entries, first, bits = (int(value) for value in table.LUTDescriptor)
    kind = np.dtype("u1" if isinstance(table.LUTData, bytes) and len(table.LUTData) == entries else "<u2")
    data = table.LUTData
    values = np.frombuffer(data, kind) if isinstance(data, bytes) else np.asarray(data, np.uint16)
    shown = np.rint(values * (255 / (2**bits - 1))).clip(0, 255).astype(np.uint8)
    return lambda levels: shown[(np.rint(levels).astype(np.int64) - first).clip(0, len(shown) - 1)]
