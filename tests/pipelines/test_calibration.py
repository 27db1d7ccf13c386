"""The calibration stage, from a test set to the levels, their picture and the rating sheets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_benchmark import PHANTOM

import robustmedclip.models
from robustmedclip.calibration.ratings import Pair, Sheet
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.phantoms import DOMAINS, draw_phantoms
from robustmedclip.pipelines.calibration import create_pipeline
from robustmedclip.plan.plan import Plan
from robustmedclip.plan.reading import read_plan

CONDITIONS = (CLEAN, *(Condition("quantum_noise", severity) for severity in range(1, 6)))
PARAMETERS = {
    "data_sets": {"chest": {"modality": "chest X-ray", "source": PHANTOM}},
    "corruptions": {"suite": "acquisition-c", "names": ["quantum_noise"]},
    "templates": ["{class_name}"],
    "models": {"vit": {"source": {"type": "open_clip", "path": "x"}}},
    "seeds": [0],
    "baseline": "vit",
}
REJECTED = Pair("chest", Condition("quantum_noise", 2), "1")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return read_plan(PARAMETERS)


@pytest.fixture(scope="module")
def outputs(plan) -> dict:
    ids = [str(index) for index in range(6)]
    labels = np.arange(6) % 2
    test = ImageSet.validated(
        name="chest",
        split="test",
        modality="chest X-ray",
        class_names=("a", "b"),
        images=draw_phantoms("chest", ids, labels, size=64, seed=0, domain=DOMAINS["hospital"]),
        labels=labels,
        sample_ids=np.array(ids),
    )
    sheets = [
        Sheet("A", {REJECTED: False, Pair("chest", CLEAN, "0"): True}),
        Sheet("B", {REJECTED: True, Pair("chest", CLEAN, "0"): False}),
    ]
    entries = {
        "test-chest": test,
        "model-vit": load_open_clip(f"local-dir:{Path(robustmedclip.models.__file__).parent / 'phantom_vit'}"),
        "ratings": sheets,
        "params:calibration": {"images": 4, "pairs": 1, "seed": 0},
        "params:corruption": {"seed": 0},
    }
    for node in create_pipeline(plan).nodes:
        entries |= node.run({name: entries[name] for name in node.inputs})
    return entries


def test_the_levels_of_a_data_set_are_measured_and_judged(outputs):
    levels = outputs["levels"].set_index("severity")
    assert (levels["ssim"].diff()[1:] < 0).all()
    assert set(levels["n"]) == {4}
    assert levels.loc[5, "shift"] > 0
    assert list(levels["band"]) == ["realistic", "extreme", "realistic", "realistic", "extreme"]


def test_a_rater_who_rejects_originals_has_no_part_in_it(outputs):
    levels = outputs["levels"].set_index("severity")
    assert levels.loc[2, "band_source"] == "clinicians: 0 of 1 answers accept"


def test_a_page_for_each_data_set_and_a_picture(outputs):
    assert set(outputs["rating_sheets"]) == {"chest.html"}
    assert outputs["likeness_by_severity"].axes


def test_a_plan_of_suites_without_bands_has_none(plan):
    assert plan.has_bands
    plain = replace(plan, data_sets=tuple(replace(each, suite="medimeta-c") for each in plan.data_sets))
    assert not plain.has_bands
