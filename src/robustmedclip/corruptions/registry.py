"""Which corruptions a suite has, and the kernel and the value of each severity."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import artefacts, blur, digital, noise, tone, weather
from robustmedclip.corruptions.severities import IMAGENET_C, MEDIMETA_C, MEDMNIST_C, Values

#: Image uint8 ``(H, W, C)``, draws and the severity's value to image uint8 of as many elements; the input is not modified.
Kernel = Callable[[np.ndarray, Draws, Any], np.ndarray]

SUITES = ("medimeta-c", "imagenet-c", "medmnist-c")

_IMAGENET_KERNELS: dict[str, Kernel] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": tone.brightness,
    "contrast": tone.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": weather.spatter,
    "saturate": tone.saturation,
}

_MEDMNIST_KERNELS: dict[str, Kernel] = _IMAGENET_KERNELS | {
    "gaussian_blur": blur.kernel_blur,
    "saturate": tone.added_saturation,
    "brightness_up": tone.scaled_brightness,
    "brightness_down": tone.scaled_brightness,
    "contrast_up": tone.scaled_contrast,
    "contrast_down": tone.scaled_contrast,
    "gamma_corr_up": tone.gamma,
    "gamma_corr_down": tone.gamma,
    "stain_deposit": artefacts.stain_deposit,
    "bubble": artefacts.bubble,
    "black_corner": artefacts.black_corner,
    "characters": artefacts.characters,
}


def severities(suite: str, dataset: str | None = None) -> Mapping[str, Values]:
    """The severity table of a suite: corruption to the values of its severities 1 to 5.

    Raises
    ------
    ValueError
        If there is no such suite, or medmnist-c has no list for the data set.
    """
    if suite == "medimeta-c":
        return MEDIMETA_C
    if suite == "imagenet-c":
        return IMAGENET_C
    if suite != "medmnist-c":
        raise ValueError(f"unknown corruption suite {suite!r}; {_hint(suite, SUITES)}")
    if dataset is None:
        raise ValueError(f"medmnist-c has a list per data set: choose dataset among {', '.join(MEDMNIST_C)}")
    if dataset not in MEDMNIST_C:
        raise ValueError(f"medmnist-c has no list for data set {dataset!r}; {_hint(dataset, MEDMNIST_C)}")
    return MEDMNIST_C[dataset]


def corruptions(suite: str = "medimeta-c", dataset: str | None = None) -> tuple[str, ...]:
    """Names of the corruptions of a suite.

    Parameters
    ----------
    suite : str
        ``medimeta-c``, ``imagenet-c`` or ``medmnist-c``.
    dataset : str, optional
        The MedMNIST data set whose list is meant; needed for ``medmnist-c``, which has one for each.

    Raises
    ------
    ValueError
        If there is no such suite, or it has no list for the data set.
    """
    return tuple(severities(suite, dataset))


def kernel_and_value(name: str, severity: int, suite: str, dataset: str | None) -> tuple[Kernel, Any]:
    """The kernel of a corruption and the value that its severity means.

    Raises
    ------
    ValueError
        If there is no such suite, list or corruption.
    """
    table = severities(suite, dataset)
    if name not in table:
        raise ValueError(f"unknown corruption {name!r} of suite {suite!r}; {_hint(name, table)}")
    kernels = _MEDMNIST_KERNELS if suite == "medmnist-c" else _IMAGENET_KERNELS
    return kernels[name], table[name][severity - 1]


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
