"""The kernels of other devices beside those of the CPU; torch's own CPU stands in for a device, where there is none."""

import subprocess
import sys
from functools import cache
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skimage import data
from suite_lists import ACQUISITION, kernel_and_value
from suite_lists import LISTS as ALL_LISTS

from robustmedclip.corruptions import (
    GREY_MODES,
    SEVERITIES,
    corrupt,
    corrupted_batches,
    corruptions,
)
from robustmedclip.corruptions.kernels.kernel import device_form

pytestmark = pytest.mark.slow

LISTS = [pair for pair in ALL_LISTS if pair[0] != ACQUISITION]
ON_THE_CPU_ONLY = {
    "glass_blur",
    "snow",
    "frost",
    "fog",
    "elastic_transform",
    "jpeg_compression",
    "spatter",
    "stain_deposit",
    "bubble",
    "characters",
}
FILTERS = {"defocus_blur", "gaussian_blur", "motion_blur", "zoom_blur"}


def rows_on_a_device() -> list[tuple[str, str | None, str]]:
    """(suite, data set, corruption) of every row of the severity tables; a row that several lists share comes once."""
    rows = {}
    for suite, dataset in LISTS:
        for name in corruptions(suite, dataset):
            if name not in ON_THE_CPU_ONLY:
                key = tuple(kernel_and_value(name, severity, suite, dataset) for severity in SEVERITIES)
                rows.setdefault(key, (suite, dataset, name))
    return list(rows.values())


CASES = rows_on_a_device()


@pytest.fixture(
    params=[
        "cpu:0",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
    ],
)
def device(request, monkeypatch):
    if request.param == "cpu:0":  # users are offered the faster NumPy kernels there
        monkeypatch.setattr("robustmedclip.corruptions.kernels.devices.check_device", lambda device: None)
    return request.param


@cache
def pictures(height: int, width: int) -> np.ndarray:
    """A photograph, and noise with patches of black, white, grey and plain colours."""
    photograph = cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_AREA)
    patches = np.random.default_rng(0).integers(0, 256, photograph.shape, np.uint8)
    colours = [(0, 0, 0), (255, 255, 255), (90, 90, 90), (255, 0, 0), (0, 7, 200)]
    for index, colour in enumerate(colours):
        patches[: height // 2, index * width // 6 : (index + 1) * width // 6] = colour
    images = np.stack([photograph, patches])
    images.flags.writeable = False
    return images


def assert_same_but_for_rounding(actual: np.ndarray, expected: np.ndarray, rounded: bool, what: str) -> None:
    assert actual.dtype == np.uint8, what
    assert actual.shape == expected.shape, what
    difference = np.abs(actual.astype(int) - expected)
    assert difference.max() <= (1 if rounded else 0), what
    assert difference.mean() < 0.02, what


@pytest.mark.parametrize(("suite", "dataset", "name"), CASES)
def test_same_as_on_the_cpu_but_for_rounding(suite, dataset, name, device):
    for size, grey, severity in product([(224, 224), (64, 64), (96, 130)], [None, *GREY_MODES], SEVERITIES):
        images = pictures(*size) if grey is None else pictures(*size)[..., 1:2]
        how = {"suite": suite, "dataset": dataset, "seed": 1, "grey": grey or "native"}
        there, here = (corrupt(images, name, severity, **how, device=where) for where in (device, "cpu"))
        assert_same_but_for_rounding(there, here, name in FILTERS, f"{size} {grey} {severity}")


@pytest.mark.parametrize(("suite", "dataset"), LISTS)
def test_which_corruptions_run_on_the_device(suite, dataset):
    for name in corruptions(suite, dataset):
        kernel, _ = kernel_and_value(name, 1, suite, dataset)
        assert bool(device_form(kernel)) == (name not in ON_THE_CPU_ONLY), name


@pytest.mark.parametrize("name", sorted(ON_THE_CPU_ONLY & set(corruptions("imagenet-c"))))
def test_all_others_are_made_on_the_cpu(name, device):
    images = pictures(40, 40)
    made = [corrupt(images, name, 3, suite="imagenet-c", seed=1, device=where) for where in ("cpu", device)]
    np.testing.assert_array_equal(*made)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    case=st.sampled_from(CASES),
    severity=st.sampled_from(SEVERITIES),
    shape=st.tuples(st.integers(28, 90), st.integers(45, 90), st.sampled_from((1, 3))),
    order=st.permutations("abcd"),
    grey=st.sampled_from(GREY_MODES),
    seed=st.integers(0, 2**63),
)
def test_depends_neither_on_the_batch_nor_on_the_order(device, case, severity, shape, order, grey, seed):
    suite, dataset, name = case
    images = dict(zip("abcd", np.random.default_rng(seed).integers(0, 256, (4, *shape), np.uint8), strict=True))
    how = {"suite": suite, "dataset": dataset, "seed": seed, "grey": grey}

    def made(ids: list[str], where: str) -> np.ndarray:
        batch = np.stack([images[sample_id] for sample_id in ids])
        return corrupt(batch, name, severity, sample_ids=ids, device=where, **how)

    together = made(order, device)
    np.testing.assert_array_equal(together, np.concatenate([made([sample_id], device) for sample_id in order]))
    assert_same_but_for_rounding(together, made(order, "cpu"), name in FILTERS, f"{case} {shape}")


