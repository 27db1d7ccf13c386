"""Noise: drawn independently for every pixel and channel."""

from collections.abc import Sequence
from functools import lru_cache
from math import floor, lgamma
from typing import TYPE_CHECKING

import numpy as np

from robustmedclip.corruptions.draws import Draws, normal_quantiles
from robustmedclip.corruptions.kernels import devices
from robustmedclip.corruptions.kernels.arrays import truncated
from robustmedclip.corruptions.kernels.kernel import device_form_of

if TYPE_CHECKING:
    from torch import Tensor


def gaussian_noise(image: np.ndarray, draws: Draws, sigma: float) -> np.ndarray:
    """Add normal noise of standard deviation `sigma`, a fraction of full scale."""
    noise = draws.choices(floored_normal(sigma), image.shape)
    noise += image
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)


@device_form_of(gaussian_noise)
def _gaussian_noise_on_device(images: "Tensor", draws: Sequence[Draws], sigma: float) -> "Tensor":
    added = devices.taken(floored_normal(sigma), devices.bits16(images.shape[1:], draws, images))
    return added.add_(images).clamp_(0, 255).byte()


def speckle_noise(image: np.ndarray, draws: Draws, sigma: float) -> np.ndarray:
    """Multiply by a normal factor of mean 1 and standard deviation `sigma`."""
    factor = draws.choices(factors(sigma), image.shape)
    factor *= image
    return truncated(factor)


@device_form_of(speckle_noise)
def _speckle_noise_on_device(images: "Tensor", draws: Sequence[Draws], sigma: float) -> "Tensor":
    return devices.truncated(
        devices.taken(factors(sigma), devices.bits16(images.shape[1:], draws, images)).mul_(images)
    )


def shot_noise(image: np.ndarray, draws: Draws, photons: float) -> np.ndarray:
    """Count photons: Poisson of mean ``photons * value``, divided by `photons`, with values in [0, 1]."""
    levels, thresholds, aliases = photon_table(photons)
    bits = draws.bits32(image.shape)
    shift = np.uint32(32 - (len(levels) - 1).bit_length())
    outcome = bits >> shift
    cell = image * np.uint32(len(levels)) + outcome
    kept = ((bits & ((np.uint32(1) << shift) - np.uint32(1))) < thresholds.take(cell)).view(np.int8)
    # What is kept is random: to choose by bits takes half of the time of np.where.
    counted, alias = levels.take(outcome), aliases.take(cell)
    return np.asarray(alias ^ ((alias ^ counted) & np.negative(kept, out=kept).view(np.uint8)))


@device_form_of(shot_noise)
def _shot_noise_on_device(images: "Tensor", draws: Sequence[Draws], photons: float) -> "Tensor":
    levels, thresholds, aliases = photon_table(photons)
    drawn = [draw.bits32(images.shape[1:]).view(np.int32) for draw in draws]
    bits = devices.moved(drawn, images).long() & 0xFFFFFFFF
    shift = 32 - (len(levels) - 1).bit_length()
    outcome = bits >> shift
    cell = images.int() * len(levels) + outcome
    kept = (bits & ((1 << shift) - 1)) < devices.taken(thresholds.astype(np.int64), cell)
    return devices.taken(levels, outcome).where(kept, devices.taken(aliases, cell))


def impulse_noise(image: np.ndarray, draws: Draws, fraction: float) -> np.ndarray:
    """Replace a `fraction` of all values, half by 0 and half by 255 (salt and pepper)."""
    bits, limit = draws.bits16(image.shape), pepper_limit(fraction)
    kept = (bits >= limit).view(np.int8)
    salt = (bits >= 65536 - limit).view(np.int8)
    return (image & np.negative(kept, out=kept).view(np.uint8)) | np.negative(salt, out=salt).view(np.uint8)


@device_form_of(impulse_noise)
def _impulse_noise_on_device(images: "Tensor", draws: Sequence[Draws], fraction: float) -> "Tensor":
    bits, limit = devices.bits16(images.shape[1:], draws, images), pepper_limit(fraction)
    return images.masked_fill(bits < limit, 0).masked_fill_(bits >= 65536 - limit, 255)


def pepper_limit(fraction: float) -> int:
    """How many of the 65536 values of random bits mean pepper; as many mean salt."""
    return round(fraction / 2 * 65536)


@lru_cache(maxsize=64)
def floored_normal(sigma: float) -> np.ndarray:
    """Normal noise in grey levels for each value of 16 random bits, rounded down, int16 ``(65536,)``."""
    # Truncating x + n for a whole x >= 0 is adding floor(n) and clipping at 0.
    return np.floor(normal_quantiles() * np.float32(255 * sigma)).astype(np.int16)


@lru_cache(maxsize=64)
def factors(sigma: float) -> np.ndarray:
    """Normal factor of mean 1 for each value of 16 random bits, float32 ``(65536,)``."""
    return 1 + np.float32(sigma) * normal_quantiles()


@lru_cache(maxsize=64)
def photon_table(photons: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Alias table (Walker 1977) of the truncated Poisson of every grey level.

    Returns
    -------
    levels : ndarray
        uint8 ``(K,)``: grey level of each photon count, K a power of two.
    thresholds, aliases : ndarray
        uint32 and uint8 ``(256 * K,)``: for grey level x, cell k is count k if the rest of the random bits
        lies below ``thresholds[x * K + k]``, and grey level ``aliases[x * K + k]`` otherwise.
    """
    counts = floor(photons) + 2  # counts above `photons` all mean white
    size = 1 << max(1, (counts - 1).bit_length())
    levels = np.minimum(255 * np.arange(size) / photons + 1e-9, 255).astype(np.uint8)
    factorials = np.array([lgamma(k + 1) for k in range(counts)])
    thresholds, aliases = np.zeros((256, size), np.uint32), np.zeros((256, size), np.uint8)
    scale = 2**32 // size
    for grey in range(256):
        mean = photons * grey / 255
        probabilities = np.zeros(size)
        if grey == 0:
            probabilities[0] = 1
        else:
            probabilities[:counts] = np.exp(np.arange(counts) * np.log(mean) - mean - factorials)
            probabilities[counts - 1] = max(0, 1 - probabilities[: counts - 1].sum())
        kept, alias = _aliases(probabilities)
        thresholds[grey] = np.minimum(np.rint(kept * scale), scale)
        aliases[grey] = levels[alias]
    return levels, thresholds.ravel(), aliases.ravel()


def _aliases(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vose's (1991) construction: what each of K equal cells keeps for itself, and who takes the rest."""
    size = len(probabilities)
    kept, alias = (probabilities * size / probabilities.sum()).tolist(), list(range(size))
    small = [i for i in range(size) if kept[i] < 1]
    large = [i for i in range(size) if kept[i] >= 1]
    while small and large:
        poor, rich = small.pop(), large[-1]
        alias[poor] = rich
        kept[rich] -= 1 - kept[poor]
        if kept[rich] < 1:
            small.append(large.pop())
    for full in (*small, *large):
        kept[full] = 1.0
    return np.array(kept), np.array(alias)
