"""From a drawn scene to an acquired image: field of view, contrast, resolution, exposure, noise."""

from dataclasses import dataclass

import cv2
import numpy as np

Range = tuple[float, float]

#: A scene whose corners are all darker lies on black, beyond its edges too; others go on as a reflection.
_BLACK = 0.01


@dataclass(frozen=True)
class Domain:
    """How a site acquires its images: each value is drawn uniformly, image by image.

    Two domains show the same anatomy and differ as the devices and habits of two sites do.

    Attributes
    ----------
    field_of_view : (float, float)
        Magnification; above 1 shows less of the scene.
    contrast : (float, float)
        Exponent of the tone curve; above 1 darkens the mid-tones.
    resolution : (float, float)
        Standard deviation of the point-spread function, in thousandths of the image side.
    exposure : (float, float)
        Mean of the image relative to the modality's nominal mean.
    colour_cast : float
        Standard deviation of each channel's logarithmic gain (colour images only).
    tint : (float, float, float)
        Gain of the red, green and blue channel that all images of the site share.
    noise : (float, float)
        Standard deviation of the sensor noise, as a fraction of full scale.
    """

    field_of_view: Range = (0.9, 1.1)
    contrast: Range = (0.8, 1.2)
    resolution: Range = (2.0, 8.0)
    exposure: Range = (0.85, 1.15)
    colour_cast: float = 0.06
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise: Range = (0.005, 0.02)


#: ``web`` and ``archive`` are what the shipped models were pretrained on, ``hospital`` is the benchmark's.
DOMAINS = {
    "web": Domain(),
    "archive": Domain(
        field_of_view=(0.95, 1.25),
        contrast=(0.7, 1.0),
        resolution=(5.0, 12.0),
        exposure=(0.9, 1.3),
        colour_cast=0.1,
        tint=(1.05, 1.0, 0.9),
        noise=(0.01, 0.03),
    ),
    "hospital": Domain(
        field_of_view=(0.8, 1.0),
        contrast=(1.1, 1.5),
        resolution=(6.0, 12.0),
        exposure=(0.75, 1.05),
        colour_cast=0.04,
        tint=(0.9, 1.0, 1.12),
        noise=(0.015, 0.03),
    ),
}


def acquire(scene: np.ndarray, rng: np.random.Generator, domain: Domain, nominal_mean: tuple[float, ...]) -> np.ndarray:
    """Acquire one image of a drawn scene.

    Exposure and white balance are automatic, as in a camera: the mean of each channel is set to a
    target that does not depend on the scene, so mean colour says nothing about the class.

    Parameters
    ----------
    scene : ndarray
        float32 ``(S, S, C)`` in [0, 1].
    rng : numpy.random.Generator
        Source of randomness.
    domain : Domain
        The acquiring site.
    nominal_mean : tuple of float
        Mean of each channel, in (0, 1), at an exposure of 1.

    Returns
    -------
    ndarray
        uint8 ``(S, S, C)``.
    """
    size, channels = scene.shape[0], scene.shape[-1]
    zoom, gamma = rng.uniform(*domain.field_of_view), rng.uniform(*domain.contrast)
    shift = rng.uniform(-0.04, 0.04, 2) * size
    sigma, exposure = rng.uniform(*domain.resolution) * 1e-3 * size, rng.uniform(*domain.exposure)
    cast = np.exp(rng.normal(0, domain.colour_cast, 3)) * domain.tint if channels == 3 else 1.0
    centre = (1 - zoom) * (size - 1) / 2
    view = np.array([[zoom, 0, centre + shift[0]], [0, zoom, centre + shift[1]]], np.float32)
    corners = scene[:: size - 1, :: size - 1]
    border = cv2.BORDER_CONSTANT if corners.max() < _BLACK else cv2.BORDER_REFLECT
    image = cv2.warpAffine(scene, view, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
    image = cv2.GaussianBlur(image, (0, 0), max(sigma, 0.1), borderType=cv2.BORDER_REFLECT)
    image = np.clip(image, 0, 1).reshape(scene.shape) ** gamma
    target = np.clip(np.asarray(nominal_mean) * exposure * cast, 0.02, 0.9)
    for _ in range(3):
        image = np.clip(image * (target / np.maximum(image.mean((0, 1)), 1e-3)), 0, 1)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(*domain.noise)
    levels: np.ndarray = np.clip(image + noise * np.sqrt(0.25 + image), 0, 1) * 255 + 0.5
    return levels.astype(np.uint8)
