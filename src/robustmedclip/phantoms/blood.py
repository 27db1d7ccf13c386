"""Synthetic single-cell crops of a Wright-Giemsa stained blood smear, in the eight classes of BloodMNIST.

A crop is drawn back to front: plasma, biconcave red cells pushed aside by the central cell, then that
cell with its cytoplasm, nucleus, chromatin, granules, vacuoles and nucleoli; the strength of the stain is
applied last, to the whole crop. A nucleus is laid out in the cell's own frame ``(v, u)``, in which the
cell is the unit disc. The classes are those of Acevedo et al., "A dataset of microscopic peripheral blood
cell images for development of automatic recognition systems", Data in Brief 30 (2020).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import cos, hypot, pi, sin

import numpy as np

from robustmedclip.phantoms.primitives import blend, coverage, grid, smooth_noise

MODALITY = "blood cell microscopy"
CHANNELS = 3
CLASSES: dict[str, tuple[str, ...]] = {
    "basophil": (
        "basophil",
        "a basophil with dark purple granules",
        "a basophilic granulocyte",
        "a granulocyte with coarse granules obscuring the nucleus",
        "a cell packed with blue-black granules",
    ),
    "eosinophil": (
        "eosinophil",
        "an eosinophil with a bilobed nucleus",
        "a granulocyte with large orange granules",
        "a two-lobed nucleus among coarse red-orange granules",
        "an eosinophilic granulocyte",
    ),
    "erythroblast": (
        "erythroblast",
        "a nucleated red blood cell",
        "a small cell with a very dense round nucleus",
        "a red cell precursor with smooth greyish-pink cytoplasm",
        "a normoblast with a pyknotic nucleus",
    ),
    "immature granulocyte": (
        "immature granulocyte",
        "a promyelocyte, myelocyte or metamyelocyte",
        "a large cell with fine chromatin and nucleoli",
        "a granulocyte precursor with an indented nucleus",
        "a large unsegmented nucleus with purple primary granules",
    ),
    "lymphocyte": (
        "lymphocyte",
        "a lymphocyte with a dense round nucleus",
        "a small cell with a thin blue cytoplasm",
        "an agranular cell almost filled by its nucleus",
        "a mononuclear cell with clumped chromatin",
    ),
    "monocyte": (
        "monocyte",
        "a monocyte with a kidney-shaped nucleus",
        "a mononuclear cell with vacuoles",
        "a large cell with a folded nucleus and grey-blue cytoplasm",
        "a large horseshoe-shaped nucleus",
    ),
    "neutrophil": (
        "neutrophil",
        "a neutrophil with a segmented nucleus",
        "a granulocyte with fine pale granules",
        "a nucleus of three to five lobes joined by thin strands",
        "a polymorphonuclear leukocyte",
    ),
    "platelet": (
        "platelet",
        "a thrombocyte",
        "small granular purple fragments without a nucleus",
        "a clump of platelets among red blood cells",
        "a tiny anucleate cell fragment",
    ),
}

_Colour = tuple[float, float, float]
_Range = tuple[float, float]
_Disc = tuple[float, float, float]
_Dots = tuple[tuple[int, int], _Range, _Colour, _Range, str]
_Outline = Callable[[np.random.Generator, bool, np.ndarray, np.ndarray], np.ndarray]


def draw(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Draw one synthetic single-cell crop.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    label : int
        Index into ``CLASSES``.
    size : int
        Side of the image in pixels.

    Returns
    -------
    ndarray
        float32 RGB ``(size, size, 3)`` in [0, 1].
    """
    recipe = _RECIPES.get(list(CLASSES)[label])
    subtle = rng.random() < 0.08
    extent, paint = (recipe.radius, partial(_white_cell, recipe)) if recipe else ((0.2, 0.36), _platelets)
    disc = rng.normal(0, 0.06), rng.normal(0, 0.06), rng.uniform(*extent)
    scene = paint(rng, _red_cells(rng, disc, size), subtle, disc, size)
    stain = rng.uniform(0.75, 1.3) * np.exp(rng.normal(0, 0.1, 3))
    image: np.ndarray = np.clip(scene, 0.01, 1).astype(np.float32) ** stain.astype(np.float32)
    return image


