"""Synthetic colour fundus photographs with the five grades of diabetic retinopathy.

Drawn are the round aperture, the pigmented retina with its choroid, the optic disc with its cup, the
macula and the branching arteries and veins of a left or right eye; then the lesions by which the
international clinical scale (Wilkinson et al., Ophthalmology 110, 2003) tells the grades apart, larger
than in life so that they survive at 64 px. The vascular frame is ``(v, u)`` with the disc as origin: v
down, u towards the macula.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin

import cv2
import numpy as np
from numpy.random import Generator

from robustmedclip.phantoms.primitives import blend, coverage, curve, ellipse, grid, irregular, smooth_noise

MODALITY = "fundus photography"
CHANNELS = 3
CLASSES: dict[str, tuple[str, ...]] = {
    "no diabetic retinopathy": (
        "no diabetic retinopathy",
        "a healthy retina without lesions",
        "a clear macula, a sharp optic disc and regular vessels",
        "no microaneurysms, haemorrhages or exudates",
        "a normal fundus",
    ),
    "mild diabetic retinopathy": (
        "mild diabetic retinopathy",
        "a few microaneurysms only",
        "scattered tiny red dots",
        "microaneurysms without haemorrhages or exudates",
        "early nonproliferative retinopathy",
    ),
    "moderate diabetic retinopathy": (
        "moderate diabetic retinopathy",
        "yellow hard exudates and dot-blot haemorrhages",
        "clusters of hard exudates around the macula",
        "many microaneurysms with some haemorrhages",
        "moderate nonproliferative retinopathy",
    ),
    "severe diabetic retinopathy": (
        "severe diabetic retinopathy",
        "haemorrhages in all four quadrants",
        "cotton wool spots and venous beading",
        "numerous blot and flame haemorrhages",
        "severe nonproliferative retinopathy",
    ),
    "proliferative diabetic retinopathy": (
        "proliferative diabetic retinopathy",
        "neovascularisation of the disc or elsewhere",
        "a boat-shaped preretinal haemorrhage",
        "fans of new vessels with fibrous tissue",
        "vitreous haemorrhage and laser scars",
    ),
}

_Range = tuple[float, float]
#: Fewest and most lesions of a kind at each grade.
_COUNTS = {
    "microaneurysms": ((0, 0), (2, 8), (4, 13), (4, 14), (2, 12)),
    "haemorrhages": ((0, 0), (0, 0), (2, 9), (9, 21), (1, 11)),
    "exudates": ((0, 0), (0, 0), (1, 3), (0, 2), (0, 2)),
    "cotton wool": ((0, 0), (0, 0), (0, 1), (1, 5), (0, 2)),
}
#: Control points of the nasal and the temporal arcade in the vascular frame.
_ARCADES = (
    ((0, 0), (0.25, -0.02), (0.45, -0.3), (0.8, -1.0)),
    ((0, 0), (0.5, -0.1), (0.85, 0.4), (0.62, 1.0), (0.35, 1.5)),
)
_ARTERY, _VEIN, _BLOOD = (0.1, 0.62, 0.45), (0.3, 1.0, 0.7), (0.5, 1.6, 1.2)
_EXUDATE, _COTTON, _FIBROUS = (1.0, 0.85, 0.42), (0.96, 0.84, 0.64), (0.84, 0.72, 0.58)


@dataclass(frozen=True)
class _Eye:
    """Pose of one eye in the picture."""

    disc: np.ndarray
    macula: np.ndarray
    disc_radius: float
    axes: np.ndarray
    aperture: float

    def place(self, points: np.ndarray) -> np.ndarray:
        """From the vascular frame to the picture."""
        placed: np.ndarray = self.disc + points @ self.axes
        return placed


def draw(rng: Generator, label: int, size: int) -> np.ndarray:
    """Draw one fundus photograph.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness; the scene depends on it and on `label`, not on `size`.
    label : int
        Grade of retinopathy, 0 to 4: index into ``CLASSES``.
    size : int
        Side of the image in pixels.

    Returns
    -------
    ndarray
        float32 ``(size, size, 3)`` in [0, 1], RGB.
    """
    eye = _eye(rng)
    severity = rng.uniform(0.25, 0.5) if rng.random() < 0.08 else rng.uniform(0.8, 1.15)
    beading = severity * rng.uniform(0.3, 0.7) * (label == 3 or (label == 4 and rng.random() < 0.3))
    image = _optic_disc(rng, eye, _retina(rng, eye, size), size)
    image = _absorb(image, _ARTERY, _vessels(rng, eye, size, 0.021, 0.84, 0.0))
    image = _absorb(image, _VEIN, _vessels(rng, eye, size, 0.03, 1.0, beading))
    image = _background(rng, eye, image, size, label, severity)
    if label == 4:
        image = _proliferation(rng, eye, image, size, severity)
    return _photograph(rng, eye, image, size)


def _eye(rng: Generator) -> _Eye:
    side, tilt, scale = 2 * (rng.random() < 0.5) - 1, rng.normal(0, 0.08), rng.uniform(0.9, 1.08)
    frame = [[cos(tilt), sin(tilt)], [-side * sin(tilt), side * cos(tilt)]]
    axes = scale * np.array(frame, np.float32)
    macula_centred = rng.random() < 0.75
    to_disc = rng.uniform(0.5, 0.62) if macula_centred else rng.uniform(0.05, 0.4)
    disc = np.array((rng.normal(-0.03, 0.05), -side * to_disc), np.float32)
    macula = disc + np.array((0.06, 0.62), np.float32) @ axes
    return _Eye(disc, macula, rng.uniform(0.11, 0.155) * scale, axes, rng.uniform(0.9, 0.97))


def _retina(rng: Generator, eye: _Eye, size: int) -> np.ndarray:
    """Pigment epithelium and choroid, unevenly lit, darker at the macula."""
    y, x = grid(size)
    pigment = rng.random()
    light, dark = np.array(((0.88, 0.47, 0.24), (0.62, 0.27, 0.12)))
    colour = np.float32((light + (dark - light) * pigment) * np.exp(rng.normal(0, (0.03, 0.06, 0.12))))
    tessellation = np.exp(-((smooth_noise(rng, size, 0.16, aspect=1.6) / 0.5) ** 2))
    mottle = 0.05 * smooth_noise(rng, size, 0.7, octaves=3) + rng.uniform(0.0, 0.13) * tessellation
    lamp = rng.normal(0, 0.2, 2).astype(np.float32)
    falloff = rng.uniform(0.15, 0.5) * ((y - lamp[0]) ** 2 + (x - lamp[1]) ** 2)
    from_macula = ((y - eye.macula[0]) ** 2 + (x - eye.macula[1]) ** 2) / rng.uniform(0.02, 0.045)
    macula = rng.uniform(0.25, 0.5) * np.exp(-from_macula) + 0.12 * np.exp(-0.15 * from_macula)
    density = (mottle + falloff)[..., None] + macula[..., None] * np.array((0.75, 1.0, 0.9), np.float32)
    reflex = rng.uniform(0.0, 0.12) * (rng.random() < 0.4) * np.exp(-25 * from_macula)
    background: np.ndarray = colour * np.exp(-density) + reflex[..., None]
    return background


def _optic_disc(rng: Generator, eye: _Eye, image: np.ndarray, size: int) -> np.ndarray:
    """Disc with its cup."""
    radii = (eye.disc_radius * rng.uniform(1.0, 1.15), eye.disc_radius)
    temporal = 0.2 * eye.disc_radius * np.sign(eye.axes[1])
    rim = ellipse(size, eye.disc, radii, softness=rng.uniform(0.01, 0.03))
    ratio = rng.uniform(0.3, 0.6)
    cup = ellipse(size, eye.disc + temporal, (ratio * radii[0], ratio * radii[1]), softness=0.03)
    image = blend(image, (0.98, 0.7, 0.42), rng.uniform(0.75, 0.95) * rim)
    return blend(image, (1.0, 0.88, 0.62), rng.uniform(0.5, 0.95) * cup)


def _vessels(rng: Generator, eye: _Eye, size: int, calibre: float, reach: float, beads: float) -> np.ndarray:
    """Coverage of the arteries or of the veins: four arcades out of the disc, each with its branches.

    Branches towards the macula end before the fovea.
    """
    canvas = _canvas(size)
    trunks = np.empty((4, 19, 2))
    for index in range(4):
        control = np.array(_ARCADES[index % 2]) * ((-1) ** (index // 2) * reach, 1.0)
        control[1:] += rng.normal(0, 0.05, control[1:].shape)
        trunks[index] = curve(*control, samples=19)
    trunks += 0.008 * np.sin(np.linspace(0, rng.uniform(8, 16), 19))[:, None]
    swelling = 1 + beads * (0.3 + 1.5 * np.sin(np.arange(18) * 2.1))
    widths = calibre * rng.uniform(0.85, 1.15) * np.linspace(1, 0.5, 18) * swelling
    pixels = _pixels(canvas, eye.place(trunks))
    for place, width in enumerate(widths):
        _lines(canvas, pixels[:, place : place + 2], max(width, 0.35 * calibre))

    parent, step = np.arange(16) % 4, rng.integers(3, 17, 16)
    tangent = trunks[parent, step + 1] - trunks[parent, step - 1]
    turn = rng.choice((-1, 1), 16) * rng.uniform(0.5, 1.0, 16)
    heading = np.arctan2(tangent[:, 0], tangent[:, 1]) + turn
    inward = (parent % 2 == 1) & (np.sin(heading) * trunks[parent, step, 0] < 0)
    length = np.where(inward, 0.24, 0.48) * rng.uniform(0.7, 1.3, 16)
    branches = _walks(rng, trunks[parent, step], heading, length, -0.6 * turn)
    fork = branches[np.arange(16), rng.integers(2, 6, 16)]
    daughters = _walks(rng, fork, heading + turn * rng.uniform(-1.2, 0.3, 16), 0.6 * length, 0.3 * turn)
    _lines(canvas, _pixels(canvas, eye.place(branches)), calibre * rng.uniform(0.35, 0.55))
    _lines(canvas, _pixels(canvas, eye.place(daughters)), calibre * 0.28)
    return _layer(canvas, size)


def _walks(rng: Generator, starts: np.ndarray, heading: np.ndarray, length: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Wandering paths ``(n, 9, 2)``, each turning by `bend` radians in all."""
    wander = np.cumsum(rng.normal(0, 0.16, (len(heading), 8)), axis=1)
    angle = heading[:, None] + bend[:, None] * np.linspace(0, 1, 8) + wander
    steps = np.stack([np.sin(angle), np.cos(angle)], axis=2) * (length / 8)[:, None, None]
    return np.cumsum(np.concatenate([starts[:, None], steps], axis=1), axis=1)


