"""The robust ensemble is the mean of a probe and of what training makes of it, and needs no validation images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from tasks import phantoms, shipped

from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.methods.robust_ensemble import RobustEnsemble
from robustmedclip.adaptation.methods.robust_probe import RobustProbe
from robustmedclip.adaptation.task import Task, class_vectors
from robustmedclip.adaptation.tuning import guarded, merge_adapter
from robustmedclip.corruptions import RandomCorruption
from robustmedclip.io import AdapterDataset
from robustmedclip.models.inference import image_features

pytestmark = pytest.mark.slow

CORRUPTIONS = RandomCorruption("imagenet-c", names=["saturate", "fog"], probability=0.5)
METHOD = RobustEnsemble(epochs=2, copies=1, guard=0.68, corruptions=CORRUPTIONS)


@pytest.fixture(scope="module")
def model():
    return shipped("phantom_resnet")


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    """Two data sets; the classes of the second bear each other's names."""
    prompts = {"templates": ["a {modality} image showing {class_name}"], "synonyms": {}}
    misnamed = phantoms("blood", 1)
    misnamed = replace(misnamed, labels=(misnamed.labels + 1) % len(misnamed.class_names))
    unvalidated = misnamed.subset(np.arange(0))
    return [Task(phantoms("oct", 1, 5), unvalidated, **prompts), Task(misnamed, unvalidated, **prompts)]


def fitted(model, tasks):
    return METHOD.fit(model, tasks, seed=0, precision=torch.float32, checkpoint=Checkpoint())


@pytest.fixture(scope="module")
def artefact(model, tasks):
    return fitted(model, tasks)[0]


def features(model, images) -> np.ndarray:
    return np.concatenate(list(image_features(model, [images])))


def test_it_is_the_mean_of_two_probabilities_of_which_that_of_the_tuned_encoder_counts_twice(tmp_path, model, artefact):
    dataset = AdapterDataset(filepath=str(tmp_path / "adapter"))
    dataset.save(artefact)
    stored = dataset.load()
    images, probe = phantoms("blood", 2).images, stored.head.classifiers["blood"]
    encoders = guarded(model, stored, "blood"), guarded(merge_adapter(model, stored), stored, "blood")
    expected = sum(
        weight * softmax(features(encoder, images) @ probe[f"{prefix}weight"].T + probe[f"{prefix}bias"], axis=1)
        for weight, prefix, encoder in zip((1 / 3, 2 / 3), ("", "tuned_"), encoders, strict=True)
    )
    both = features(METHOD.adapted(model, stored, "blood"), images)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5)
    (logits,) = METHOD.logits(probe, [both])
    np.testing.assert_allclose(np.exp(logits), expected, atol=1e-5)
    (older,) = METHOD.logits({**probe, "tuned_fraction": np.float32(2 / 3)}, [both])
    np.testing.assert_array_equal(older, logits)
    assert not np.allclose(*np.split(both, 2, axis=1), atol=1e-3)


def weight_of_the_tuned(model, task) -> float:
    """What the tuned encoder counts in the mean, which starts from zero-shot."""
    untrained = METHOD.model_copy(update={"epochs": 1, "learning_rate": 0, "batch_norm": "frozen"})
    artefact, _ = untrained.fit(model, [task], seed=0, precision=torch.float32, checkpoint=Checkpoint())
    classifier = artefact.head.classifiers["oct"]
    zero_shot = model.logit_scale * class_vectors(model, task)
    for name in ("weight", "tuned_weight"):
        np.testing.assert_allclose(classifier[name], zero_shot, rtol=1e-6)
    assert artefact.metadata["guards"].keys() == {"oct"}
    return classifier["tuned_fraction"].item()


@pytest.mark.parametrize(("images", "expected"), [(1, 1 / 3), (7, 1 / 3), (8, 2 / 3)])
def test_the_tuned_encoder_counts_less_where_few_images_of_a_class_speak_for_zero_shot(model, tasks, images, expected):
    drawn = phantoms("oct", 1, 96)
    zero_shot = class_vectors(model, tasks[0]).numpy()
    labels = (features(model, drawn.images) @ zero_shot.T).argmax(1)  # nothing speaks for a probe then
    some = np.concatenate([np.flatnonzero(labels == label)[:images] for label in range(4)])
    foreseen = replace(drawn, labels=labels).subset(some)
    assert weight_of_the_tuned(model, replace(tasks[0], training=foreseen)) == pytest.approx(expected)


def test_the_tuned_encoder_counts_twice_where_zero_shot_is_worse_than_chance(model, tasks):
    single = tasks[0].training.subset(np.arange(4))
    turned = replace(single, labels=(single.labels + 1) % 4)
    assert weight_of_the_tuned(model, replace(tasks[0], training=turned)) == pytest.approx(2 / 3)


def test_the_training_starts_from_the_robust_probe_and_moves_it(artefact, model, tasks):
    probe = RobustProbe(copies=1, guard=0.68, corruptions=replace(CORRUPTIONS, probability=1.0))
    head, _ = probe.fit(model, tasks[1:], seed=0, precision=torch.float32, checkpoint=Checkpoint())
    classifier = artefact.head.classifiers["blood"]
    for name in ("weight", "bias"):
        start = head.classifiers["blood"][name]
        np.testing.assert_array_equal(classifier[name], start)
        moved = np.abs(classifier[f"tuned_{name}"] - start)
        assert 0 < moved.max() < 0.01  # two epochs of one step each, at a rate of 0.003


def test_it_needs_no_validation_images_and_the_same_seed_gives_the_same_bytes(model, tasks, artefact):
    again, history = fitted(model, tasks)
    assert not METHOD.needs_validation and [row["epoch"] for row in history] == [0, 1, 2]
    assert again.head.content_hash() == artefact.head.content_hash()


def test_held_out_families_are_unknown_to_the_update_and_to_the_probe():
    alone = METHOD.without(frozenset({"contrast"}), frozenset({"tone"}))
    assert alone.guard is None and alone.corruptions.names == ("fog",)


@pytest.mark.parametrize(
    "setting", [{"scales": [0.5, 1.0]}, {"keep": "best_epoch"}, {"classifier": "prompts"}], ids=str
)
def test_what_would_need_images_to_choose_by_is_refused(setting):
    with pytest.raises(ValueError, match="leave them out"):
        RobustEnsemble(**setting)


def test_it_is_not_served_which_would_score_prompts():
    assert not METHOD.can_be_served