def _red_cells(rng: np.random.Generator, disc: _Disc, size: int) -> np.ndarray:
    """Plasma with translucent red cells around the central one: where two overlap, they absorb twice."""
    y, x = grid(size)
    typical, pallor, absorbance = rng.uniform(0.27, 0.36), rng.uniform(0.45, 0.9), rng.uniform(0.9, 1.5)
    density = np.zeros((size, size), np.float32)
    placed: list[tuple[float, float]] = []
    for _ in range(rng.integers(6, 26)):
        dy, dx = rng.uniform(-1.25, 1.25, 2).tolist()
        radius, aspect, angle = typical * rng.uniform(0.88, 1.1), rng.uniform(0.84, 1.0), rng.uniform(0, pi)
        gap, crowding, hollow = rng.uniform(0.8, 1.1), rng.uniform(1.1, 2.0), pallor * rng.uniform(0.7, 1.1)
        push = max(1.0, (disc[2] + gap * radius) / max(hypot(dy, dx), 1e-3))
        at = disc[0] + dy * push, disc[1] + dx * push
        hidden = max(abs(at[0]), abs(at[1])) > 1 + radius
        if hidden or any(hypot(at[0] - a, at[1] - b) < crowding * typical for a, b in placed):
            continue
        placed.append(at)
        distance = _ellipse(y, x, at, (radius * aspect, radius), angle)
        dimple = np.exp(-((distance / (radius * aspect) + 1) ** 2) / 0.2)
        density += coverage(distance, size, 0.012) * (1 - hollow * dimple)
    density *= absorbance * (1 + 0.05 * smooth_noise(rng, size, 0.12))
    colours = np.asarray(((0.95, 0.88, 0.86), (0.08, 0.33, 0.30))) + rng.normal(0, 0.018, (2, 3))
    plasma, haemoglobin = colours.astype(np.float32)
    shade = 1 + 0.012 * smooth_noise(rng, size, 1.0)
    scene: np.ndarray = shade[..., None] * plasma * np.exp(-density[..., None] * haemoglobin)
    return scene


def _ellipse(v: np.ndarray, u: np.ndarray, centre: _Range, radii: _Range, angle: float = 0.0) -> np.ndarray:
    """Approximate signed distance to an ellipse."""
    dv, du, c, s = v - centre[0], u - centre[1], cos(angle), sin(angle)
    return (np.hypot((dv * c - du * s) / radii[0], (dv * s + du * c) / radii[1]) - 1) * min(radii)


def _merge(parts: list[np.ndarray], width: float) -> np.ndarray:
    """Smooth union of signed distances."""
    return -width * np.log(sum(np.exp(np.minimum(part / -width, 60)) for part in parts) + 1e-20)


def _lobed(counts: tuple[int, ...], sweep: _Range, reach: _Range, radius: _Range, strand: _Range) -> _Outline:
    """Nucleus of lobes on an arc of `sweep` radians, joined by strands, which are thick when subtle."""

    def outline(rng: np.random.Generator, subtle: bool, v: np.ndarray, u: np.ndarray) -> np.ndarray:
        count = rng.choice(counts)
        arc = rng.uniform(*sweep) + 0.7 * (count - min(counts))
        angle = np.linspace(-arc / 2, arc / 2, count) + rng.normal(0, 0.12, count)
        away = rng.uniform(*reach) + rng.normal(0, 0.05, count)
        lobes = np.stack([away * np.cos(angle) - 0.08, away * np.sin(angle)], axis=1).tolist()
        extents = (rng.uniform(*radius, count) - 0.03 * (count - min(counts))).tolist()
        half_width = 0.2 if subtle else rng.uniform(*strand)
        parts = []
        for at, extent in zip(lobes, extents):
            parts.append(_ellipse(v, u, at, (extent, extent * rng.uniform(1.0, 1.35)), rng.uniform(0, pi)))
        for (a, b), (c, d) in zip(lobes[:-1], lobes[1:]):
            t = np.clip(((v - a) * (c - a) + (u - b) * (d - b)) / ((c - a) ** 2 + (d - b) ** 2), 0, 1)
            parts.append(np.hypot(v - a - t * (c - a), u - b - t * (d - b)) - half_width)
        return _merge(parts, 0.04)

    return outline


def _round(fraction: _Range, offset: float, notch: _Range) -> _Outline:
    """Nucleus of one piece: its radius, how far it lies off centre, and the depth of its dent."""

    def outline(rng: np.random.Generator, subtle: bool, v: np.ndarray, u: np.ndarray) -> np.ndarray:
        extent, shift = rng.uniform(*fraction), rng.normal(0, offset)
        depth = rng.uniform(*notch) * (0.3 if subtle else 1)
        body = _ellipse(v, u, (shift, 0.0), (extent * rng.uniform(0.85, 1.0), extent))
        length, width = rng.uniform(0.5, 0.7), rng.uniform(0.22, 0.42)
        tip = shift + (1 - depth) * extent + length
        dent = _ellipse(v, u, (tip, rng.normal(0, 0.1)), (length, width), rng.normal(0, 0.15))
        return -_merge([-body, dent], 0.04)

    return outline


