"""Comparisons of models, Holm's correction and the stability of ranks."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from robustmedclip.metrics import compare_models, holm, places


def drawn(**models: tuple[float, float]) -> pd.DataFrame:
    """An estimate and 2,000 independent normal resamples of each model, from its mean and standard error."""
    rng = np.random.default_rng(0)
    return pd.DataFrame({name: [mean, *rng.normal(mean, error, 2000)] for name, (mean, error) in models.items()})


def ranked(samples: pd.DataFrame) -> pd.DataFrame:
    return places(samples, compare_models(samples)).set_index("model")


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, np.nan, 0.5])), [1, np.nan, 1])
    assert holm(np.array([])).shape == (0,)


def test_holm_rejects_what_the_step_down_procedure_rejects():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p, rejected = rng.random(8) ** 4, set()
        for step, index in enumerate(np.argsort(p)):
            if p[index] > 0.05 / (8 - step):
                break
            rejected.add(index)
        assert set(np.flatnonzero(holm(p) <= 0.05)) == rejected


def test_rounding_errors_of_means_tell_no_models_apart():
    samples = drawn(a=(100, 3), b=(90, 4))
    samples["same"] = samples["a"] * (1 + 1e-15)
    assert not samples["same"].equals(samples["a"])
    row = compare_models(samples).set_index(["model", "other"]).loc[("a", "same")]
    assert row.difference == row.low == row.high == 0 and row.p == 1
    table = ranked(samples)
    assert table.loc["a"].equals(table.loc["same"]) and table.loc["a", "place"] == 2


def test_a_pair_is_compared_with_interval_and_p_value():
    table = compare_models(drawn(a=(100, 3), b=(90, 4), c=(91, 4))).set_index(["model", "other"])
    assert list(table.index) == list(combinations("abc", 2))
    row = table.loc[("a", "b")]
    assert row.difference == 10
    assert row.low == pytest.approx(10 - 1.96 * 5, abs=1) and row.high == pytest.approx(10 + 1.96 * 5, abs=1)
    assert row.p == pytest.approx(0.0455, abs=0.01)
    np.testing.assert_allclose(table.p_holm, holm(table.p.to_numpy()))
    assert table.loc[("b", "c")].p > 0.5


def test_pairing_makes_small_differences_visible():
    samples = drawn(a=(100, 10))
    samples["b"] = samples["a"] - np.array([1, *np.random.default_rng(1).normal(1, 0.1, 2000)])
    (row,) = compare_models(samples).itertuples()
    assert row.p < 1e-6 and 0.7 < row.low < row.high < 1.3


def test_a_model_does_not_differ_from_itself():
    samples = drawn(a=(100, 3))
    (row,) = compare_models(samples.assign(b=samples["a"])).itertuples()
    assert (row.difference, row.low, row.high, row.p, row.p_holm) == (0, 0, 0, 1, 1)


def test_without_a_difference_p_values_are_uniform():
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(500):
        estimate = rng.normal(size=2)
        samples = pd.DataFrame(np.vstack([estimate, estimate + rng.normal(size=(300, 2))]))
        rejected += compare_models(samples)["p"].item() <= 0.05
    assert 0.03 <= rejected / 500 <= 0.07


def test_an_undefined_model_leaves_the_others_alone():
    samples = drawn(a=(100, 3), b=(90, 3)).assign(c=np.nan)
    table = compare_models(samples).set_index(["model", "other"])
    assert table.loc[("a", "b")].notna().all()
    assert table.loc[("a", "c")].isna().all() and table.loc[("b", "c")].isna().all()
    table = ranked(samples)
    assert table.loc[["a", "b"]].place.tolist() == [2, 1]
    assert table.loc[["a", "b"]].place_high.tolist() == [2, 1]
    assert table.loc["c"].isna().all()


def test_one_model_is_first_and_has_no_pair():
    assert compare_models(drawn(a=(100, 3))).empty
    (row,) = ranked(drawn(a=(100, 3))).itertuples()
    assert (row.place, row.place_low, row.place_high, row.first_fraction) == (1, 1, 1, 1)


def test_places_hold_as_far_as_models_lie_apart():
    table = ranked(drawn(a=(60, 1), b=(100, 5), c=(101, 5), d=(200, 1)))
    assert table.place.tolist() == [1, 2, 3, 4]
    assert table.place_low.tolist() == [1, 2, 2, 4] and table.place_high.tolist() == [1, 3, 3, 4]
    assert table.first_fraction.tolist() == [1, 0, 0, 0]


def test_a_place_is_never_certain_where_the_corrected_p_value_is_not():
    samples = drawn(a=(90, 3), b=(92, 3), c=(100, 3), d=(120, 3))
    table, pairs = ranked(samples), compare_models(samples)
    for row in pairs.itertuples():
        better, worse = sorted([row.model, row.other], key=lambda model: samples[model][0])
        certain = row.p_holm <= 0.05
        assert (table.place_high[better] < table.place_low[worse]) <= certain
    assert table.place_low["c"] == 1, "better by 10 of a standard error of 4.2, in six pairs"


@pytest.mark.slow
def test_all_places_are_in_their_ranges_in_95_of_100_repetitions():
    rng, truth = np.random.default_rng(0), np.array([10.0, 11.0, 12.0, 12.0, 15.0, 20.0])
    covered = 0
    for _ in range(400):
        estimate = truth + rng.normal(size=6)
        samples = pd.DataFrame(np.vstack([estimate, estimate + rng.normal(size=(200, 6))]))
        table = ranked(samples)
        low, high = 1 + (truth < truth[:, None]).sum(1), (truth <= truth[:, None]).sum(1)
        covered += bool(((table.place_low <= low) & (high <= table.place_high)).all())
    assert covered / 400 >= 0.94


def test_equal_models_share_a_place():
    samples = drawn(a=(100, 3), c=(200, 1))
    table = ranked(samples.assign(b=samples["a"]))
    assert table.place.tolist() == [1, 3, 1] and table.place_high.tolist() == [2, 3, 2]


def test_without_resamples_there_is_a_place_alone():
    table = ranked(pd.DataFrame({"a": [100.0], "b": [90.0]}))
    assert table.place.tolist() == [2, 1]
    assert table.drop(columns="place").isna().all(axis=None)
    assert compare_models(pd.DataFrame({"a": [100.0], "b": [90.0]}))[["low", "p", "p_holm"]].isna().all(axis=None)
