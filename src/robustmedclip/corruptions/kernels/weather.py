"""Weather: layers of snow, frost, fog and splashes, made on the reference grid and brought to the size of the image."""

from functools import lru_cache
from math import ceil

import cv2
import numpy as np

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.arrays import (
    in_channels,
    luminance,
    painted,
    reference_grid,
    resized,
    tinted,
    truncated,
)
from robustmedclip.corruptions.kernels.blur import smeared, smoothed

WATER = (175, 238, 238)
MUD = (63, 42, 20)

#: Mean colour and standard deviation of the luminance of the five pictures that ImageNet-C takes its frost from.
FROST = (
    ((78, 149, 166), 18),
    ((201, 205, 214), 22),
    ((201, 205, 214), 22),
    ((138, 153, 165), 29),
    ((112, 123, 135), 43),
)
_FROST_SHAPE = (480, 720)


def snow(image: np.ndarray, draws: Draws, snow: tuple[float, ...]) -> np.ndarray:
    """Whiten the image and add falling flakes, twice, the second time turned by 180 degrees.

    `snow` is (mean, standard deviation, size, threshold, radius, sigma, weight of the image): flakes are the
    part above a threshold of a normal field enlarged by `size`, smeared along U(-135, -45) degrees.
    """
    mean, deviation, size, threshold, radius, sigma, weight = snow
    height, width = reference_grid(image)
    crop = (ceil(height / size), ceil(width / size))
    seeds = draws.normal(crop) * np.float32(deviation) + np.float32(mean)
    flakes = _enlarged(seeds, size)
    flakes *= flakes >= threshold
    flakes = smeared(np.clip(flakes, 0, 1), int(radius), sigma, draws.uniform(-135, -45))
    flakes = resized(np.rint(255 * flakes[:height, :width]), image)
    grey = luminance(image)
    snowed = np.float32(weight) * image
    snowed += np.float32(1 - weight) * np.maximum(image, in_channels(1.5 * grey + 127.5, image.shape[-1]))
    snowed += in_channels(flakes + flakes[::-1, ::-1], image.shape[-1])
    return truncated(snowed)


def frost(image: np.ndarray, draws: Draws, weights: tuple[float, float]) -> np.ndarray:
    """Add a random crop of a frost texture. `weights` are those of the image and of the frost.

    The original's photographs are replaced by procedural textures of the same mean colour and contrast.
    """
    height, width = reference_grid(image)
    texture = frost_textures()[draws.integer(0, len(FROST) - 1)]
    enlargement = max(1, height / texture.shape[0], width / texture.shape[1])
    if enlargement > 1:
        size = (ceil(texture.shape[1] * enlargement), ceil(texture.shape[0] * enlargement))
        texture = cv2.resize(texture, size, interpolation=cv2.INTER_CUBIC)
    top = draws.integer(0, texture.shape[0] - height)
    left = draws.integer(0, texture.shape[1] - width)
    crop = texture[top : top + height, left : left + width]
    if image.shape[-1] == 1:
        crop = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    crop = resized(crop, image).reshape(image.shape)
    return truncated(cv2.addWeighted(image, weights[0], crop, weights[1], 0, dtype=cv2.CV_32F).reshape(image.shape))


@lru_cache(maxsize=1)
def frost_textures() -> tuple[np.ndarray, ...]:
    """Five textures of ice crystals, uint8 ``(480, 720, 3)``; the same in every run."""
    return tuple(_frost_texture(index, *look) for index, look in enumerate(FROST))


def fog(image: np.ndarray, draws: Draws, fog: tuple[float, float]) -> np.ndarray:
    """Add a plasma cloud and rescale to the image's maximum. `fog` is (strength, decay of the roughness)."""
    strength, decay = fog
    height, width = image.shape[:2]
    side = 1 << (max(height, width) - 1).bit_length()
    cloud = plasma(draws, side, decay)[:height, :width]
    brightest = float(image.max()) / 255
    fogged = in_channels(cloud * np.float32(255 * strength), image.shape[-1])
    fogged = (fogged + image) * np.float32(brightest / (brightest + strength))
    return truncated(fogged)


def plasma(draws: Draws, side: int, decay: float) -> np.ndarray:
    """Fractal height map by the diamond-square algorithm (Fournier et al. 1982), periodic, float32 in [0, 1].

    The random part of a midpoint is uniform within the square of a roughness that starts at 100 and is
    divided by `decay` from one scale to the next. `side` is a power of two.
    """
    heights = np.zeros((side + 1, side + 1), np.float32)  # the last row and column repeat the first ones
    step, roughness = side, 100.0
    while step >= 2:
        half, count = step // 2, side // step
        known = heights[::step, ::step]
        corners, right, below = known[:-1, :-1], known[:-1, 1:], known[1:, :-1]
        # Three fields of one number each take a word each.
        fields = draws.field((3, count, count)) if count > 1 else np.stack([draws.field((1, 1)) for _ in range(3)])
        fields *= np.float32(roughness**2)
        edges = known[:-1] + known[1:]
        middle = _midpoints(fields[0], edges[:, :-1], edges[:, 1:])
        above, left = np.concatenate([middle[-1:], middle[:-1]]), np.concatenate([middle[:, -1:], middle[:, :-1]], 1)
        heights[half::step, half::step] = middle
        heights[:-1:step, half::step] = _midpoints(fields[1], middle, above, corners, right)
        heights[half::step, :-1:step] = _midpoints(fields[2], middle, left, corners, below)
        heights[-1], heights[:, -1] = heights[0], heights[:, 0]
        step, roughness = half, roughness / decay
    plasma = np.asarray(heights[:-1, :-1] - heights.min())
    plasma /= plasma.max()
    return plasma


