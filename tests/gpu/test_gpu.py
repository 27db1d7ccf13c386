"""On a machine with a GPU of CUDA, ``pytest tests/gpu -n 0``: the CPU's results within bounds, and how busy it is kept.

The reference of a throughput is the bare loop: the same passes of the same model over one batch that lies on the GPU.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from subjects import NAMES, load, noise
from suite_lists import LISTS, kernel_and_value
from torch.nn import functional as F

from robustmedclip.adaptation.objective import Objective
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.training import _augmenting, _epoch, _with_views
from robustmedclip.corruptions import corrupt, corruptions
from robustmedclip.corruptions.kernels.kernel import device_form
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.io import CorruptedSetDataset
from robustmedclip.models.batch_size import batch_size, encoding
from robustmedclip.models.inference import image_features, move_to_device
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation.nodes import encode
from robustmedclip.plan.methods import method_of

if not torch.cuda.is_available():
    pytest.skip("tests/gpu needs a GPU of CUDA", allow_module_level=True)

METHODS = yaml.safe_load((Path(__file__).parents[2] / "conf/base/parameters/methods.yml").read_text())["methods"]
AUTO = {"precision": "auto"}
#: Largest distance of unit features from those of the CPU, as one minus their cosine.
BOUNDS = {"float32": 1e-4, "auto": 1e-2}
#: Images per second of the bare loop of ViT-B/16 in bfloat16 that an H100 could do at its peak.
PEAK = 22_500
#: Kernels with a form for a GPU, each with a corruption that uses it.
KERNELS = {
    kernel: (suite, dataset, name)
    for suite, dataset in LISTS
    for name in corruptions(suite, dataset)
    if device_form(kernel := kernel_and_value(name, 3, suite, dataset)[0])
}
CLASSES, STEPS = 4, 8


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_the_cpu(name, precision):
    model, images = load(name), noise(NAMES[name], 60, classes=2).images
    expected = np.concatenate(list(image_features(model, [images])))
    kind = move_to_device(model, precision)
    features = np.concatenate(list(image_features(model, [images], kind)))
    assert (1 - (features * expected).sum(1)).max() < BOUNDS[precision]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
def test_corruptions_are_those_of_the_cpu_to_a_grey_level(kernel):
    suite, dataset, name = KERNELS[kernel]
    images = noise(224, 8, classes=2).images
    settings = {"suite": suite, "dataset": dataset, "seed": 0}
    here, there = (corrupt(images, name, 3, device=device, **settings) for device in ("cpu", "cuda"))
    assert np.abs(here.astype(int) - there).max() <= 1


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The least time that some work takes, after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])


@pytest.mark.parametrize(("storage", "least"), [("materialised", 0.8), ("on_the_fly", 0.6)])
def test_the_evaluation_keeps_the_gpu_busy(tmp_path, monkeypatch, record_property, storage, least):
    monkeypatch.setattr(
        VisionLanguageModel, "content_hash", lambda model: ""
    )  # a second, however many images there are
    model = load("ViT-B-16")
    precision = move_to_device(model, "auto")
    size = batch_size(model)
    images = noise(224, 4 * size, classes=2)
    conditions = (CLEAN, Condition("gaussian_noise", 3), Condition("contrast", 3), Condition("zoom_blur", 3))
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": storage}
    corrupted = CorruptedSetDataset(filepath=str(tmp_path / "images"))
    corrupted.save(corrupt_test_set(images, {"seed": 0}, conditions=conditions, **settings))
    pixels, count = model.preprocess(images.images[:size], model.device), len(conditions) * len(images)

    @torch.inference_mode()
    def bare() -> None:
        with torch.autocast("cuda", precision, enabled=precision != torch.float32):
            for _ in range(count // size):
                model.network.encode_image(pixels)

    reference = seconds(bare)
    ours = seconds(lambda: encode(model, corrupted.load(), AUTO, name="ViT-B-16"))
    record_property(
        f"ViT-B/16, {encoding(model, precision)}, {storage}",
        f"{count / ours:.0f} images/s, {reference / ours:.2f} of the bare loop, {count / ours / PEAK:.2f} of the peak",
    )
    assert reference / ours >= least
    if storage == "materialised" and "H100" in torch.cuda.get_device_name():
        assert count / ours >= 0.4 * PEAK


def test_a_step_of_robust_lora_takes_little_longer_than_the_bare_loop(record_property):
    model = load("ViT-B-16")
    precision = move_to_device(model, "auto")
    recipe = {key: value for key, value in METHODS["robust-lora"].items() if key != "authors"}
    method = method_of("robust-lora", {**recipe, "learning_rate": 1e-6}, [])
    size = method.batch_size
    samples = Samples([noise(224, size * STEPS, CLASSES)], model.preprocess).guarded(method.guard)[0]
    tuned, trainable = method.prepared(model, {})
    classifier = F.normalize(torch.randn(CLASSES, model.network.visual.output_dim), dim=-1)
    objective = Objective(tuned, classifier, samples.label_ranges, method, precision)
    optimiser = torch.optim.AdamW(trainable.parameters, lr=method.learning_rate)
    batch = np.arange(size)
    pixels = samples.pixels(batch, device=model.device)

    def bare() -> None:
        for _ in range(STEPS):
            optimiser.zero_grad(set_to_none=True)
            objective.training_loss(pixels, samples, batch).backward()
            optimiser.step()

    reference = seconds(bare)
    ours = seconds(lambda: _epoch(objective, samples, method, optimiser, 0, 1, None))
    order = np.arange(len(samples))
    prepare = _augmenting(objective, samples, method, order, 0, 1)
    (part,) = _with_views(samples, method, [0], [batch], np.random.default_rng(0))
    host = seconds(lambda: prepare(part))
    record_property(
        f"robust-lora of ViT-B/16, a step of {size} images",
        f"{1000 * ours / STEPS:.0f} ms, {ours / reference:.2f} x the bare loop; prepared in {1000 * host:.0f} ms",
    )
    assert ours / reference <= 1.15 and host <= 0.1
