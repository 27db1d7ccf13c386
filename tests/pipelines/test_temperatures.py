"""Temperatures of the validation images of a few-shot sample: whose, on which images, and what becomes of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_benchmark import PHANTOM

import robustmedclip.models
from robustmedclip.adaptation.artefacts import Head
from robustmedclip.adaptation.methods import Method
from robustmedclip.adaptation.methods.linear_probe import LinearProbe
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.metrics.logits import Logits
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.pipelines.evaluation.temperatures import fit_temperatures
from robustmedclip.pipelines.reporting.nodes import rescale_confidence
from robustmedclip.plan.few_shots import validation_shots
from robustmedclip.plan.reading import read_plan

FOLDER = str(Path(robustmedclip.models.__file__).parent / "phantom_vit")
CONDITIONS = (CLEAN, *(Condition("blur", severity) for severity in range(1, 6)))


@pytest.fixture(scope="module")
def model():
    return load_open_clip(f"local-dir:{FOLDER}")


def pool(name: str) -> ImageSet:
    return ImageSet.validated(
        name=name,
        split="pool",
        modality="OCT",
        class_names=("drusen", "normal"),
        images=np.random.default_rng(0).integers(0, 256, (24, 32, 32, 1), np.uint8),
        labels=np.arange(24, dtype=np.int64) % 2,
        sample_ids=np.array([f"{i:02d}" for i in range(24)]),
    )


def fitted(model, method=None, artefact=None, **pools):
    """Of `pools`, the first's last eight images validate."""
    name = next(iter(pools))
    few_shots = pd.DataFrame(
        {"data_set": name, "role": ["training"] * 8 + ["validation"] * 8, "sample_id": pool(name).sample_ids[8:]}
    )
    return fit_temperatures(
        model=model,
        few_shots=few_shots,
        parameters={"precision": "float32"},
        artefact=artefact,
        method=method or Method(),
        name="vit",
        templates=dict.fromkeys(pools, ["{class_name}"]),
        synonyms=dict.fromkeys(pools, {}),
        **pools,
    )


def test_each_data_set_has_one_of_its_validation_images_if_there_are_some(model):
    temperatures = fitted(model, oct=pool("oct"), blood=pool("blood"))
    assert temperatures.keys() == {"oct"}
    assert temperatures["oct"]["images"] == 8 and 0.01 < temperatures["oct"]["temperature"] <= 100


def test_a_head_that_is_right_on_all_of_them_stays_as_it_is(model):
    def head(bias):
        classifier = {"weight": np.zeros((2, 96), np.float32), "bias": np.array(bias, np.float32)}
        return Head({"oct": classifier}, {"base_model_hash": model.content_hash(), "class_names": {"oct": classes}})

    classes = ["drusen", "normal"]
    images = pool("oct")
    alike = images.subset(np.flatnonzero(images.labels == 0).repeat(2))
    (right, wrong) = (
        fitted(model, LinearProbe(), head(bias), oct=ImageSet(**{**vars(alike), "sample_ids": images.sample_ids}))
        for bias in ([3, 0], [0, 3])
    )
    assert right["oct"]["temperature"] == 1 and wrong["oct"]["temperature"] == pytest.approx(100, rel=1e-6)


def plan(**adaptations):
    return read_plan(
        {
            "data_sets": {"oct": {"modality": "OCT", "source": PHANTOM}},
            "corruptions": {"suite": "medimeta-c", "names": "all"},
            "templates": ["{class_name}"],
            "models": {"vit": {"source": {"type": "open_clip", "path": FOLDER}}},
            "methods": {"temperature": {"type": "temperature"}, "robust": {"type": "robust_probe"}},
            "adaptations": adaptations,
            "seeds": [3, 4],
            "baseline": "vit",
        }
    )


def test_a_tuned_model_has_its_own_images_unless_it_learnt_them_and_others_those_of_the_largest_sample():
    tuned = plan(scaled={"method": "temperature", "models": "all", "fractions": [0.05, 0.1, 1.0]})
    shots = {model.cell: validation_shots(tuned, model) for model in tuned.evaluated_models}
    assert shots["vit"] == "few_shots-k10_s3" and shots["vit_scaled_k5_s4"] == "few_shots-k5_s4"
    learnt = plan(probe={"method": "robust", "models": "all", "fractions": [0.1]})
    assert not any(validation_shots(learnt, model) for model in learnt.tuned_models)
    untuned = plan()
    assert not any(validation_shots(untuned, model) for model in untuned.evaluated_models)


def logits(model: str, data_set: str) -> Logits:
    values = np.random.default_rng([*model.encode()]).normal(size=(6, 40, 2)).astype(np.float32)
    labels = np.arange(40) % 2
    facts = {"modality": "OCT", "class_names": ("a", "b"), "conditions": CONDITIONS, "attributes": {"seed": None}}
    return Logits(model=model, data_set=data_set, logits=values, labels=labels, sample_ids=labels.astype(str), **facts)


def test_another_site_has_the_temperature_of_home_and_models_without_one_are_left_out():
    runs = {f"logits-{model}-{name}": logits(model, name) for model in ("vit", "bare") for name in ("home", "away")}
    temperatures = {"temperatures-vit": {"home": {"temperature": 2.5, "images": 8}}, "temperatures-bare": None}
    tests = {f"test-{name}": pool(name) for name in ("home", "away")}
    table = rescale_confidence(baseline="vit", homes={"away": "home"}, **runs, **temperatures, **tests)
    assert set(table["model"]) == {"vit"} and set(table["data_set"]) == {"home", "away", "all"}
    np.testing.assert_allclose(table["temperature"], 2.5)


def test_all_known_findings_of_a_data_set_have_one_temperature(model):
    classes = ["mass", "edema"]
    classifier = {"weight": np.zeros((2, 96), np.float32), "bias": np.array([-2, -2], np.float32)}
    head = Head({"oct": classifier}, {"base_model_hash": model.content_hash(), "class_names": {"oct": classes}})
    absent_but = np.zeros((24, 2), np.int64)
    absent_but[::4, 0], absent_but[:, 1] = 1, -1  # a quarter has a mass; of edemas, nothing is known
    images = ImageSet(**{**vars(pool("oct")), "class_names": tuple(classes), "labels": absent_but})
    temperature = fitted(model, LinearProbe(), head, oct=images)["oct"]["temperature"]
    assert temperature == pytest.approx(2 / np.log(3), rel=1e-4)  # so that a mass is as probable as it is frequent
