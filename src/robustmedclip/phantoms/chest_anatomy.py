"""The thorax of a child as a chest radiograph projects it: soft tissue, bones, heart, lungs and their vessels.

Every part is drawn in the patient's frame ``(v, u)``, float arrays of the image's size: v down, u to the right of the
image, which is the patient's left; the midline is u = 0.
"""

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from robustmedclip.phantoms.primitives import coverage, grid, smooth_noise

RIGHT, LEFT = -1, 1  # sign of u on the patient's right and left


@dataclass(frozen=True)
class Thorax:
    """Build, posture and breath of one child, in units of half the image side."""

    apex: float
    width: float
    dome: float
    turn: float
    heart: float
    mediastinum: float
    rib_spacing: float
    rib_slope: float


def draw_thorax(rng: np.random.Generator) -> Thorax:
    return Thorax(
        apex=rng.uniform(-0.74, -0.64),
        width=rng.uniform(0.6, 0.72),
        dome=rng.uniform(0.2, 0.46),
        turn=rng.normal(0, 0.35),
        heart=rng.uniform(0.85, 1.2),
        mediastinum=rng.uniform(0.8, 1.3) + (rng.random() < 0.15) * rng.uniform(0.3, 0.9),
        rib_spacing=rng.uniform(0.115, 0.145),
        rib_slope=rng.uniform(0.12, 0.3),
    )


