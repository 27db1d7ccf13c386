"""Digital artefacts: resolution, compression, elastic deformation."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import devices
from robustmedclip.corruptions.kernels.arrays import gaussian_kernel, scale_of, truncated
from robustmedclip.corruptions.kernels.kernel import device_form_of

if TYPE_CHECKING:
    from torch import Tensor

#: Bits after the point in Pillow's weights of a box.
_BOX_PRECISION = 22


def pixelate(image: np.ndarray, draws: Draws, fraction: float) -> np.ndarray:
    """Average over boxes down to `fraction` of the side, then enlarge the boxes again."""
    height, width = image.shape[:2]
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    columns, rows = boxes_along(width, fraction), boxes_along(height, fraction)
    if height > 2 * width:  # of such images Pillow 13 would average the columns first, which rounds otherwise
        picture = picture.resize((columns, height), Image.Resampling.BOX)
    boxes = np.asarray(picture.resize((columns, rows), Image.Resampling.BOX))
    return _widened(boxes, _nearest(width, columns)).take(_nearest(height, rows), 0)


def _widened(image: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Columns of an image uint8 ``(H, W)`` or ``(H, W, 3)``: of colours as four bytes, which are faster than three."""
    if image.ndim == 2:
        return image.take(columns, 1)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).view(np.uint32)[..., 0].take(columns, 1)
    return np.asarray(cv2.cvtColor(pixels[..., None].view(np.uint8), cv2.COLOR_RGBA2RGB))


@lru_cache(maxsize=64)
def _nearest(side: int, boxes: int) -> np.ndarray:
    """The box that each pixel along a side is nearest to."""
    numbers = np.arange(boxes, dtype=np.float32)[None]
    return np.asarray(cv2.resize(numbers, (side, 1), interpolation=cv2.INTER_NEAREST_EXACT)[0], np.intp)


@device_form_of(pixelate)
def _pixelate_on_device(images: "Tensor", draws: Sequence[Draws], fraction: float) -> "Tensor":
    # From Pillow 13 on, columns of tall images are averaged before rows: there results differ by a grey level.
    boxes = images.int()
    for axis in (2, 1):
        boxes = _box_means(boxes, axis, boxes_along(images.shape[axis], fraction))
    for axis in (1, 2):
        nearest = Image.fromarray(np.arange(boxes.shape[axis], dtype=np.int32)[None]).resize(
            (images.shape[axis], 1), Image.Resampling.NEAREST
        )
        boxes = boxes.index_select(axis, devices.moved(np.array(nearest)[0], images))
    return boxes.byte()


def boxes_along(side: int, fraction: float) -> int:
    """How many boxes a side is divided into."""
    return max(1, int(side * fraction))


def jpeg_compression(image: np.ndarray, draws: Draws, quality: int) -> np.ndarray:
    """Encode as JPEG of a quality, with 4:2:0 chroma subsampling, and decode: the same bytes as by Pillow."""
    settings = (cv2.IMWRITE_JPEG_QUALITY, quality)
    if image.shape[-1] == 1:
        return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, settings)[1], cv2.IMREAD_GRAYSCALE))
    _, stream = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    return cv2.cvtColor(np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)


def elastic_transform(image: np.ndarray, draws: Draws, strength: float) -> np.ndarray:
    """Displace pixels by a smooth random field (Simard et al. 2003).

    Both components are uniform within 1/200 of the height, smoothed by a Gaussian of 1/100 of each side
    cut off at three standard deviations, times `strength` at a side of 224.
    """
    height, width = image.shape[:2]
    vertical, horizontal = (gaussian_kernel(0.01 * side, int(0.03 * side + 0.5)) for side in (height, width))
    noise = draws.field((2, height, width)) * np.float32(0.005 * height * strength * scale_of(image.shape))
    down, across = (cv2.sepFilter2D(part, -1, horizontal, vertical, borderType=cv2.BORDER_REFLECT) for part in noise)
    rows, columns = down + np.arange(height, dtype=np.float32)[:, None], across + np.arange(width, dtype=np.float32)
    moved = cv2.remap(image.astype(np.float32), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return truncated(moved)


def _box_means(images: "Tensor", axis: int, boxes: int) -> "Tensor":
    """Means over boxes along an axis, int32, weighted and rounded as Pillow's resizing does."""
    import torch

    scale = images.shape[axis] / boxes
    centres = (np.arange(boxes) + 0.5) * scale
    starts, ends = ((centres + half + 0.5).astype(int) for half in (-0.5 * scale, 0.5 * scale))
    # Where a pixel's centre lies on the edge of a box, the rounding of these very terms decides.
    starts += (starts + 0.5 - centres) * (1 / scale) <= -0.5
    ends -= (ends - 0.5 - centres) * (1 / scale) > 0.5
    sums = torch.cumsum(images, axis, dtype=torch.int32)
    sums = torch.cat([torch.zeros_like(sums.narrow(axis, 0, 1)), sums], axis)
    sums = sums.index_select(axis, devices.moved(ends, images)) - sums.index_select(axis, devices.moved(starts, images))
    weights = devices.moved(np.rint(2**_BOX_PRECISION / (ends - starts)).astype(np.int32), images)
    return (
        sums.mul(weights.reshape(-1, *[1] * (3 - axis)))
        .add(2 ** (_BOX_PRECISION - 1))
        .bitwise_right_shift(_BOX_PRECISION)
    )