@dataclass(frozen=True)
class _Recipe:
    """A nucleated cell: `chromatin` is scale and contrast, `dots` count, radius, colour, opacity, place."""

    radius: _Range
    ragged: float
    cytoplasm: tuple[_Colour, _Colour]
    nucleus: _Colour
    outline: _Outline
    chromatin: tuple[float, float]
    dots: tuple[_Dots, ...] = ()


_PINK, _LILAC, _BLUE, _GREY = (0.93, 0.77, 0.79), (0.84, 0.72, 0.85), (0.62, 0.70, 0.90), (0.72, 0.69, 0.80)
_RECIPES = {
    "basophil": _Recipe(
        (0.42, 0.60),
        0.04,
        (_LILAC, _PINK),
        (0.56, 0.38, 0.67),
        _lobed((2, 3), (1.8, 2.8), (0.25, 0.42), (0.35, 0.45), (0.2, 0.3)),
        (0.2, 0.10),
        (((45, 110), (0.06, 0.12), (0.25, 0.12, 0.42), (0.75, 0.97), "cell"),),
    ),
    "eosinophil": _Recipe(
        (0.46, 0.62),
        0.03,
        (_PINK, (0.93, 0.72, 0.66)),
        (0.46, 0.27, 0.60),
        _lobed((2, 2, 2, 2, 3), (1.9, 3.1), (0.40, 0.50), (0.28, 0.36), (0.06, 0.14)),
        (0.16, 0.16),
        (((100, 190), (0.06, 0.085), (0.87, 0.44, 0.33), (0.65, 0.95), "cytoplasm"),),
    ),
    "erythroblast": _Recipe(
        (0.32, 0.50),
        0.02,
        (_GREY, (0.88, 0.70, 0.72)),
        (0.28, 0.14, 0.40),
        _round((0.48, 0.70), 0.07, (-0.1, 0.0)),
        (0.2, 0.28),
    ),
    "immature granulocyte": _Recipe(
        (0.48, 0.68),
        0.03,
        (_LILAC, _BLUE),
        (0.54, 0.33, 0.65),
        _round((0.62, 0.80), 0.12, (-0.1, 0.4)),
        (0.09, 0.12),
        (
            ((20, 120), (0.025, 0.045), (0.50, 0.18, 0.48), (0.5, 0.85), "cell"),
            ((2, 5), (0.09, 0.14), (0.70, 0.58, 0.84), (0.55, 0.9), "nucleus"),
        ),
    ),
    "lymphocyte": _Recipe(
        (0.36, 0.56),
        0.03,
        (_BLUE, (0.70, 0.76, 0.93)),
        (0.40, 0.23, 0.57),
        _round((0.76, 0.92), 0.05, (-0.1, 0.12)),
        (0.24, 0.22),
    ),
    "monocyte": _Recipe(
        (0.50, 0.70),
        0.055,
        (_GREY, (0.68, 0.70, 0.83)),
        (0.50, 0.33, 0.65),
        _round((0.68, 0.82), 0.06, (0.55, 1.15)),
        (0.14, 0.18),
        (
            ((2, 14), (0.04, 0.09), (0.93, 0.90, 0.94), (0.5, 0.9), "cytoplasm"),
            ((30, 90), (0.02, 0.03), (0.62, 0.42, 0.66), (0.2, 0.5), "cytoplasm"),
        ),
    ),
    "neutrophil": _Recipe(
        (0.44, 0.62),
        0.04,
        (_PINK, (0.90, 0.80, 0.86)),
        (0.38, 0.21, 0.53),
        _lobed((3, 3, 4, 4, 5), (2.7, 3.5), (0.42, 0.54), (0.22, 0.31), (0.04, 0.10)),
        (0.18, 0.18),
        (((90, 200), (0.022, 0.035), (0.74, 0.50, 0.68), (0.25, 0.6), "cytoplasm"),),
    ),
}