def _background(rng: Generator, eye: _Eye, image: np.ndarray, size: int, label: int, severity: float) -> np.ndarray:
    """Microaneurysms, haemorrhages, exudates and cotton wool spots of the grade; drusen at any grade."""
    dots, bleedings, clusters, spots = (
        int(np.ceil(severity * rng.integers(*ranges[label], endpoint=True))) for ranges in _COUNTS.values()
    )
    blood, lipid, cotton = _canvas(size), _canvas(size), _canvas(size)
    drusen = eye.macula + rng.normal(0, 0.16, (int(rng.integers(3, 10)) * (rng.random() < 0.12), 2))
    _blobs(rng, eye, lipid, drusen, (0.009, 0.015), 1.0)
    _blobs(rng, eye, blood, _sites(rng, eye, dots), (0.016, 0.024), 1.0)
    largest, stretch = (0.068, 1.8) if label == 3 else (0.052, 1.3)
    _blobs(rng, eye, blood, _sites(rng, eye, bleedings), (0.028, largest), stretch)
    for _ in range(clusters):
        angle, distance, spread = rng.uniform(0, 2 * pi), rng.uniform(0.15, 0.5), rng.uniform(0.04, 0.1)
        centre = eye.macula + distance * np.array((sin(angle), cos(angle)))
        specks = centre + rng.normal(0, spread, (rng.integers(5, 14), 2))
        _blobs(rng, eye, lipid, specks, (0.012, 0.028), 1.1)
    _blobs(rng, eye, cotton, _sites(rng, eye, spots), (0.05, 0.085), 1.4)
    fluffy = cv2.GaussianBlur(_layer(cotton, size), (0, 0), 0.009 * size)
    image = blend(image, _COTTON, rng.uniform(0.5, 0.9) * fluffy)
    image = _absorb(image, _BLOOD, rng.uniform(0.5, 1.0) * _layer(blood, size))
    return blend(image, _EXUDATE, rng.uniform(0.6, 1.0) * _layer(lipid, size))


