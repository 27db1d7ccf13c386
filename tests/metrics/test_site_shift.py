"""What another site costs beside corruption, from logits."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.site_shift import site_shifts
from robustmedclip.pipelines.reporting.nodes import compare_sites
from robustmedclip.reporting.site_shift import shift_table

NOTHING_MISSING = pd.DataFrame(columns=["model", "data_set"])
CONDITIONS = (CLEAN, *(Condition("pixelate", severity) for severity in range(1, 6)))


def run(data_set: str, errors: list[float], images: int = 400, seed: int | None = None, classes=("a", "b")) -> Logits:
    """Logits of which so many, by condition, are wrong."""
    wrong = np.arange(images) < np.array(errors)[:, None] * images
    return Logits(
        model="vit",
        data_set=data_set,
        modality="OCT",
        class_names=classes,
        conditions=CONDITIONS,
        logits=np.stack([wrong, ~wrong], -1).astype(np.float32),
        labels=np.ones(images, np.int64),
        sample_ids=np.arange(images).astype(str),
        attributes={"seed": seed},
    )


def test_what_each_adds_is_counted_from_the_clean_error_at_home():
    logits = [run("home", [0.1, 0.1, 0.2, 0.3, 0.4, 0.5]), run("away", [0.25, 0.25, 0.3, 0.4, 0.5, 0.8], images=200)]
    (row,) = site_shifts(logits, {"away": "home"}, resamples=200).to_dict("records")
    assert (row["model"], row["home"], row["away"], row["n_home"], row["n_away"]) == ("vit", "home", "away", 400, 200)
    expected = {"clean_error": 10, "severity_3": 20, "corruption": 20, "site": 15, "both": 35}
    for name, value in expected.items():
        assert row[name] == pytest.approx(value)
        assert row[f"{name}_low"] < value < row[f"{name}_high"]


def test_extreme_levels_are_not_averaged():
    logits = [run("home", [0.1, 0.1, 0.2, 0.3, 0.4, 0.5]), run("away", [0.25, 0.25, 0.3, 0.4, 0.5, 0.8], images=200)]
    extreme = {"home": {Condition("pixelate", 5)}, "away": {Condition("pixelate", 4), Condition("pixelate", 5)}}
    (row,) = site_shifts(logits, {"away": "home"}, resamples=20, extreme=extreme).to_dict("records")
    assert row["corruption"] == pytest.approx(25 - 10) and row["both"] == pytest.approx(95 / 3 - 10)
    assert row["severity_3"] == pytest.approx(20)


def test_the_interval_of_the_site_is_that_of_two_independent_samples():
    """Wald's half-width of a difference of proportions: 1.96 * sqrt(p q / n + p' q' / n')."""
    logits = [run("home", [0.1] * 6), run("away", [0.3] * 6, images=200)]
    (row,) = site_shifts(logits, {"away": "home"}).to_dict("records")
    half_width = 196 * np.sqrt(0.1 * 0.9 / 400 + 0.3 * 0.7 / 200)
    assert (row["site_high"] - row["site_low"]) / 2 == pytest.approx(half_width, rel=0.08)


def test_seeds_are_averaged():
    logits = [run("home", [0.1] * 6, seed=seed) for seed in (0, 1)]
    logits += [run("away", [error] * 6, seed=seed) for seed, error in ((1, 0.4), (0, 0.2))]
    (row,) = site_shifts(logits, {"away": "home"}, resamples=100).to_dict("records")
    assert row["site"] == pytest.approx(20)


def test_other_classes_are_refused():
    logits = [run("home", [0.1] * 6), run("away", [0.1] * 6, classes=("b", "a"))]
    with pytest.raises(InputError, match="'home' has the classes a, b, and 'away' has b, a: give both the same"):
        site_shifts(logits, {"away": "home"}, resamples=10)


def test_the_table_has_n_and_intervals():
    logits = [run("home", [0.1] * 6), run("away", [0.3] * 6, images=200)]
    patients = {"away": np.repeat(np.arange(50), 4).astype(str)}
    table = shift_table(site_shifts(logits, {"away": "home"}, patients, resamples=100), NOTHING_MISSING, ["vit"])
    assert "home (n = 400) is at home, away (n = 200 images of 50 patients) the other site" in table.caption
    assert "20.0 [" in table.markdown() and "n = " not in table.markdown()


def test_the_table_says_of_each_row_which_sites_it_is_about_where_there_are_several():
    logits = [run("home", [0.1] * 6), run("away", [0.3] * 6, images=200), run("far", [0.2] * 6)]
    table = shift_table(site_shifts(logits, {"away": "home", "far": "home"}, resamples=10), NOTHING_MISSING, ["vit"])
    assert table.text["other site"].tolist() == ["away (n = 200)", "far (n = 400)"]


def test_the_rows_of_the_table_have_the_order_of_the_leaderboard():
    logits = [replace(run(site, [0.1] * 6), model=model) for model in ("a", "b") for site in ("home", "away")]
    table = shift_table(site_shifts(logits, {"away": "home"}, resamples=10), NOTHING_MISSING, ["b", "a"])
    assert table.text["model"].tolist() == ["b", "a"]


def cells(**models: list[tuple[str, Logits | None]]) -> dict[str, Logits | None]:
    return {f"logits-{model}-{data_set}": run for model, runs in models.items() for data_set, run in runs}


def test_a_model_that_lacks_a_site_is_named_and_has_no_row():
    at_home, elsewhere = run("home", [0.1] * 6), run("away", [0.2] * 6)
    clip = [(name, replace(scored, model="clip")) for name, scored in (("home", at_home), ("away", elsewhere))]
    entries = cells(clip=clip, vit=[("home", at_home), ("away", None)])
    shifts = compare_sites(baseline="clip", homes={"away": "home"}, **entries)
    assert shifts["model"].tolist() == ["clip"]
    missing = pd.DataFrame({"model": ["vit", "vit"], "data_set": ["away", "chest"]})
    assert shift_table(shifts, missing, []).caption.endswith("Incomplete: there is no result of vit on away")


def test_a_seed_that_lacks_a_site_is_in_no_average():
    whole = [("home", run("home", [0.1] * 6, seed=0)), ("away", run("away", [0.3] * 6, seed=0))]
    entries = cells(vit_s0=whole, vit_s1=[("home", run("home", [0.5] * 6, seed=1)), ("away", None)])
    (row,) = compare_sites(baseline="vit", homes={"away": "home"}, **entries).to_dict("records")
    assert (row["clean_error"], row["site"]) == pytest.approx((10, 20))


def test_where_a_site_is_missing_for_all_models_the_table_is_empty():
    shifts = compare_sites(baseline="vit", homes={"away": "home"}, **cells(vit=[("home", None), ("away", None)]))
    assert shifts.empty and shift_table(shifts, NOTHING_MISSING, []).text.empty
