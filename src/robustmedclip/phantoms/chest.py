"""Synthetic frontal chest radiographs of children: clear lungs, bacterial and viral pneumonia.

The picture is a projection: every structure adds to or takes from the attenuation along the ray, so
that a consolidated lung hides the heart border beside it (the silhouette sign) without further ado.
Anatomy is laid out in the patient's frame ``(v, u)``: v down, u to the right of the image, which is the
patient's left; the midline is u = 0. Signs of the two pneumonias follow the description of the
paediatric radiographs of Kermany et al., "Identifying medical diagnoses and treatable diseases by
image-based deep learning", Cell 172 (2018): focal lobar consolidation (bacterial) against a diffuse
interstitial pattern in both lungs (viral).
"""

from math import atan2, cos, hypot, sin

import numpy as np

from robustmedclip.phantoms import chest_anatomy as anatomy
from robustmedclip.phantoms.primitives import coverage, curve, smooth_noise, stroke

MODALITY = "chest X-ray"
CHANNELS = 1
CLASSES: dict[str, tuple[str, ...]] = {
    "normal lungs": (
        "normal lungs",
        "clear lungs without consolidation",
        "no sign of pneumonia",
        "well aerated lungs with sharp costophrenic angles",
        "unremarkable heart and lungs",
    ),
    "bacterial pneumonia": (
        "bacterial pneumonia",
        "focal lobar consolidation",
        "dense segmental airspace opacity",
        "lobar pneumonia with air bronchograms",
        "one-sided alveolar consolidation of bacterial pneumonia",
    ),
    "viral pneumonia": (
        "viral pneumonia",
        "diffuse interstitial opacities in both lungs",
        "bilateral reticular markings with peribronchial thickening",
        "perihilar interstitial pneumonia",
        "patchy bilateral infiltrates of viral pneumonia",
    ),
}

_NORMAL, _BACTERIAL, _VIRAL = range(3)
_LETTERS = {
    anatomy.RIGHT: ((1, 0), (0, 0), (0, 0.45), (0.22, 0.6), (0.45, 0.45), (0.45, 0), (0.45, 0.25), (1, 0.6)),
    anatomy.LEFT: ((0, 0), (1, 0), (1, 0.55)),
}