def _proliferation(rng: Generator, eye: _Eye, image: np.ndarray, size: int, severity: float) -> np.ndarray:
    """Fans of new vessels, fibrous tissue, preretinal and vitreous haemorrhage, scars of the laser."""
    fans, scars, boat = _canvas(size), _canvas(size), _canvas(size)
    signs = rng.random(6) < (0.5, 0.6, 0.6, 0.35, 0.35, 0.25)
    at_disc, elsewhere, bleeding, treated, fibrous, haze = signs.tolist()
    if treated:
        burns = _sites(rng, eye, int(rng.integers(18, 40)))
        burns = burns[np.hypot(*(burns - eye.macula).T) > 0.38]
        _blobs(rng, eye, scars, burns, (0.026, 0.034), 1.0)
    roots = list(_sites(rng, eye, elsewhere * int(rng.integers(1, 3))))
    if at_disc or not (elsewhere or bleeding):
        roots.append(eye.disc)
    veil = np.zeros((size, size), np.float32)
    for root in roots:
        extent = severity * rng.uniform(0.2, 0.32)
        heading = rng.uniform(0, 2 * pi) + np.linspace(-1.3, 1.3, 9)
        length, bend = extent * rng.uniform(0.8, 1.2, 9), rng.normal(0, 1.2, 9)
        sprouts = _walks(rng, np.tile(root, (9, 1)), heading, length, bend)
        _lines(fans, _pixels(fans, sprouts), 0.013)
        if fibrous:
            radii = (0.3 * extent, 0.8 * extent)
            strand = ellipse(size, root, radii, rng.uniform(0, pi), 0.03, irregular(rng, 0.5))
            veil = np.maximum(veil, rng.uniform(0.5, 0.8) * strand)
    if bleeding:
        width, depth = severity * rng.uniform(0.22, 0.42), severity * rng.uniform(0.14, 0.3)
        centre = eye.macula + (rng.choice((-0.5, 0.3)) + rng.normal(0, 0.06), rng.normal(0, 0.25))
        theta, tilt = np.linspace(0, pi, 24), rng.normal(0, 0.15)
        hull = np.stack([depth * np.sin(theta) ** 0.8, width * np.cos(theta)], axis=1)
        _fill(boat, centre + hull @ np.array([[cos(tilt), sin(tilt)], [-sin(tilt), cos(tilt)]]))
    image = blend(image, (0.92, 0.78, 0.5), 0.75 * _layer(scars, size))
    image = _absorb(blend(image, _FIBROUS, veil), _BLOOD, 0.8 * _layer(fans, size))
    clouds = np.clip(smooth_noise(rng, size, 0.6, octaves=2), 0, 2) * rng.uniform(0.1, 0.3) * haze
    return _absorb(image, _BLOOD, 1.15 * _layer(boat, size) + clouds)


