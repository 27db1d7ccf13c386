"""Digital artefacts: resolution, compression, elastic deformation."""

import cv2
import numpy as np
from PIL import Image

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.arrays import gaussian_kernel, scale_of, truncated


def pixelate(image: np.ndarray, draws: Draws, share: float) -> np.ndarray:
    """Average over boxes down to `share` of the side, then enlarge the boxes again."""
    height, width = image.shape[:2]
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    # In two steps: Pillow 13 does the height first where it is more than twice the width, which rounds otherwise.
    narrow = picture.resize((boxes_along(width, share), height), Image.Resampling.BOX)
    boxes = narrow.resize((boxes_along(width, share), boxes_along(height, share)), Image.Resampling.BOX)
    return cv2.resize(np.asarray(boxes), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def boxes_along(side: int, share: float) -> int:
    """How many boxes a side is divided into."""
    return max(1, int(side * share))


def jpeg_compression(image: np.ndarray, draws: Draws, quality: int) -> np.ndarray:
    """Encode as JPEG of a quality, with 4:2:0 chroma subsampling, and decode: the same bytes as by Pillow."""
    settings = (cv2.IMWRITE_JPEG_QUALITY, quality)
    if image.shape[-1] == 1:
        return cv2.imdecode(cv2.imencode(".jpg", image, settings)[1], cv2.IMREAD_GRAYSCALE)
    _, stream = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    return cv2.cvtColor(cv2.imdecode(stream, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def elastic_transform(image: np.ndarray, draws: Draws, strength: float) -> np.ndarray:
    """Displace pixels by a smooth random field (Simard et al. 2003).

    Both components are uniform within 1/200 of the height, smoothed by a Gaussian of 1/100 of each side
    cut off at three standard deviations, times `strength` at a side of 224.
    """
    height, width = image.shape[:2]
    vertical, horizontal = (gaussian_kernel(0.01 * side, int(0.03 * side + 0.5)) for side in (height, width))
    noise = draws.field((2, height, width)) * np.float32(0.005 * height * strength * scale_of(image))
    rows, columns = (cv2.sepFilter2D(part, -1, horizontal, vertical, borderType=cv2.BORDER_REFLECT) for part in noise)
    rows += np.arange(height, dtype=np.float32)[:, None]
    columns += np.arange(width, dtype=np.float32)
    moved = cv2.remap(image.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return truncated(moved)
