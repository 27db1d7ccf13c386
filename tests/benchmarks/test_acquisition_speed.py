"""Time of acquisition-c on one core, beside TorchIO, usaugment and scikit-image, and of every corruption by itself.

``pytest tests/benchmarks/test_acquisition_speed.py --benchmark-only -n 0`` runs it. The packages are not those of the
tests: ``pip install torchio usaugment``; without them, their groups are skipped.
"""

from collections.abc import Callable
from time import process_time

import cv2
import numpy as np
import pytest
from acquired import acquired, head, images_for
from skimage.transform import iradon, radon

from robustmedclip.corruptions import corrupt, suite

#: Processor time, so that other work on the machine counts for little.
pytestmark = pytest.mark.benchmark(timer=process_time)
SIDES = pytest.mark.parametrize("side", ["ours", "reference"])
CORRUPTIONS = suite("acquisition-c").corruptions()
COUNT = 8


@pytest.fixture(autouse=True)
def single_threaded():
    import torch

    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(threads[0])
    torch.set_num_threads(threads[1])


def torchio(name: str) -> Callable[[np.ndarray], object]:
    package = pytest.importorskip("torchio")
    transforms = {
        "ghosting": lambda: package.Ghosting(num_ghosts=4, axis=0, intensity=0.7, restore=None),
        "motion": lambda: package.RandomMotion(degrees=0, translation=10, num_transforms=2),
        "spike": lambda: package.Spike(spikes_positions=np.array([[0.3, 0.3, 0]]), intensity=0.1),
        "bias_field": lambda: package.RandomBiasField(coefficients=0.5, order=3),
    }
    transform = transforms[name]()

    def run(image: np.ndarray) -> object:
        import torch

        slice_ = torch.from_numpy(image[None].astype(np.float32) / 255)
        return (transform(package.ScalarImage(tensor=slice_)).numpy() * 255).clip(0, 255).astype(np.uint8)

    return run


def usaugment(name: str) -> Callable[[np.ndarray], object]:
    package = pytest.importorskip("usaugment.albumentations")
    transforms = {
        "depth_attenuation": lambda: package.DepthAttenuation(attenuation_rate=1.8, p=1),
        "acoustic_shadow": lambda: package.GaussianShadow(p=1),
        "haze": lambda: package.HazeArtifact(radius=0.5, sigma=0.1, p=1),
    }
    transform = transforms[name]()

    def run(image: np.ndarray) -> object:
        pixels = image[..., 0].astype(np.float32) / 255
        result = transform(image=pixels, scan_mask=np.ones(pixels.shape, np.uint8))["image"]
        return (result * 255).clip(0, 255).astype(np.uint8)

    return run


def scikit_image(image: np.ndarray) -> object:
    angles = np.arange(180.0)
    return iradon(radon(image[..., 0] / 255, angles, circle=False), angles, circle=False, output_size=len(image))


def compared(benchmark, name: str, severity: int, images: np.ndarray, reference: Callable[[np.ndarray], object] | None):
    def ours() -> None:
        corrupt(images, name, severity, suite="acquisition-c", seed=0)

    def theirs() -> None:
        assert reference is not None
        for image in images:
            reference(image)

    benchmark.pedantic(ours if reference is None else theirs, rounds=5, warmup_rounds=1)


@SIDES
@pytest.mark.parametrize("name", ["ghosting", "motion", "spike", "bias_field"])
def test_beside_torchio(benchmark, name, side):
    benchmark.group, reference = f"{name}, {COUNT} images of 224 px, and TorchIO", torchio(name)
    images = np.repeat(head(224)[None], COUNT, axis=0)
    compared(benchmark, name, 3, images, reference if side == "reference" else None)


@SIDES
@pytest.mark.parametrize("name", ["depth_attenuation", "acoustic_shadow", "haze"])
def test_beside_usaugment(benchmark, name, side):
    benchmark.group, reference = f"{name}, {COUNT} images of 224 px, and usaugment", usaugment(name)
    images = np.repeat(acquired("ultrasound", 224)[:1], COUNT, axis=0)
    compared(benchmark, name, 3, images, reference if side == "reference" else None)


@SIDES
def test_projection_and_back_projection_beside_scikit_image(benchmark, side):
    """180 views, as of severity 1."""
    benchmark.group = "sparse_views of 180 views, 224 px, and scikit-image"
    images = head(224)[None]
    compared(benchmark, "sparse_views", 1, images, scikit_image if side == "reference" else None)


@pytest.mark.parametrize("pixels", [224, 512])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_milliseconds_of_an_image(benchmark, name, pixels):
    """At severity 3: the table's minimum over its images."""
    benchmark.group = f"acquisition-c at {pixels} px, one image"
    images = images_for(CORRUPTIONS[name], pixels)[:1]
    benchmark.pedantic(corrupt, (images, name, 3), {"suite": "acquisition-c", "seed": 0}, rounds=5, warmup_rounds=1)
