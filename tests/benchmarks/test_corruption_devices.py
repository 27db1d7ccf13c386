"""Corruptions by NumPy and OpenCV, by torch on the CPU and by torch on a GPU: ``pytest --benchmark-only``.

32 images of 224 px, severity 3, a group for each kernel. The CPU's share of the work, random bits and tables, is in all
figures, and so is the way to the GPU and back. On the CPU one thread computes.
"""

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from skimage.transform import resize
from suite_lists import LISTS, kernel_and_value

from robustmedclip.corruptions import corrupt, corruptions
from robustmedclip.corruptions.kernels.kernel import device_form

IMAGES, SEVERITY = 32, 3

#: Kernels that there are on other devices, each with one corruption that uses it.
CASES = {
    kernel: (suite, dataset, name)
    for suite, dataset in reversed(LISTS)
    for name in corruptions(suite, dataset)
    if device_form(kernel := kernel_and_value(name, SEVERITY, suite, dataset)[0])
}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    picture = resize(data.astronaut(), (224, 224), anti_aliasing=True)
    return np.repeat(np.round(picture * 255).astype(np.uint8)[None], IMAGES, axis=0)


@pytest.fixture(autouse=True)
def single_threaded():
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(threads[0])
    torch.set_num_threads(threads[1])


@pytest.fixture(
    params=[
        pytest.param("cpu", id="numpy-opencv"),
        pytest.param("cpu:0", id="torch-cpu"),
        pytest.param(
            "cuda",
            id="torch-cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
        ),
    ]
)
def device(request, monkeypatch) -> str:
    if request.param == "cpu:0":  # refused otherwise, since it is the slower of two ways
        monkeypatch.setattr("robustmedclip.corruptions.kernels.devices.check_device", lambda device: None)
    return request.param


@pytest.mark.parametrize("kernel", CASES, ids=lambda kernel: kernel.__name__)
def test_corruption(benchmark, images, kernel, device):
    suite, dataset, name = CASES[kernel]
    benchmark.group = f"{kernel.__name__}, {IMAGES} images"
    settings = {"suite": suite, "dataset": dataset, "seed": 0, "device": device}
    corrupted = benchmark.pedantic(corrupt, (images, name, SEVERITY), settings, rounds=7, warmup_rounds=1)
    assert corrupted.shape == images.shape
