"""Slides and microscopes: stains, dust, bubbles, light."""

from typing import Any

import numpy as np

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.formula import Grid, formula

#: Optical density of haematoxylin, eosin and DAB in red, green and blue (Ruifrok & Johnston 2001), rows of unit length
#: but for rounding.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_TO_STAINS = np.linalg.inv(STAINS)
#: Light of a pixel that is taken for black, so that its density is finite.
_DARKEST = 1 / 512


def _shift(draws: Draws, theta: float, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    factors = np.array([draws.uniform(1 - theta, 1 + theta) for _ in range(3)])
    added = np.array([draws.uniform(-theta, theta) for _ in range(3)])
    if shape[-1] == 1:
        return factors[:1, None].astype(np.float32), added[:1].astype(np.float32)
    # Density to stains, scaled, and back, is one matrix.
    return ((_TO_STAINS * factors) @ STAINS).astype(np.float32), (added @ STAINS).astype(np.float32)


@formula(_shift)
def stain_shift(xp: Any, image: Any, grid: Grid, mixing: np.ndarray, added: np.ndarray) -> Any:
    """Scale each stain by U(1 - theta, 1 + theta) and add U(-theta, theta), in optical density.

    Colour is taken apart into haematoxylin, eosin and DAB (Ruifrok & Johnston 2001) and put together again, and
    clipped, not rescaled: what is not shifted stays as it is. Grey images have one stain.
    """
    density = -xp.log10(xp.clip(image, _DARKEST, 1))
    mixed = sum(density[..., [channel]] * grid.moved(row) for channel, row in enumerate(mixing))
    change = mixed + grid.moved(added) - density
    return image * 10 ** (-change)


def _smudges(draws: Draws, strength: float, shape: tuple[int, ...]) -> tuple[float, ...]:
    numbers = [strength]
    for _ in range(draws.integer(3, 10)):
        numbers += [draws.uniform(0, 1), draws.uniform(0, 1), draws.uniform(0.03, 0.09), draws.uniform(0.03, 0.09)]
    return tuple(numbers)


@formula(_smudges)
def dust(xp: Any, image: Any, grid: Grid, strength: float, *smudges: float) -> Any:
    """Darken by 3 to 10 smudges that are out of focus, of standard deviations of 7 to 20 px at 224."""
    clear = 1
    for down, across, height, width in zip(*(smudges[start::4] for start in range(4)), strict=True):
        far = ((grid.down - down) / height) ** 2 + ((grid.across - across) / width) ** 2
        clear = clear * (1 - xp.exp(-far / 2))
    return image * (1 - strength * (1 - clear))


def _bubbles(draws: Draws, count: int, shape: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(
        number for _ in range(count) for number in (draws.uniform(0, 1), draws.uniform(0, 1), draws.uniform(0.03, 0.12))
    )


@formula(_bubbles, blur=4)
def air_bubbles(xp: Any, image: Any, grid: Grid, *rest: Any) -> Any:
    """Enclose bubbles of air, of a radius of 3 to 12 % of the side: a dark rim, and what is inside out of focus."""
    *bubbles, blurred = rest
    inside, rim = 0, 1
    for down, across, radius in zip(bubbles[::3], bubbles[1::3], bubbles[2::3], strict=True):
        distance = xp.sqrt(grid.distance2(down, across))
        inside = inside + (1 - inside) * xp.clip((radius - distance) * 112 + 0.5, 0, 1)
        rim = rim * (1 - 0.5 * xp.exp(-(((distance / radius - 1) / 0.12) ** 2)))
    within = blurred + 0.35 * (1 - blurred)
    return (image + inside * (within - image)) * rim


@formula(lambda draws, strength, shape: (strength, draws.uniform(0.42, 0.58), draws.uniform(0.42, 0.58)))
def vignetting(xp: Any, image: Any, grid: Grid, strength: float, down: float, across: float) -> Any:
    """Darken towards the corners with the square of the distance from about the centre, there by a fraction."""
    return image * xp.clip(1 - 2 * strength * grid.distance2(down, across), 0, 1)
