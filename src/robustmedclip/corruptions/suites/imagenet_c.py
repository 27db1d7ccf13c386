"""ImageNet-C: the fifteen corruptions and the four extra ones.

Source: Hendrycks & Dietterich 2019 (arXiv:1903.12261) and its published code; elastic_transform as in the package
`imagecorruptions` (Michaelis et al. 2019, arXiv:1907.07484), which states it relative to the side.

Lengths in pixels are given for images whose shorter side is 224; they scale with that side.
"""

from robustmedclip.corruptions.kernels import blur, digital, noise, tone, weather
from robustmedclip.corruptions.suites.definition import Corruption, Suite

CORRUPTIONS: dict[str, Corruption] = {
    # standard deviation of the noise, as a fraction of full scale
    "gaussian_noise": Corruption(noise.gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    # photons at full scale
    "shot_noise": Corruption(noise.shot_noise, (60, 25, 12, 5, 3)),
    # fraction of values replaced, half of them by black, half by white
    "impulse_noise": Corruption(noise.impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    # radius of the disk, standard deviation of its smoothing, in pixels
    "defocus_blur": Corruption(blur.defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    # standard deviation of the blur and largest displacement, in pixels; number of passes
    "glass_blur": Corruption(blur.glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    # radius and standard deviation of the trail, in pixels
    "motion_blur": Corruption(blur.motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    # last and step of the zoom factors that are averaged, from 1 on
    "zoom_blur": Corruption(blur.zoom_blur, ((1.11, 0.01), (1.15, 0.01), (1.20, 0.02), (1.24, 0.02), (1.30, 0.03))),
    # mean, standard deviation and size of the flakes, threshold, radius and standard deviation of their trail,
    # weight of the image
    "snow": Corruption(
        weather.snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    # weights of the image and of the frost
    "frost": Corruption(weather.frost, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
    # strength, and decay of the plasma's roughness from one scale to the next
    "fog": Corruption(weather.fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    # added to the value of HSV, as a fraction of full scale
    "brightness": Corruption(tone.brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    # factor of the deviation from the mean
    "contrast": Corruption(tone.contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    # factor of a displacement field of 1/200 of the side, smoothed over 1/100 of it
    "elastic_transform": Corruption(digital.elastic_transform, (12.5, 16.25, 21.25, 25, 30)),
    # remaining fraction of the side
    "pixelate": Corruption(digital.pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    # quality
    "jpeg_compression": Corruption(digital.jpeg_compression, (25, 18, 15, 10, 7)),
    # standard deviation of the noise, as a fraction of the value
    "speckle_noise": Corruption(noise.speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6)),
    # standard deviation, in pixels
    "gaussian_blur": Corruption(blur.gaussian_blur, (1, 2, 3, 4, 6)),
    # mean, standard deviation and smoothing of the liquid, threshold, strength (water) or smoothing (mud), whether mud
    "spatter": Corruption(
        weather.spatter,
        (
            (0.65, 0.3, 4, 0.69, 0.6, False),
            (0.65, 0.3, 3, 0.68, 0.6, False),
            (0.65, 0.3, 2, 0.68, 0.5, False),
            (0.65, 0.3, 1, 0.65, 1.5, True),
            (0.67, 0.4, 1, 0.65, 1.5, True),
        ),
    ),
    # factor of the saturation of HSV, and what is added to it
    "saturate": Corruption(tone.saturation, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))),
}

SUITE = Suite(
    name="imagenet-c",
    source="Hendrycks & Dietterich 2019, arXiv:1903.12261; elastic_transform: Michaelis et al. 2019, arXiv:1907.07484",
    lists={None: CORRUPTIONS},
)
