"""Synthetic mammograms: regions of interest around a benign or a malignant mass.

The picture is a projection: fat, fibroglandular tissue, Cooper's ligaments, vessels, the mass and its
calcifications add to the attenuation along the ray, and a film curve compresses the sum. The signs of the
masses follow the words of BI-RADS (shape, margin, density, associated features): a benign mass tends to be
oval and circumscribed, a malignant one irregular and spiculated with distortion of the strands around it.
One mass in ten of each class is atypical: it has the shape and margin of the other class, as a radial scar
or a medullary carcinoma may, so that no reader can be right on all.
"""

from math import cos, pi, sin

import cv2
import numpy as np

from robustmedclip.phantoms.primitives import coverage, curve, grid, irregular, smooth_noise

MODALITY = "mammography"
CHANNELS = 1
CLASSES: dict[str, tuple[str, ...]] = {
    "benign mass": (
        "benign mass",
        "oval circumscribed mass with a thin lucent halo",
        "round mass of low density with smooth well-defined margins",
        "gently lobulated fibroadenoma with coarse popcorn calcifications",
        "circumscribed mass, its margin partly obscured by normal tissue",
    ),
    "malignant mass": (
        "malignant mass",
        "irregular mass with spiculated margins and architectural distortion",
        "high-density mass with thin lines radiating into the surrounding tissue",
        "irregular mass with indistinct microlobulated margins",
        "spiculated carcinoma with clustered pleomorphic microcalcifications",
    ),
}

_ATYPICAL = 0.06


def draw(rng: np.random.Generator, label: int, size: int) -> np.ndarray:
    """Draw one region of interest centred near a mass.

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
        float32 ``(size, size, 1)`` in [0, 1], bright = dense.
    """
    centre = rng.uniform(-0.14, 0.14, 2)
    extent = rng.uniform(0.34, 0.56)
    tissue = _tissue(rng, size)
    atypical = rng.random() < _ATYPICAL
    draw_mass = _circumscribed if (label == 0) != atypical else _spiculated
    mass, pull = draw_mass(rng, size, centre, extent, not atypical)
    film = _arrange(rng, tissue, centre, extent, pull)
    for _ in range(rng.integers(0, 3)):
        film = film + _strand(rng, size, np.zeros(2), 0.8)
    film = _edge_anatomy(rng, film, mass) + 0.012 * smooth_noise(rng, size, 0.035)
    image: np.ndarray = (1 - np.exp(-rng.uniform(1.1, 1.5) * np.clip(film, 0, None)))[..., None]
    return image.astype(np.float32)


