"""Training an encoder on images that may have several findings, beside others of one class each."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import log_loss
from tasks import LORA, changed, phantoms, shipped

from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.methods.robust_ensemble import RobustEnsemble
from robustmedclip.adaptation.objective import Objective
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.sampling import epoch_order
from robustmedclip.adaptation.task import Task, class_vectors
from robustmedclip.adaptation.tuning import tune_on_tasks
from robustmedclip.images.sets import ImageSet
from robustmedclip.models.inference import image_features
from robustmedclip.parallel import in_one_thread

pytestmark = pytest.mark.slow

FINDINGS = ("pneumonia", "viral pneumonia")


def chest(seed: int, count: int = 24) -> ImageSet:
    """Radiographs of which the second finding is not known where the first is absent, every other time."""
    images = phantoms("chest", seed, count)
    labels = np.stack([images.labels > 0, images.labels == 2], axis=1).astype(np.int64)
    labels[::6, 1] = -1
    return replace(images, class_names=FINDINGS, labels=labels)


@pytest.fixture(scope="module")
def model():
    return shipped("phantom_resnet")


def tasks(of: type[Task] = Task) -> list[Task]:
    oct_pool, oct_validation = phantoms("oct", 0, 16), phantoms("oct", 1, 16)
    return [
        of(oct_pool, oct_validation, ["{class_name}"], {}),
        of(chest(0), chest(1), ["{class_name}"], {"no pneumonia": ["normal lungs"]}, scoring="pair"),
    ]


def test_the_loss_is_binary_over_the_findings_that_are_known_and_that_of_classes_stays(model):
    both, alone = tasks(), tasks()[:1]
    samples, of_one = (Samples([task.training for task in of], model.preprocess) for of in (both, alone))
    classes, of_one_classes = (torch.cat([class_vectors(model, task) for task in of]) for of in (both, alone))
    objective = Objective(model, classes, samples.label_ranges, LORA, findings=samples.findings)
    indices = np.arange(len(samples))
    with torch.inference_mode():
        logits = objective.logits(samples.pixels(indices), samples, indices)
        losses = objective.losses(logits, samples, indices).numpy()
        single = Objective(model, of_one_classes, of_one.label_ranges, LORA)
        first = np.arange(16)
        of_classes = single.losses(single.logits(of_one.pixels(first), of_one, first), of_one, first).numpy()
    np.testing.assert_allclose(losses[:16], of_classes, rtol=1e-4)
    labels, odds = both[1].training.labels, logits[16:, -2:].double().numpy()
    for row in range(len(labels)):
        known = labels[row] >= 0
        probabilities = 1 / (1 + np.exp(-odds[row][known]))
        expected = np.mean([log_loss([y], [p], labels=[0, 1]) for y, p in zip(labels[row][known], probabilities)])
        assert losses[16 + row] == pytest.approx(expected, rel=1e-4)
    validated = objective.validate(samples)
    right = np.where(labels >= 0, (odds > 0) == labels, np.nan)
    of_oct = single.validate(of_one)["validation_accuracy"]
    expected = np.mean([of_oct, np.mean(np.nanmean(right, axis=1))])
    assert validated["validation_accuracy"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classifier", ["prompts", "probe"])
def test_an_encoder_is_tuned_on_findings_beside_classes(model, classifier):
    method = changed(LORA, classifier=classifier, epochs=4)
    with in_one_thread():
        adapter, history = tune_on_tasks(
            model, tasks(), method, seed=0, precision=torch.float32, checkpoint=Checkpoint()
        )
    assert history[-1]["training_loss"] < history[1]["training_loss"]
    if adapter.head is not None:
        assert adapter.head.classifiers["chest"]["weight"].shape[0] == len(FINDINGS)


def test_the_ensemble_has_the_log_odds_of_its_mean_probability(model):
    method = RobustEnsemble(epochs=1, copies=1, guard=None)
    artefact, _ = method.fit(model, tasks()[1:], seed=0, precision=torch.float32, checkpoint=Checkpoint())
    probe, images = artefact.head.classifiers["chest"], chest(2).images
    both = np.concatenate(list(image_features(method.adapted(model, artefact, "chest"), [images])))
    assert probe["tuned_fraction"] == pytest.approx([2 / 3] * len(FINDINGS))
    fractions = np.linspace(1 / 3, 2 / 3, len(FINDINGS), dtype=np.float32)  # each finding may have its own
    (logits,) = method.logits({**probe, "tuned_fraction": fractions}, [both])
    halves = np.sqrt(2) * np.stack(np.split(both, 2, axis=1))
    odds = [half @ probe[f"{p}weight"].T + probe[f"{p}bias"] for p, half in zip(("", "tuned_"), halves)]
    expected = (1 - fractions) * expit(odds[0]) + fractions * expit(odds[1])
    np.testing.assert_allclose(expit(logits), expected, atol=1e-5)


def test_a_balanced_epoch_sees_the_rarest_finding_of_an_image_as_often_as_others(model):
    images = chest(0, 30)
    labels = np.zeros((30, 2), np.int64)
    labels[:12, 0], labels[:3, 1] = 1, 1
    samples = Samples([replace(images, labels=labels)], model.preprocess)
    assert samples.strata.tolist() == [1] * 3 + [0] * 9 + [2] * 18
    order = epoch_order(samples, "balanced", np.random.default_rng(0))
    assert np.bincount(samples.strata[order]).tolist() == [10, 10, 10]
