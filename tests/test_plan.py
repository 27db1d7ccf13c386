"""The plan: what it accepts, and what it says of what it doesn't."""

import copy

import pytest

from robustmedclip.plan import Plan, PlanError, fraction_label
from robustmedclip.types import CLEAN, Condition

SOURCE = {"type": "robustmedclip.io.PhantomDataset"}
PARAMETERS = {
    "data_sets": {
        "blood": {"modality": "microscopy", "source": SOURCE},
        "own": {"modality": "x-ray", "source": {"type": "FolderDataset"}, "classes": ["a", "b"]},
    },
    "corruptions": {"suite": "medimeta-c", "names": "all"},
    "templates": ["a {modality} image showing {class_name}"],
    "models": {"clip": {"source": SOURCE}, "other": {"source": SOURCE}},
    "adaptations": {"lora": {"method": "lora", "models": "all", "fractions": [0.1, 0.01], "rank": 8}},
    "seeds": [0, 1],
    "baseline": "other",
}


def changed(path: str, value: object) -> dict:
    parameters = copy.deepcopy(PARAMETERS)
    *parents, last = path.split(".")
    place = parameters
    for parent in parents:
        place = place[parent]
    place[last] = value
    return parameters


def test_fan_out():
    plan = Plan.from_parameters(PARAMETERS)
    assert [model.name for model in plan.evaluated_models[:2]] == ["other", "clip"]
    assert len(plan.tuned_models) == 2 * 2 * 2
    assert plan.tuned_models[0].cell == "clip_lora_k1_s0"
    assert plan.fractions == (0.01, 0.1)
    assert [data_set.synthetic for data_set in plan.data_sets] == [True, False]


def test_conditions_are_clean_and_every_corruption_at_five_severities():
    conditions = Plan.from_parameters(PARAMETERS).data_sets[0].conditions
    assert conditions[0] == CLEAN
    assert len(conditions) == 1 + 7 * 5
    assert all(Condition.parse(str(condition)) == condition for condition in conditions)


@pytest.mark.parametrize("names", [["pixelate"], ["pixelate", "contrast"]])
def test_a_data_set_may_have_its_own_corruptions(names):
    own = changed("data_sets.own.corruptions", {"suite": "medimeta-c", "names": names})
    assert len(Plan.from_parameters(own).data_sets[1].conditions) == 1 + 5 * len(names)


def test_sources_become_catalog_entries():
    sources = Plan.from_parameters(PARAMETERS).sources()
    assert set(sources) == {"raw-blood", "raw-own", "model-clip", "model-other"}
    assert sources["raw-own"]["class_names"] == ["a", "b"]


@pytest.mark.parametrize(
    ("path", "value", "culprit"),
    [
        ("corruptions.names", ["gausian_noise"], "did you mean 'gaussian_noise'?"),
        ("corruptions.suite", "imagenet", "unknown 'imagenet'"),
        ("baseline", "clap", "did you mean 'clip'?"),
        ("adaptations.lora.models", ["clip", "biomed"], "unknown 'biomed'"),
        ("adaptations.lora.method", "prompt", "unknown 'prompt'"),
        ("adaptations.lora.fractions", [10], "0.1 is 10 %"),
        ("adaptations.lora.rank", 0, "rank"),
        ("data_sets.Blood", {"modality": "x", "source": SOURCE}, "data_sets.Blood"),
        ("data_sets.own.clases", ["a"], "did you mean 'classes'?"),
        ("data_sets.own.classes", ["a", "a"], "different class names"),
        ("data_sets.own.source", "folder", "catalog entry"),
        ("templates", ["no placeholder"], "{class_name}"),
        ("seeds", [0, 0], "seeds"),
        ("models", {}, "missing: models"),
    ],
)
def test_a_wrong_plan_names_the_culprit(path, value, culprit):
    with pytest.raises(PlanError) as error:
        Plan.from_parameters(changed(path, value))
    assert culprit in str(error.value)


def test_all_problems_are_reported_at_once():
    wrong = changed("baseline", "nobody")
    wrong["seeds"] = []
    wrong["seeds"] = [-1]
    wrong["corruptions"]["names"] = ["fogg"]
    with pytest.raises(PlanError) as error:
        Plan.from_parameters(wrong)
    assert all(word in str(error.value) for word in ("nobody", "fogg", "seeds"))


@pytest.mark.parametrize(("fraction", "label"), [(0.1, "k10"), (0.01, "k1"), (0.005, "k0p5"), (1, "k100")])
def test_fraction_labels_are_safe_in_namespaces(fraction, label):
    assert fraction_label(fraction) == label
