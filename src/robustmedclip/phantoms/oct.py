"""Synthetic B-scans of optical coherence tomography of the macula: CNV, DME, drusen, normal.

The retina is a band between two curves, the inner limiting membrane and the retinal pigment epithelium
(RPE); the layers are a reflectivity profile of the relative depth between them. Disease bends the
curves and fills the space between them, as described for these four classes by Kermany et al., "Identifying
medical diagnoses and treatable diseases by image-based deep learning", Cell 172 (2018).
"""

from dataclasses import dataclass

import numpy as np

from robustmedclip.phantoms.primitives import coverage, ellipse, grid, irregular, smooth_noise

MODALITY = "retinal optical coherence tomography"
CHANNELS = 1
CLASSES: dict[str, tuple[str, ...]] = {
    "choroidal neovascularization": (
        "choroidal neovascularization",
        "a subretinal neovascular membrane with fluid",
        "subretinal hyperreflective material lifting the pigment epithelium",
        "wet macular degeneration with an irregular elevation of the pigment epithelium",
        "a fibrovascular pigment epithelial detachment",
    ),
    "diabetic macular edema": (
        "diabetic macular edema",
        "retinal thickening with intraretinal cystoid spaces",
        "a swollen macula with dark cysts",
        "cystoid macular edema with hyperreflective dots",
        "intraretinal fluid in a thickened retina",
    ),
    "drusen": (
        "drusen",
        "multiple small bumps of the pigment epithelium",
        "dry macular degeneration with drusen",
        "an undulating pigment epithelium without fluid",
        "drusenoid deposits beneath the pigment epithelium",
    ),
    "normal retina": (
        "normal retina",
        "a preserved foveal contour without fluid",
        "a healthy macula with regular layers",
        "no sign of macular disease",
        "a smooth pigment epithelium and an intact foveal pit",
    ),
}

_CNV, _DME, _DRUSEN, _NORMAL = range(4)
_SUBTLE = 0.08
#: Relative depth and reflectivity of the layers from the inner limiting membrane (0) to the RPE (1).
_DEPTHS = (0.0, 0.03, 0.11, 0.15, 0.34, 0.38, 0.46, 0.49, 0.54, 0.58, 0.76, 0.79, 0.84, 0.87, 0.9, 0.93, 1.0)
_LAYERS = (0.5, 0.8, 0.72, 0.5, 0.46, 0.26, 0.26, 0.5, 0.48, 0.2, 0.18, 0.62, 0.66, 0.38, 0.4, 0.92, 0.95)


@dataclass
class _Retina:
    """Heights along one line of columns, float32 ``(size,)`` each, and what lies between them."""

    inner: np.ndarray
    pigment: np.ndarray
    membrane: np.ndarray
    fluid: np.ndarray
    bright: np.ndarray


