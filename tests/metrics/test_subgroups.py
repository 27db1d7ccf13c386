"""Errors of subgroups, and the gaps between them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.subgroups import GAP, subgroup_errors
from robustmedclip.pipelines.ingestion.nodes import groups_of_test_images
from robustmedclip.pipelines.reporting.nodes import compare_subgroups
from robustmedclip.reporting.subgroups import subgroup_notes, subgroup_tables

CONDITIONS = (CLEAN, *(Condition(name, severity) for name in ("blur", "noise") for severity in range(1, 6)))


def scored(groups: np.ndarray, wrong: dict[str, tuple[float, float]], patients=None, seed: int = 0):
    """Logits on images of groups, of which a fraction is wrong, clean and under corruption, and the test images."""
    labels, ids = np.arange(len(groups)) % 2, np.array([f"{index:04d}" for index in range(len(groups))])
    hard = np.random.default_rng(seed).random(len(groups))
    rate = np.array([[wrong[group][condition != CLEAN] for group in groups] for condition in CONDITIONS], float)
    rate[[condition.corruption == "noise" for condition in CONDITIONS]] *= 1.1
    predicted = np.where(hard < rate, 1 - labels, labels)
    run = Logits("vit", "chest", "x-ray", ("a", "b"), CONDITIONS, np.eye(2)[predicted] * 5.0, labels, ids)
    columns = {"sex": groups} | ({} if patients is None else {"patient": patients})
    images = np.zeros((len(groups), 2, 2, 1), np.uint8)
    test = ImageSet("chest", "test", "x-ray", ("a", "b"), images, labels, ids, columns=columns)
    return [run], {"chest": test}


def row(table: pd.DataFrame, **where) -> pd.Series:
    (found,) = [row for _, row in table.iterrows() if all(row[key] == value for key, value in where.items())]
    return found


def test_each_group_has_its_errors_and_the_widest_gap_is_the_difference_of_two():
    groups = np.repeat(["female", "male"], 200)
    table = subgroup_errors(*scored(groups, {"female": (0.1, 0.2), "male": (0.1, 0.6)}), resamples=500)
    errors = [row(table, group=group, corruption="noise")["value"] for group in ("female", "male")]
    gap = row(table, group=GAP, corruption="noise")
    assert gap["value"] == pytest.approx(errors[1] - errors[0])
    assert (gap["worst"], gap["best"], gap["n"]) == ("male", "female", 400)
    assert 0 < gap["low"] < gap["value"] < gap["high"]
    clean = row(table, group=GAP, corruption="clean")
    assert clean["low"] <= 0 < clean["high"]
    assert "patients" in table and table["patients"].isna().all()
    text = subgroup_tables(table, ["vit"])["subgroup_gaps"].markdown()
    assert "noise: " in text and "(male against female)" in text
    assert "(female against male, which may be chance)" in text or "(male against female, which may be chance)" in text
    assert (row(table, group="male", corruption="all")[["frequent_class", "frequency"]] == ["a", 50]).all()


def test_groups_that_are_read_by_themselves_are_those_of_the_same_images():
    groups = np.tile(["female", "male"], 50)
    (run,), tests = scored(groups, {"female": (0.1, 0.2), "male": (0.3, 0.6)})
    stored = groups_of_test_images({"test": tests["chest"]}, subgroup=["sex"]).iloc[::-1]
    entries = {"logits-vit-chest": run, "test-chest": replace(tests["chest"], columns={}), "groups-chest": stored}
    pd.testing.assert_frame_equal(compare_subgroups(**entries), subgroup_errors([run], tests))


def test_a_small_group_is_named_and_not_compared():
    groups = np.repeat(["female", "male", "unknown"], [60, 60, 19])
    table = subgroup_errors(*scored(groups, {"female": (0.1, 0.2), "male": (0.1, 0.2), "unknown": (1, 1)}), 100)
    small = table[table["group"] == "unknown"]
    assert len(small) == 4 and small["value"].isna().all() and (small["n"] == 19).all()
    assert "unknown" not in set(table["worst"])
    assert "not compared" in subgroup_tables(table, ["vit"])["subgroups"].markdown()


def test_extreme_levels_are_not_averaged():
    groups = np.repeat(["female", "male"], 60)
    runs, tests = scored(groups, {"female": (0.1, 0.2), "male": (0.1, 0.6)})
    extreme = {"chest": {Condition("blur", 5), *(Condition("noise", severity) for severity in range(1, 6))}}
    table = subgroup_errors(runs, tests, resamples=20, extreme=extreme)
    assert set(table["corruption"]) == {"clean", "all", "blur"}
    blur = subgroup_errors(runs, tests, resamples=20)
    for group in ("female", "male"):
        mean, expected = row(table, group=group, corruption="all"), row(blur, group=group, corruption="blur")
        assert mean["value"] == row(table, group=group, corruption="blur")["value"] == pytest.approx(expected["value"])


def test_a_gap_that_may_be_anything_may_be_chance():
    """A group of two patients is in few resamples left out, but in too many."""
    groups = np.repeat(["few", "many"], [24, 96])
    patients = np.array([f"patient {index // 12:02d}" for index in range(120)])
    table = subgroup_errors(*scored(groups, {"few": (0.9, 0.9), "many": (0.1, 0.1)}, patients), resamples=300)
    assert np.isnan(row(table, group=GAP, corruption="clean")["low"])
    text = subgroup_tables(table, ["vit"])["subgroup_gaps"].markdown()
    assert text.count("[unbounded] (few against many, which may be chance)") == 3


def test_one_large_group_has_no_gap():
    table = subgroup_errors(*scored(np.repeat(["female", "male"], [60, 5]), dict.fromkeys(["female", "male"], (0, 1))))
    assert GAP not in set(table["group"]) and list(subgroup_tables(table, ["vit"])) == ["subgroups"]


def test_the_interval_of_a_gap_that_is_chosen_by_the_figures_holds_no_difference_as_often_as_promised():
    """Four groups with the same errors: the two that are furthest apart seem to differ, though none does."""
    groups, hits = np.tile(["a", "b", "c", "d"], 50), 0
    for seed in range(100):
        logits, tests = scored(groups, dict.fromkeys("abcd", (0.3, 0.3)), seed=seed)
        gap = row(subgroup_errors(logits, tests, resamples=200), group=GAP, corruption="clean")
        hits += gap["low"] <= 0
    assert hits / 100 >= 0.92


def test_patients_are_resampled_with_their_images():
    groups, patients = np.repeat(["female", "male"], 150), np.repeat(np.arange(20), 15).astype(str)
    wrong = {"female": (0.3, 0.4), "male": (0.3, 0.4)}
    table = subgroup_errors(*scored(groups, wrong, patients), resamples=200)
    assert row(table, group="male", corruption="all")["patients"] == 10
    assert row(table, group=GAP, corruption="all")["patients"] == 20


def test_groups_of_few_patients_are_warned_of_and_a_patient_of_both_counts_once():
    groups, patients = np.tile(["A", "B"], 60), np.repeat(np.arange(40), 3).astype(str)
    table = subgroup_errors(*scored(groups, {"A": (0.1, 0.2), "B": (0.1, 0.4)}, patients), resamples=50)
    assert set(table.loc[table["group"] == GAP, "patients"]) == {40}
    assert [note.lead for note in subgroup_notes(table)] == ["Subgroups:"]
    few = subgroup_errors(*scored(groups, {"A": (0.1, 0.2), "B": (0.1, 0.4)}, np.char.add("p", groups)), resamples=50)
    (_, warning) = subgroup_notes(few)
    assert warning.warning and "chest, sex: A (1); chest, sex: B (1)" in warning.text
