"""What adaptations may not know of what is scored: no method trains on it, and no guard was designed for it."""

from pathlib import Path

import pytest
import yaml
from small_benchmark import PHANTOM

from robustmedclip.plan.plan import Plan
from robustmedclip.plan.problems import PlanError
from robustmedclip.plan.reading import read_plan

METHODS = yaml.safe_load((Path(__file__).parents[2] / "conf/base/parameters/methods.yml").read_text())
MODEL = {"type": "open_clip", "path": "clip"}


def plan(held_out: str, suite: str = "medimeta-c", names: object = "all", **settings: object) -> Plan:
    robust = {"method": "robust-lora", "models": "all", "fractions": [0.1], **settings}
    return read_plan(
        METHODS
        | {
            "data_sets": {"blood": {"modality": "microscopy", "source": PHANTOM}},
            "corruptions": {"suite": suite, "names": names},
            "templates": ["{class_name}"],
            "models": {"clip": {"source": MODEL}},
            "adaptations": {"robust": robust, "plain": {"method": "lora", "models": "all", "fractions": [0.1]}},
            "seeds": [0],
            "baseline": "clip",
            "held_out": held_out,
        }
    )


def test_no_relative_of_what_is_scored_is_trained_on_and_no_guard_was_designed_for_it():
    """The seven of MediMeta-C are noise, blur, tone and digital: of the ten, weather is left."""
    robust, plain = plan("family").adaptations
    assert robust.method.training_corruptions == ("spatter", "fog")
    assert robust.method.training_families == {"weather"}
    assert robust.method.guard is None
    assert plain.method == plan("none").adaptations[1].method


def test_a_guard_stays_where_nothing_that_it_was_designed_for_is_scored():
    robust, _ = plan("family", names=["motion_blur", "pixelate"]).adaptations
    assert robust.method.guard == 0.68
    assert robust.method.training_families == {"noise", "tone", "weather"}


def test_names_alone_are_held_out_where_the_plan_says_so():
    robust, _ = plan("name", suite="imagenet-c", names=["fog", "contrast"]).adaptations
    assert "fog" not in robust.method.training_corruptions and "spatter" in robust.method.training_corruptions
    assert robust.method.guard == 0.68
    robust, _ = plan("none", suite="imagenet-c", names=["fog", "contrast"]).adaptations
    assert "fog" in robust.method.training_corruptions


def test_a_method_with_nothing_left_to_train_on_is_refused_in_words():
    with pytest.raises(PlanError, match="adaptations.robust, under 'held_out: family': .* none is left .* name others"):
        plan("family", suite="imagenet-c")
    robust, _ = plan("family", suite="imagenet-c", corruptions=None).adaptations
    assert robust.method.corruptions is None


def test_the_protocol_says_what_is_held_out():
    assert "held out" not in plan("none").protocol_summary
    assert "the families of the scored corruptions held out" in plan("family").protocol_summary
    with pytest.raises(PlanError, match="held_out: expected none, name or family"):
        plan("nothing")
