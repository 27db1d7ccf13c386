"""Data sets of another site: what nothing is tuned on, and is scored all the same."""

from pathlib import Path

import pytest
import yaml
from small_benchmark import PHANTOM

from robustmedclip.pipelines import evaluation, few_shot, reporting, tuning
from robustmedclip.plan.plan import Plan
from robustmedclip.plan.problems import PlanError
from robustmedclip.plan.reading import read_plan

METHODS = yaml.safe_load((Path(__file__).parents[2] / "conf/base/parameters/methods.yml").read_text())
MODEL = {"type": "open_clip", "path": "clip"}


def plan(shift: object, **classes: list[str]) -> Plan:
    named = {name: {"classes": classes[name]} if name in classes else {} for name in ("home", "away", "third")}
    return read_plan(
        METHODS
        | {
            "data_sets": {name: {"modality": "OCT", "source": PHANTOM, **of} for name, of in named.items()},
            "corruptions": {"suite": "medimeta-c", "names": ["pixelate"]},
            "templates": ["{class_name}"],
            "models": {"clip": {"source": MODEL}},
            "adaptations": {
                "lora": {"method": "lora", "models": "all", "fractions": [0.1]},
                "probe": {"method": "linear-probe", "models": "all", "fractions": [0.1]},
            },
            "seeds": [0],
            "baseline": "clip",
            "shift": shift,
        }
    )


def test_nothing_is_tuned_on_another_site_and_everything_is_scored_on_it():
    shifted = plan({"of": "home", "to": "away"})
    assert shifted.shifts == {"away": "home"}
    for stage in (few_shot, tuning):
        drawn = [node for node in stage.create_pipeline(shifted).nodes if node.short_name in ("draw_few_shots", "fit")]
        assert drawn and all({"pool-home", "pool-third"} <= {*node.inputs} for node in drawn)
        assert not any("pool-away" in node.inputs for node in drawn)
    scored = evaluation.create_pipeline(shifted).all_outputs()
    assert {"logits-clip-away", "logits-clip_lora_k10_s0-away", "logits-clip_probe_k10_s0-away"} <= scored
    (compared,) = [n for n in reporting.create_pipeline(shifted).nodes if n.short_name == "compare_sites"]
    assert {entry.rpartition("-")[2] for entry in compared.inputs} == {"home", "away"}


def test_without_another_site_there_is_no_such_table():
    assert "shifts" not in reporting.create_pipeline(plan([])).all_outputs()


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        ({"of": "home", "to": "awai"}, "shift: unknown 'awai'; did you mean 'away'?"),
        ({"of": "home"}, "shift.0: missing to"),
        ([{"of": "home", "to": "away"}, {"of": "third", "to": "away"}], "'away' is the other site of several"),
        ([{"of": "home", "to": "away"}, {"of": "away", "to": "third"}], "'away' is another site itself"),
        ({"of": "home", "to": "home"}, "'home' is another site itself"),
    ],
)
def test_a_shift_that_makes_no_sense_is_named(shift, said):
    with pytest.raises(PlanError) as error:
        plan(shift)
    assert said in error.value.message


def test_two_sites_have_the_same_classes():
    with pytest.raises(PlanError, match="'home' and 'away' have other classes, or in another order"):
        plan({"of": "home", "to": "away"}, home=["a", "b"], away=["b", "a"])