def _polar(size: int, centre: np.ndarray, radii: tuple[float, float], angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Radius in units of the ellipse's and angle in its frame."""
    y, x = grid(size)
    dy, dx = y - np.float32(centre[0]), x - np.float32(centre[1])
    v = (dy * cos(angle) - dx * sin(angle)) / radii[0]
    u = (dy * sin(angle) + dx * cos(angle)) / radii[1]
    return np.hypot(v, u), np.arctan2(v, u)


def _tube(
    size: int, start: np.ndarray, angle: float, length: float, width: float, bend: float, taper: float
) -> np.ndarray:
    """Profile of a bent line that leaves `start` at `angle`; thinner than a pixel it fades."""
    y, x = grid(size)
    dy, dx = y - np.float32(start[0]), x - np.float32(start[1])
    along = dx * cos(angle) + dy * sin(angle)
    across = dy * cos(angle) - dx * sin(angle) - bend * along * along
    t = np.clip(along / length, 0, 1)
    radius = width * (1 - taper * t)
    drawn = np.maximum(radius, 0.8 / size)
    past_end = along - t * length
    profile: np.ndarray = np.exp(-0.7 * (across * across + past_end * past_end) / (drawn * drawn)) * (radius / drawn)
    return profile


def _dots(size: int, points: np.ndarray, radii: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of small round blobs; smaller than a pixel they fade."""
    y, x = grid(size)
    drawn = np.maximum(radii, 0.9 / size)[:, None]
    rows = np.exp(-(((y[:, 0] - points[:, :1]) / drawn) ** 2))
    columns = np.exp(-(((x[0] - points[:, 1:]) / drawn) ** 2))
    blobs: np.ndarray = ((weights * (radii / drawn[:, 0]) ** 2)[:, None] * rows).T @ columns
    return blobs


def _tissue(rng: np.random.Generator, size: int) -> np.ndarray:
    """Fat, glandular tissue, ducts and ligaments, laid out along the horizontal axis."""
    density = rng.beta(1.3, 1.5)
    lobes = smooth_noise(rng, size, 0.8, octaves=4, aspect=1.6)
    gland = 1 / (1 + np.exp(-3.0 * (lobes + 3.0 * (density - 0.5))))
    fine, coarse = smooth_noise(rng, size, 0.13, aspect=3.5), smooth_noise(rng, size, 0.28, aspect=3.0)
    patchy = np.clip(0.6 + 0.5 * smooth_noise(rng, size, 0.5), 0, 1.3)
    ligaments = np.exp(-((coarse / 0.13) ** 2)) + 0.7 * np.exp(-((fine / 0.2) ** 2))
    strands = rng.uniform(0.07, 0.16) * patchy * (0.5 + 0.5 * gland) * ligaments
    tissue: np.ndarray = rng.uniform(0.09, 0.18) + rng.uniform(0.2, 0.45) * gland + strands + 0.03 * gland * fine
    return tissue


def _arrange(
    rng: np.random.Generator, tissue: np.ndarray, centre: np.ndarray, extent: float, pull: float
) -> np.ndarray:
    """Turn, fan and bend the tissue towards the nipple; `pull` retracts it towards the mass."""
    size = len(tissue)
    y, x = grid(size)
    dy, dx = y - np.float32(centre[0]), x - np.float32(centre[1])
    reach = 1 + pull * np.exp(-(dy * dy + dx * dx) / (2.0 * extent) ** 2)
    down, right = dy * reach, dx * reach
    angle, fan, bend = rng.uniform(0, 2 * pi), rng.uniform(0.0, 0.35), rng.normal(0, 0.2)
    v, u = down * cos(angle) - right * sin(angle), down * sin(angle) + right * cos(angle)
    v = v * (1 + fan * u) + bend * u * u
    rows, columns = ((axis + 1) * (size / 2) - 0.5 for axis in (v, u))
    return cv2.remap(tissue, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _strand(rng: np.random.Generator, size: int, centre: np.ndarray, spread: float) -> np.ndarray:
    """A vessel or ligament that enters from outside the field and passes the centre within `spread`."""
    angle = rng.uniform(0, 2 * pi)
    start = centre - 1.5 * np.array((sin(angle), cos(angle))) + rng.uniform(-spread, spread, 2)
    length, width = rng.uniform(1.6, 3.0), rng.uniform(0.014, 0.034)
    return rng.uniform(0.06, 0.14) * _tube(size, start, angle, length, width, rng.normal(0, 0.2), 0.85)


def _circumscribed(
    rng: np.random.Generator, size: int, centre: np.ndarray, extent: float, telling: bool
) -> tuple[np.ndarray, float]:
    """Attenuation of a benign-looking mass, with a sign that proves it if `telling`, and its pull."""
    vague = rng.random() < 0.15
    radius, theta = _polar(size, centre, (extent * rng.uniform(0.65, 1.0), extent), rng.uniform(0, pi))
    outline = _outline(rng, theta, 0.3 if vague else rng.uniform(0.02, 0.16))
    depth = radius - outline
    sharp = coverage(depth * extent, size, 0.008)
    soft = coverage(depth * extent, size, 0.09)
    obscured = rng.uniform(0.8, 1.2) if vague else max(rng.uniform(-0.5, 0.9), -0.1)
    hidden = np.clip(2 * obscured - 1 + np.cos(theta - rng.uniform(0, 2 * pi)), 0, 1)
    body = sharp + hidden * (soft - sharp)
    thickness = 0.5 + 0.5 * np.sqrt(np.clip(1 - (radius / outline) ** 2, 0, 1))
    mass = rng.uniform(0.15, 0.36) * body * thickness
    if telling and rng.random() < 0.35:
        halo = np.exp(-(((depth * extent - 0.035) / 0.025) ** 2)) * (1 - hidden)
        mass = mass - rng.uniform(0.04, 0.09) * halo
    sign = rng.choice(("popcorn", "rim", "fat", "none"), p=(0.14, 0.08, 0.1, 0.68)) if telling else "none"
    if sign == "popcorn":
        mass = mass + _popcorn(rng, size, centre, extent)
    elif sign == "rim":
        gaps = np.clip(0.6 + 0.7 * np.cos(rng.integers(1, 4) * theta + rng.uniform(0, 2 * pi)), 0, 1)
        mass = mass + rng.uniform(0.2, 0.5) * gaps * np.exp(-(((depth * extent + 0.02) / 0.018) ** 2))
    elif sign == "fat":
        mass = mass * (1 - rng.uniform(0.6, 1.0) * coverage((radius - 0.55 * outline) * extent, size, 0.05))
    for _ in range(rng.integers(4, 8) if vague else rng.integers(0, 4)):
        mass = mass + _strand(rng, size, centre, (0.3 if vague else 0.8) * extent)
    return mass, rng.uniform(0.2, 0.5) if vague else 0.0


def _spiculated(
    rng: np.random.Generator, size: int, centre: np.ndarray, extent: float, telling: bool
) -> tuple[np.ndarray, float]:
    """Attenuation of a malignant-looking mass, with a sign that proves it if `telling`, and its pull."""
    few = rng.random() < 0.15
    core = extent * rng.uniform(0.6, 0.95)
    radius, theta = _polar(size, centre, (core * rng.uniform(0.65, 1.0), core), rng.uniform(0, pi))
    outline = _outline(rng, theta, 0.06 if few else rng.uniform(0.14, 0.34))
    outline = outline + _outline(rng, theta, rng.uniform(0.03, 0.16), 9) - 1
    ragged = radius - outline + (0.04 if few else 0.12) * smooth_noise(rng, size, 0.16, octaves=2)
    body = coverage(ragged * core, size, 0.02 if few else rng.uniform(0.03, 0.09))
    mass = rng.uniform(0.2, 0.42) * body * (0.55 + 0.45 * np.exp(-1.2 * radius * radius))
    spicules = np.zeros_like(mass)
    count = int(rng.integers(0, 5) if few else rng.integers(7, 17))
    for angle in (np.arange(count) + rng.normal(0, 0.6, count)) * 2 * pi / max(count, 1):
        foot = centre + rng.uniform(0.3, 0.7) * core * np.array((sin(angle), cos(angle)))
        length, width = core * rng.uniform(0.5, 1.2) * rng.uniform(1.0, 2.2), rng.uniform(0.025, 0.06)
        lean = angle + rng.normal(0, 0.2)
        spicule = _tube(size, foot, lean, length, width, rng.normal(0, 0.35), rng.uniform(0.7, 1.0))
        spicules = np.maximum(spicules, rng.uniform(0.3, 1.0) * spicule)
    mass = mass + rng.uniform(0.12, 0.26) * spicules * (1 - 0.7 * body)
    if telling and rng.random() < 0.35:
        mass = mass + _microcalcifications(rng, size, centre, core)
    return mass, rng.uniform(0.0, 0.15) if few else rng.uniform(0.25, 0.75)


def _outline(rng: np.random.Generator, theta: np.ndarray, amplitude: float, first: int = 2) -> np.ndarray:
    """Relative radius of a closed outline with random angular harmonics from `first` on."""
    outline = np.ones_like(theta)
    for harmonic, (height, phase) in enumerate(irregular(rng, amplitude, 4).tolist(), start=first):
        outline += height * np.cos(harmonic * theta + phase)
    radius: np.ndarray = np.maximum(outline, 0.3)
    return radius


def _popcorn(rng: np.random.Generator, size: int, centre: np.ndarray, extent: float) -> np.ndarray:
    """Coarse calcifications of an involuting fibroadenoma."""
    count = rng.integers(3, 9)
    points = centre + rng.normal(0, 0.25 * extent, 2) + rng.normal(0, 0.22 * extent, (count, 2))
    radii, weights = rng.uniform(0.025, 0.06, count), rng.uniform(0.4, 1.0, count)
    calcifications: np.ndarray = np.minimum(_dots(size, points, radii, weights), 0.9)
    return calcifications


def _microcalcifications(rng: np.random.Generator, size: int, centre: np.ndarray, core: float) -> np.ndarray:
    """Cluster of fine pleomorphic calcifications, some in short linear casts of a duct."""
    count = rng.integers(8, 22)
    middle = centre + rng.normal(0, 0.3 * core, 2)
    clusters = [middle + rng.normal(0, 0.3 * core, (count, 2))]
    for _ in range(rng.integers(0, 3)):
        clusters.append(curve(*(middle + rng.normal(0, 0.35 * core, (3, 2))), samples=7))
    points = np.concatenate(clusters)
    return _dots(size, points, rng.uniform(0.01, 0.022, len(points)), rng.uniform(0.4, 1.1, len(points)))


def _edge_anatomy(rng: np.random.Generator, film: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Add the mass, and the pectoral muscle or the skin line at one edge of some films."""
    size = len(film)
    y, x = grid(size)
    kind = rng.choice(("none", "pectoral", "skin"), p=(0.6, 0.2, 0.2))
    angle, near = rng.uniform(0, 2 * pi), rng.uniform(0.68, 0.95)
    ahead, aside = y * sin(angle) + x * cos(angle), y * cos(angle) - x * sin(angle)
    if kind == "pectoral":
        muscle = coverage(near + 0.08 * aside * aside - ahead, size, 0.03)
        film = film + mass + muscle * rng.uniform(0.14, 0.3) * (1 + 0.06 * np.cos(34 * ahead + 3 * aside))
    elif kind == "skin":
        depth = near - 0.22 * aside * aside - ahead
        inside = coverage(-depth, size, 0.006)
        subcutaneous = np.clip(depth / 0.3, 0.0, 1)
        skin = 0.22 * np.exp(-(((depth - 0.025) / 0.025) ** 2))
        film = inside * (0.12 + (film - 0.12) * (0.3 + 0.7 * subcutaneous) + mass + skin) + 0.02
    else:
        film = film + mass
    return film
