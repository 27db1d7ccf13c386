"""Digital artefacts: resolution, compression, elastic deformation."""

from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from robustmedclip.corruptions.arrays import gaussian_kernel, scale_of, truncated
from robustmedclip.corruptions.draws import Draws


def pixelate(image: np.ndarray, draws: Draws, share: float) -> np.ndarray:
    """Average over boxes down to `share` of the side, then enlarge the boxes again."""
    height, width = image.shape[:2]
    boxes = _picture(image).resize((max(1, int(width * share)), max(1, int(height * share))), Image.Resampling.BOX)
    return np.asarray(boxes.resize((width, height), Image.Resampling.NEAREST))


def jpeg_compression(image: np.ndarray, draws: Draws, quality: int) -> np.ndarray:
    """Encode as JPEG with Pillow's settings for a quality, and decode."""
    stream = BytesIO()
    _picture(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def elastic_transform(image: np.ndarray, draws: Draws, strength: float) -> np.ndarray:
    """Displace pixels by a smooth random field (Simard et al. 2003).

    Both components are uniform within 1/200 of the height, smoothed by a Gaussian of 1/100 of each side
    cut off at three standard deviations, times `strength` at a side of 224.
    """
    height, width = image.shape[:2]
    vertical, horizontal = (gaussian_kernel(0.01 * side, int(0.03 * side + 0.5)) for side in (height, width))
    noise = draws.field((2, height, width)) * np.float32(0.005 * height * strength * scale_of(image))
    rows, columns = (
        cv2.sepFilter2D(part, -1, horizontal, vertical, borderType=cv2.BORDER_REFLECT) for part in noise
    )
    rows += np.arange(height, dtype=np.float32)[:, None]
    columns += np.arange(width, dtype=np.float32)
    moved = cv2.remap(image.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return truncated(moved)


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)