def draw(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Draw a chest radiograph.

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
        float32 ``(size, size, 1)`` in [0, 1]; bright is dense.
    """
    thorax = anatomy.draw_thorax(rng)
    v, u = anatomy.patient_frame(rng, size)
    lung = anatomy.lung(thorax, v, u, size)
    vessels = anatomy.vessels(rng, thorax, v, u, size)
    fill = (_no_disease, _consolidation, _interstitial_disease)[label](rng, thorax, v, u, size)

    heart = anatomy.heart(thorax, v, u, size)
    air = lung * (1 - 0.92 * heart) * (1 - fill) * (1 - rng.uniform(0.1, 0.45) * vessels)
    attenuation = anatomy.soft_tissue(rng, v, u, size) + 0.08 * heart
    attenuation += anatomy.abdomen(rng, thorax, v, u, size)
    attenuation -= rng.uniform(0.36, 0.46) * air
    attenuation += (0.4 + 0.6 * lung) * anatomy.bones(rng, thorax, v, u, size)
    attenuation -= anatomy.airway(rng, thorax, v, u, size)
    attenuation = np.maximum(attenuation, _devices(rng, size))
    attenuation += rng.uniform(0.004, 0.014) * smooth_noise(rng, size, 0.06, octaves=2)
    exposure, latitude = rng.uniform(1.0, 1.5), rng.uniform(0.8, 1.5)
    film: np.ndarray = np.tanh(exposure * np.maximum(attenuation, 0)) ** latitude
    return film.astype(np.float32)[..., None]


def _no_disease(
    rng: np.random.Generator, thorax: anatomy.Thorax, v: np.ndarray, u: np.ndarray, size: int
) -> np.ndarray:
    """Share of the air replaced in a healthy lung: a faint uneven haze of breath and posture."""
    haze: np.ndarray = np.clip(rng.uniform(0.0, 0.07) * (1 + smooth_noise(rng, size, 0.5)), 0, 0.2)
    return haze


def _consolidation(
    rng: np.random.Generator, thorax: anatomy.Thorax, v: np.ndarray, u: np.ndarray, size: int
) -> np.ndarray:
    """Share of the air replaced by exudate in one lobe or segment, now and then in a second one."""
    side = rng.choice((anatomy.RIGHT, anatomy.LEFT), p=(0.6, 0.4))
    subtle = rng.random() < 0.08
    density = rng.uniform(0.25, 0.4) if subtle else rng.uniform(0.5, 0.95)
    fill = density * _focus(rng, thorax, v, u, size, side, 0.12 if subtle else rng.uniform(0.14, 0.3))
    second = _focus(rng, thorax, v, u, size, rng.choice((anatomy.RIGHT, anatomy.LEFT)), rng.uniform(0.08, 0.16))
    fill = np.maximum(fill, (rng.random() < 0.15) * 0.8 * density * second)
    meniscus = rng.uniform(0.08, 0.22) * (rng.random() < 0.3) * np.clip(side * u - 0.2, 0, 0.5) / 0.4
    effusion = coverage(anatomy.diaphragm(thorax, u) - meniscus - v, size, 0.02) * (meniscus > 0)
    replaced: np.ndarray = np.maximum(np.maximum(fill, 0.9 * effusion), _no_disease(rng, thorax, v, u, size))
    return replaced


def _focus(
    rng: np.random.Generator,
    thorax: anatomy.Thorax,
    v: np.ndarray,
    u: np.ndarray,
    size: int,
    side: int,
    extent: float,
) -> np.ndarray:
    """One consolidated area with fuzzy edges, often bounded by a fissure, with air bronchograms."""
    height, offset = rng.uniform(0.25, 0.92), rng.uniform(0.4, 0.72)
    centre = (
        thorax.apex + height * (thorax.dome - thorax.apex),
        side * offset * thorax.width + 0.03 * thorax.turn,
    )
    radii = (extent * rng.uniform(0.8, 1.2), extent * rng.uniform(0.8, 1.3))
    radius = anatomy.radius(v, u, centre, radii, rng.uniform(-0.6, 0.6))
    ragged = radius + 0.22 * smooth_noise(rng, size, 0.3, octaves=3)
    area = coverage((ragged - 1) * extent, size, rng.uniform(0.04, 0.09))
    fissure = centre[0] + rng.uniform(0.1, 0.5) * extent + rng.uniform(-0.2, 0.2) * (u - centre[1])
    if rng.random() < 0.4:
        area = area * coverage(v - fissure, size, 0.01)
    hilum = anatomy.hilum(thorax, side)
    heading = atan2(centre[0] - hilum[0], centre[1] - hilum[1])
    reach = hypot(centre[0] - hilum[0], centre[1] - hilum[1]) + 0.5 * extent
    bronchi = np.zeros_like(area)
    for spread in (-0.35, 0.0, 0.35):
        angle = heading + spread + rng.normal(0, 0.1)
        bronchi = np.maximum(bronchi, anatomy.tube(v, u, size, hilum, angle, reach, 0.018, rng.uniform(-0.4, 0.4)))
    return area * (1 - rng.uniform(0.0, 0.7) * bronchi) * (side * u > 0)


def _interstitial_disease(
    rng: np.random.Generator, thorax: anatomy.Thorax, v: np.ndarray, u: np.ndarray, size: int
) -> np.ndarray:
    """Share of the air replaced by a network of thickened septa, cuffed bronchi and patchy haze."""
    subtle = rng.random() < 0.08
    severity = rng.uniform(0.2, 0.35) if subtle else rng.uniform(0.45, 1.0)
    fine, coarse = smooth_noise(rng, size, 0.11), smooth_noise(rng, size, 0.2)
    network = np.maximum(np.exp(-((fine / 0.3) ** 2)), np.exp(-((coarse / 0.25) ** 2)))
    patches = np.clip(0.5 + 0.6 * smooth_noise(rng, size, 0.4, octaves=2), 0, 1)
    spread = rng.uniform(0.28, 0.5)
    zone = cuffs = np.zeros((size, size), np.float32)
    for side in (anatomy.RIGHT, anatomy.LEFT):
        hilum = anatomy.hilum(thorax, side)
        perihilar = np.exp(-(anatomy.radius(v, u, (hilum[0] + 0.08, hilum[1]), (1.3 * spread, spread)) ** 2))
        zone = np.maximum(zone, rng.uniform(0.6, 1.0) * perihilar)
        for _ in range(4):
            angle, distance = rng.uniform(-1.3, 1.3), rng.uniform(0.06, 0.26)
            centre = (hilum[0] + distance * sin(angle), hilum[1] + side * distance * cos(angle))
            bore = rng.uniform(0.018, 0.032)
            ring = np.exp(-((anatomy.radius(v, u, centre, (bore, bore)) - 1.2) ** 2) / 0.25)
            cuffs = np.maximum(cuffs, ring)
    opacity = zone * (0.6 * network * (0.35 + 0.65 * patches) + 0.35 * patches + 0.4 * cuffs)
    replaced: np.ndarray = np.maximum(np.clip(severity * opacity, 0, 0.85), _no_disease(rng, thorax, v, u, size))
    return replaced


def _devices(rng: np.random.Generator, size: int) -> np.ndarray:
    """A side marker and the leads of a monitor, each on some films only."""
    overlay: np.ndarray = np.zeros((size, size), np.float32)
    side = rng.choice((anatomy.RIGHT, anatomy.LEFT))
    corner = np.array((rng.uniform(-0.92, -0.7), side * rng.uniform(0.78, 0.86)))
    letter = corner + 0.11 * (np.asarray(_LETTERS[side]) - (0, 0.3))
    if rng.random() < 0.5:
        overlay = stroke(size, letter, 0.018) * rng.uniform(0.7, 1.0)
    for lead in range(rng.choice((0, 1, 2, 3), p=(0.72, 0.1, 0.1, 0.08))):
        electrode = (rng.uniform(-0.45, 0.3), rng.uniform(-0.6, 0.6))
        bend = (electrode[0] + rng.uniform(0.1, 0.6), electrode[1] + rng.uniform(-0.5, 0.5))
        path = curve(electrode, bend, (1.1, rng.uniform(-0.9, 0.9)), samples=9)
        dot = stroke(size, np.array((electrode, electrode)), 0.035)
        overlay = np.maximum(overlay, np.maximum(0.75 * stroke(size, path, 0.007), 0.85 * dot))
    return overlay