def _photograph(rng: Generator, eye: _Eye, image: np.ndarray, size: int) -> np.ndarray:
    """Flare at the rim, hazy media and the round or cropped aperture of the camera."""
    y, x = grid(size)
    has_flare, has_cataract, is_cropped = (rng.random(3) < (0.35, 0.3, 0.4)).tolist()
    radius, angle = np.hypot(y, x), rng.uniform(0, 2 * pi)
    facing = np.clip(y * sin(angle) + x * cos(angle), 0, 1)
    flare = has_flare * rng.uniform(0.1, 0.5) * facing * np.clip((radius / eye.aperture - 0.72) * 3, 0, 1)
    image = blend(image, (0.82, 0.66, 0.5), np.clip(flare + has_cataract * rng.uniform(0, 0.28), 0, 0.6))
    half_height = rng.uniform(0.68, 0.88) if is_cropped else 1.1
    window = coverage(radius - eye.aperture, size) * coverage(np.abs(y) - half_height, size)
    photograph: np.ndarray = np.clip(image * (rng.uniform(0.85, 1.05) * window[..., None]), 0, 1)
    return photograph


def _sites(rng: Generator, eye: _Eye, count: int) -> np.ndarray:
    """Up to `count` places on the visible retina, off the disc and the fovea, in turn by quadrant."""
    candidates = 2 * count + 4
    angle = (np.arange(candidates) + rng.random(candidates)) * (pi / 2) + rng.uniform(0, 2 * pi)
    distance = 0.78 * np.sqrt(rng.uniform(0.02, 1, candidates))
    sites = distance[:, None] * np.stack([0.85 * np.sin(angle), np.cos(angle)], axis=1)
    off_disc = np.hypot(*(sites - eye.disc).T) > 1.5 * eye.disc_radius
    visible: np.ndarray = sites[off_disc & (np.hypot(*(sites - eye.macula).T) > 0.1)]
    return visible[:count]


