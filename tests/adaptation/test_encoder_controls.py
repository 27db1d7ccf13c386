"""Controls that train the encoder are their published formulas."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tasks import changed, classifier_of, phantoms, shipped

from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.methods.full import FullFineTuning
from robustmedclip.adaptation.methods.prolip import ProLIP
from robustmedclip.adaptation.methods.soup import Soup
from robustmedclip.adaptation.probing_head import linear_probes, probing_head
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.adaptation.task import Task
from robustmedclip.adaptation.tuning import merge_adapter, tune
from robustmedclip.errors import InputError
from robustmedclip.io import AdapterDataset

pytestmark = pytest.mark.slow

FULL = FullFineTuning(epochs=1, batch_size=16, batch_norm="frozen")
PROLIP = ProLIP(epochs=2, batch_size=16)


@pytest.fixture(scope="module")
def model():
    return shipped("phantom_resnet")


@pytest.fixture(scope="module", params=["phantom_vit", "phantom_resnet"])
def each_model(request):
    return shipped(request.param)


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    prompts = {"templates": ["{class_name}"], "synonyms": {}}
    return [Task(phantoms(name, 1), phantoms(name, 2, 8), **prompts) for name in ("oct", "blood")]


def fitted(method, model, tasks, seed=0):
    return method.fit(model, tasks, seed=seed, precision=torch.float32, checkpoint=Checkpoint())


def test_wise_ft_is_the_point_between_untuned_and_tuned_weights(model, tasks):
    """Eq. 1: (1 - alpha) theta_0 + alpha theta_1, whatever the validation images say."""
    start = {name: value.numpy() for name, value in model.network.visual.state_dict().items()}
    whole, _ = fitted(changed(FULL, scales=[1]), model, tasks)
    part, _ = fitted(changed(FULL, scales=[0.25]), model, tasks)
    assert part.metadata["scale"] == 0.25
    for name, value in part.weights.items():
        np.testing.assert_allclose(value, 0.75 * start[name] + 0.25 * whole.weights[name], atol=1e-6)


def test_with_one_scale_no_validation_image_is_needed(model, tasks):
    method = changed(FULL, scales=[0.5])
    assert not method.needs_validation and changed(FULL, keep="best_epoch").needs_validation
    unvalidated = [replace(task, validation=task.validation.subset(np.arange(0))) for task in tasks]
    adapter, history = fitted(method, model, unvalidated)
    assert adapter.metadata["scale"] == 0.5 and np.isnan(history[-1]["validation_loss"])


@pytest.mark.parametrize("scales", [[], [0.5, 0.5], [1.5], "half"])
def test_scales_that_are_no_fractions_are_refused(scales):
    with pytest.raises(ValidationError, match="expected a list of different numbers from 0 to 1"):
        FullFineTuning(scales=scales)


def test_prolip_trains_the_last_projection_alone(each_model, tasks):
    adapter, history = fitted(PROLIP, each_model, tasks)
    start = each_model.network.visual.state_dict()
    changed_names = [name for name, value in adapter.weights.items() if not np.array_equal(value, start[name])]
    assert changed_names == ["proj" if "proj" in start else "attnpool.c_proj.weight"]
    assert history[-1]["training_loss"] < history[1]["training_loss"]
    assert not PROLIP.needs_validation
    merge_adapter(each_model, adapter)


def test_the_first_step_of_prolip_follows_its_loss(model, tasks):
    """One step of plain descent from a moved start: the slope is that of the entropy plus 2 lambda (W - W_0)."""
    from robustmedclip.adaptation.training import _pull

    _, trainable = PROLIP.prepared(model, {})
    (weight,) = trainable.parameters
    pull = _pull(trainable, PROLIP.pull(images_of_a_class=8))
    with torch.no_grad():
        weight += 0.5
    penalty = pull()
    assert penalty.item() == pytest.approx(1 / 8 * 0.25 * weight.numel(), rel=1e-4)
    (slope,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(slope, torch.full_like(weight, 2 / 8 * 0.5), atol=1e-5, rtol=1e-4)


def test_a_stronger_penalty_leaves_the_projection_nearer_to_its_start(model, tasks):
    start = model.network.visual.state_dict()

    def distance(strength: float) -> float:
        adapter, _ = fitted(changed(PROLIP, strength=strength), model, tasks)
        return sum(float(np.square(value - start[name].numpy()).sum()) for name, value in adapter.weights.items())

    assert distance(10) < distance(0) / 2


def test_a_projection_that_is_not_there_is_named(each_model):
    (problem,) = ProLIP(projection="head").check(each_model)
    assert f"'head' matches no parameter of the visual encoder of {each_model.name}" in problem
    with pytest.raises(InputError, match="matches no parameter"):
        ProLIP(projection="head").prepared(each_model, {})


def test_a_soup_is_the_mean_of_its_members(model, tasks):
    settings = FULL.model_dump() | {"epochs": 1, "scales": [1]}
    soup, history = fitted(Soup(**settings, members=2), model, tasks, seed=3)
    members = [fitted(FullFineTuning(**settings), model, tasks, derived_seed(3, "soup", m))[0] for m in range(2)]
    for name, value in soup.weights.items():
        np.testing.assert_allclose(value, np.mean([member.weights[name] for member in members], 0), rtol=1e-5)
    assert [row["epoch"] for row in history] == [0, 1] and soup.metadata["seed"] == 3
    assert merge_adapter(model, soup).content_hash() != merge_adapter(model, members[0]).content_hash()


def test_lp_ft_starts_from_the_linear_probe(tmp_path, model, tasks):
    """With a learning rate of 0 it is the probe on the untuned encoder; with another, both move."""
    probe = probing_head(linear_probes(model, tasks, None, torch.float32), model.device)
    still, _ = fitted(changed(FULL, classifier="probe", learning_rate=0, keep="best_epoch"), model, tasks)
    moved, history = fitted(changed(FULL, classifier="probe", scales=[1], epochs=2), model, tasks)
    weight = np.concatenate([still.head.classifiers[task.name]["weight"] for task in tasks])
    np.testing.assert_array_equal(weight, probe.weight.detach().numpy())
    assert not np.allclose(moved.head.classifiers["oct"]["weight"], still.head.classifiers["oct"]["weight"], atol=1e-4)
    assert history[-1]["training_loss"] < history[1]["training_loss"]
    dataset = AdapterDataset(filepath=str(tmp_path / "adapter"))
    dataset.save(moved)
    assert dataset.load().head.content_hash() == moved.head.content_hash()


def test_lp_ft_begins_with_the_loss_of_its_probe(model, tasks):
    """The logits of a head are weight f + bias, without the logit scale of the prompts."""
    samples = Samples([task.validation for task in tasks], model.preprocess)
    head = probing_head(linear_probes(model, tasks, None, torch.float32), model.device)
    _, history = tune(
        model,
        Samples([task.training for task in tasks], model.preprocess),
        samples,
        head.weight,
        changed(FULL, classifier="probe", label_space="joint"),
        seed=0,
        metadata={},
        head=probing_head(linear_probes(model, tasks, None, torch.float32), model.device),
    )
    with torch.inference_mode():
        logits = head(model.encode_image(samples.pixels(np.arange(len(samples)))))
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(samples.labels), reduction="none")
    assert history[0]["validation_loss"] == pytest.approx(losses.mean().item(), rel=1e-4)


def test_raw_features_are_compared_with_prompts_alone():
    with pytest.raises(ValidationError, match="features: raw are compared with prompts"):
        FullFineTuning(classifier="probe", features="raw")


def test_what_is_served_scores_prompts():
    assert FULL.can_be_served and not changed(FULL, classifier="probe").can_be_served


def test_the_class_vectors_stay_as_they_are_where_prompts_are_compared(model, tasks):
    before = classifier_of(model, [task.training for task in tasks])
    adapter, _ = fitted(FULL, model, tasks)
    assert adapter.head is None
    torch.testing.assert_close(classifier_of(merge_adapter(model, adapter), [t.training for t in tasks]), before)