def test_boxes_of_tall_images_differ_by_one_grey_level_at_most(device):
    images = pictures(150, 40)
    made = [corrupt(images, "pixelate", 3, seed=0, device=where).astype(int) for where in ("cpu", device)]
    assert np.abs(made[0] - made[1]).max() <= 1


@pytest.mark.parametrize("name", ["gaussian_noise", "contrast", "zoom_blur"])
def test_leaves_its_input_alone_and_takes_any_layout(name, device):
    images = pictures(50, 60)  # read-only
    expected = corrupt(images, name, 2, seed=0, device=device)
    for view in (images[:, ::-1].copy()[:, ::-1], np.asfortranarray(images)):
        original = view.copy()
        corrupted = corrupt(view, name, 2, seed=0, device=device)
        np.testing.assert_array_equal(corrupted, expected)
        np.testing.assert_array_equal(view, original)
        assert corrupted.flags.c_contiguous
        assert corrupted.flags.writeable


def test_an_empty_batch_stays_empty(device):
    for name in corruptions():
        assert corrupt(np.empty((0, 28, 30, 3), np.uint8), name, 1, seed=0, device=device).shape == (
            0,
            28,
            30,
            3,
        )


def test_streams_in_batches(device):
    images = np.repeat(pictures(32, 32), 4, axis=0)
    ids = [f"image {index}" for index in range(len(images))]
    for name in ("impulse_noise", "motion_blur"):
        batches = corrupted_batches(images, ids, 3, name, 4, seed=5, device=device)
        whole = corrupt(images, name, 4, seed=5, sample_ids=ids, device=device)
        np.testing.assert_array_equal(np.concatenate(list(batches)), whole)


@pytest.mark.parametrize("name", ["gaussian_noise", "jpeg_compression"])
@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "cpu:0", "CPU", ""])
def test_a_device_that_is_not_there_is_refused(name, device):
    images = pictures(28, 28)
    with pytest.raises(ValueError, match=f"torch has no device '{device}' on this machine: choose cpu"):
        corrupt(images, name, 1, suite="imagenet-c", seed=0, device=device)
    with pytest.raises(ValueError, match="torch has no device"):
        next(corrupted_batches(images, ["a", "b"], 2, name, 1, suite="imagenet-c", seed=0, device=device))


def test_the_default_needs_no_torch():
    code = """
import sys
import numpy as np
from robustmedclip.corruptions import corrupt
corrupt(np.zeros((1, 28, 28, 1), np.uint8), "gaussian_noise", 1, seed=0)
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
