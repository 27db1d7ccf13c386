"""An image of each data set under each corruption at each severity, for the viewer of the page."""

import base64
from collections.abc import Mapping
from io import BytesIO

import numpy as np
from PIL import Image

from robustmedclip.images.conditions import CLEAN
from robustmedclip.images.corrupted import CorruptedSet

_THUMBNAIL = 160
_QUALITY = 80


def gallery(sets: Mapping[str, CorruptedSet]) -> dict[str, dict[str, dict[str, str]]]:
    """The first test image of each data set as data URLs: by data set, corruption and severity.

    The clean one is that of the corruption ``clean`` at severity ``0``.
    """
    shown: dict[str, dict[str, dict[str, str]]] = {}
    for name, images in sets.items():
        corruptions = shown.setdefault(name, {})
        for condition in images.conditions:
            image = next(images.read(condition, 1))[0]
            severities = corruptions.setdefault(condition.corruption, {})
            severities["0" if condition == CLEAN else str(condition.severity)] = webp_url(image)
    return shown


def webp_url(pixels: np.ndarray) -> str:
    """A WebP thumbnail of an image uint8 ``(H, W, 1 or 3)`` as a data URL, a tenth of the size of a PNG."""
    picture = Image.fromarray(np.array(pixels).repeat(3, -1) if pixels.shape[-1] == 1 else np.array(pixels))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    stream = BytesIO()
    picture.save(stream, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
