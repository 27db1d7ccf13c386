"""Synthetic frontal chest radiographs of children: clear lungs, bacterial and viral pneumonia.

The picture is a projection: every structure adds to or takes from the attenuation along the ray, so
that a consolidated lung hides the heart border beside it (the silhouette sign) without further ado.
Anatomy is laid out in the patient's frame ``(v, u)``: v down, u to the right of the image, which is the
patient's left; the midline is u = 0. Signs of the two pneumonias follow the description of the
paediatric radiographs of Kermany et al., "Identifying medical diagnoses and treatable diseases by
image-based deep learning", Cell 172 (2018): focal lobar consolidation (bacterial) against a diffuse
interstitial pattern in both lungs (viral).
"""

from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin

import numpy as np

from robustmedclip.phantoms.primitives import coverage, curve, grid, smooth_noise, stroke

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
_RIGHT, _LEFT = -1, 1  # sign of u on the patient's right and left
_LETTERS = {
    _RIGHT: ((1, 0), (0, 0), (0, 0.45), (0.22, 0.6), (0.45, 0.45), (0.45, 0), (0.45, 0.25), (1, 0.6)),
    _LEFT: ((0, 0), (1, 0), (1, 0.55)),
}


@dataclass(frozen=True)
class _Thorax:
    """Build, posture and breath of one child, in units of half the image side."""

    apex: float
    width: float
    dome: float
    turn: float
    heart: float
    mediastinum: float
    rib_spacing: float
    rib_slope: float


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
    thorax = _thorax(rng)
    v, u = _patient_frame(rng, size)
    lung = _lung(thorax, v, u, size)
    vessels = _vessels(rng, thorax, v, u, size)
    fill = (_no_disease, _consolidation, _interstitial_disease)[label](rng, thorax, v, u, size)

    heart = _heart(thorax, v, u, size)
    air = lung * (1 - 0.92 * heart) * (1 - fill) * (1 - rng.uniform(0.1, 0.45) * vessels)
    attenuation = _soft_tissue(rng, v, u, size) + 0.08 * heart
    attenuation += _abdomen(rng, thorax, v, u, size)
    attenuation -= rng.uniform(0.36, 0.46) * air
    attenuation += (0.4 + 0.6 * lung) * _bones(rng, thorax, v, u, size)
    attenuation -= _airway(rng, thorax, v, u, size)
    attenuation = np.maximum(attenuation, _devices(rng, size))
    attenuation += rng.uniform(0.004, 0.014) * smooth_noise(rng, size, 0.06, octaves=2)
    exposure, latitude = rng.uniform(1.0, 1.5), rng.uniform(0.8, 1.5)
    film = np.tanh(exposure * np.maximum(attenuation, 0))
    return (film**latitude).astype(np.float32)[..., None]


def _thorax(rng: np.random.Generator) -> _Thorax:
    return _Thorax(
        apex=rng.uniform(-0.74, -0.64),
        width=rng.uniform(0.6, 0.72),
        dome=rng.uniform(0.2, 0.46),
        turn=rng.normal(0, 0.35),
        heart=rng.uniform(0.85, 1.2),
        mediastinum=rng.uniform(0.8, 1.3) + (rng.random() < 0.15) * rng.uniform(0.3, 0.9),
        rib_spacing=rng.uniform(0.115, 0.145),
        rib_slope=rng.uniform(0.12, 0.3),
    )


