"""Models without a text encoder in the plan: what they have, and what is refused or left out in plain words."""

import copy
from pathlib import Path

import pytest
import yaml
from small_benchmark import PHANTOM

from robustmedclip.plan.problems import PlanError
from robustmedclip.plan.reading import read_plan

METHODS = yaml.safe_load((Path(__file__).parents[2] / "conf/base/parameters/methods.yml").read_text())
PARAMETERS = METHODS | {
    "data_sets": {"oct": {"modality": "OCT", "source": PHANTOM}},
    "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
    "templates": ["{class_name}"],
    "models": {
        "clip": {"source": {"type": "open_clip", "path": "clip"}},
        "resnet18": {"source": {"type": "timm", "model": "resnet18.tv_in1k", "weights": "resnet18.pth"}},
        "rad_dino": {"source": {"type": "transformers_vision", "model": "microsoft/rad-dino"}},
    },
    "adaptations": {
        "probe": {"method": "linear-probe", "models": "all", "fractions": [0.1]},
        "cache": {"method": "cache-adapter", "models": "all", "fractions": [0.1]},
        "lora": {"method": "lora", "models": ["rad_dino"], "fractions": [0.1]},
    },
    "seeds": [0],
    "baseline": "clip",
}


def changed(**values: object) -> dict:
    return copy.deepcopy(PARAMETERS) | values


def test_they_have_no_zero_shot_row_and_no_part_in_methods_that_compare_with_prompts():
    plan = read_plan(PARAMETERS)
    assert plan.vision_only == ("resnet18", "rad_dino") and plan.text_adaptations == ("cache",)
    assert [model.name for model in plan.evaluated_models] == [
        *("clip", "clip_probe_k10", "resnet18_probe_k10", "rad_dino_probe_k10", "clip_cache_k10", "rad_dino_lora_k10"),
    ]


@pytest.mark.parametrize("method", ["prolip", "robust-ensemble", "clap"])
def test_methods_that_hold_to_the_prompts_leave_them_out(method):
    adaptations = PARAMETERS["adaptations"] | {"other": {"method": method, "models": "all", "fractions": [0.1]}}
    plan = read_plan(changed(adaptations=adaptations))
    assert [model.base for model in plan.tuned_models if model.adaptation.name == "other"] == ["clip"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            changed(adaptations={"cache": {"method": "cache-adapter", "models": ["resnet18"], "fractions": [0.1]}}),
            "adaptations.cache.models: resnet18 without a text encoder can't be adapted by 'cache-adapter'",
        ),
        (changed(baseline="resnet18"), "baseline: resnet18 has no text encoder.*: choose clip"),
        (changed(adaptations={}), "models.rad_dino: it has no text encoder, .* no adaptation fits a head to it"),
        (
            changed(
                models={"resnet18": PARAMETERS["models"]["resnet18"]},
                baseline="resnet18",
                adaptations={"ensemble": {"method": "prompt-ensemble", "models": "all"}},
            ),
            "no model has the text encoder that 'prompt-ensemble' needs",
        ),
    ],
)
def test_what_needs_a_text_encoder_is_refused_in_plain_words(parameters, message):
    with pytest.raises(PlanError, match=message):
        read_plan(parameters)
