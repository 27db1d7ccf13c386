"""acquisition-c by torch beside NumPy; torch's own CPU stands in for a device, where there is none."""

import numpy as np
import pytest
import torch
from acquired import images_for

from robustmedclip.corruptions import corrupt, corrupted_batches, suite
from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.kernel import device_form

CORRUPTIONS = suite("acquisition-c").corruptions()
ON_THE_CPU_ONLY = {"jpeg2000", "burnt_in_text", "screen_photo"}


@pytest.fixture(
    params=[
        "cpu:0",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
    ]
)
def device(request, monkeypatch):
    if request.param == "cpu:0":
        monkeypatch.setattr("robustmedclip.corruptions.kernels.devices.check_device", lambda device: None)
    return request.param


def test_which_corruptions_are_made_on_the_cpu_alone():
    """Those of a codec, of writing and of tilting."""
    assert {name for name, corruption in CORRUPTIONS.items() if device_form(corruption.kernel) is None} == (
        ON_THE_CPU_ONLY
    )


@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - ON_THE_CPU_ONLY))
def test_within_a_grey_level_of_the_cpu_alone_and_in_a_batch(name, device):
    images = np.concatenate([images_for(CORRUPTIONS[name], 64)] * 2)
    ids = [f"image {index}" for index in range(len(images))]
    for severity in (1, 5):
        how = {"severity": severity, "suite": "acquisition-c", "seed": 0}
        here, there = (corrupt(images, name, sample_ids=ids, device=where, **how) for where in ("cpu", device))
        difference = np.abs(there.astype(int) - here)
        assert difference.max() <= 1
        assert difference.mean() < 0.01
        alone = corrupt(images[1:2], name, sample_ids=ids[1:2], device=device, **how)
        np.testing.assert_array_equal(alone[0], there[1])


@pytest.mark.parametrize("name", ["quantum_noise", "low_dose", "motion", "air_bubbles", "jpeg2000"])
def test_eight_workers_give_the_bytes_of_one_in_any_order(name, monkeypatch):
    images = np.repeat(images_for(CORRUPTIONS[name], 192)[:1], 20, axis=0)
    ids = np.array([f"image {index}" for index in range(20)])
    settings = {"suite": "acquisition-c", "dataset": "own", "seed": 3}
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    order = np.random.default_rng(0).permutation(20)
    batches = np.concatenate(list(corrupted_batches(images, ids[order], 16, name, 2, **settings)))
    for row in (0, 7, 19):
        alone = corrupt(images[:1], name, 2, sample_ids=[ids[order[row]]], **settings)
        np.testing.assert_array_equal(batches[row], alone[0])


@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - ON_THE_CPU_ONLY))
def test_nothing_is_left_on_the_cpu(name):
    """The device without memory, on which an operation with a tensor of the CPU fails, stands in for a GPU."""
    images = torch.empty((2, 40, 40, 3), dtype=torch.uint8, device="meta")
    corruption = CORRUPTIONS[name]
    corrupted = device_form(corruption.kernel)(images, [Draws(0), Draws(1)], corruption.values[4])
    assert (corrupted.device, corrupted.shape, corrupted.dtype) == (images.device, images.shape, images.dtype)
