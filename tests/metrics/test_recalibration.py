"""What a temperature of other images is worth, from logits."""

from dataclasses import replace

import numpy as np
import pytest

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics import accuracy, expected_calibration_error, fit_temperature, softmax
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.recalibration import Temperature, recalibration
from robustmedclip.reporting.recalibration import recalibration_notes, recalibration_tables

CONDITIONS = (CLEAN, *(Condition(name, severity) for name in ("blur", "noise") for severity in range(1, 6)))


def run(data_set: str = "oct", images: int = 400, seed: int | None = None, sure: float = 4.0) -> Logits:
    """Logits of which fewer are right the higher the severity, and that are as sure everywhere."""
    rng = np.random.default_rng([*data_set.encode(), seed or 0])
    labels = rng.integers(3, size=images)
    signal = np.array([2.0 - 0.3 * condition.severity for condition in CONDITIONS])[:, None, None]
    logits = sure * (signal * np.eye(3)[labels] + rng.normal(size=(len(CONDITIONS), images, 3)))
    return Logits(
        model="vit",
        data_set=data_set,
        modality="OCT",
        class_names=("a", "b", "c"),
        conditions=CONDITIONS,
        logits=logits.astype(np.float32),
        labels=labels,
        sample_ids=np.arange(images).astype(str),
        attributes={"seed": seed},
    )


def rows(table, **where):
    for name, value in where.items():
        table = table[table[name].isna() if value is None else table[name] == value]
    return table


def test_values_are_those_of_the_logits_and_of_the_logits_divided_by_the_temperature():
    scored = run()
    table = recalibration([(scored, Temperature(3.0, 30, "oct"))], resamples=100)
    severity_2 = [i for i, condition in enumerate(CONDITIONS) if condition.severity == 2]
    for form, divided in (("as_it_is", scored.logits), ("scaled", scored.logits / 3)):
        part = divided[severity_2]
        surplus = softmax(part).max(-1).mean() - accuracy(part, scored.labels).mean()
        expected = {"ece": expected_calibration_error(part, scored.labels).mean(), "overconfidence": surplus}
        for metric, value in expected.items():
            (found,) = rows(table, data_set="oct", metric=metric, severity=2)[form]
            assert found == pytest.approx(100 * value)
    np.testing.assert_allclose(table["difference"], table["scaled"] - table["as_it_is"])
    assert (table["difference_low"] <= table["difference"]).all()
    assert set(table["temperature"].round(6)) == {3.0} and set(table["validation_images"]) == {30}


def test_a_temperature_of_clean_images_mends_clean_ones_and_leaves_corrupted_ones_too_sure():
    other = run(images=2000, seed=9)
    temperature = fit_temperature(other.logits[0], other.labels)
    table = recalibration([(run(images=2000), Temperature(temperature, 2000, "oct"))], resamples=200)
    by_severity = rows(table, data_set="all", metric="overconfidence").set_index("severity")
    assert by_severity.loc[0, "as_it_is"] > 5 and abs(by_severity.loc[0, "scaled"]) < 3
    assert by_severity.loc[5, "scaled_low"] > by_severity.loc[0, "scaled_high"]


def test_seeds_are_averaged_and_stand_by_themselves_without_intervals():
    runs = [(run(seed=seed), Temperature(value, 20, "oct")) for seed, value in ((1, 8.0), (0, 2.0))]
    table = rows(recalibration(runs, resamples=50), data_set="oct", metric="ece", severity=1)
    average, *seeds = (rows(table, seed=seed).iloc[0] for seed in (None, 0, 1))
    assert average["scaled"] == pytest.approx(np.mean([of_seed["scaled"] for of_seed in seeds]))
    assert average["temperature"] == pytest.approx(4.0) and seeds[0]["temperature"] == pytest.approx(2.0)
    assert np.isfinite(average["scaled_low"]) and np.isnan([of_seed["scaled_low"] for of_seed in seeds]).all()


def test_intervals_resample_patients_where_they_are_known():
    scored, whose = run(), np.repeat(np.arange(40), 10).astype(str)
    order = np.argsort(scored.logits[0].argmax(-1) != scored.labels, kind="stable")  # errors come in patients
    scored = replace(scored, logits=scored.logits[:, order], labels=scored.labels[order])
    pair = [(scored, Temperature(1.0, 5, "oct"))]
    images, patients = (
        rows(recalibration(pair, known, resamples=300), data_set="oct", metric="overconfidence", severity=0).iloc[0]
        for known in (None, {"oct": whose})
    )
    assert patients["patients"] == 40 and "patients" not in images
    widths = [row["as_it_is_high"] - row["as_it_is_low"] for row in (images, patients)]
    assert widths[1] > 1.5 * widths[0]


def test_data_sets_are_averaged_alike():
    table = recalibration([(run(name), Temperature(2.0, 5, name)) for name in ("oct", "blood")], resamples=20)
    for metric in ("ece", "overconfidence"):
        of_each = rows(table, metric=metric, severity=3).set_index("data_set")
        assert of_each.loc["all", "scaled"] == pytest.approx(of_each.loc[["oct", "blood"], "scaled"].mean())
        assert of_each.loc["all", "n"] == 800 and of_each.loc["all", "validation_images"] == 10


def test_the_report_has_each_temperature_and_counts_the_images_of_home_once():
    fitted = {"home": Temperature(1.41, 30, "home"), "away": Temperature(1.41, 30, "home")}
    fitted["breast"] = Temperature(100.0, 56, "breast")
    table = recalibration([(run(name), temperature) for name, temperature in fitted.items()], resamples=20)
    tables = recalibration_tables(table, ["vit", "bare"])
    assert list(tables) == ["temperatures", "ece_with_temperature", "overconfidence_with_temperature"]
    cells = tables["temperatures"].text.iloc[0].to_dict()
    assert (
        cells["home"] == cells["away"] == "1.41 (30)" and cells["breast"] == "100.00 (56: any confidence is too much)"
    )
    shown = tables["ece_with_temperature"].text
    assert shown["images to validate"].tolist() == ["86"] * 3
    assert shown["confidence"].tolist() == ["as it is", "with its temperature", "difference, points"]
    (note,) = recalibration_notes(table, ["vit", "bare"])
    assert note.text.endswith("there are none of bare, without such images.")
    (note,) = recalibration_notes(None, ["vit"])
    assert note.text == "none, for no labelled images are there to validate."
