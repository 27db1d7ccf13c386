"""The one function that corrupts images.

On another device than the CPU, the corruptions whose kernel has a form for it are made there: noise, blur, tone,
pixelate and black corners. The random numbers and the results are the same but for rounding: noise and tone give the
same bytes, the others differ by one grey level in a few places. What has no such form is made on the CPU.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from PIL import Image

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels import devices
from robustmedclip.corruptions.kernels.kernel import Kernel, device_form
from robustmedclip.corruptions.suites import SEVERITIES, Suite
from robustmedclip.corruptions.suites import suite as suite_of

GREY_MODES = ("native", "reference")
SMALLEST_SIDE = 28


def corrupt(
    images: np.ndarray,
    name: str,
    severity: int,
    *,
    suite: str | Suite = "medimeta-c",
    dataset: str | None = None,
    seed: int,
    sample_ids: Sequence[str] | None = None,
    grey: str = "native",
    device: str = "cpu",
) -> np.ndarray:
    """Corrupt a batch of images.

    The randomness of an image is a function of (seed, suite, dataset, name, severity, sample id): it
    depends neither on the other images nor on the position in the batch.

    Parameters
    ----------
    images : ndarray
        uint8 ``(N, H, W, C)``, C in {1, 3}, sides of 28 px or more; not modified.
    name : str
        A corruption of the suite.
    severity : int
        1 to 5.
    suite : str or Suite
        ``medimeta-c``, ``imagenet-c``, ``medmnist-c``, or a suite of your own or its dotted path.
    dataset : str, optional
        Name of the data set; where the suite has a list of corruptions for each of some, the one that is meant.
    seed : int
        Seed of the benchmark.
    sample_ids : sequence of str, optional
        One per image; by default ``"0"``, ``"1"``, ...
    grey : str
        How images with one channel are corrupted: ``native``, as grey images; or ``reference``, as medmnistc does: as
        three equal channels, which are then converted to luminance, so that noise, for instance, is weaker by a third.
    device : str
        ``cpu``, or another device of torch, such as ``cuda`` or ``cuda:1``.

    Returns
    -------
    ndarray
        uint8 ``(N, H, W, C)``.

    Raises
    ------
    ValueError
        If a name, the severity, the grey mode or the device is unknown, or images or sample ids are not as stated.
    """
    severity, suite = _checked_severity(severity), suite_of(suite)
    corruption = suite.corruption(name, dataset)
    _check_images(images, grey)
    ids = _checked_ids(sample_ids, len(images))
    draws = [Draws(seed, suite.name, dataset or "", name, severity, sample_id) for sample_id in ids]
    value, as_colour = corruption.values[severity - 1], grey == "reference" and images.shape[-1] == 1
    if device != "cpu":
        devices.check_device(device)
        if len(images) and (form := device_form(corruption.kernel)):
            return devices.corrupted_batch(form, images, draws, value, as_colour=as_colour, device=device)
    return _on_the_cpu(corruption.kernel, images, draws, value, as_colour)


def _on_the_cpu(kernel: Kernel, images: np.ndarray, draws: Sequence[Draws], value: Any, as_colour: bool) -> np.ndarray:
    """The images, corrupted one by one; `as_colour` as three equal channels, and made grey again."""
    corrupted = np.empty_like(images, order="C")
    for image, result, image_draws in zip(images, corrupted, draws, strict=True):
        source = np.repeat(image, 3, axis=-1) if as_colour else np.ascontiguousarray(image)
        pixels = kernel(source, image_draws, value)
        if as_colour:
            pixels = np.asarray(Image.fromarray(pixels).convert("L"))
        result[:] = pixels.reshape(image.shape)
    return corrupted


def _checked_severity(severity: int) -> int:
    if type(severity) is bool or not isinstance(severity, Integral) or severity not in SEVERITIES:
        raise ValueError(f"severity must be 1, 2, 3, 4 or 5, not {severity!r}")
    return int(severity)


def _checked_ids(sample_ids: Sequence[str] | None, count: int) -> list[str]:
    """One id per image: those given, or ``"0"``, ``"1"``, ..."""
    ids = [str(index) for index in range(count)] if sample_ids is None else list(sample_ids)
    if len(ids) != count:
        raise ValueError(f"{len(ids)} sample ids for {count} images")
    return ids


def _check_images(images: np.ndarray, grey: str) -> None:
    if grey not in GREY_MODES:
        raise ValueError(f"grey must be 'native' or 'reference', not {grey!r}")
    if not isinstance(images, np.ndarray):
        raise ValueError(f"images must be a NumPy array, not {type(images).__name__}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must be uint8 (N, H, W, 1 or 3), not {images.dtype} {images.shape}")
    if min(images.shape[1:3]) < SMALLEST_SIDE:
        size = f"{images.shape[1]} x {images.shape[2]}"
        raise ValueError(f"images must be at least {SMALLEST_SIDE} px high and wide, not {size}")