def draw(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Draw a B-scan.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness; the scene depends on its state and the label, not on the size.
    label : int
        Index into ``CLASSES``.
    size : int
        Side of the image in pixels.

    Returns
    -------
    ndarray
        float32 ``(size, size, 1)`` in [0, 1]; bright reflects.
    """
    subtle = rng.random() < _SUBTLE
    retina = _healthy(rng, size, pit=label != _DME or subtle)
    (_neovascularization, _edema, _drusen, _decoys)[label](rng, retina, size, subtle)
    scan = _reflectivity(rng, retina, size)
    scan *= _shadows(rng, size)
    speckle = 1 + 0.22 * smooth_noise(rng, size, 0.05) + 0.1 * smooth_noise(rng, size, 0.1, aspect=3.0)
    image: np.ndarray = np.clip(scan * np.clip(speckle, 0.2, 2), 0, 1)[..., None]
    return image.astype(np.float32)


def _columns(size: int) -> np.ndarray:
    columns: np.ndarray = grid(size)[1][0]
    return columns


def _bump(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-(((x - centre) / width) ** 2))


def _healthy(rng: np.random.Generator, size: int, pit: bool) -> _Retina:
    x = _columns(size)
    height, tilt = rng.uniform(0.1, 0.42), rng.normal(0, 0.1)
    membrane = height + tilt * x + rng.uniform(-0.02, 0.14) * x * x
    fovea, thickness = rng.uniform(-0.45, 0.45), rng.uniform(0.46, 0.62)
    rim = 1 + 0.12 * _bump(np.abs(x - fovea), 0.45, 0.25)
    depth = rng.uniform(0.35, 0.6) * (pit and rng.random() < 0.9)
    thick = thickness * rim * (1 - depth * _bump(x, fovea, rng.uniform(0.16, 0.26)))
    empty = np.zeros((size, size), np.float32)
    return _Retina(membrane - thick, membrane.copy(), membrane, empty, empty.copy())


def _place(rng: np.random.Generator, retina: _Retina, depth: tuple[float, float]) -> tuple[float, float]:
    """A random ``(y, x)`` at a relative depth of the retina, away from the edges of the scan."""
    column = rng.uniform(0.15, 0.85)
    index = int(column * len(retina.inner))
    inner, outer = retina.inner[index], retina.pigment[index]
    return float(inner + rng.uniform(*depth) * (outer - inner)), 2 * column - 1


def _cysts(rng: np.random.Generator, retina: _Retina, size: int, count: int, largest: float) -> None:
    for _ in range(count):
        radius = rng.uniform(0.45, 1) * largest
        centre = _place(rng, retina, (0.35, 0.7))
        radii = (radius * rng.uniform(0.7, 1.3), radius * rng.uniform(0.6, 1.0))
        cyst = ellipse(size, centre, radii, rng.normal(0, 0.2), 0.01, irregular(rng, 0.12, 3))
        np.maximum(retina.fluid, cyst, out=retina.fluid)


def _subretinal_fluid(rng: np.random.Generator, retina: _Retina, size: int, centre: float, depth: float) -> None:
    """A lens of fluid on the RPE, below the lifted retina."""
    y, x = grid(size)[0], _columns(size)
    lens = depth * _bump(x, centre, rng.uniform(0.2, 0.4))
    retina.inner -= 0.7 * lens
    top = retina.pigment - lens
    np.maximum(retina.fluid, coverage(np.maximum(top - y, y - retina.pigment + 0.03), size, 0.01), out=retina.fluid)


def _neovascularization(rng: np.random.Generator, retina: _Retina, size: int, subtle: bool) -> None:
    x, y = _columns(size), grid(size)[0]
    centre, width = rng.uniform(-0.4, 0.4), rng.uniform(0.16, 0.4)
    lift = rng.uniform(0.08, 0.13) if subtle else rng.uniform(0.14, 0.3)
    ragged = 1 + 0.3 * smooth_noise(rng, size, 0.22)[0]
    retina.pigment -= lift * _bump(x, centre, width) * np.clip(ragged, 0.3, 1.8)
    retina.inner -= rng.uniform(0.5, 0.9) * lift * _bump(x, centre, 1.3 * width)
    if not subtle or rng.random() < 0.5:
        place = centre + rng.uniform(-0.5, 0.5) * width
        top = retina.pigment - rng.uniform(0.06, 0.16) * _bump(x, place, rng.uniform(0.6, 1.0) * width)
        blob = coverage(np.maximum(top - y, y - retina.pigment), size, 0.025)
        np.maximum(retina.bright, 0.8 * blob, out=retina.bright)
    if rng.random() < 0.7:
        side = rng.choice((-1, 1)) * rng.uniform(0.8, 1.3) * width
        _subretinal_fluid(rng, retina, size, centre + side, rng.uniform(0.06, 0.16))
    if rng.random() < 0.35:
        _cysts(rng, retina, size, int(rng.integers(1, 4)), 0.09)


def _edema(rng: np.random.Generator, retina: _Retina, size: int, subtle: bool) -> None:
    x = _columns(size)
    swelling = rng.uniform(0.0, 0.05) if subtle else rng.uniform(0.08, 0.28)
    retina.inner -= swelling * _bump(x, rng.uniform(-0.4, 0.4), rng.uniform(0.4, 0.8))
    count = int(rng.integers(1, 3) if subtle else rng.integers(3, 10))
    _cysts(rng, retina, size, count, 0.09 if subtle else 0.15)
    if rng.random() < 0.25:
        _subretinal_fluid(rng, retina, size, rng.uniform(-0.3, 0.3), rng.uniform(0.05, 0.12))
    for _ in range(rng.integers(0, 7)):
        dot = ellipse(size, _place(rng, retina, (0.2, 0.75)), (0.022, 0.022), softness=0.012)
        np.maximum(retina.bright, 0.9 * dot, out=retina.bright)


def _drusen(rng: np.random.Generator, retina: _Retina, size: int, subtle: bool) -> None:
    x = _columns(size)
    for _ in range(rng.integers(1, 3) if subtle else rng.integers(3, 9)):
        height = rng.uniform(0.035, 0.06) if subtle else rng.uniform(0.05, 0.13)
        retina.pigment -= height * _bump(x, rng.uniform(-0.85, 0.85), rng.uniform(0.05, 0.12))
    np.maximum(retina.pigment, retina.membrane - 0.17, out=retina.pigment)


def _decoys(rng: np.random.Generator, retina: _Retina, size: int, subtle: bool) -> None:
    """A healthy retina; the atypical one undulates a little, as with age or a moving eye."""
    if subtle:
        wave = 0.012 * np.sin(rng.uniform(4, 8) * _columns(size) + rng.uniform(0, 6))
        for curve in (retina.inner, retina.pigment, retina.membrane):
            np.add(curve, wave, out=curve)


def _reflectivity(rng: np.random.Generator, retina: _Retina, size: int) -> np.ndarray:
    y, _ = grid(size)
    depth = (y - retina.inner) / (retina.pigment - retina.inner)
    layers = np.interp(depth, _DEPTHS, _LAYERS).astype(np.float32)
    below = np.maximum(y - retina.membrane, 0)
    vessels = np.clip(1 - 0.55 * np.clip(smooth_noise(rng, size, 0.16, aspect=1.6), 0, 2), 0.1, 1)
    choroid = rng.uniform(0.4, 0.6) * np.exp(-below / rng.uniform(0.2, 0.45)) * vessels
    inside = coverage(np.maximum(retina.inner - y, y - retina.pigment), size)
    vitreous = rng.uniform(0.03, 0.07)
    scan = np.where(y < retina.pigment, vitreous, choroid)
    deposit = coverage(np.maximum(retina.pigment - y, y - retina.membrane), size)
    scan = scan * (1 - deposit) + rng.uniform(0.35, 0.6) * deposit
    scan = scan * (1 - inside) + layers * inside
    scan = scan * (1 - retina.fluid) + 0.06 * retina.fluid
    reflectivity: np.ndarray = scan * (1 - retina.bright) + 0.85 * retina.bright
    return reflectivity


def _shadows(rng: np.random.Generator, size: int) -> np.ndarray:
    """Columns that vessels and a tilted beam darken, ``(size,)``."""
    x = _columns(size)
    light = 1 + rng.normal(0, 0.12) * x
    for _ in range(rng.integers(0, 4)):
        light = light * (1 - rng.uniform(0.15, 0.5) * _bump(x, rng.uniform(-0.95, 0.95), rng.uniform(0.02, 0.05)))
    return light.astype(np.float32)
