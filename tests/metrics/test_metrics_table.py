"""The one table of metrics, as a user reads it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from robustmedclip.corruptions import suite
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics import (
    COLUMNS,
    balanced_accuracy,
    interval,
    mce,
    metrics_table,
    operating_range,
    reference_errors,
    resample_counts,
    score_benchmark,
    seed_weights,
)
from robustmedclip.metrics.logits import Logits

ALEXNET = suite("medmnist-c").reference_errors
KEY = ["model", "data_set", "modality", "collection", "corruption", "severity", "seed", "metric"]
BASELINE = {"clean": [1], "blur": [2, 3, 4, 5, 6], "noise": [1, 2, 3, 4, 5]}
TUNED = {"clean": [2], "blur": [2, 2, 3, 4, 4], "noise": [3, 3, 3, 3, 3]}


def conditions(corruptions=("blur", "noise")) -> tuple[Condition, ...]:
    return (CLEAN, *(Condition(corruption, severity) for corruption in corruptions for severity in range(1, 6)))


def run(model: str, data_set: str, logits: np.ndarray, labels: np.ndarray, seed=None, **fields) -> Logits:
    attributes = {"base": "vit", "method": "zero-shot" if seed is None else "lora", "seed": seed}
    if seed is not None:
        attributes |= {"rank": 4, "fraction": 0.1}
    return Logits(
        **{
            "model": model,
            "data_set": data_set,
            "modality": "OCT",
            "class_names": tuple(f"class {c}" for c in range(logits.shape[-1])),
            "conditions": conditions(),
            "logits": logits.astype(np.float32),
            "labels": labels,
            "sample_ids": np.array([f"{data_set} {index}" for index in range(len(labels))]),
            "attributes": attributes,
        }
        | fields
    )


def counted(model: str, wrong: dict[str, list[int]], data_set: str = "oct", seed=None, **fields) -> Logits:
    """Ten images of two classes; under each condition the first so many are classified wrongly."""
    labels = np.arange(10) % 2
    numbers = np.array([number for numbers in wrong.values() for number in numbers])
    predicted = np.where(np.arange(10) < numbers[:, None], 1 - labels, labels)
    return run(model, data_set, 5 * np.eye(2)[predicted], labels, seed, conditions=conditions([*wrong][1:]), **fields)


def drawn(model: str, data_set: str, seed=None, skill: float = 1.0, images: int = 80, **fields) -> Logits:
    """Three classes that get harder to tell with severity."""
    labels = np.arange(images) % 3
    rng = np.random.default_rng([*f"{model} {data_set} {seed}".encode()])
    strength = skill * np.array([3.0] + 2 * [2.5, 2.0, 1.5, 1.0, 0.5])[:, None, None]
    return run(model, data_set, strength * np.eye(3)[labels] + rng.normal(size=(11, images, 3)), labels, seed, **fields)


def study() -> list[Logits]:
    modalities = {"blood": "microscopy", "cells": "microscopy", "oct": "OCT"}
    return [
        drawn(model, data_set, seed, skill, modality=modality)
        for model, seeds, skill in [("base", [None], 1), ("tuned", [0, 1, 2], 1.4)]
        for seed in seeds
        for data_set, modality in modalities.items()
    ]


def value(table: pd.DataFrame, metric: str, column: str = "value", **where) -> float:
    for name, wanted in ({"metric": metric} | where).items():
        table = table[table[name].isna()] if wanted is None else table[table[name] == wanted]
    assert len(table) == 1, table
    return table[column].item()


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return metrics_table(study(), "base", resamples=200)


@pytest.mark.parametrize(
    ("metric", "corruption", "expected"),
    [
        ("clean_error", "clean", 20),
        ("clean_error_ratio", "clean", 200),
        ("ce", "blur", 75),
        ("ce", "noise", 100),
        ("relative_ce", "blur", 100 / 3),
        ("relative_ce", "noise", 50),
        ("mce", "all", 87.5),
        ("relative_mce", "all", 125 / 3),
        ("error", "all", 30),
        ("balanced_accuracy", "all", 70),
        ("retained_accuracy", "all", 100 * 0.7 / 0.8),
    ],
)
def test_one_data_set_by_hand(metric, corruption, expected):
    table = metrics_table([counted("base", BASELINE), counted("tuned", TUNED)], "base", resamples=0)
    for data_set, modality in [("oct", "OCT"), ("all", "OCT"), ("all", "all")]:
        where = {"model": "tuned", "data_set": data_set, "modality": modality, "corruption": corruption}
        assert value(table, metric, severity=None, **where) == pytest.approx(expected)
    assert table[["low", "high"]].isna().all(axis=None)


def test_data_sets_are_averaged_after_and_before_the_ratio():
    easy, hard = {"clean": [0], "blur": [1] * 5}, {"clean": [2], "blur": [4] * 5}
    better = {"clean": [2], "blur": [2] * 5}
    runs = [counted("base", easy, "easy"), counted("base", hard, "hard", modality="X-ray")]
    runs += [counted("tuned", easy, "easy"), counted("tuned", better, "hard", modality="X-ray")]
    table = metrics_table(runs, "base", resamples=0)
    where = {"model": "tuned", "data_set": "all", "modality": "all"}
    assert value(table, "mce", **where) == pytest.approx(75)
    assert value(table, "mce_ratio_of_means", **where) == pytest.approx(60)
    assert value(table, "clean_error_ratio_of_means", **where) == pytest.approx(200 / 2)
    assert value(table, "relative_mce_ratio_of_means", **where) == pytest.approx(100 * 0.05 / 0.15)
    assert value(table, "clean_error_ratio", **where) == pytest.approx(100), "undefined on the easy data set"
    assert value(table, "error", corruption="blur", severity=3, **where) == pytest.approx(15)
    assert value(table, "mce", **(where | {"modality": "X-ray"})) == pytest.approx(50)
    assert np.isnan(value(table, "clean_error_ratio", **(where | {"modality": "OCT"})))


def hundred(model: str, wrong: dict[str, list[int]], data_set: str) -> Logits:
    """A hundred images of two classes; under each condition so many, drawn at random, are classified wrongly."""
    labels, rng = np.arange(100) % 2, np.random.default_rng([*f"{model} {data_set}".encode()])
    numbers = [number for numbers in wrong.values() for number in numbers]
    misses = np.array([rng.permutation(100) < number for number in numbers])
    predicted = np.where(misses, 1 - labels, labels)
    return run(model, data_set, 5 * np.eye(2)[predicted], labels, conditions=conditions([*wrong][1:]))


@pytest.mark.parametrize("errors_of_five", [[0] * 5, [0, 0, 1, 0, 0], [0, 1, 1, 1, 1]])
def test_what_is_undefined_in_the_estimate_is_in_no_resample(errors_of_five):
    """Else a resample with one error more divides by next to nothing."""
    wrong = {
        "base": {"clean": [2], "blur": errors_of_five, "noise": [25] * 5},
        "tuned": {"clean": [2], "blur": [30] * 5, "noise": [15] * 5},
    }
    runs = [hundred(model, of_model, name) for model, of_model in wrong.items() for name in ("a", "b")]
    noise = [replace(r, conditions=conditions(["noise"]), logits=np.delete(r.logits, slice(1, 6), 0)) for r in runs]
    scores, of_noise = (score_benchmark(some, "base", resamples=500) for some in (runs, noise))
    pd.testing.assert_frame_equal(scores.mce_resamples, of_noise.mce_resamples)
    where = {"model": "tuned", "data_set": "all", "modality": "all", "corruption": "all", "severity": None}
    for end in ("value", "low", "high"):
        assert value(scores.metrics, "mce", end, **where) == value(of_noise.metrics, "mce", end, **where)
    assert value(scores.metrics, "mce_ratio_of_means", "high", **where) < 80


def test_a_mean_is_undefined_in_a_resample_where_the_baseline_has_no_errors_left():
    """Six errors under blur are enough for the estimate, and may all be left out of a resample."""
    few = {"clean": [20], "blur": [1, 1, 1, 1, 2], "noise": [25] * 5}
    runs = [hundred("base", few, "a"), hundred("tuned", few | {"blur": [30] * 5}, "a")]
    drawn = score_benchmark(runs, "base", resamples=2000).mce_resamples["tuned"]
    assert drawn[0] == pytest.approx(100 * (150 / 6 + 1) / 2)
    assert 0 < drawn.isna().sum() < 20, "as likely as exp(-6)"
    assert drawn.min() > 400, "not the mean of noise alone"


def test_a_seeds_relative_error_is_undefined_where_that_of_the_model_is():
    noisy = {"clean": [20], "blur": [22] * 5}
    adapted = {"base": "base", "adaptation": "lora", "method": "lora", "fraction": 0.1, "seed": 0}
    runs = [hundred("base", noisy, "a"), replace(hundred("tuned", noisy, "a"), attributes=adapted)]
    scores = score_benchmark(runs, "base", resamples=300)
    for table, seed in ((scores.metrics, None), (scores.seed_metrics, 0)):
        where = {"model": "tuned", "data_set": "a", "seed": seed, "corruption": "all", "severity": None}
        assert np.isnan(value(table, "relative_mce", **where))
        assert value(table, "mce", **where) == pytest.approx(100)


@pytest.mark.parametrize("clean", [2, 7, 29, 58])
def test_an_error_of_just_the_tolerated_points_more_is_tolerated(clean):
    runs = [hundred("base", {"clean": [clean], "blur": [clean + 5] * 4 + [clean + 6]}, "a")]
    assert operating_range(metrics_table(runs, "base", resamples=0), 5).loc["base", "blur"] == 4


def test_points_are_lost_to_corruption_and_won_back_by_adaptation():
    adapted = {"base": "base", "adaptation": "lora", "method": "lora", "fraction": 0.1, "seed": 0}
    runs = [counted("base", BASELINE), counted("tuned", TUNED, attributes=adapted)]
    table = metrics_table(runs, "base", resamples=50)
    for data_set, modality in [("oct", "OCT"), ("all", "all")]:
        where = {"data_set": data_set, "modality": modality, "severity": None, "seed": None}
        lost = {c: value(table, "points_lost", model="base", corruption=c, **where) for c in ("blur", "noise", "all")}
        assert lost == pytest.approx({"blur": 30, "noise": 20, "all": 25})
        won = {c: value(table, "points_won_back", corruption=c, **where) for c in ("blur", "noise", "all")}
        assert won == pytest.approx({"blur": 10, "noise": 0, "all": 5})
        assert value(table, "points_won_back", "low", corruption="all", **where) <= 5
    assert set(table[table.metric == "points_won_back"].model) == {"tuned"}, "nothing is won back zero-shot"


def test_a_relative_error_needs_a_denominator_whose_sign_is_certain():
    base = {"clean": [4], "blur": [5] * 5, "noise": [9] * 5}
    runs = [counted("base", base), counted("tuned", TUNED)]
    table, unsure = (metrics_table(runs, "base", resamples=resamples) for resamples in (0, 300))
    where = {"model": "tuned", "data_set": "oct"}
    assert value(table, "relative_ce", corruption="blur", **where) == pytest.approx(100)
    assert np.isnan(value(unsure, "relative_ce", corruption="blur", **where)), "one image of ten"
    assert value(unsure, "relative_ce", corruption="noise", **where) == pytest.approx(20)
    assert value(unsure, "relative_mce", **where) == pytest.approx(20)


def test_a_mean_of_relative_errors_needs_half_of_the_data_sets():
    flat, steep = {"clean": [4], "blur": [4] * 5}, {"clean": [1], "blur": [9] * 5}
    where = {"model": "base", "data_set": "all", "modality": "all"}
    for defined, names in [(True, ["a", "b"]), (False, ["a", "b", "c"])]:
        runs = [counted("base", steep if name == "a" else flat, name) for name in names]
        table = metrics_table(runs, "base", resamples=50)
        for metric in ("relative_ce", "relative_mce"):
            corruption = {"corruption": "blur"} if metric == "relative_ce" else {}
            assert np.isnan(value(table, metric, **where, **corruption)) != defined
        assert value(table, "mce", **where) == 100


def test_undefined_ratios_do_not_poison_means():
    base = BASELINE | {"noise": [0] * 5}
    table = metrics_table([counted("base", base), counted("tuned", TUNED)], "base", resamples=0)
    where = {"model": "tuned", "data_set": "oct"}
    assert np.isnan(value(table, "ce", corruption="noise", **where))
    assert value(table, "mce", **where) == pytest.approx(75)
    assert np.isnan(value(table, "relative_ce", corruption="noise", **where))
    assert value(table, "relative_mce", **where) == pytest.approx(100 / 3)


def test_a_corruption_may_be_missing_from_a_data_set():
    only_blur = {name: BASELINE[name] for name in ("clean", "blur")}
    table = metrics_table([counted("base", BASELINE, "a"), counted("base", only_blur, "b")], "base", resamples=10)
    assert set(table[(table.data_set == "b")].corruption) == {"clean", "blur", "all"}
    assert value(table, "mce", data_set="b") == 100
    assert value(table, "mce", data_set="all", modality="all") == 100
    assert value(table, "ce", data_set="all", modality="all", corruption="noise") == 100


def test_seeds_are_averaged_before_ratios():
    more = {name: [2 * number for number in numbers] for name, numbers in TUNED.items() if name == "clean"}
    second = more | {"blur": [4, 4, 4, 4, 4], "noise": [0, 0, 0, 0, 0]}
    runs = [counted("base", BASELINE, seed=s) for s in (0, 1)]
    runs += [counted("tuned", TUNED, seed=0), counted("tuned", second, seed=1)]
    table = metrics_table(runs, "base", resamples=0)
    where = {"model": "tuned", "data_set": "oct"}
    assert value(table, "clean_error", seed=None, **where) == pytest.approx(30)
    assert value(table, "ce", corruption="blur", **where) == pytest.approx(87.5)
    assert value(table, "relative_ce", corruption="blur", **where) == pytest.approx(100 * 0.05 / 0.3)
    assert value(table, "error", corruption="blur", severity=1, seed=1, **where) == pytest.approx(40)


def test_columns_and_types(table):
    assert {name: str(table[name].dtype) for name in table} == {n: COLUMNS[n] for n in COLUMNS if n != "patients"}
    assert table[table.model == "base"][["rank", "fraction", "seed"]].isna().all(axis=None)
    tuned = table[table.model == "tuned"]
    assert (tuned["rank"] == 4).all()
    assert set(tuned.seed.dropna()) == {0, 1, 2}


def test_rows_have_a_unique_key(table):
    assert not table.duplicated(KEY).any()


def test_n_is_the_number_of_images_behind_a_row(table):
    assert set(table[table.data_set != "all"].n) == {80}
    everywhere = table[(table.data_set == "all") & ~table.metric.isin(["relative_ce", "relative_mce"])]
    sizes = everywhere.groupby("modality").n.unique()
    assert {name: size.tolist() for name, size in sizes.items()} == {"all": [240], "OCT": [80], "microscopy": [160]}


def test_equal_logits_give_equal_bytes_in_any_order(table):
    written = table.to_csv(index=False, float_format="%.6g")
    for runs in (study(), study()[::-1], sorted(study(), key=lambda one: one.data_set)):
        again = metrics_table(runs, "base", resamples=200)
        assert again.to_csv(index=False, float_format="%.6g") == written


def test_the_order_of_conditions_changes_no_value(table):
    order = np.random.default_rng(0).permutation(11)
    runs = study()
    runs[-1] = replace(runs[-1], logits=runs[-1].logits[order], conditions=tuple(runs[-1].conditions[i] for i in order))
    again = metrics_table(runs, "base", resamples=200)
    pd.testing.assert_frame_equal(again.sort_values(KEY, ignore_index=True), table.sort_values(KEY, ignore_index=True))


def test_the_baseline_is_exactly_100_in_every_resample(table):
    ratios = table[(table.model == "base") & table.metric.isin(["mce", "ce", "mce_ratio_of_means"])]
    assert len(ratios)
    np.testing.assert_array_equal(ratios[["value", "low", "high"]], 100)


def test_intervals_contain_the_estimate(table):
    bounded = table[table.low.notna() & table.high.notna()]
    assert set(bounded.metric) >= {"error", "clean_error", "ce", "mce", "relative_mce", "mce_ratio_of_means"}
    assert ((bounded.low <= bounded.value) & (bounded.value <= bounded.high)).all()
    assert bounded.metric.nunique() == table.metric.nunique()
    unbounded = set(table[table.value.notna() & table.low.isna()].metric)
    assert unbounded <= {"clean_error_ratio", "relative_ce"}, "the baseline's part vanishes in some resamples"


def test_scores_and_their_bounds_stay_in_range(table):
    for metric, highest in {"auroc": 1, "brier": 2, "ece": 100, "scaled_ece": 100, "aurc": 100, "error": 100}.items():
        bounds = table[table.metric == metric][["low", "high"]]
        assert (bounds.low >= 0).all() and (bounds.high <= highest).all()


def test_intervals_are_those_of_a_plain_loop(table):
    base, *seeds = [one for one in study() if one.data_set == "oct"]

    def errors(one: Logits, images: np.ndarray) -> np.ndarray:
        return np.mean(one.logits[1:, images].argmax(-1) != one.labels[images], axis=-1).reshape(2, 5)

    weights, samples = seed_weights(0, [0, 1, 2], 200), []
    for counts, weight in zip([np.ones(80, int), *resample_counts(0, "oct", 200, 80)], weights, strict=True):
        images = np.repeat(np.arange(80), counts)
        own = np.average([errors(one, images) for one in seeds], axis=0, weights=weight)
        samples.append(mce(own, errors(base, images)))
    where = {"model": "tuned", "data_set": "oct"}
    found = [value(table, "mce", column, **where) for column in ("low", "high")]
    np.testing.assert_allclose(found, interval(np.array(samples)))


def test_several_seeds_widen_the_interval():
    """Seeds that differ are a source of spread beside the images."""
    one = [drawn("base", "oct"), drawn("tuned", "oct", 0)]
    alike = [replace(one[1], attributes=one[1].attributes | {"seed": seed}) for seed in range(3)]
    unlike = [drawn("tuned", "oct", seed, skill=skill) for seed, skill in enumerate([0.6, 1.0, 1.6])]

    def width(runs: list[Logits]) -> float:
        table = metrics_table(runs, "base", resamples=400)
        where = {"model": "tuned", "data_set": "oct", "seed": None}
        return value(table, "mce", "high", **where) - value(table, "mce", "low", **where)

    assert width([one[0], *alike]) == pytest.approx(width(one))
    assert width([one[0], *unlike]) > 1.5 * width(one)


def test_scores_of_a_run_are_those_of_its_logits(table):
    one = next(one for one in study() if one.model == "tuned" and one.data_set == "oct")
    where = {"model": "tuned", "data_set": "oct", "seed": 0, "corruption": "noise", "severity": 5}
    assert value(table, "balanced_accuracy", **where) == pytest.approx(
        100 * balanced_accuracy(one.logits[-1], one.labels)
    )


def test_resamples_depend_on_the_seed(table):
    other = metrics_table(study(), "base", resamples=200, seed=1)
    pd.testing.assert_series_equal(other.value, table.value)
    assert not other.low.equals(table.low)


def test_clean_conditions_alone_make_a_table():
    runs = [counted("base", {"clean": [1]}), counted("tuned", {"clean": [2]})]
    table = metrics_table(runs, "base", resamples=20)
    assert set(table.corruption) == {"clean"}
    assert value(table, "clean_error_ratio", model="tuned", data_set="oct") == pytest.approx(200)


def test_n_of_a_mean_leaves_out_where_it_is_undefined():
    only_blur = {name: BASELINE[name] for name in ("clean", "blur")}
    flawless = BASELINE | {"clean": [0]}
    runs = [counted("base", BASELINE, "a"), counted("base", only_blur, "b"), counted("base", flawless, "c")]
    table = metrics_table(runs, "base", resamples=0)
    where = {"data_set": "all", "modality": "all"}
    assert value(table, "ce", "n", corruption="blur", **where) == 30
    assert value(table, "ce", "n", corruption="noise", **where) == 20
    assert value(table, "clean_error_ratio", "n", **where) == 20
    assert value(table, "clean_error_ratio", "n", data_set="c") == 0


def test_data_sets_are_averaged_over_collections():
    runs = study()
    table = metrics_table(runs, "base", resamples=20, collections={"blood": "first", "oct": "first"})
    own = table[(table.model == "tuned") & (table.metric == "mce")]
    of_each = own[own.data_set != "all"].set_index("data_set")
    assert of_each.collection.fillna("none").to_dict() == {"blood": "first", "cells": "none", "oct": "first"}
    where = {"model": "tuned", "data_set": "all", "modality": "all"}
    expected = of_each.loc[["blood", "oct"], "value"].mean()
    assert value(table, "mce", collection="first", **where) == pytest.approx(expected)
    assert value(table, "mce", "n", collection="first", **where) == 160
    assert value(table, "mce", collection="all", **where) == pytest.approx(of_each["value"].mean())
    assert not table.duplicated(KEY).any()


def test_balanced_errors_are_measured_against_alexnet():
    """Ten images of two classes, half each, five wrong of one class count as those of any."""
    wrong = {"clean": [2], "pixelate": [4, 4, 5, 6, 6], "speckle_noise": [3] * 5, "fog": [5] * 5}
    runs = [counted("base", wrong, name) for name in ("octmnist", "breastmnist", "squares")]
    table = metrics_table(
        runs, "base", resamples=50, references={name: ALEXNET[f"{name}_224"] for name in ("octmnist", "breastmnist")}
    )
    names, alexnet, relative = ["pixelate", "speckle_noise"], [], []
    for data_set in ("breastmnist", "octmnist"):
        clean, *errors = reference_errors(ALEXNET[f"{data_set}_224"], names)
        errors = np.array(errors)
        alexnet.append([errors, errors - clean])
        be, rbe = np.array([0.5, 0.3]) / errors, np.array([0.3, 0.1]) / (errors - clean)
        relative.append([be, rbe])
        where = {"data_set": data_set}
        for position, name in enumerate(names):
            assert value(table, "be", corruption=name, **where) == pytest.approx(be[position])
            assert value(table, "rbe", corruption=name, **where) == pytest.approx(rbe[position])
        assert np.isnan(value(table, "be", corruption="fog", **where))
        assert value(table, "be", corruption="all", **where) == pytest.approx(be.mean())
        assert value(table, "be", "low", corruption="all", **where) < be.mean()
    where = {"data_set": "all", "modality": "all", "corruption": "all"}
    be, rbe = np.mean(relative, axis=(0, 2))
    assert value(table, "be", **where) == pytest.approx(be)
    assert value(table, "rbe", **where) == pytest.approx(rbe)
    assert value(table, "be", "n", **where) == 20
    assert value(table, "be_ratio_of_means", "n", **where) == 20
    means = np.mean(alexnet, axis=0)
    assert value(table, "be_ratio_of_means", **where) == pytest.approx(np.mean([0.5, 0.3] / means[0]))
    assert value(table, "rbe_ratio_of_means", **where) == pytest.approx(np.mean([0.3, 0.1] / means[1]))
    assert set(table[table.metric == "be"].data_set) == {"octmnist", "breastmnist", "all"}


def test_retained_accuracy_falls_with_severity(table):
    own = table[(table.metric == "retained_accuracy") & table.severity.notna() & (table.model == "base")]
    kept = own[(own.data_set == "all") & (own.modality == "all")].sort_values("severity")
    assert kept.value.is_monotonic_decreasing
    assert kept[["low", "high", "n"]].notna().all(axis=None)


def test_confidence_that_does_not_fall_with_accuracy_is_seen_by_severity():
    """Two corruptions, of which one leaves the confidence as it is and makes all predictions wrong."""
    conditions = (CLEAN, *(Condition(name, severity) for name in ("blur", "noise") for severity in range(1, 6)))
    sure, wrong = np.tile([2.0, 0.0], (50, 1)), np.tile([0.0, 2.0], (50, 1))
    logits = np.stack([sure] * 6 + [sure, sure, wrong, wrong, wrong])
    run = replace(study()[0], conditions=conditions, logits=logits, labels=np.zeros(50, int), class_names=("a", "b"))
    run = replace(run, sample_ids=np.arange(50).astype(str))
    rows = metrics_table([run], run.model, resamples=20)
    rows = rows[(rows.data_set == run.data_set) & (rows.corruption == "all") & rows.severity.notna() & rows.seed.isna()]
    confidence = 100 * np.exp(2) / (np.exp(2) + 1)
    for metric, clean in {"overconfidence": confidence - 100, "calibration_shift": 0}.items():
        values = rows[rows.metric == metric].sort_values("severity").value
        np.testing.assert_allclose(values, clean + np.array([0, 0, 0, 50, 50, 50]), atol=1e-6)


def test_the_resamples_of_mce_are_those_of_the_table(table):
    again, samples, _ = score_benchmark(study(), "base", resamples=200)
    pd.testing.assert_frame_equal(again, table)
    assert samples.shape == (201, 2)
    assert (samples["base"] == 100).all()
    where = {"model": "tuned", "data_set": "all", "modality": "all"}
    assert samples["tuned"][0] == value(table, "mce", **where)
    low, high = interval(samples["tuned"].to_numpy())
    assert (low, high) == (value(table, "mce", "low", **where), value(table, "mce", "high", **where))


def test_one_model_on_one_data_set_makes_a_table():
    table, samples, _ = score_benchmark([drawn("base", "oct")], "base", resamples=50)
    assert value(table, "mce", data_set="all", modality="all") == 100
    assert table[table.metric != "relative_ce"][["value", "low", "high"]].notna().all(axis=None)
    assert list(samples) == ["base"]


def test_a_class_without_images_is_left_out_of_class_means():
    one = drawn("base", "oct")
    labels = np.where(one.labels == 2, 1, one.labels)
    table = metrics_table([replace(one, labels=labels)], "base", resamples=50)
    where = {"data_set": "oct", "corruption": "noise", "severity": 5}
    expected = 100 * balanced_accuracy(one.logits[-1], labels)
    assert value(table, "balanced_accuracy", **where) == pytest.approx(expected)
    assert 0 < value(table, "auroc", **where) < 1
    single = metrics_table([replace(one, labels=0 * labels)], "base", resamples=50)
    assert single[single.metric == "auroc"][["value", "low", "high"]].isna().all(axis=None)
    assert single[single.metric == "balanced_accuracy"].notna().any(axis=None)


def with_nan() -> list[Logits]:
    runs = study()
    runs[4].logits[3, 2, 1] = np.nan
    return runs


def changed(index: int, **fields) -> list[Logits]:
    runs = study()
    runs[index] = replace(runs[index], **fields)
    return runs


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (study()[3:], "no logits of the baseline 'base'; found tuned"),
        ([], "no logits of the baseline 'base'"),
        (study()[:1] + study()[2:], "no logits of 'base' on 'cells'"),
        (study()[:-1], "seeds of 'tuned' on 'oct' are .*0, 1.*, on 'blood' .*0, 1, 2"),
        ([*study(), study()[-1]], "seeds of 'tuned' on 'oct' are .*2, 2"),
        ([*study(), study()[0]], "seeds of 'base' on 'blood' are .*None, None"),
        (
            with_nan(),
            "logits of 'tuned' on 'cells' are not all finite: 1 of 80 images, first under 'blur_severity_3'. Mend or",
        ),
        (changed(4, sample_ids=np.array([f"other {i}" for i in range(80)])), "'tuned' and 'base' .*images of 'cells'"),
        (changed(4, labels=(np.arange(80) + 1) % 3), "'tuned' and 'base' were scored on other images of 'cells'"),
        (changed(4, conditions=conditions(("blur", "fog"))), "'tuned' and 'base' have other conditions on 'cells'"),
        (changed(4, conditions=(CLEAN, CLEAN, *conditions()[2:])), "'tuned' and 'base' have other conditions"),
    ],
)
def test_logits_that_do_not_belong_together(runs, message):
    with pytest.raises(ValueError, match=message):
        metrics_table(runs, "base", resamples=0)


def test_the_clean_condition_is_needed():
    runs = [replace(one, conditions=one.conditions[1:], logits=one.logits[1:]) for one in study()]
    with pytest.raises(ValueError, match="'base' has no clean condition on 'blood'"):
        metrics_table(runs, "base", resamples=0)


def test_a_lacking_severity_is_an_error():
    runs = [replace(one, conditions=one.conditions[:4], logits=one.logits[:4]) for one in study()]
    with pytest.raises(ValueError, match="blur"):
        metrics_table(runs, "base", resamples=0)


def test_a_data_set_called_all_is_an_error():
    with pytest.raises(ValueError, match="all"):
        metrics_table([counted("base", BASELINE, "all"), counted("base", BASELINE, "b")], "base", resamples=0)


def test_models_with_another_order_of_classes_are_refused():
    runs = study()
    odd = next(index for index, run in enumerate(runs) if run.model != "base")
    runs[odd] = replace(runs[odd], class_names=tuple(reversed(runs[odd].class_names)))
    with pytest.raises(ValueError, match="other classes"):
        metrics_table(runs, "base", resamples=0)


def test_corruptions_seen_in_tuning_and_held_out_are_averaged_apart():
    runs = [counted("base", BASELINE), counted("tuned", TUNED, seed=0)]
    table = metrics_table(runs, "base", seen=["noise", "fog"], resamples=50)
    rows = table[(table["model"] == "tuned") & (table["data_set"] == "oct") & table["seed"].isna()]
    values = rows[rows["severity"].isna()].set_index(["metric", "corruption"])["value"]
    assert values["mce_seen", "all"] == values["ce", "noise"] == 100 * 15 / 15
    assert values["mce_held_out", "all"] == values["ce", "blur"] == pytest.approx(100 * 15 / 20)
    parts = [values["mce_seen", "all"], values["mce_held_out", "all"]]
    assert np.mean(parts) == pytest.approx(values["mce", "all"])
    assert rows[rows["metric"] == "mce_held_out"][["low", "high"]].notna().all(None)


@pytest.mark.parametrize("seen", [[], ["fog"], ["blur", "noise"]])
def test_nothing_is_apart_where_all_or_none_were_seen(seen):
    table = metrics_table([counted("base", BASELINE)], "base", seen=seen, resamples=0)
    assert not {"mce_seen", "mce_held_out"} & set(table["metric"])


EXTREME = {"oct": {Condition("blur", 4), Condition("blur", 5), Condition("noise", 1)}}


def values_of(table: pd.DataFrame, model: str, **where) -> float:
    chosen = table[(table["model"] == model) & (table["data_set"] == "oct") & table["severity"].isna()]
    (value,) = chosen.loc[(chosen[list(where)] == pd.Series(where)).all(axis=1), "value"]
    return value


def test_averages_are_of_the_realistic_levels_and_the_extreme_ones_stand_beside_them():
    logits = [counted("base", BASELINE), counted("tuned", TUNED)]
    table, mces, _ = score_benchmark(logits, "base", extreme=EXTREME, resamples=50)
    blur, noise = (2 + 2 + 3) / (2 + 3 + 4), (3 + 3 + 3 + 3) / (2 + 3 + 4 + 5)
    assert values_of(table, "tuned", metric="ce", corruption="blur") == pytest.approx(100 * blur)
    assert values_of(table, "tuned", metric="mce", corruption="all") == pytest.approx(50 * (blur + noise))
    assert mces["tuned"].iloc[0] == pytest.approx(50 * (blur + noise))
    extreme = ((4 + 4) / (5 + 6) + 3 / 1) / 2
    assert values_of(table, "tuned", metric="mce_extreme", corruption="all") == pytest.approx(100 * extreme)
    error = 10 * (2 + 3 + 4 + 2 + 3 + 4 + 5) / 7
    assert values_of(table, "base", metric="error", corruption="all") == pytest.approx(error)
    retained = values_of(table, "base", metric="retained_accuracy", corruption="all")
    assert retained == pytest.approx(100 * (100 - error) / (100 - 10))
    assert values_of(table, "base", metric="error_extreme", corruption="all") == pytest.approx(10 * (5 + 6 + 1) / 3)


def test_every_level_keeps_its_own_row_whether_it_is_extreme_or_not():
    logits = [counted("base", BASELINE), counted("tuned", TUNED)]
    keys = ["model", "data_set", "modality", "collection", "corruption", "severity", "metric"]
    plain, judged = (
        metrics_table(logits, "base", extreme=extreme, resamples=20).set_index(keys) for extreme in ({}, EXTREME)
    )
    levels = plain[plain.index.get_level_values("severity").notna()]
    pd.testing.assert_frame_equal(judged.loc[levels.index], levels)
    assert not plain.index.get_level_values("metric").str.endswith("extreme").any()


def test_a_corruption_without_a_realistic_level_is_left_out_of_the_averages():
    logits = [counted("base", BASELINE), counted("tuned", TUNED)]
    extreme = {"oct": {Condition("noise", severity) for severity in range(1, 6)}}
    table = metrics_table(logits, "base", extreme=extreme, resamples=20)
    blur = values_of(table, "tuned", metric="ce", corruption="blur")
    assert np.isnan(values_of(table, "tuned", metric="ce", corruption="noise"))
    assert values_of(table, "tuned", metric="mce", corruption="all") == pytest.approx(blur)
