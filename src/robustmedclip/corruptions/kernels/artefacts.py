"""Artefacts of medical imaging: stains, bubbles, vignettes and burnt-in text, with lengths in pixels at 224."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import devices
from robustmedclip.corruptions.kernels.arrays import in_channels, reference_grid, resized, tinted, truncated
from robustmedclip.corruptions.kernels.kernel import device_form_of

if TYPE_CHECKING:
    from torch import Tensor

_MARGIN = 10
_STAINS = 10
_BUBBLE, _RIM, _RIM_WIDTH = 100, 130, 2


def stain_deposit(image: np.ndarray, draws: Draws, stains: tuple[int, int]) -> np.ndarray:
    """Cover the image with 1 to ``stains[0]`` black stains of a side of ``stains[1]`` pixels."""
    largest, side = stains
    layer = np.zeros(reference_grid(image), np.float32)
    for _ in range(draws.integer(1, largest)):
        stain = stain_masks(side)[draws.integer(0, _STAINS - 1)]
        top, left = (draws.integer(_MARGIN, extent - side - _MARGIN) for extent in layer.shape)
        np.maximum(layer[top : top + side, left : left + side], stain, out=layer[top : top + side, left : left + side])
    return truncated(image * in_channels(1 - resized(layer, image), image.shape[-1]))


@lru_cache(maxsize=4)
def stain_masks(side: int) -> np.ndarray:
    """Ten blobs with ragged edges, float32 0 or 1 ``(10, side, side)``; the same in every run.

    They cover 55 to 80 % of their square; those of medmnistc cover 46 to 85 %.
    """
    position = (np.arange(side) + 0.5) / side - 0.5
    radius = np.hypot(position, position[:, None])
    masks = []
    for index in range(_STAINS):
        noise = cv2.GaussianBlur(Draws("stain", side, index).normal((side, side)), (0, 0), side / 10)
        shape = radius - 0.12 * noise / noise.std() * np.minimum(1, 2 * (0.5 - np.minimum(radius, 0.5)) + 0.25)
        masks.append(shape <= np.quantile(shape, 0.55 + 0.25 * index / (_STAINS - 1)))
    return np.stack(masks).astype(np.float32)


def bubble(image: np.ndarray, draws: Draws, bubbles: tuple[int, int]) -> np.ndarray:
    """Lay 7 to ``bubbles[1]`` translucent white disks of a radius of 3 to ``bubbles[0]`` pixels over the image.

    Each has a brighter rim; where they overlap, the later one replaces the earlier.
    """
    largest, most = bubbles
    height, width = reference_grid(image)
    layer = Image.new("L", (width, height))
    pen = ImageDraw.Draw(layer)  # its disks are half a pixel larger than OpenCV's
    for _ in range(draws.integer(7, most)):
        radius = draws.integer(3, largest)
        x, y = draws.integer(radius, width - radius), draws.integer(radius, height - radius)
        for reach, alpha in ((radius + _RIM_WIDTH, _RIM), (radius, _BUBBLE)):
            pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=alpha)
    opacity = in_channels(resized(np.asarray(layer, np.float32), image) / 255, image.shape[-1])
    return truncated(image * (1 - opacity) + 255 * opacity + 0.5)


def black_corner(image: np.ndarray, draws: Draws, fraction: float) -> np.ndarray:
    """Blacken what lies outside a centred disk, whose radius is `fraction` of half the shorter side."""
    return cv2.bitwise_and(image, image, mask=centred_disk(image.shape[0], image.shape[1], fraction))


@device_form_of(black_corner)
def _black_corner_on_device(images: "Tensor", draws: Sequence[Draws], fraction: float) -> "Tensor":
    return images * devices.moved(centred_disk(images.shape[1], images.shape[2], fraction), images)[..., None]


def centred_disk(height: int, width: int, fraction: float) -> np.ndarray:
    """1 within `fraction` of half the shorter side from the centre and 0 elsewhere, uint8 ``(height, width)``."""
    centre = (width // 2, height // 2)
    radius = int(min(*centre, width - centre[0], height - centre[1]) * fraction)
    return cv2.circle(np.zeros((height, width), np.uint8), centre, radius, 1, -1)


def characters(image: np.ndarray, draws: Draws, text: tuple[int, int, float]) -> np.ndarray:
    """Write 1 to ``text[0]`` words of 3 to ``text[1]`` letters in random colours, scaled by 0.14 to ``text[2]``."""
    words, letters, largest = text
    shape = reference_grid(image)
    written = image.astype(np.float32)
    for _ in range(draws.integer(1, words)):
        length = draws.integer(3, letters)
        size = draws.integer(14, round(100 * largest)) / 100
        word = "".join(chr(ord("a") + draws.integer(0, 25)) for _ in range(length))
        place = (
            draws.integer(_MARGIN, shape[1] - 8 * length),
            draws.integer(_MARGIN, shape[0] - _MARGIN),
        )
        red, green, blue = (draws.integer(0, 255) for _ in range(3))
        colour = tinted((red, green, blue), image.shape[-1])
        layer = cv2.putText(np.zeros(shape, np.uint8), word, place, cv2.FONT_HERSHEY_DUPLEX, size, 255, 1, cv2.LINE_AA)
        alpha = in_channels(resized(layer.astype(np.float32), image) / 255, image.shape[-1])
        written += alpha * (colour - written)
    return truncated(written + 0.5)
