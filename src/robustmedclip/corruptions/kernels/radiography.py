"""What detectors, grids and exposure do to radiographs.

A radiograph shows the logarithm of the exposure: white is where bone let few photons through.
"""

from typing import Any

from robustmedclip.corruptions.draws import normal_quantiles
from robustmedclip.corruptions.kernels.formula import Grid, formula

#: Natural logarithm of the exposure of black relative to that of white.
LOG_EXPOSURE_RANGE = 4.0
#: Photons that a pixel of black counts at full dose, and the standard deviation of the electronics in photons.
PHOTONS, ELECTRONIC_NOISE = 4000.0, 2.0
#: Standard deviation of the spread of scattered photons, in pixels at 224.
SCATTER_SPREAD = 30
#: Grey level of film without exposure, as a fraction of white.
UNEXPOSED = 0.98
_GRID_PERIOD = 4


@formula(lambda draws, dose, shape: (PHOTONS * dose,), fields=(normal_quantiles,))
def quantum_noise(xp: Any, image: Any, grid: Grid, photons: float, noise: Any) -> Any:
    """Count photons at a fraction of the dose: Poisson in the exposure, and normal noise of the electronics.

    The Poisson of mean m is the square of a normal number of mean sqrt(m) and standard deviation 1/2, less 1/4
    (Anscombe 1948, doi:10.1093/biomet/35.3-4.246): its mean is m, its variance m + 1/8.
    """
    mean = xp.exp(-LOG_EXPOSURE_RANGE * image) * photons + ELECTRONIC_NOISE**2
    counts = (xp.sqrt(mean) + noise / 2) ** 2 - (0.25 + ELECTRONIC_NOISE**2)
    return -xp.log(xp.clip(counts / photons, 1e-9, None)) / LOG_EXPOSURE_RANGE


@formula(lambda draws, fraction, shape: (fraction,), blur=SCATTER_SPREAD)
def scatter(xp: Any, image: Any, grid: Grid, fraction: float, spread: Any) -> Any:
    """Add a fraction of the image, spread by a Gaussian of 30 px at 224."""
    return image + fraction * spread


@formula(lambda draws, depth, shape: (depth,))
def grid_lines(xp: Any, image: Any, grid: Grid, depth: float) -> Any:
    """Darken every fourth row at 224, a line of the anti-scatter grid, by a fraction."""
    period = max(_GRID_PERIOD, round(_GRID_PERIOD * grid.scale))
    return image * (1 - depth * (xp.floor(grid.rows) % period < max(1, round(grid.scale))))


@formula(lambda draws, shift, shape: (draws.uniform(-shift, shift), 1 - shift / 2))
def window_error(xp: Any, image: Any, grid: Grid, shift: float, width: float) -> Any:
    """Show a window whose centre is off by up to `shift` of the range, and which is narrower by half of that."""
    return (image - 0.5 - shift) / width + 0.5


@formula(lambda draws, factor, shape: (factor,))
def exposure(xp: Any, image: Any, grid: Grid, factor: float) -> Any:
    """Multiply by a factor."""
    return image * factor


@formula(lambda draws, most, shape: (*(draws.uniform(most / 2, most) for _ in range(4)), draws.uniform(-0.03, 0.03)))
def collimation(
    xp: Any, image: Any, grid: Grid, top: float, bottom: float, left: float, right: float, slope: float
) -> Any:
    """Close the collimator: outside of a field that may be turned by 0.03 rad, the film is not exposed.

    The value is the largest fraction of a side that each of the four blades covers; the least is half of it.
    """
    down, across = grid.down + slope * (grid.across - 0.5), grid.across - slope * (grid.down - 0.5)
    penumbra = 1.5 / 224
    inside = 1
    for distance in (down - top, 1 - bottom - down, across - left, 1 - right - across):
        inside = inside * xp.clip(distance / penumbra + 0.5, 0, 1)
    return image * inside + UNEXPOSED * (1 - inside)
