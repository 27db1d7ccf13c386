"""The controls on frozen features, from the few-shot images to the logits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import robustmedclip.models
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.methods import Method
from robustmedclip.adaptation.methods.cache import CacheAdapter
from robustmedclip.adaptation.methods.linear_probe import LinearProbe
from robustmedclip.adaptation.methods.prompts import PromptEnsemble
from robustmedclip.adaptation.methods.robust_probe import RobustProbe
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import HeadDataset
from robustmedclip.models.interface import zero_shot_classifier
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.study_quirks import apply_study_quirks
from robustmedclip.phantoms import ANATOMIES, DOMAINS, draw_phantoms
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.pipelines.evaluation.nodes import encode, encode_and_score, score
from robustmedclip.pipelines.few_shot.leakage import find_duplicates
from robustmedclip.pipelines.few_shot.nodes import chosen, draw_few_shots
from robustmedclip.pipelines.tuning.nodes import fit

pytestmark = pytest.mark.slow

FOLDER = Path(robustmedclip.models.__file__).parent / "phantom_vit"
FLOAT32 = {"precision": "float32"}
TEMPLATES = ["{modality} of {class_name}", "a {modality} image showing {class_name}"]
NAMES = ("blood", "oct")
PROMPTS = {"templates": TEMPLATES, "synonyms": {}}
PROBE = LinearProbe(l2_strengths=[0.1, 1, 10])
CACHE = CacheAdapter(alphas=[0, 0.1, 1, 10], betas=[1, 10])


def head_of(method: Method, model, few_shots: pd.DataFrame, *pools: ImageSet):
    prompts = {key: {pool.name: value for pool in pools} for key, value in PROMPTS.items()}
    return fit(model, Checkpoint(), few_shots, FLOAT32, *pools, method=method, seed=3, **prompts)


def head_logits(features, head, **facts):
    return score(features, head=head, **{"method": PROBE, "name": "vit_head_k40", "attributes": {}} | PROMPTS | facts)


def phantoms(anatomy: str, split: str, count: int) -> ImageSet:
    module = ANATOMIES[anatomy]
    labels = np.arange(count) % len(module.CLASSES)
    ids = np.array([f"{split}/{index:03d}" for index in range(count)])
    return ImageSet.validated(
        name=anatomy,
        split=split,
        modality=module.MODALITY,
        class_names=tuple(module.CLASSES),
        images=draw_phantoms(anatomy, ids, labels, size=64, seed=1, domain=DOMAINS["hospital"]),
        labels=labels,
        sample_ids=ids,
    )


@pytest.fixture(scope="module")
def model():
    return load_open_clip(f"local-dir:{FOLDER}")


@pytest.fixture(scope="module")
def pools() -> list[ImageSet]:
    return [phantoms(name, "pool", 90) for name in NAMES]


@pytest.fixture(scope="module")
def few_shots(pools) -> pd.DataFrame:
    return draw_few_shots(find_duplicates(), *pools, fraction=0.4, seed=3)


@pytest.fixture(scope="module")
def features(model):
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    conditions = (CLEAN, Condition("contrast", 3))
    corrupted = corrupt_test_set(phantoms("oct", "test", 80), {"seed": 0}, conditions=conditions, **settings)
    return encode(model, corrupted, FLOAT32, name="vit")


@pytest.fixture(scope="module", params=[PROBE, CACHE], ids=["probe", "cache"])
def method(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(method, model, few_shots, pools):
    return head_of(method, model, few_shots, *pools)


def accuracy(logits) -> float:
    return float(np.mean(logits.logits[0].argmax(1) == logits.labels))


def test_a_stored_head_scores_every_condition(tmp_path, fitted, features, few_shots):
    head, search = fitted
    dataset = HeadDataset(filepath=str(tmp_path / "head"))
    dataset.save(head)
    logits = head_logits(features, dataset.load(), attributes={"base": "vit", "seed": 3})
    assert logits.logits.shape == (2, 80, len(features.class_names)) and logits.logits.dtype == np.float32
    assert logits.attributes == {"base": "vit", "seed": 3, "weights": head.content_hash(), "precision": "float32"}
    assert set(search["data_set"]) == set(NAMES)
    assert search[["validation_loss", "validation_accuracy"]].notna().all(axis=None)
    assert head.metadata["training_images"] == (few_shots["role"] == "training").sum()
    files = {file.name for file in (tmp_path / "head").iterdir()}
    assert files == {"head.safetensors", "metadata.json"}


def test_a_data_set_of_another_site_is_scored_by_the_head_of_that_which_was_tuned_on(fitted, features):
    elsewhere = replace(features, data_set="oct_elsewhere")
    scored = head_logits(elsewhere, fitted[0], tuned_on="oct")
    np.testing.assert_array_equal(scored.logits, head_logits(features, fitted[0]).logits)
    assert scored.data_set == "oct_elsewhere"
    with pytest.raises(InputError, match="knows the classes None of 'oct_elsewhere'"):
        head_logits(elsewhere, fitted[0])


def test_a_head_learns_what_the_names_of_the_classes_do_not_say(method, model, few_shots, pools, features):
    """The classes bear each other's names, which misleads the zero-shot model, and the head's images put it right."""
    count = len(features.class_names)
    misnamed = replace(pools[1], labels=(pools[1].labels + 1) % count)
    test = replace(features, labels=(features.labels + 1) % count)
    head, _ = head_of(method, model, few_shots, misnamed)
    logits = head_logits(test, head)
    zero_shot = score(test, model, method=Method(), name="vit", attributes={}, **PROMPTS)
    assert accuracy(logits) > accuracy(zero_shot) + 0.05


def test_the_order_of_the_images_does_not_change_the_bytes(method, fitted, model, few_shots, pools):
    shuffled = [pool.subset(np.random.default_rng(0).permutation(len(pool))) for pool in pools]
    head, search = head_of(method, model, few_shots.iloc[::-1], *shuffled[::-1])
    for name in NAMES:
        for array, expected in fitted[0].classifiers[name].items():
            assert head.classifiers[name][array].tobytes() == expected.tobytes(), (name, array)
    assert head.content_hash() == fitted[0].content_hash()
    pd.testing.assert_frame_equal(
        *(one.sort_values("data_set", kind="stable", ignore_index=True) for one in (search, fitted[1]))
    )


def test_a_data_set_does_not_see_the_others(method, fitted, model, few_shots, pools):
    head, _ = head_of(method, model, few_shots, pools[1])
    assert set(head.classifiers) == {"oct"}
    for array, expected in fitted[0].classifiers["oct"].items():
        np.testing.assert_array_equal(head.classifiers["oct"][array], expected)


def test_a_model_with_batch_statistics_is_fitted_as_it_is_scored(few_shots, pools):
    resnet = apply_study_quirks(load_open_clip(f"local-dir:{FOLDER.with_name('phantom_resnet')}"), ["batch_statistics"])
    head, _ = head_of(PROBE, resnet, few_shots, *pools)
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    for pool in pools:
        seen = replace(chosen(pool, few_shots, "training"), split="test")
        corrupted = corrupt_test_set(seen, {"seed": 0}, conditions=(CLEAN,), **settings)
        logits = head_logits(encode(resnet, corrupted, FLOAT32, name="resnet"), head)
        assert (logits.logits[0].argmax(1) == seen.labels).mean() > 0.8


def test_the_model_is_left_as_it_was(fitted, model):
    assert fitted[0].metadata["base_model_hash"] == model.content_hash()


def test_a_head_of_another_backbone_or_of_other_classes_is_refused(fitted, features):
    with pytest.raises(InputError, match="'x' was fitted to features of other weights .* 'oct'"):
        head_logits(replace(features, weights="0"), fitted[0], name="x")
    swapped = replace(features, class_names=features.class_names[::-1])
    with pytest.raises(InputError, match="'x' knows the classes .* fit it again"):
        head_logits(swapped, fitted[0], name="x")
    with pytest.raises(InputError, match="knows the classes None of 'chest'"):
        head_logits(replace(features, data_set="chest"), fitted[0], name="x")


def test_a_class_without_few_shot_images_is_named_with_its_data_set(method, model, few_shots, pools):
    first = pools[1].class_names[0]
    without = few_shots[(few_shots["class_name"] != first) | (few_shots["role"] != "training")]
    with pytest.raises(InputError, match=f"Data set 'oct': there is no training image of class '{first}'"):
        head_of(method, model, without, *pools)


def test_an_ensemble_is_zero_shot_with_its_templates(model, features):
    templates = ["{class_name}", "{modality}: {class_name}", "a {modality} image of {class_name}"]
    method = PromptEnsemble(templates=templates)
    logits = score(features, model, method=method, name="vit_ensemble", attributes={}, **PROMPTS)
    modality, names = features.modality, features.class_names
    vectors = [
        model.encode_text([t.format(modality=modality, class_name=name) for t in templates]).mean(0) for name in names
    ]
    classes = np.stack([(vector / vector.norm()).numpy() for vector in vectors])
    expected = model.logit_scale * features.rows @ classes.T
    np.testing.assert_allclose(logits.logits.reshape(expected.shape), expected, atol=1e-4)
    assert classes.shape == zero_shot_classifier(model, names, TEMPLATES, modality).shape


def test_a_head_behind_a_guard_scores_images_that_passed_it(model, few_shots, pools, features):
    """The stored features are of images that passed none: contrast that is lost is brought back first."""
    method = RobustProbe(guard=0.68)
    head, _ = head_of(method, model, few_shots, pools[1])
    assert not method.scores_features and set(head.metadata["guards"]) == {"oct"}
    unguarded, _ = head_of(RobustProbe(), model, few_shots, pools[1])
    assert head.content_hash() != unguarded.content_hash()
    settings = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "on_the_fly"}
    conditions = (CLEAN, Condition("contrast", 3))
    corrupted = corrupt_test_set(phantoms("oct", "test", 80), {"seed": 0}, conditions=conditions, **settings)
    guarded = encode_and_score(model, corrupted, head, FLOAT32, method=method, name="x", attributes={}, **PROMPTS)
    plain = head_logits(features, unguarded)
    errors = [np.mean(logits.logits[1].argmax(1) != logits.labels) for logits in (guarded, plain)]
    assert errors[0] < errors[1]


def test_corrupted_copies_are_learnt_from(model, few_shots, pools):
    corruptions = {"suite": "imagenet-c", "names": ["fog", "jpeg_compression"], "probability": 1.0}
    plain, augmented = (
        head_of(RobustProbe(corruptions=chosen, copies=2), model, few_shots, pools[1])[0]
        for chosen in (None, corruptions)
    )
    assert plain.metadata["training_images"] == augmented.metadata["training_images"]
    assert plain.content_hash() != augmented.content_hash()