def _blobs(rng: Generator, eye: _Eye, canvas: np.ndarray, centres: np.ndarray, radii: _Range, stretch: float) -> None:
    """Fill irregular blobs, drawn out by up to `stretch` along the nerve fibres from the disc."""
    theta, count = np.linspace(0, 2 * pi, 16, endpoint=False), (len(centres), 1)
    along = rng.uniform(1, stretch, count)
    radius = rng.uniform(*radii, count) * (1 + 0.15 * np.cos(3 * theta + rng.uniform(0, 6, count)))
    v, u = radius * np.sin(theta) / along, radius * np.cos(theta) * along
    fibre = np.arctan2(*(centres - eye.disc).T)[:, None]
    offsets = np.stack([v * np.cos(fibre) + u * np.sin(fibre), u * np.cos(fibre) - v * np.sin(fibre)], axis=2)
    for outline in centres[:, None] + offsets:
        _fill(canvas, outline)


def _canvas(size: int) -> np.ndarray:
    """Blank sheet of at least 256 px, a multiple of `size`, on which thin structures keep their shape."""
    side = size * -(-256 // size)
    return np.zeros((side, side), np.uint8)


def _layer(canvas: np.ndarray, size: int) -> np.ndarray:
    """Coverage in [0, 1] of each pixel of the image by what is drawn on a canvas."""
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _pixels(canvas: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points as OpenCV wants them: ``(x, y)`` in sixteenths of a pixel."""
    sixteenths: np.ndarray = np.rint(((points[..., ::-1] + 1) / 2 * len(canvas) - 0.5) * 16)
    return sixteenths.astype(np.int32)


def _lines(canvas: np.ndarray, pixels: np.ndarray, width: float) -> None:
    thickness = max(round(width / 2 * len(canvas)), 1)
    cv2.polylines(canvas, list(pixels), False, 255, thickness, cv2.LINE_AA, 4)


def _fill(canvas: np.ndarray, outline: np.ndarray) -> None:
    cv2.fillPoly(canvas, [_pixels(canvas, outline)], 255, cv2.LINE_AA, 4)


def _absorb(image: np.ndarray, density: Sequence[float], layer: np.ndarray) -> np.ndarray:
    """Filter the light through a layer of blood or pigment."""
    filtered: np.ndarray = image * np.exp(-layer[..., None] * np.asarray(density, np.float32))
    return filtered
