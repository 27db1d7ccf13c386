"""Intervals where a patient has several images."""

from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics import interval, metrics_table, resampled_means
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.table import PATIENTS


def errors_of_patients(sizes: np.ndarray, simulations: int, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors of images, bool ``(simulations, N)``, that are alike within a patient, and whose each image is."""
    rng, patients = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    alike = rng.normal(size=(simulations, len(sizes)))[:, patients]
    latent = np.sqrt(0.7) * alike + np.sqrt(0.3) * rng.normal(size=(simulations, len(patients)))
    return latent < NormalDist().inv_cdf(error), patients.astype(np.str_)


@pytest.mark.parametrize("sizes", [np.full(80, 5), np.tile([1, 3, 5, 7, 9], 20)], ids=["five each", "one to nine"])
def test_the_interval_over_patients_covers_the_truth_as_often_as_promised_and_that_over_images_does_not(sizes):
    wrong, patients = errors_of_patients(sizes, simulations=1500, error=0.3)
    coverage = []
    for whose in (None, patients):
        low, high = interval(resampled_means(wrong.astype(float), 0, "chest", 500, whose))
        coverage.append(np.mean((low <= 0.3) & (high >= 0.3)))
    over_images, over_patients = coverage
    assert over_images < 0.82
    assert 0.93 <= over_patients <= 0.97


def test_a_patient_is_drawn_with_all_of_their_images():
    values, patients = np.array([0.0, 1.0, 1.0, 5.0]), np.array(["b", "a", "b", "a"])
    means = set(resampled_means(values, 0, "chest", 200, patients)[1:])
    assert means == {0.5, 3.0, 7 / 4}


def test_patients_of_one_image_each_are_as_images():
    values = np.random.default_rng(0).normal(size=(3, 40))
    one_each = np.array([f"{index:02d}" for index in range(40)])
    np.testing.assert_array_equal(
        resampled_means(values, 0, "chest", 100, one_each), resampled_means(values, 0, "chest", 100)
    )


def logits_on(data_set: str, images: int = 60) -> Logits:
    rng, labels = np.random.default_rng([*data_set.encode()]), np.arange(images) % 2
    conditions = (CLEAN, *(Condition("blur", severity) for severity in range(1, 6)))
    logits = np.eye(2)[labels] + rng.normal(size=(6, images, 2))
    ids = np.array([f"{index:03d}" for index in range(images)])
    return Logits("vit", data_set, "x-ray", ("a", "b"), conditions, logits.astype(np.float32), labels, ids)


def test_the_table_says_of_how_many_patients_the_images_are_and_is_as_before_without():
    runs = [logits_on("chest"), logits_on("hand")]
    plain = metrics_table(runs, "vit", resamples=100)
    assert PATIENTS not in plain
    table = metrics_table(runs, "vit", resamples=100, patients={"chest": np.repeat(np.arange(12), 5).astype(str)})
    sizes = table.groupby("data_set")[["n", PATIENTS]].max()
    assert sizes.loc["chest"].tolist() == [60, 12]
    assert pd.isna(sizes.loc["hand", PATIENTS]) and pd.isna(sizes.loc["all", PATIENTS])
    as_before = table["metric"] != "scaled_ece"  # its folds keep the images of a patient together
    pd.testing.assert_series_equal(table["value"][as_before], plain["value"][as_before])
    hand = table["data_set"] == "hand"
    pd.testing.assert_frame_equal(table[hand].drop(columns=PATIENTS), plain[hand])
