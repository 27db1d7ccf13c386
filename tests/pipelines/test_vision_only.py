"""An image encoder without text: probes, prototypes and tuning with a head, from few-shot images to logits."""

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from published import randomised

from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.methods import Method
from robustmedclip.adaptation.methods.full import FullFineTuning
from robustmedclip.adaptation.methods.linear_probe import LinearProbe
from robustmedclip.adaptation.methods.lora import Lora
from robustmedclip.adaptation.methods.prototypes import Prototypes
from robustmedclip.adaptation.methods.soup import Soup
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.io.adapter import AdapterDataset
from robustmedclip.models.timm_encoder import load_timm
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation.nodes import encode, encode_and_score, score
from robustmedclip.pipelines.few_shot.leakage import find_duplicates
from robustmedclip.pipelines.few_shot.nodes import draw_few_shots
from robustmedclip.pipelines.tuning.nodes import fit

pytestmark = pytest.mark.slow

FLOAT32 = {"precision": "float32"}
NAMES = ("squares", "bars")
PROMPTS = {"templates": ["{class_name}"], "synonyms": {}}
RECIPE = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3}


def drawn(name: str, split: str, count: int) -> ImageSet:
    """Dark and bright images, or such with a dark or a bright bar."""
    rng = np.random.default_rng(len(name) + len(split))
    labels = np.arange(count) % 2
    images = rng.integers(0, 90, (count, 32, 32, 1), np.uint8)
    rows = slice(0, 32) if name == "squares" else slice(8, 24)
    images[:, rows] += (130 * labels[:, None, None, None]).astype(np.uint8)
    return ImageSet.validated(
        name=name,
        split=split,
        modality="drawing",
        class_names=(f"dark {name}", f"bright {name}"),
        images=images,
        labels=labels,
        sample_ids=np.array([f"{split}/{index:03d}" for index in range(count)]),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "resnet.pth"
    torch.save(randomised(timm.create_model("test_resnet")).state_dict(), file)
    return load_timm("test_resnet", str(file))


@pytest.fixture(scope="module")
def pools() -> list[ImageSet]:
    return [drawn(name, "pool", 40) for name in NAMES]


@pytest.fixture(scope="module")
def few_shots(pools) -> pd.DataFrame:
    return draw_few_shots(find_duplicates(), *pools, fraction=0.4, seed=0)


@pytest.fixture(scope="module")
def corrupted():
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    conditions = (CLEAN, Condition("pixelate", 2))
    return corrupt_test_set(drawn("bars", "test", 30), {"seed": 0}, conditions=conditions, **settings)


def fitted(method: Method, model, few_shots, pools):
    prompts = {key: {pool.name: value for pool in pools} for key, value in PROMPTS.items()}
    return fit(model, Checkpoint(), few_shots, FLOAT32, *pools, method=method, seed=0, **prompts)


@pytest.mark.parametrize("method", [LinearProbe(), Prototypes()], ids=["probe", "prototypes"])
def test_a_head_on_its_features_scores_every_condition(method, model, few_shots, pools, corrupted):
    head, history = fitted(method, model, few_shots, pools)
    features = encode(model, corrupted, FLOAT32, name="resnet")
    logits = score(features, head=head, method=method, name="x", attributes={}, **PROMPTS)
    assert (logits.logits.argmax(2) == logits.labels).mean(1) == pytest.approx([1, 1])
    assert history["validation_loss"].notna().all()


@pytest.mark.parametrize(
    "method",
    [
        Lora(rank=4, **RECIPE),
        FullFineTuning(**RECIPE, batch_norm="frozen"),
        Soup(**RECIPE, batch_norm="frozen", members=2),
    ],
    ids=["lora", "full", "soup"],
)
def test_it_is_tuned_with_a_head_that_is_stored_with_the_encoder(tmp_path, method, model, few_shots, pools, corrupted):
    adapter, history = fitted(method, model, few_shots, pools)
    dataset = AdapterDataset(filepath=str(tmp_path / "adapter"))
    dataset.save(adapter)
    logits = encode_and_score(
        model, corrupted, dataset.load(), FLOAT32, method=method, name="x", attributes={}, **PROMPTS
    )
    assert (logits.logits[0].argmax(1) == logits.labels).mean() == 1
    assert logits.logits.shape == (2, 30, 2) and len(history) == method.epochs + 1


def test_the_head_is_trained_beside_the_encoder_from_the_linear_probe_on(model, few_shots, pools):
    probe, _ = fitted(LinearProbe(), model, few_shots, pools)
    untrained, _ = fitted(Lora(rank=4, **{**RECIPE, "learning_rate": 0}), model, few_shots, pools)
    trained, _ = fitted(
        Lora(rank=4, **{**RECIPE, "learning_rate": 3e-3, "epochs": 6, "batch_size": 8}), model, few_shots, pools
    )
    for name in NAMES:
        expected = probe.classifiers[name]["weight"]
        np.testing.assert_array_equal(untrained.head.classifiers[name]["weight"], expected)
        assert np.abs(trained.head.classifiers[name]["weight"] - expected).max() > 1e-3


def test_raw_features_need_prompts(model):
    assert "compared with prompts" in Lora(features="raw").check(model)[0]


def test_prompts_are_refused_in_plain_words(model, corrupted):
    features = encode(model, corrupted, FLOAT32, name="resnet")
    with pytest.raises(InputError, match="test_resnet has no text encoder"):
        score(features, model, method=Method(), name="x", attributes={}, **PROMPTS)
