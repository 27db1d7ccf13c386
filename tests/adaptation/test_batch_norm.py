"""Statistics of batch normalisation, adapted to the training images."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import tasks
import torch
from tasks import changed
from torch import nn

import robustmedclip.models
from robustmedclip.adaptation.batch_norm import PRIOR, adapted_statistics
from robustmedclip.adaptation.methods.lora import Lora
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.tuning import merge_adapter, tune
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import AdapterDataset
from robustmedclip.models.batch_norm import batch_norm_layers
from robustmedclip.models.interface import zero_shot_classifier
from robustmedclip.models.open_clip import load_open_clip

pytestmark = pytest.mark.slow

SHIPPED = Path(robustmedclip.models.__file__).parent
LORA = changed(
    tasks.LORA,
    dropout=0.0,
    batch_norm="adapted",
    weight_decay=0.0,
    epochs=1,
    min_crop_area=1.0,
    flip=False,
    label_space="data_set",
)


def noise(name: str, seed: int, count: int, level: int) -> ImageSet:
    rng = np.random.default_rng(seed)
    return ImageSet.validated(
        name=name,
        split="pool",
        modality="noise",
        class_names=("dark", "bright"),
        images=rng.integers(level, level + 60, (count, 64, 64, 3), np.uint8),
        labels=np.arange(count) % 2,
        sample_ids=np.array([str(i) for i in range(count)]),
    )


@pytest.fixture(scope="module")
def resnet():
    return load_open_clip(f"local-dir:{SHIPPED / 'phantom_resnet'}")


def samples(model, *sizes: int) -> Samples:
    return Samples([noise(f"set{i}", i, size, 150 * i) for i, size in enumerate(sizes)], model.preprocess)


def tuned(model, settings: Lora):
    data = samples(model, 12, 12)
    classifier = zero_shot_classifier(model, ["dark", "bright", "grey", "white"], ["{class_name}"], "noise")
    return tune(model, data, data, classifier, settings, seed=0, metadata={})


def statistics(adapter) -> dict[str, np.ndarray]:
    return {name: array for name, array in adapter.weights.items() if "running_" in name}


@pytest.mark.parametrize("sizes", [(6, 6), (4, 12)])
def test_every_data_set_weighs_alike_and_the_models_statistics_count_as_so_many_images(resnet, sizes):
    data = samples(resnet, *sizes)
    adapted = adapted_statistics(resnet, data, np.random.default_rng(0))
    first = resnet.network.visual.conv1
    with torch.no_grad():
        means = [first(data.pixels(inside)).mean((0, 2, 3)) for inside in data.members()]
    own = resnet.network.visual.bn1.running_mean
    weight = sum(sizes) / (sum(sizes) + PRIOR)
    torch.testing.assert_close(
        adapted["visual.bn1.running_mean"], (1 - weight) * own + weight * sum(means) / 2, atol=1e-4, rtol=1e-4
    )


def test_every_layer_is_adapted_and_the_model_is_left_as_it_was(resnet):
    before = resnet.content_hash()
    adapted = adapted_statistics(resnet, samples(resnet, 4, 4), np.random.default_rng(0))
    layers = [name for name, m in resnet.network.visual.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert list(batch_norm_layers(resnet.network)) == [f"visual.{name}" for name in layers]
    assert len(adapted) == 2 * len(layers) > 0
    state = resnet.network.state_dict()
    assert not any(torch.equal(value, state[name]) for name, value in adapted.items())
    assert resnet.content_hash() == before


def test_peft_loads_adapter_and_statistics_and_agrees_with_the_merged_model(tmp_path, resnet):
    adapter, _ = tuned(resnet, changed(LORA, keep="scaled_update", targets="all"))
    adapter = replace(adapter, weights={n: a + 0.05 if "lora_B" in n else a for n, a in adapter.weights.items()})
    AdapterDataset(filepath=str(tmp_path / "adapter")).save(adapter)
    network = peft.PeftModel.from_pretrained(copy.deepcopy(resnet.network), tmp_path / "adapter").eval()
    merged, pixels = merge_adapter(resnet, adapter), samples(resnet, 4, 4).pixels(np.arange(8))
    with torch.inference_mode():
        torch.testing.assert_close(
            network.encode_image(pixels), merged.network.encode_image(pixels), atol=1e-5, rtol=1e-4
        )
    assert statistics(adapter)
    for name, array in statistics(adapter).items():
        buffer = merged.network.get_buffer(name.removeprefix("base_model.model."))
        np.testing.assert_array_equal(buffer.numpy(), array)


@pytest.mark.parametrize(
    ("values", "scale", "adapted"),
    [
        ([2.0, 1.0, 3.0, 3.0], 1.0, True),  # untuned, tuned, statistics alone, half of the update
        ([2.0, 1.5, 3.0, 1.0], 0.5, True),
        ([2.0, 3.0, 1.0, 3.0], 0.0, True),
        ([2.0, 3.0, 3.0, 3.0], 0.0, False),
    ],
)
def test_validation_chooses_the_scale_and_whether_the_statistics_are_kept(resnet, monkeypatch, values, scale, adapted):
    losses = iter(values)
    monkeypatch.setattr(
        "robustmedclip.adaptation.objective.Objective.validate", lambda *_: {"validation_loss": next(losses)}
    )
    adapter, _ = tuned(resnet, changed(LORA, keep="scaled_update", scales=[0.0, 0.5, 1.0]))
    assert (adapter.metadata["scale"], adapter.metadata["statistics_adapted"]) == (scale, adapted)
    update = [np.abs(array).max() for name, array in adapter.weights.items() if "lora_B" in name]
    assert (max(update) > 0) == (scale > 0)
    state = resnet.network.state_dict()
    for name, array in statistics(adapter).items():
        assert np.array_equal(array, state[name.removeprefix("base_model.model.")]) != adapted


def test_running_statistics_follow_those_of_the_batches(resnet, monkeypatch):
    losses = itertools.count(0, -1)
    monkeypatch.setattr(
        "robustmedclip.adaptation.objective.Objective.validate", lambda *_: {"validation_loss": next(losses)}
    )
    adapter, _ = tuned(resnet, changed(LORA, batch_norm="batch", keep="best_epoch", learning_rate=0.0))
    own = resnet.network.state_dict()
    assert statistics(adapter)
    for name, array in statistics(adapter).items():
        assert not np.allclose(array, own[name.removeprefix("base_model.model.")])


@pytest.mark.parametrize("keep", ["best_epoch", "scaled_update"])
def test_where_nothing_helps_the_model_is_the_untuned_one(resnet, monkeypatch, keep):
    own = adapted_statistics(resnet, samples(resnet, 4, 4), np.random.default_rng(0))
    harmful = {name: torch.full_like(value, 1e3) for name, value in own.items()}
    monkeypatch.setattr("robustmedclip.adaptation.tuning.adapted_statistics", lambda *_: harmful)
    adapter, _ = tuned(resnet, changed(LORA, keep=keep, learning_rate=0.5))
    assert (adapter.metadata["epoch"], adapter.metadata["statistics_adapted"]) == (0, False)
    state = resnet.network.state_dict()
    for name, array in statistics(adapter).items():
        np.testing.assert_array_equal(array, state[name.removeprefix("base_model.model.")])
    pixels = samples(resnet, 4, 4).pixels(np.arange(8))
    with torch.inference_mode():
        torch.testing.assert_close(
            merge_adapter(resnet, adapter).encode_image(pixels), resnet.encode_image(pixels), atol=1e-6, rtol=1e-5
        )


def test_frozen_statistics_are_not_saved(resnet):
    assert not statistics(tuned(resnet, changed(LORA, batch_norm="frozen"))[0])


def test_a_model_without_batch_normalisation_is_tuned_alike():
    vit = load_open_clip(f"local-dir:{SHIPPED / 'phantom_vit'}")
    adapted, frozen = (tuned(vit, changed(LORA, batch_norm=choice))[0] for choice in ("adapted", "frozen"))
    assert adapted.config == frozen.config
    np.testing.assert_equal(dict(adapted.weights), dict(frozen.weights))