def patient_frame(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
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


def radius(
    v: np.ndarray, u: np.ndarray, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0
) -> np.ndarray:
    """Distance from an ellipse's centre in units of its radii, ``(v, u)`` order."""
    dv, du = v - centre[0], u - centre[1]
    along, across = dv * sin(angle) + du * cos(angle), dv * cos(angle) - du * sin(angle)
    return np.hypot(across / radii[0], along / radii[1])


def tube(
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
    shadow: np.ndarray = np.exp(-0.7 * (across * across + past_end * past_end) / (drawn * drawn)) * (radius / drawn)
    return shadow


def _side_width(thorax: Thorax, u: np.ndarray) -> np.ndarray:
    """Half-width of the thorax on each pixel's side: the side turned to the detector looks narrower."""
    width: np.ndarray = thorax.width * (1 + 0.1 * thorax.turn * np.sign(u))
    return width


def _wall(thorax: Thorax, v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Distance of the chest wall from the midline at each pixel's height."""
    t = np.clip((v - thorax.apex) / (0.45 - thorax.apex), 0, 1)
    return 0.24 + (_side_width(thorax, u) - 0.24) * np.sqrt(t * (2 - t))


def diaphragm(thorax: Thorax, u: np.ndarray) -> np.ndarray:
    """Height of the diaphragm: two domes, the right one pushed up by the liver."""
    off_centre = np.abs(u) - 0.3
    drop = np.where(off_centre > 0, 1.7, 0.6) * off_centre * off_centre
    height: np.ndarray = thorax.dome + np.where(u > 0, 0.05, 0.0) + drop
    return height


def lung(thorax: Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Aerated depth of both lungs in [0, 1]."""
    t = np.clip((v - thorax.apex) / 0.22, 0, 1)
    medial = 0.24 - (0.24 - 0.09 * thorax.mediastinum) * np.sqrt(t * (2 - t))
    shift = 0.05 * thorax.turn
    lateral_room = _wall(thorax, v, u) - np.abs(u)
    medial_room = np.abs(u - shift) - medial
    depth = np.minimum(np.minimum(lateral_room, medial_room), np.minimum(diaphragm(thorax, u) - v, v - thorax.apex))
    return coverage(-depth, size, 0.008) * (0.45 + 0.55 * _round_profile(depth, 0.3))


def heart(thorax: Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Silhouette of the heart with the aortic knob and the pulmonary trunk."""
    scale, shift = thorax.heart, 0.05 * thorax.turn
    base = thorax.dome
    parts = (
        0.2 * (radius(v, u, (base - 0.16 * scale, 0.12 + shift), (0.2 * scale, 0.34 * scale), 0.5) - 1),
        0.18 * (radius(v, u, (base - 0.2 * scale, -0.06 + shift), (0.24 * scale, 0.16 * scale)) - 1),
        0.08 * (radius(v, u, (base - 0.44 * scale, 0.08 + shift), (0.15, 0.08)) - 1),
        0.06 * (radius(v, u, (base - 0.66 * scale, 0.06 + shift), (0.09, 0.07)) - 1),
    )
    union = -0.03 * np.logaddexp.reduce([-part / 0.03 for part in parts])
    return coverage(union, size, 0.014)


def soft_tissue(rng: np.random.Generator, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
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


def abdomen(rng: np.random.Generator, thorax: Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Liver and bowel below the diaphragm, with the gastric bubble under the left dome."""
    below = v - diaphragm(thorax, u)
    inside = _side_width(thorax, u) + 0.06 - np.abs(u)
    organs = coverage(-below, size, 0.01) * coverage(-inside, size, 0.04)
    liver = rng.uniform(0.02, 0.1) * np.clip(0.5 - 1.5 * u, 0, 1)
    centre = (thorax.dome + rng.uniform(0.17, 0.24), rng.uniform(0.24, 0.36))
    bubble = radius(v, u, centre, (rng.uniform(0.05, 0.11), rng.uniform(0.08, 0.16)), rng.normal(0, 0.3))
    gas = rng.uniform(0.0, 0.25) * coverage((bubble - 1) * 0.08, size, 0.012)
    bowel = smooth_noise(rng, size, 0.22, octaves=2)
    density: np.ndarray = organs * (liver - gas - 0.05 * np.clip(bowel - 0.6, 0, 1) * (below > 0.15))
    return density


def bones(rng: np.random.Generator, thorax: Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
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
    for side in (RIGHT, LEFT):
        rise, bend = rng.uniform(-0.3, 0.0), rng.uniform(0.0, 0.35)
        angle = rise if side == LEFT else pi - rise
        start = (thorax.apex + rng.uniform(0.08, 0.16), side * 0.1 + 0.06 * thorax.turn)
        clavicle = tube(v, u, size, start, angle, 0.54, 0.03, side * bend, taper=0.15)
        clavicles = np.maximum(clavicles, clavicle)
        hang = pi / 2 - side * rng.uniform(-0.2, 0.15)
        edge = (thorax.apex + 0.18, side * rng.uniform(0.56, 0.7))
        scapulae = np.maximum(scapulae, tube(v, u, size, edge, hang, 0.5, 0.02, side * 0.15, taper=0.4))
    skeleton: np.ndarray = ribs + rim + spine + rng.uniform(0.08, 0.15) * clavicles + rng.uniform(0.0, 0.07) * scapulae
    return skeleton


def _ribs(phase: np.ndarray, half_width: float, spacing: float, size: int) -> np.ndarray:
    """Bands around the whole numbers of `phase`, brighter at their cortical edges."""
    from_centre = np.abs(phase - np.round(phase))
    band = coverage((from_centre - half_width) * spacing, size, 0.008)
    cortex = np.exp(-(((from_centre - half_width + 0.05) / 0.07) ** 2))
    ribs: np.ndarray = (0.75 * band + 0.25 * cortex * band) * (np.round(phase) >= 0) * (np.round(phase) <= 10)
    return ribs


def airway(rng: np.random.Generator, thorax: Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Lucency of the trachea and the main bronchi."""
    shift = 0.05 * thorax.turn + rng.normal(0, 0.012)
    carina = thorax.apex + rng.uniform(0.4, 0.46)
    trachea = tube(v, u, size, (-1.0, shift), pi / 2, carina + 1.0, 0.04, taper=0.0)
    right = tube(v, u, size, (carina, shift), 2.2, 0.2, 0.03, taper=0.3)
    left = tube(v, u, size, (carina, shift), 0.75, 0.24, 0.026, taper=0.3)
    lucency: np.ndarray = rng.uniform(0.06, 0.16) * np.maximum(trachea, np.maximum(right, left))
    return lucency


def hilum(thorax: Thorax, side: int) -> tuple[float, float]:
    return thorax.dome - 0.42 - 0.03 * side, side * 0.17 + 0.05 * thorax.turn


def vessels(rng: np.random.Generator, thorax: Thorax, v: np.ndarray, u: np.ndarray, size: int) -> np.ndarray:
    """Hila and the bronchovascular tree that fans out of them, in [0, 1]."""
    shadow = np.zeros((size, size), np.float32)
    for side in (RIGHT, LEFT):
        down, out = hilum(thorax, side)
        root = radius(v, u, (down + 0.03, out), (0.13, 0.055), -0.35 * side)
        shadow = np.maximum(shadow, 0.75 * np.exp(-(root**2)))
        for angle in (-1.2, -0.6, 0.1, 0.75, 1.3):
            heading = angle + rng.normal(0, 0.2)
            length, width = rng.uniform(0.25, 0.5), rng.uniform(0.014, 0.024)
            shadow = np.maximum(shadow, _branch(rng, v, u, size, (down, out), side, heading, length, width))
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
    for offset, begin, fraction in ((0.0, 0.0, 1.0), (-0.5, 0.35, 0.6), (0.45, 0.5, 0.55)):
        turn = heading + offset * rng.uniform(0.6, 1.3)
        foot = (
            start[0] + begin * length * sin(heading),
            start[1] + side * begin * length * cos(heading),
        )
        angle = turn if side == LEFT else pi - turn
        piece = tube(v, u, size, foot, angle, fraction * length, width * (1 - 0.7 * begin), rng.uniform(-0.7, 0.7))
        shadow = np.maximum(shadow, (1 - 0.5 * begin) * piece)
    return shadow