def _white_cell(
    recipe: _Recipe, rng: np.random.Generator, scene: np.ndarray, subtle: bool, disc: _Disc, size: int
) -> np.ndarray:
    """A nucleated cell; a subtle one has a nucleus of blunted shape, few inclusions and a pale stain."""
    (y, x), radius = grid(size), disc[2]
    angle, aspect = rng.uniform(0, 2 * pi), rng.uniform(0.9, 1.1)
    bend, sway = smooth_noise(rng, size, 0.35), smooth_noise(rng, size, 0.35)
    warp = 1.5 * recipe.ragged
    dy, dx = (y - disc[0]) / radius + warp * bend, (x - disc[1]) / radius + warp * sway
    v, u = (dy * cos(angle) - dx * sin(angle)) * aspect, (dy * sin(angle) + dx * cos(angle)) / aspect
    membrane = np.hypot(v, u) - 1 + recipe.ragged * (bend - sway)
    cell = coverage(membrane * radius, size, 0.012)
    first, second = (np.asarray(recipe.cytoplasm) + rng.normal(0, 0.02, (2, 3))).astype(np.float32)
    mix = np.clip(rng.uniform(0.1, 0.9) + 0.25 * smooth_noise(rng, size, 0.2), 0, 1)
    rim = 1 - 0.12 * np.exp(-(((membrane + 0.05) / 0.1) ** 2))
    body = (first + (second - first) * mix[..., None]) * rim[..., None]
    scene = blend(scene, body, rng.uniform(0.88, 1) * cell)
    distance = recipe.outline(rng, subtle, v, u)
    nucleus = cell * coverage(distance * radius, size, rng.uniform(0.006, 0.016))
    clumps = np.clip(smooth_noise(rng, size, recipe.chromatin[0] * 2 * radius, octaves=2), -1.6, 1.6)
    edge = np.exp(-(((distance + 0.04) / 0.07) ** 2))
    texture = 1 + recipe.chromatin[1] * rng.uniform(0.6, 1.2) * clumps - 0.12 * edge
    chromatin = texture[..., None] * (np.asarray(recipe.nucleus) + rng.normal(0, 0.025, 3) + 0.06 * subtle)
    scene = blend(scene, chromatin, 0.97 * nucleus)
    places = {"cytoplasm": cell - nucleus, "nucleus": nucleus, "cell": cell * (1 - 0.25 * nucleus)}
    for counts, radii, colour, opacity, where in recipe.dots:
        count = max(int(rng.integers(*counts) * (0.4 if subtle else 1)), 1)
        mask = _scatter(rng, count, radii, disc, size) * places[where]
        scene = blend(scene, colour + rng.normal(0, 0.025, 3), rng.uniform(*opacity) * mask)
    return scene


def _scatter(rng: np.random.Generator, count: int, radii: _Range, disc: _Disc, size: int) -> np.ndarray:
    """Mask of dots strewn over a disc in a jittered sunflower: separable Gaussians, cut where a dot ends."""
    y, x = grid(size)
    away = 0.95 * disc[2] * np.sqrt((np.arange(count) + rng.uniform(0, 1, count)) / count)
    angle = 2.39996 * np.arange(count) + rng.uniform(0, 2 * pi) + rng.normal(0, 0.25, count)
    sharpness = (2 / (disc[2] * rng.uniform(*radii, count))).astype(np.float32)
    rows = np.exp(-((sharpness * (y[:, :1] - np.float32(disc[0] + away * np.sin(angle)))) ** 2))
    columns = np.exp(-((sharpness * (x[:1].T - np.float32(disc[1] + away * np.cos(angle)))) ** 2))
    distance = np.sqrt(np.maximum(-0.25 * np.log(rows @ columns.T + 1e-12), 0)) - 1
    mean_radius = disc[2] * sum(radii) / 2
    return coverage(distance * mean_radius, size, 0.3 * mean_radius)


def _platelets(rng: np.random.Generator, scene: np.ndarray, subtle: bool, disc: _Disc, size: int) -> np.ndarray:
    """One fragment or a clump: pale hyalomere around a granular purple centre; a giant one when subtle."""
    y, x = grid(size)
    count = 1 if subtle else rng.choice((1, 2, 3, 5), p=(0.6, 0.16, 0.12, 0.12))
    wrinkle = smooth_noise(rng, size, 0.14, octaves=2)
    grain = np.clip(0.65 + 0.4 * smooth_noise(rng, size, 0.06), 0, 1)
    pale, purple = np.asarray(((0.78, 0.68, 0.85), (0.47, 0.27, 0.60))) + rng.normal(0, 0.025, (2, 3))
    for index in range(count):
        place, spread = 2 * pi * index / count + rng.normal(0, 0.2), (count > 1) * 0.75 * disc[2]
        at = disc[0] + spread * sin(place), disc[1] + spread * cos(place)
        minor = disc[2] * rng.uniform(0.6, 0.85) / count**0.4 * (1.6 if subtle else 1)
        distance = _ellipse(y, x, at, (minor, minor * rng.uniform(1.0, 1.5)), rng.uniform(0, pi))
        distance += 0.1 * minor * wrinkle
        scene = blend(scene, pale, 0.88 * coverage(distance, size, 0.015))
        core = coverage(distance + 0.35 * minor, size, 0.3 * minor)
        scene = blend(scene, purple, rng.uniform(0.75, 0.95) * grain * core)
    return scene
