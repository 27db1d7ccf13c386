"""What sound does on its way through tissue, and what the machine makes of it.

The probe is above the image, its centre over that of the image; what is displayed is the logarithm of the echo.
"""

from typing import Any

from robustmedclip.corruptions.draws import Draws, normal_quantiles
from robustmedclip.corruptions.kernels.formula import Grid, formula

#: Range of the echoes that are displayed, in dB.
DYNAMIC_RANGE = 60.0
#: Width of the band of haze, as a fraction of the image.
HAZE_WIDTH = 0.1
#: Standard deviations of the speckle's correlation along and across the beam, in pixels at 224.
SPECKLE_SIZE = (0.6, 1.2)
#: Mean of the absolute value of a complex normal number whose parts have variance 1.
_RAYLEIGH_MEAN = 1.2533141


@formula(lambda draws, rate, shape: (rate,))
def depth_attenuation(xp: Any, image: Any, grid: Grid, rate: float) -> Any:
    """Weaken by exp(-rate d), d the distance from the centre of the probe in units of the image's sides."""
    return image * xp.exp(-rate * grid.from_probe)


@formula(lambda draws, depth, shape: (depth, draws.uniform(0.25, 0.5), draws.uniform(0.25, 0.75)))
def acoustic_shadow(xp: Any, image: Any, grid: Grid, depth: float, top: float, centre: float) -> Any:
    """Weaken by 1 - depth (1 - exp(-3 d)) behind a reflector, d from 0 there to 1 at the bottom.

    The shadow is 0.08 + 0.15 depth of the width wide, widens by 30 %, and has soft edges.
    """
    below = xp.clip((grid.down - top) / (1 - top), 0, 1)
    half = (0.04 + 0.075 * depth) * (1 + 0.3 * below)
    inside = xp.clip((half * 4 / 3 - xp.abs(grid.across - centre)) / (half / 3), 0, 1)
    return image * (1 - depth * (1 - xp.exp(-3 * below)) * inside)


@formula(
    lambda draws, strength, shape: (strength, draws.uniform(0.05, 0.95)),
    fields=(normal_quantiles,),
    correlation=SPECKLE_SIZE,
)
def haze(xp: Any, image: Any, grid: Grid, strength: float, radius: float, noise: Any) -> Any:
    """Add noise in a Gaussian band at a distance from the centre of the probe.

    The noise has the mean and the standard deviation of usaugment's, which is uniform in [0, 1], times a strength; it
    is correlated as speckle is.
    """
    band = strength * xp.exp((grid.from_probe - radius) ** 2 / (-2 * HAZE_WIDTH**2))
    return image + band * xp.clip(0.5 + 0.2887 * noise, 0, 1)


@formula(lambda draws, weight, shape: (weight,), fields=(normal_quantiles, normal_quantiles), correlation=SPECKLE_SIZE)
def rayleigh_speckle(xp: Any, image: Any, grid: Grid, weight: float, real: Any, imaginary: Any) -> Any:
    """Multiply by 1 - weight + weight R, R of a Rayleigh distribution of mean 1, correlated.

    R is the amplitude of fully developed speckle, the absolute value of a complex normal field (Wagner et al. 1983,
    doi:10.1109/T-SU.1983.31404).
    """
    return image * (1 - weight + weight / _RAYLEIGH_MEAN * xp.sqrt(real**2 + imaginary**2))


@formula(lambda draws, decibels, shape: (draws.uniform(0.8, 1.2) * decibels * (1 if draws.integer(0, 1) else -1),))
def gain_error(xp: Any, image: Any, grid: Grid, decibels: float) -> Any:
    """Turn the gain up or down, by 0.8 to 1.2 of the value in dB; echoes are displayed on a scale of 60 dB.

    Where it is nearly black, there are none.
    """
    return image + decibels / DYNAMIC_RANGE * xp.clip(image * 5, 0, 1)


def _interface(draws: Draws, strength: float, shape: tuple[int, ...]) -> tuple[float, ...]:
    width, centre = draws.uniform(0.5, 0.75), draws.uniform(0.25, 0.75)
    return strength, draws.uniform(1 / 6, 1 / 3), centre - width / 2, centre + width / 2


@formula(_interface)
def reverberation(xp: Any, image: Any, grid: Grid, strength: float, depth: float, left: float, right: float) -> Any:
    """Repeat a bright interface at equal distances below it, weaker each time.

    3 + 10 strength echoes, the first of `strength` times the interface's brightness, each 0.6 - 0.15 strength of the
    one before, as bands of a thickness of 3 + 8 strength px at 224.
    """
    thickness, fading = (3 + 8 * strength) / 224, 0.6 - 0.15 * strength
    band = xp.exp(-(((grid.down - depth) / thickness) ** 2))
    interface = (image * band).sum(0) / band.sum(0)
    inside = xp.clip((grid.across - left) / 0.05, 0, 1) * xp.clip((right - grid.across) / 0.05, 0, 1)
    echoes = 0
    for number in range(1, int(3 + 10 * strength) + 1):
        distance = (grid.down - depth * (1 + 0.8 * number)) / thickness
        echoes = echoes + strength * fading ** (number - 1) * xp.exp(-(distance**2))
    return image + interface * inside * echoes
