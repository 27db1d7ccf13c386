"""What happens to the lines of k-space, and to the coils, of magnetic resonance imaging.

Lines of k-space are its rows: the phase is encoded from top to bottom. The image is the magnitude of what is measured.
"""

from math import pi
from typing import Any

import numpy as np
import scipy.fft

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.formula import Grid, formula

#: Fraction of the lines on each side of the centre that motion spares.
_PROTECTED = 1 / 20


def _transforms(xp: Any) -> Any:
    """The module of Fourier transforms; SciPy's keeps float32, and what it planned for a size."""
    return scipy.fft if xp is np else xp.fft


@formula(lambda draws, strength, shape: (strength, draws.uniform(0.3, 0.7), draws.uniform(0.3, 0.7)))
def bias_field(xp: Any, image: Any, grid: Grid, strength: float, down: float, across: float) -> Any:
    """Brighten near a coil, by 1 + strength exp(-d^2 / (2 (0.3 side)^2))."""
    return image * (1 + strength * xp.exp(-grid.distance2(down, across) / (2 * 0.3**2)))


def _weights(draws: Draws, strength: float, shape: tuple[int, ...]) -> tuple[np.ndarray]:
    """Weights of the lines from the centre outwards, the same on both sides, ``(H // 2 + 1, 1, 1)``."""
    every = draws.integer(4, 10)
    weights = np.ones((shape[0] // 2 + 1, 1, 1), np.float32)
    weights[every::every] = 1 - strength
    return (weights,)


@formula(_weights)
def ghosting(xp: Any, image: Any, grid: Grid, weights: np.ndarray) -> Any:
    """Weaken every 4th to 10th line of k-space by a fraction: as many ghosts, as of motion that repeats itself.

    Lines count from the centre, which stays, to both sides.
    """
    fft = _transforms(xp)
    return xp.abs(fft.irfft(fft.rfft(image, None, 0) * grid.moved(weights), len(image), 0))


def _translations(draws: Draws, motion: tuple[float, float], shape: tuple[int, ...]) -> tuple[np.ndarray]:
    """The phase ramp of every line, complex64 ``(H, W, 1)``."""
    most, fraction = motion[0] * min(shape[:2]) / 224, motion[1]
    frequency = np.fft.fftfreq(shape[0])
    moved = (draws.bits16(shape[:1]) < 65536 * fraction) & (np.abs(frequency) > _PROTECTED / 2)
    translation = np.where(moved, draws.field(shape[:1]) * np.float32(most), 0)
    ramp = np.exp(-2j * pi * np.fft.fftfreq(shape[1]) * translation[:, None])
    return (ramp[..., None].astype(np.complex64),)


@formula(_translations)
def motion(xp: Any, image: Any, grid: Grid, ramps: np.ndarray) -> Any:
    """Move the patient sideways while some lines are measured: a phase ramp over each of them.

    The value is the largest translation in pixels at 224 and the fraction of the lines that are moved, but for those in
    the middle twentieth. Ramps change phases alone: the energy of k-space stays.
    """
    fft = _transforms(xp)
    return xp.abs(fft.ifft2(fft.fft2(image, None, (0, 1)) * grid.moved(ramps), None, (0, 1)))


@formula(lambda draws, strength, shape: (strength, draws.uniform(0.05, 0.45), draws.uniform(-0.45, 0.45)))
def spike(xp: Any, image: Any, grid: Grid, strength: float, down: float, across: float) -> Any:
    """Add `strength` times the largest value to one point of k-space: a wave across the image (herringbone).

    The largest value of an image without negative values is its sum, so that the amplitude of the wave, which is
    complex, is `strength` times the mean.
    """
    phase = 2 * pi * (down * (grid.rows - 0.5) + across * (grid.columns - 0.5))
    amplitude = strength * image.mean()
    return xp.sqrt((image + amplitude * xp.cos(phase)) ** 2 + (amplitude * xp.sin(phase)) ** 2)
