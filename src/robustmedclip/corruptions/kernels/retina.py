"""Optical coherence tomography and fundus photography: speckle, blinks, eyes that move, light that misses the pupil."""

from typing import Any

from robustmedclip.corruptions.draws import Draws, normal_quantiles
from robustmedclip.corruptions.kernels.arrays import tinted
from robustmedclip.corruptions.kernels.formula import Grid, formula

#: Signal of an A-scan in the shadow of a vessel, and during a blink.
VESSEL_SIGNAL, BLINK_SIGNAL = 0.25, 0.06
#: Fractions of the width that the three shadows share out.
_SHADOWS = (0.5, 0.3, 0.2)
#: Colours of the halo and of the flash, RGB.
_HALO, _FLASH = (1.0, 0.85, 0.6), (1.0, 0.92, 0.8)


@formula(lambda draws, sigma, shape: (sigma,), fields=(normal_quantiles,))
def lognormal_speckle(xp: Any, image: Any, grid: Grid, sigma: float, noise: Any) -> Any:
    """Multiply by exp(sigma n - sigma^2 / 2), n standard normal: lognormal with mean 1."""
    return image * xp.exp(sigma * noise - sigma**2 / 2)


@formula(lambda draws, width, shape: (width, *(draws.uniform(0.1, 0.9) for _ in _SHADOWS)))
def vessel_shadow(xp: Any, image: Any, grid: Grid, width: float, *centres: float) -> Any:
    """Darken the A-scans behind three vessels, which share out a fraction of the width."""
    signal = 1
    for centre, share in zip(centres, _SHADOWS, strict=True):
        half = width * share / 2
        edge = xp.clip((half * 1.5 - xp.abs(grid.across - centre)) / half, 0, 1)
        signal = signal * (1 - (1 - VESSEL_SIGNAL) * edge)
    return image * signal


def _blinks(draws: Draws, count: int, shape: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(number for _ in range(count) for number in (draws.uniform(0, 1), draws.uniform(0.02, 0.05)))


@formula(_blinks)
def blink(xp: Any, image: Any, grid: Grid, *bands: float) -> Any:
    """Lose the signal of `count` runs of A-scans, each 2 to 5 % of the width."""
    signal = 1
    for centre, width in zip(bands[::2], bands[1::2], strict=True):
        signal = signal * (1 - (1 - BLINK_SIGNAL) * (xp.abs(grid.across - centre) < width / 2))
    return image * signal


def _shifts(draws: Draws, most: float, shape: tuple[int, ...]) -> tuple[float, ...]:
    start, length = draws.uniform(0.1, 0.6), draws.uniform(0.2, 0.4)
    side = 1 if draws.integer(0, 1) else -1
    return start, start + length, side * round(draws.uniform(0.5, 1) * most * shape[0])


@formula(_shifts)
def scan_shift(xp: Any, image: Any, grid: Grid, start: float, end: float, shift: int) -> Any:
    """Shift a run of A-scans, 20 to 40 % of the width, along their axis by half to all of a fraction of the height."""
    rows = grid.rows - shift
    moved = xp.roll(image, shift, 0) * ((rows > 0) & (rows < len(grid.rows)))
    return xp.where((grid.across > start) & (grid.across < end), moved, image)


def _lamp(draws: Draws, strength: float, shape: tuple[int, ...]) -> tuple[float, ...]:
    return strength, draws.uniform(0.25, 0.75), draws.uniform(0.25, 0.75), draws.uniform(0.3, 0.45)


@formula(_lamp)
def uneven_illumination(
    xp: Any, image: Any, grid: Grid, strength: float, down: float, across: float, radius: float
) -> Any:
    """Light the retina from the side: darker away from a place, and a halo, a bright ring, around the centre."""
    light = 1 - strength * (1 - xp.exp(-grid.distance2(down, across) / (2 * 0.35**2)))
    ring = xp.exp(-((xp.sqrt(grid.distance2(0.5, 0.5)) - radius) ** 2) / (2 * 0.04**2))
    return image * light + 0.35 * strength * ring * _tint(grid, _HALO, image) * _lit(xp, image)


@formula(_lamp)
def flash_overexposure(
    xp: Any, image: Any, grid: Grid, strength: float, down: float, across: float, radius: float
) -> Any:
    """Flash too strongly: brighter by 1 + strength, and a veil of reflected light around a place."""
    veil = xp.exp(-grid.distance2(down, across) / (2 * radius**2))
    reflected = 0.5 * strength * veil * _tint(grid, _FLASH, image) * _lit(xp, image)
    return image * (1 + strength * (0.4 + 0.6 * veil)) + reflected


def _spots(draws: Draws, strength: float, shape: tuple[int, ...]) -> tuple[float, ...]:
    numbers = [strength]
    for _ in range(draws.integer(5, 10)):
        numbers += [draws.uniform(0.15, 0.85), draws.uniform(0.15, 0.85), draws.uniform(0.01, 0.05)]
    return tuple(numbers)


@formula(_spots)
def dust_spots(xp: Any, image: Any, grid: Grid, strength: float, *spots: float) -> Any:
    """Lay 5 to 10 spots of dust on the lens, out of focus, of a radius of 1 to 5 % of the side: they darken."""
    passing = 1
    for down, across, radius in zip(spots[::3], spots[1::3], spots[2::3], strict=True):
        passing = passing * (1 - strength * xp.exp(-grid.distance2(down, across) / radius**2))
    return image * passing


def _lit(xp: Any, image: Any) -> Any:
    """1 where light reaches the retina, 0 in the black around it, in between where it is dark."""
    return xp.clip(image / 0.1 - 0.5, 0, 1)


def _tint(grid: Grid, colour: tuple[float, float, float], image: Any) -> Any:
    """A colour as an array of the image's channels."""
    return grid.moved(tinted(colour, image.shape[-1]))
