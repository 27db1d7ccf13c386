"""Drawing primitives: resolution-independent, anti-aliased, in normalised coordinates.

The image spans [-1, 1] in both axes (y down, x right); every length is a fraction of
half the image side, so that a phantom looks the same at 32 px and at 512 px.
"""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel-centre coordinates of a square image.

    Parameters
    ----------
    size : int
        Side of the image in pixels.

    Returns
    -------
    tuple of ndarray
        ``(y, x)``, each float32 ``(size, size)`` in (-1, 1), read-only.
    """
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size) * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    y.flags.writeable = x.flags.writeable = False
    return y, x


def coverage(distance: np.ndarray, size: int, softness: float = 0.0) -> np.ndarray:
    """Anti-aliased mask of a signed distance.

    Parameters
    ----------
    distance : ndarray
        Signed distance to the outline in normalised units, negative inside.
    size : int
        Side of the image in pixels: the edge is at least one pixel wide.
    softness : float
        Extra half-width of the edge in normalised units.

    Returns
    -------
    ndarray
        float32 in [0, 1], 1 inside.
    """
    half_width = 1.0 / size + softness
    ramp = np.clip(0.5 - distance / (2 * half_width), 0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)


def ellipse(
    size: int,
    centre: tuple[float, float] | np.ndarray,
    radii: tuple[float, float],
    angle: float = 0.0,
    softness: float = 0.0,
    wobble: np.ndarray | None = None,
) -> np.ndarray:
    """Mask of an ellipse, optionally with an irregular outline.

    Parameters
    ----------
    size : int
        Side of the image in pixels.
    centre, radii : tuple of float
        ``(y, x)`` in normalised units.
    angle : float
        Rotation in radians.
    softness : float
        Extra half-width of the edge in normalised units.
    wobble : ndarray, optional
        ``(harmonics, 2)`` amplitude (relative to the radius) and phase (radians) of the
        outline's angular harmonics 2, 3, 4, ...

    Returns
    -------
    ndarray
        float32 ``(size, size)`` in [0, 1].
    """
    y, x = grid(size)
    dy, dx = y - centre[0], x - centre[1]
    cos, sin = np.cos(angle), np.sin(angle)
    v, u = (dy * cos - dx * sin) / radii[0], (dy * sin + dx * cos) / radii[1]
    radius = np.sqrt(u * u + v * v)
    outline = 1.0
    if wobble is not None:
        theta = np.arctan2(v, u)
        for harmonic, (amplitude, phase) in enumerate(wobble, start=2):
            outline = outline + amplitude * np.cos(harmonic * theta + phase)
    return coverage((radius - outline) * min(radii), size, softness)


def irregular(rng: np.random.Generator, amplitude: float, harmonics: int = 5) -> np.ndarray:
    """Random outline harmonics for :func:`ellipse`, decaying with frequency."""
    decay = amplitude / np.arange(1, harmonics + 1)
    return np.stack([decay * rng.uniform(0.3, 1.0, harmonics), rng.uniform(0, 2 * np.pi, harmonics)], axis=1)


def stroke(size: int, points: np.ndarray, widths: np.ndarray | float, softness: float = 0.0) -> np.ndarray:
    """Mask of a polyline with round joints and a width that may taper.

    Parameters
    ----------
    size : int
        Side of the image in pixels.
    points : ndarray
        ``(n, 2)`` vertices ``(y, x)`` in normalised units.
    widths : ndarray or float
        Half-width at each vertex, or one for all, in normalised units.
    softness : float
        Extra half-width of the edge in normalised units.

    Returns
    -------
    ndarray
        float32 ``(size, size)`` in [0, 1]. Lines thinner than a pixel fade instead of breaking.
    """
    points = np.asarray(points, np.float32)
    widths = np.broadcast_to(np.asarray(widths, np.float32), len(points))
    y, x = grid(size)
    mask = np.zeros((size, size), np.float32)
    pixel = 2.0 / size
    for (y0, x0), (y1, x1), w0, w1 in zip(points[:-1], points[1:], widths[:-1], widths[1:]):
        reach = max(w0, w1) + softness + pixel
        rows = _window(min(y0, y1) - reach, max(y0, y1) + reach, size)
        columns = _window(min(x0, x1) - reach, max(x0, x1) + reach, size)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        py, px = y[rows, columns] - y0, x[rows, columns] - x0
        dy, dx = y1 - y0, x1 - x0
        t = np.clip((py * dy + px * dx) / max(dy * dy + dx * dx, 1e-12), 0, 1)
        width = w0 + (w1 - w0) * t
        distance = np.hypot(py - t * dy, px - t * dx) - np.maximum(width, pixel / 2)
        segment = coverage(distance, size, softness) * np.minimum(width / (pixel / 2), 1)
        np.maximum(mask[rows, columns], segment, out=mask[rows, columns])
    return mask


def _window(low: float, high: float, size: int) -> slice:
    return slice(max(int(np.floor((low + 1) / 2 * size)), 0), min(int(np.ceil((high + 1) / 2 * size)) + 1, size))


def curve(*control: tuple[float, float], samples: int = 24) -> np.ndarray:
    """Points of the Bezier curve with the given ``(y, x)`` control points, ``(samples, 2)``."""
    points: np.ndarray = np.repeat(np.asarray(control, np.float32)[:, None], samples, axis=1)
    t = np.linspace(0, 1, samples, dtype=np.float32)[:, None]
    while len(points) > 1:
        points = points[:-1] * (1 - t) + points[1:] * t
    return points.reshape(samples, 2)


def smooth_noise(
    rng: np.random.Generator, size: int, scale: float, octaves: int = 1, aspect: float = 1.0
) -> np.ndarray:
    """Band-limited random texture that looks alike at every image size.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    size : int
        Side of the image in pixels.
    scale : float
        Size of the coarsest blobs in normalised units (2 = the whole image).
    octaves : int
        Each further octave halves the scale and the amplitude.
    aspect : float
        Horizontal over vertical blob size.

    Returns
    -------
    ndarray
        float32 ``(size, size)``, roughly zero mean and unit variance.
    """
    y, x = grid(size)
    total = np.zeros((size, size), np.float32)
    power = 0.0
    for octave in range(octaves):
        step_y, step_x = scale / 2**octave, scale * aspect / 2**octave
        rows, columns = int(np.ceil(2 / step_y)) + 3, int(np.ceil(2 / step_x)) + 3
        lattice = rng.standard_normal((rows, columns), dtype=np.float32)
        weights_y = _cubic_weights((y[:, 0] + 1) / step_y + rng.random(), rows)
        weights_x = _cubic_weights((x[0] + 1) / step_x + rng.random(), columns)
        amplitude = 0.5**octave
        # A cubic B-spline of white noise has variance 151/315 of a unit lattice along each axis.
        total += amplitude * (weights_y @ lattice @ weights_x.T) * (315 / 151)
        power += amplitude**2
    return total / np.float32(np.sqrt(power))


def _cubic_weights(position: np.ndarray, knots: int) -> np.ndarray:
    """Uniform cubic B-spline weights, ``(len(position), knots)``."""
    distance = np.abs(position[:, None] + 1 - np.arange(knots))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def blend(image: np.ndarray, colour: float | tuple[float, ...] | np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Paint `colour` over `image` ``(H, W, C)`` where `mask` ``(H, W)`` is 1; returns a new array."""
    painted: np.ndarray = image + (np.asarray(colour, np.float32) - image) * mask[..., None]
    return painted
