"""Time of the corruptions at 224 px on one core, beside the published packages.

``pytest tests/benchmarks --benchmark-only`` runs it.

:mod:`references` says how to install the packages. Where Wand or ImageMagick is missing, motion blur is left out of
the lists of medmnist-c on both sides; the name of the group says so.
"""

from collections.abc import Callable, Iterable
from time import perf_counter, process_time

import cv2
import numpy as np
import pytest
from PIL import Image
from references import imagecorruptions, medmnistc
from skimage import data
from skimage.transform import resize

from robustmedclip.corruptions import SEVERITIES, corrupt, corrupted_batches, corruptions

#: Processor time, so that other work on the machine counts for little.
pytestmark = pytest.mark.benchmark(timer=process_time)
SIDES = pytest.mark.parametrize("side", ["ours", "reference"])
GREY = ("breastmnist", "octmnist", "pneumoniamnist")
COUNT = 8


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Eight different views of a picture, uint8 ``(8, 224, 224, 3)``."""
    picture = np.round(resize(data.astronaut(), (240, 240), anti_aliasing=True) * 255).astype(np.uint8)
    return np.stack([picture[i : i + 224, 2 * i : 2 * i + 224] for i in range(COUNT)])


@pytest.fixture(autouse=True)
def single_threaded():
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


def measured(benchmark, group: str, rounds: int, run: Callable[[], object]) -> None:
    benchmark.group = group
    benchmark.pedantic(run, rounds=rounds, warmup_rounds=1 if rounds > 1 else 0)


def corrupted(images: np.ndarray, names: Iterable[str], levels: Iterable[int], **settings: object) -> None:
    for name in names:
        for severity in levels:
            corrupt(images, name, severity, seed=0, **settings)


@SIDES
@pytest.mark.parametrize("name", corruptions("imagenet-c"))
def test_imagenet_c(benchmark, images, name, side):
    package = imagecorruptions()
    if side == "ours":
        measured(
            benchmark,
            f"imagenet-c {name}, severity 3",
            20,
            lambda: corrupted(images, [name], [3], suite="imagenet-c"),
        )
    else:
        rounds = 1 if name == "glass_blur" else 5
        measured(
            benchmark,
            f"imagenet-c {name}, severity 3",
            rounds,
            lambda: [package.corrupt(image, 3, name) for image in images],
        )


@SIDES
def test_the_seven_of_medimeta_c(benchmark, images, side):
    package = imagecorruptions()

    def reference() -> None:
        for name in corruptions():
            for severity in SEVERITIES:
                for image in images:
                    package.corrupt(image, severity, name)

    run = reference if side == "reference" else lambda: corrupted(images, corruptions(), SEVERITIES)
    measured(benchmark, "medimeta-c, all seven, all severities", 3, run)


@SIDES
@pytest.mark.parametrize("dataset", ["bloodmnist", "breastmnist", "octmnist", "pneumoniamnist", "retinamnist"])
def test_medmnist_c(benchmark, images, dataset, side):
    lists, motion = medmnistc()
    names = [name for name in corruptions("medmnist-c", dataset) if motion or name != "motion_blur"]
    left_out = " without motion_blur" if "motion_blur" in set(corruptions("medmnist-c", dataset)) - set(names) else ""
    grey = dataset in GREY
    batch = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] for image in images]) if grey else images

    def reference() -> None:
        for name in names:
            for severity in range(5):
                for image in batch:
                    picture = Image.fromarray(image[..., 0] if grey else image).convert("RGB")
                    made = lists[dataset][name].apply(picture, severity)
                    if grey:
                        np.asarray(Image.fromarray(made).convert("L"))

    def ours() -> None:
        corrupted(batch, names, SEVERITIES, suite="medmnist-c", dataset=dataset)

    group = f"medmnist-c {dataset}{left_out}, all severities"
    measured(benchmark, group, 3, reference if side == "reference" else ours)


@pytest.mark.benchmark(group="medimeta-c, severity 3, 128 images: all cores and one", timer=perf_counter)
@pytest.mark.parametrize("cores", ["all", "one"])
def test_streams_use_all_cores(benchmark, images, cores, monkeypatch):
    if cores == "one":
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0}, raising=False)
    many = np.concatenate([images] * 16)
    ids = [str(index) for index in range(len(many))]

    def run() -> None:
        for name in corruptions():
            for _ in corrupted_batches(many, ids, 16, name, 3, seed=0):
                pass

    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