def _patient_frame(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Patient coordinates ``(v, u)`` of every pixel: a tilt, a shift, a zoom and a gentle asymmetry."""
    y, x = grid(size)
    tilt, zoom = rng.normal(0, 0.05), rng.uniform(1.0, 1.28)
    dy, dx = y - rng.uniform(-0.02, 0.14), x - rng.uniform(-0.08, 0.08)
    v = (dy * cos(tilt) + dx * sin(tilt)) / zoom
    u = (dx * cos(tilt) - dy * sin(tilt)) / zoom
    v = v + 0.012 * smooth_noise(rng, size, 0.8)
    u = u + 0.012 * smooth_noise(rng, size, 0.8)
    return v.astype(np.float32), u.astype(np.float32)


def _round_profile(depth: np.ndarray, reach: float) -> np.ndarray:
    """Path length through a body rounded over `reach` behind its outline, 1 where it is thickest."""
    t = np.clip(depth / reach, 0, 1)
    return np.sqrt(t * (2 - t))


def _radius(
    v: np.ndarray, u: np.ndarray, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0
) -> np.ndarray:
    """Distance from an ellipse's centre in units of its radii, ``(v, u)`` order."""
    dv, du = v - centre[0], u - centre[1]
    along, across = dv * sin(angle) + du * cos(angle), dv * cos(angle) - du * sin(angle)
    return np.hypot(across / radii[0], along / radii[1])


def _tube(
    v: np.ndarray,
    u: np.ndarray,
    size: int,
    start: tuple[float, float],
    angle: float,
    length: float,
    width: float,
    bend: float = 0.0,
    taper: float = 0.7,
) -> np.ndarray:
    """Shadow of a bent tapering tube of half-width `width`; `angle` 0 points right, pi/2 down."""
    dv, du = v - start[0], u - start[1]
    along = du * cos(angle) + dv * sin(angle)
    across = dv * cos(angle) - du * sin(angle) - bend * along * along
    t = np.clip(along / length, 0, 1)
    radius = width * (1 - taper * t)
    drawn = np.maximum(radius, 0.7 / size)
    past_end = np.abs(along - t * length)
    return np.exp(-0.7 * (across * across + past_end * past_end) / (drawn * drawn)) * (radius / drawn)


def _side_width(thorax: _Thorax, u: np.ndarray) -> np.ndarray:
    """Half-width of the thorax on each pixel's side: the side turned to the detector looks narrower."""
    return thorax.width * (1 + 0.1 * thorax.turn * np.sign(u))


def _wall(thorax: _Thorax, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Distance of the chest wall from the midline at each pixel's height."""
    t = np.clip((v - thorax.apex) / (0.45 - thorax.apex), 0, 1)
    return 0.24 + (_side_width(thorax, u) - 0.24) * np.sqrt(t * (2 - t))


def _diaphragm(thorax: _Thorax, u: np.ndarray) -> np.ndarray:
    """Height of the diaphragm: two domes, the right one pushed up by the liver."""
    off_centre = np.abs(u) - 0.3
    drop = np.where(off_centre > 0, 1.7, 0.6) * off_centre * off_centre
    return thorax.dome + np.where(u > 0, 0.05, 0.0) + drop


def _lung(thorax: _Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Aerated depth of both lungs in [0, 1]."""
    t = np.clip((v - thorax.apex) / 0.22, 0, 1)
    medial = 0.24 - (0.24 - 0.09 * thorax.mediastinum) * np.sqrt(t * (2 - t))
    shift = 0.05 * thorax.turn
    lateral_room = _wall(thorax, v, u) - np.abs(u)
    medial_room = np.abs(u - shift) - medial
    depth = np.minimum(np.minimum(lateral_room, medial_room), np.minimum(_diaphragm(thorax, u) - v, v - thorax.apex))
    return coverage(-depth, size, 0.008) * (0.45 + 0.55 * _round_profile(depth, 0.3))


def _heart(thorax: _Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Silhouette of the heart with the aortic knob and the pulmonary trunk."""
    scale, shift = thorax.heart, 0.05 * thorax.turn
    base = thorax.dome
    parts = (
        0.2 * (_radius(v, u, (base - 0.16 * scale, 0.12 + shift), (0.2 * scale, 0.34 * scale), 0.5) - 1),
        0.18 * (_radius(v, u, (base - 0.2 * scale, -0.06 + shift), (0.24 * scale, 0.16 * scale)) - 1),
        0.08 * (_radius(v, u, (base - 0.44 * scale, 0.08 + shift), (0.15, 0.08)) - 1),
        0.06 * (_radius(v, u, (base - 0.66 * scale, 0.06 + shift), (0.09, 0.07)) - 1),
    )
    union = -0.03 * np.logaddexp.reduce([-part / 0.03 for part in parts])
    return coverage(union, size, 0.014)


def _soft_tissue(rng: np.random.Generator, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Trunk, neck, chin and arms."""
    lateral = np.abs(u)
    flank = rng.uniform(0.78, 0.9)
    shoulder = -0.56 - 0.035 / np.maximum(lateral - 0.1, 0.02) + 0.9 * np.maximum(lateral - 0.6, 0) ** 2
    beside, beneath = flank + 0.05 * np.cos(2.2 * v) - lateral, 0.8 * (v - shoulder)
    inside = beside + beneath - np.hypot(beside, beneath)
    inside = np.maximum(inside, 0.28 - np.hypot(v + 1.25, 0.7 * u))
    raised = rng.random() < 0.45
    angle = rng.uniform(-0.9, -0.3) if raised else rng.uniform(1.25, 1.5)
    thickness = rng.uniform(0.12, 0.17)
    dv, du = v + 0.42, lateral - 0.72
    along = np.clip(du * cos(angle) + dv * sin(angle), 0, 2)
    from_humerus = np.hypot(du - along * cos(angle), dv - along * sin(angle))
    arm = thickness - from_humerus
    bone = coverage(from_humerus - 0.035, size, 0.006)
    density = rng.uniform(0.66, 0.8)
    trunk = coverage(-inside, size) * (0.25 + 0.75 * _round_profile(inside, 0.4)) * density
    limb = coverage(-arm, size) * (0.2 + 0.4 * _round_profile(arm, thickness)) * density + 0.16 * bone
    return np.maximum(trunk, limb) + 0.02


def _abdomen(rng: np.random.Generator, thorax: _Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Liver and bowel below the diaphragm, with the gastric bubble under the left dome."""
    below = v - _diaphragm(thorax, u)
    inside = _side_width(thorax, u) + 0.06 - np.abs(u)
    organs = coverage(-below, size, 0.01) * coverage(-inside, size, 0.04)
    liver = rng.uniform(0.02, 0.1) * np.clip(0.5 - 1.5 * u, 0, 1)
    centre = (thorax.dome + rng.uniform(0.17, 0.24), rng.uniform(0.24, 0.36))
    bubble = _radius(v, u, centre, (rng.uniform(0.05, 0.11), rng.uniform(0.08, 0.16)), rng.normal(0, 0.3))
    gas = rng.uniform(0.0, 0.25) * coverage((bubble - 1) * 0.08, size, 0.012)
    bowel = smooth_noise(rng, size, 0.22, octaves=2)
    return organs * (liver - gas - 0.05 * np.clip(bowel - 0.6, 0, 1) * (below > 0.15))


def _bones(rng: np.random.Generator, thorax: _Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Ribs, spine, clavicles and the borders of the scapulae."""
    lateral = np.abs(u)
    across = np.clip(lateral / (_wall(thorax, v, u) + 0.03), 0, 1.2)
    cage = coverage(across - 1, size, 0.02) * coverage(thorax.apex - 0.03 - v, size, 0.02)
    spacing = thorax.rib_spacing
    posterior_line = thorax.rib_slope * (1.2 * across**2.4 - 0.25 * across) + thorax.apex + 0.06
    anterior_line = thorax.rib_slope * (2.0 - 1.9 * across**1.5) + thorax.apex - 0.04
    posterior = _ribs((v - posterior_line) / spacing, 0.24, spacing, size)
    anterior = _ribs((v - anterior_line) / (1.15 * spacing), 0.27, spacing, size)
    anterior = anterior * np.clip((across - 0.42) / 0.25, 0, 1)
    ribs = cage * (rng.uniform(0.055, 0.11) * posterior + rng.uniform(0.025, 0.065) * anterior)
    rim = 0.07 * np.exp(-(((across - 1.0) / 0.035) ** 2)) * (v > thorax.apex)

    level = (v - 0.05) / (0.95 * spacing)
    disc = np.cos(pi * level) ** 12
    body = coverage(lateral - 0.062 - 0.012 * np.cos(2 * pi * level), size, 0.012)
    pedicles = np.exp(-(((lateral - 0.045) / 0.014) ** 2)) * np.sin(pi * level) ** 8
    spine = body * (rng.uniform(0.07, 0.15) - 0.05 * disc + 0.05 * pedicles)

    clavicles = scapulae = 0.0
    for side in (_RIGHT, _LEFT):
        rise, bend = rng.uniform(-0.3, 0.0), rng.uniform(0.0, 0.35)
        angle = rise if side == _LEFT else pi - rise
        start = (thorax.apex + rng.uniform(0.08, 0.16), side * 0.1 + 0.06 * thorax.turn)
        clavicle = _tube(v, u, size, start, angle, 0.54, 0.03, side * bend, taper=0.15)
        clavicles = np.maximum(clavicles, clavicle)
        hang = pi / 2 - side * rng.uniform(-0.2, 0.15)
        edge = (thorax.apex + 0.18, side * rng.uniform(0.56, 0.7))
        scapulae = np.maximum(scapulae, _tube(v, u, size, edge, hang, 0.5, 0.02, side * 0.15, taper=0.4))
    return ribs + rim + spine + rng.uniform(0.08, 0.15) * clavicles + rng.uniform(0.0, 0.07) * scapulae


def _ribs(phase: np.ndarray, half_width: float, spacing: float, size: int) -> np.ndarray:
    """Bands around the whole numbers of `phase`, brighter at their cortical edges."""
    from_centre = np.abs(phase - np.round(phase))
    band = coverage((from_centre - half_width) * spacing, size, 0.008)
    cortex = np.exp(-(((from_centre - half_width + 0.05) / 0.07) ** 2))
    return (0.75 * band + 0.25 * cortex * band) * (np.round(phase) >= 0) * (np.round(phase) <= 10)


def _airway(rng: np.random.Generator, thorax: _Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Lucency of the trachea and the main bronchi."""
    shift = 0.05 * thorax.turn + rng.normal(0, 0.012)
    carina = thorax.apex + rng.uniform(0.4, 0.46)
    trachea = _tube(v, u, size, (-1.0, shift), pi / 2, carina + 1.0, 0.04, taper=0.0)
    right = _tube(v, u, size, (carina, shift), 2.2, 0.2, 0.03, taper=0.3)
    left = _tube(v, u, size, (carina, shift), 0.75, 0.24, 0.026, taper=0.3)
    return rng.uniform(0.06, 0.16) * np.maximum(trachea, np.maximum(right, left))


def _hilum(thorax: _Thorax, side: int) -> tuple[float, float]:
    return thorax.dome - 0.42 - 0.03 * side, side * 0.17 + 0.05 * thorax.turn


def _vessels(rng: np.random.Generator, thorax: _Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Hila and the bronchovascular tree that fans out of them, in [0, 1]."""
    shadow = np.zeros((size, size), np.float32)
    for side in (_RIGHT, _LEFT):
        hilum = _hilum(thorax, side)
        root = _radius(v, u, (hilum[0] + 0.03, hilum[1]), (0.13, 0.055), -0.35 * side)
        shadow = np.maximum(shadow, 0.75 * np.exp(-(root**2)))
        for angle in (-1.2, -0.6, 0.1, 0.75, 1.3):
            heading = angle + rng.normal(0, 0.2)
            length, width = rng.uniform(0.25, 0.5), rng.uniform(0.014, 0.024)
            shadow = np.maximum(shadow, _branch(rng, v, u, size, hilum, side, heading, length, width))
    return np.minimum(shadow, 1)


def _branch(
    rng: np.random.Generator,
    v: np.ndarray,
    u: np.ndarray,
    size: int,
    start: tuple[float, float],
    side: int,
    heading: float,
    length: float,
    width: float,
) -> np.ndarray:
    """A vessel with two daughters; `heading` is measured from the outward horizontal, down positive."""
    shadow = np.zeros((), np.float32)
    for offset, begin, share in ((0.0, 0.0, 1.0), (-0.5, 0.35, 0.6), (0.45, 0.5, 0.55)):
        turn = heading + offset * rng.uniform(0.6, 1.3)
        foot = (
            start[0] + begin * length * sin(heading),
            start[1] + side * begin * length * cos(heading),
        )
        angle = turn if side == _LEFT else pi - turn
        tube = _tube(v, u, size, foot, angle, share * length, width * (1 - 0.7 * begin), rng.uniform(-0.7, 0.7))
        shadow = np.maximum(shadow, (1 - 0.5 * begin) * tube)
    return shadow


def _no_disease(rng: np.random.Generator, thorax: _Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Share of the air replaced in a healthy lung: a faint uneven haze of breath and posture."""
    return np.clip(rng.uniform(0.0, 0.07) * (1 + smooth_noise(rng, size, 0.5)), 0, 0.2)


def _consolidation(rng: np.random.Generator, thorax: _Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Share of the air replaced by exudate in one lobe or segment, now and then in a second one."""
    side = rng.choice((_RIGHT, _LEFT), p=(0.6, 0.4))
    subtle = rng.random() < 0.08
    density = rng.uniform(0.25, 0.4) if subtle else rng.uniform(0.5, 0.95)
    fill = density * _focus(rng, thorax, v, u, size, side, 0.12 if subtle else rng.uniform(0.14, 0.3))
    second = _focus(rng, thorax, v, u, size, rng.choice((_RIGHT, _LEFT)), rng.uniform(0.08, 0.16))
    fill = np.maximum(fill, (rng.random() < 0.15) * 0.8 * density * second)
    meniscus = rng.uniform(0.08, 0.22) * (rng.random() < 0.3) * np.clip(side * u - 0.2, 0, 0.5) / 0.4
    effusion = coverage(_diaphragm(thorax, u) - meniscus - v, size, 0.02) * (meniscus > 0)
    return np.maximum(np.maximum(fill, 0.9 * effusion), _no_disease(rng, thorax, v, u, size))


def _focus(
    rng: np.random.Generator,
    thorax: _Thorax,
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
    radius = _radius(v, u, centre, radii, rng.uniform(-0.6, 0.6))
    ragged = radius + 0.22 * smooth_noise(rng, size, 0.3, octaves=3)
    area = coverage((ragged - 1) * extent, size, rng.uniform(0.04, 0.09))
    fissure = centre[0] + rng.uniform(0.1, 0.5) * extent + rng.uniform(-0.2, 0.2) * (u - centre[1])
    if rng.random() < 0.4:
        area = area * coverage(v - fissure, size, 0.01)
    hilum = _hilum(thorax, side)
    heading = atan2(centre[0] - hilum[0], centre[1] - hilum[1])
    reach = hypot(centre[0] - hilum[0], centre[1] - hilum[1]) + 0.5 * extent
    bronchi = np.zeros_like(area)
    for spread in (-0.35, 0.0, 0.35):
        angle = heading + spread + rng.normal(0, 0.1)
        bronchi = np.maximum(bronchi, _tube(v, u, size, hilum, angle, reach, 0.018, rng.uniform(-0.4, 0.4)))
    return area * (1 - rng.uniform(0.0, 0.7) * bronchi) * (side * u > 0)


def _interstitial_disease(
    rng: np.random.Generator, thorax: _Thorax, v: np.ndarray, u: np.ndarray, size: int
) -> np.ndarray:
    """Share of the air replaced by a network of thickened septa, cuffed bronchi and patchy haze."""
    subtle = rng.random() < 0.08
    severity = rng.uniform(0.2, 0.35) if subtle else rng.uniform(0.45, 1.0)
    fine, coarse = smooth_noise(rng, size, 0.11), smooth_noise(rng, size, 0.2)
    network = np.maximum(np.exp(-((fine / 0.3) ** 2)), np.exp(-((coarse / 0.25) ** 2)))
    patches = np.clip(0.5 + 0.6 * smooth_noise(rng, size, 0.4, octaves=2), 0, 1)
    spread = rng.uniform(0.28, 0.5)
    zone = cuffs = np.zeros((size, size), np.float32)
    for side in (_RIGHT, _LEFT):
        hilum = _hilum(thorax, side)
        perihilar = np.exp(-(_radius(v, u, (hilum[0] + 0.08, hilum[1]), (1.3 * spread, spread)) ** 2))
        zone = np.maximum(zone, rng.uniform(0.6, 1.0) * perihilar)
        for _ in range(4):
            angle, distance = rng.uniform(-1.3, 1.3), rng.uniform(0.06, 0.26)
            centre = (hilum[0] + distance * sin(angle), hilum[1] + side * distance * cos(angle))
            bore = rng.uniform(0.018, 0.032)
            ring = np.exp(-((_radius(v, u, centre, (bore, bore)) - 1.2) ** 2) / 0.25)
            cuffs = np.maximum(cuffs, ring)
    opacity = zone * (0.6 * network * (0.35 + 0.65 * patches) + 0.35 * patches + 0.4 * cuffs)
    return np.maximum(np.clip(severity * opacity, 0, 0.85), _no_disease(rng, thorax, v, u, size))


def _devices(rng: np.random.Generator, size: int) -> np.ndarray:
    """A side marker and the leads of a monitor, each on some films only."""
    overlay = np.zeros((size, size), np.float32)
    side = rng.choice((_RIGHT, _LEFT))
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