def _midpoints(noise: np.ndarray, *parts: np.ndarray) -> np.ndarray:
    """A quarter of the sum of the parts, and noise."""
    heights = np.asarray(parts[0] + parts[1])
    for part in parts[2:]:
        heights += part
    heights /= 4
    heights += noise
    return heights


def spatter(image: np.ndarray, draws: Draws, spatter: tuple[float, float, float, float, float, bool]) -> np.ndarray:
    """Splash water or mud on the lens.

    `spatter` is (mean, standard deviation, smoothing, threshold, strength or smoothing, whether mud): drops are
    the part above a threshold of a smoothed normal field.
    """
    mean, deviation, smoothing, threshold, last, muddy = spatter
    liquid = draws.normal(reference_grid(image)) * np.float32(deviation) + np.float32(mean)
    liquid = smoothed(liquid, smoothing)
    channels = image.shape[-1]
    if muddy:
        mud = smoothed((liquid > threshold).astype(np.float32), last)
        mud *= mud >= 0.8
        mask = resized(mud, image)
        return truncated(image * in_channels(1 - mask, channels) + painted(mask, tinted(MUD, channels)))
    liquid *= liquid >= threshold
    mask = resized(np.float32(last) * _drops(liquid), image)
    return truncated(image + np.clip(painted(mask, tinted(WATER, channels)), 0, 255))


def _drops(liquid: np.ndarray) -> np.ndarray:
    """Light and shade of drops, float32 with maximum 1: the liquid times an embossed map of distances to its edges."""
    liquid = (255 * liquid).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
    embossed = cv2.filter2D(distance, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32))
    drops = liquid * cv2.blur(embossed, (3, 3)).astype(np.float32)
    return np.asarray(drops / max(drops.max(), 1))


def _enlarged(small: np.ndarray, factor: float) -> np.ndarray:
    """Bilinear enlargement, corners on corners."""
    height, width = (round(side * factor) for side in small.shape)
    down, across = ((s - 1) / (b - 1) for s, b in zip(small.shape, (height, width), strict=True))
    matrix = np.array([[across, 0, 0], [0, down, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(small, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _frost_texture(index: int, colour: tuple[int, int, int], contrast: float) -> np.ndarray:
    """Feathers of ice over a mottled pane."""
    draws = Draws("frost", index)
    height, width = _FROST_SHAPE
    layers = [
        (_standardised(cv2.GaussianBlur(draws.normal(_FROST_SHAPE), (0, 0), sigma)) * weight)
        for sigma, weight in ((0.9, 0.45), (4, 0.4), (16, 0.4), (60, 0.6))
    ]
    feathers: np.ndarray = np.zeros(_FROST_SHAPE, np.float32)
    for _ in range(110 + 25 * index):
        root = np.array([draws.uniform(0, width), draws.uniform(0, height)])
        _draw_feather(feathers, draws, root, draws.uniform(0, 2 * np.pi), draws.uniform(30, 120))
    feathers = cv2.GaussianBlur(feathers, (0, 0), 0.7)
    pattern = _standardised(_standardised(np.asarray(sum(layers))) + 0.9 * _standardised(feathers))
    texture = np.array(colour, np.float32) + np.float32(contrast) * pattern[..., None]
    return np.clip(texture, 0, 255).astype(np.uint8)


def _draw_feather(layer: np.ndarray, draws: Draws, root: np.ndarray, angle: float, length: float) -> None:
    """Draw a stem with needles on both sides that get shorter towards its tip."""
    direction = np.array([np.cos(angle), np.sin(angle)])
    spread, brightness = draws.uniform(0.5, 1.1), draws.uniform(0.4, 1)
    _draw_line(layer, root, root + length * direction, brightness)
    for distance in np.arange(4, length, 4):
        foot = root + distance * direction
        needle = (length - distance) * draws.uniform(0.2, 0.5)
        for side in (-spread, spread):
            tip = foot + needle * np.array([np.cos(angle + side), np.sin(angle + side)])
            _draw_line(layer, foot, tip, brightness * draws.uniform(0.5, 1))


def _draw_line(layer: np.ndarray, start: np.ndarray, end: np.ndarray, brightness: float) -> None:
    cv2.line(layer, tuple(start.astype(int).tolist()), tuple(end.astype(int).tolist()), brightness, 2)


def _standardised(layer: np.ndarray) -> np.ndarray:
    return np.asarray((layer - layer.mean()) / layer.std())
