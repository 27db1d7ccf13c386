"""Pictures, and every distinct value of every suite for the oracles that a test file names."""

from itertools import product

import numpy as np
import pytest
from PIL import Image
from skimage import data
from suite_lists import CASES, kernel_and_value

from robustmedclip.corruptions import SEVERITIES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise `case` by (suite, dataset, name, severity): each value of the kernels in the file's ORACLES."""
    if "case" not in metafunc.fixturenames:
        return
    cases = {}
    for (suite, dataset, name), severity in product(CASES, SEVERITIES):
        kernel, value = kernel_and_value(name, severity, suite, dataset)
        if kernel.__name__ in metafunc.module.ORACLES:
            cases.setdefault((kernel.__name__, value), (suite, dataset, name, severity))
    metafunc.parametrize("case", cases.values(), ids=[f"{kernel}-{value}" for kernel, value in cases])


def picture(height: int, width: int, channels: int) -> np.ndarray:
    """A photograph, uint8 ``(height, width, channels)``."""
    photograph = Image.fromarray(data.astronaut()).convert("L" if channels == 1 else "RGB")
    return np.asarray(photograph.resize((width, height), Image.Resampling.BICUBIC)).reshape(height, width, channels)


def synthetic(channels: int) -> list[np.ndarray]:
    ramp = np.broadcast_to(np.arange(224, dtype=np.uint8)[None, :, None], (224, 224, channels))
    return [*(np.full((224, 224, channels), level, np.uint8) for level in (0, 137, 255)), ramp]


@pytest.fixture(scope="session", params=[1, 3], ids=["grey", "colour"])
def pictures(request) -> list[np.ndarray]:
    """A photograph, black, a constant, white and a ramp, all of 224 px."""
    return [picture(224, 224, request.param), *synthetic(request.param)]


@pytest.fixture(scope="session", params=[(64, 64, 1), (96, 128, 3)], ids=str)
def small_picture(request) -> np.ndarray:
    return picture(*request.param)


@pytest.fixture(scope="session", params=[(64, 64, 1), (96, 128, 3), (448, 448, 1)], ids=str)
def scaled_picture(request) -> np.ndarray:
    """A photograph whose shorter side is not the one that the constants are published for."""
    return picture(*request.param)
