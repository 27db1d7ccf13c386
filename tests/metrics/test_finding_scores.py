"""Findings of which an image may have several: scores of each, and of their mean."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics import score_benchmark
from robustmedclip.metrics.bootstrap import interval, resampled_means
from robustmedclip.metrics.findings import finding_scores
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.metric import values_of_finding
from robustmedclip.metrics.ranking import AUROC
from robustmedclip.metrics.registry import metrics_named
from robustmedclip.reporting.findings import finding_tables
from robustmedclip.reporting.results import Setting

CONDITIONS = (CLEAN, *(Condition("blur", severity) for severity in range(1, 6)))
FINDINGS = ("edema", "mass")


def scored(model: str, quality: float, images: int = 200, correlated: bool = False, seed: int = 0) -> Logits:
    """A model that tells findings by a signal of so much strength; of every tenth image the mass is not known."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (images, 2))
    if correlated:
        labels[:, 1] = labels[:, 0]
    noise = rng.normal(size=(len(CONDITIONS), images, 1 if correlated else 2))
    strength = quality / (1 + np.array([condition.severity for condition in CONDITIONS]))[:, None, None]
    logits = strength * (2 * labels - 1) + noise
    if not correlated:
        labels[::10, 1] = -1
    ids = np.array([f"{index:04d}" for index in range(images)])
    return Logits(
        model, "chest", "x-ray", FINDINGS, CONDITIONS, logits.astype(np.float32), labels, ids, {"base": model}
    )


def value(table, **where):
    """The row, of the mean over severities unless one is named."""
    for key, wanted in ({"severity": None} | where).items():
        table = table[table[key].isna() if wanted is None else table[key].eq(wanted).fillna(False)]
    (row,) = table.to_dict("records")
    return row


def test_each_finding_is_scored_on_the_images_where_it_is_known():
    run = scored("vit", 1.0)
    table = finding_scores([run], "vit", resamples=20)
    known = run.labels[:, 1] >= 0
    expected = roc_auc_score(run.labels[known, 1], run.logits[0][known, 1])
    row = value(table, finding="mass", corruption="clean", metric="auroc")
    assert row["value"] == pytest.approx(expected)
    assert (row["n"], row["present"]) == (180, (run.labels[:, 1] == 1).sum())
    error = 100 - 100 * balanced_accuracy_score(run.labels[known, 1], run.logits[3][known, 1] > 0)
    row = value(table, finding="mass", corruption="blur", severity=3, metric="balanced_error")
    assert row["value"] == pytest.approx(error)


@pytest.mark.parametrize("patients", [{}, {"chest": np.arange(200) // 5}])
def test_the_mean_over_findings_is_that_of_the_leaderboard_and_mce_is_made_of_what_was_chosen(patients):
    runs = [scored("vit", 1.0), scored("resnet", 0.5)]
    for mce_on in metrics_named(["auroc", "balanced_accuracy", "scaled_ece"])[1:]:
        table = finding_scores(runs, "vit", mce_on=mce_on, patients=patients, resamples=20)
        metrics = score_benchmark(runs, "vit", mce_on=mce_on, patients=patients, resamples=20).metrics
        metrics = metrics[metrics["data_set"] == "chest"]
        of_all = value(table, model="resnet", finding="all", corruption="all", metric="auroc")
        each = [
            value(table, model="resnet", finding=name, corruption="all", metric="auroc")["value"] for name in FINDINGS
        ]
        assert of_all["value"] == pytest.approx(np.mean(each))
        board = value(metrics, model="resnet", corruption="all", metric="auroc")
        assert [of_all[key] for key in ("value", "low", "high")] == pytest.approx(
            [board[key] for key in ("value", "low", "high")]
        )
        row = value(table, model="resnet", finding="all", corruption="all", metric="mce")
        board, mce = value(metrics, model="resnet", corruption="all", metric="mce"), row["value"]
        assert [row[key] for key in ("value", "low", "high")] == pytest.approx(
            [board[key] for key in ("value", "low", "high")]
        )
        losses = [
            mce_on.loss(
                np.mean(
                    [
                        value(metrics, model=m, corruption="blur", severity=s, metric=mce_on.name)["value"]
                        / mce_on.scale
                        for s in range(1, 6)
                    ]
                )
            )
            for m in ("resnet", "vit")
        ]
        assert mce == pytest.approx(100 * losses[0] / losses[1])
        assert value(metrics, model="vit", corruption="all", metric="mce")["value"] == pytest.approx(100)


def test_images_are_drawn_with_all_of_their_findings():
    """Two findings that are the same one twice: the interval of their mean is as wide as that of each."""
    table = finding_scores([scored("vit", 0.5, correlated=True)], "vit", resamples=300)
    widths = {
        name: row["high"] - row["low"]
        for name in (*FINDINGS, "all")
        for row in [value(table, finding=name, corruption="clean", metric="auroc")]
    }
    assert widths["all"] == pytest.approx(widths["edema"]) == pytest.approx(widths["mass"])
    apart = finding_scores([scored("vit", 0.5)], "vit", resamples=300)
    row = value(apart, finding="all", corruption="clean", metric="auroc")
    assert row["high"] - row["low"] < 0.85 * widths["all"]


def test_the_interval_of_the_mean_holds_the_true_auroc_where_findings_go_together():
    """Five findings of 200 images that go together; drawn apart, as data sets of their own, they would be too sure."""
    together, apart, cases, true_auroc = 0, 0, 200, norm.cdf(1 / np.sqrt(2))
    for case in range(cases):
        rng = np.random.default_rng(case)
        health, noise = (0.8 * rng.normal(size=(200, 1)) + 0.6 * rng.normal(size=(200, 5)) for _ in range(2))
        labels = (health > norm.ppf(0.8)).astype(int)
        scores = labels + noise
        labels[rng.random(labels.shape) < 0.1] = -1
        values = [values_of_finding([AUROC], scores[None], labels, scores, place)[0, 0] for place in range(5)]
        of_each = [resampled_means(of_one, case, f"finding {place}", 300) for place, of_one in enumerate(values)]
        low, high = interval(resampled_means(np.stack(values), case, "chest", 300).mean(1))
        together += low <= true_auroc <= high
        low, high = interval(np.mean(of_each, axis=0))
        apart += low <= true_auroc <= high
    assert together / cases >= 0.9
    assert apart / cases <= 0.86


def test_a_finding_that_every_test_image_lacks_is_left_out():
    run = scored("vit", 1.0)
    run.labels[:, 1] = 0
    table = finding_scores([run], "vit", resamples=20)
    assert set(table["finding"]) == {"edema", "all"}
    assert (table["patients"].isna()).all()


def test_resamples_of_patients_are_wider_where_the_images_of_one_are_alike():
    run, whose = scored("vit", 0.5, images=40), np.repeat(np.arange(40), 5).astype(str)
    five = Logits(
        **{
            **vars(run),
            "logits": np.repeat(run.logits, 5, axis=1),
            "labels": np.repeat(run.labels, 5, 0),
            "sample_ids": np.array([str(index) for index in range(200)]),
        }
    )
    widths = []
    for patients in ({}, {"chest": whose}):
        row = value(
            finding_scores([five], "vit", patients=patients, resamples=300),
            finding="all",
            corruption="clean",
            metric="auroc",
        )
        widths.append(row["high"] - row["low"])
    assert widths[1] > 1.5 * widths[0]
    assert row["patients"] == 40


def test_ordinary_classes_may_have_an_mce_of_auroc_too():
    labels = np.arange(90) % 3
    runs = []
    for model, strength in (("vit", 1.0), ("resnet", 0.5)):
        logits = np.random.default_rng(0).normal(size=(len(CONDITIONS), 90, 3)) + strength * np.eye(3)[labels]
        ids = np.array([f"{index:02d}" for index in range(90)])
        runs.append(Logits(model, "oct", "oct", ("a", "b", "c"), CONDITIONS, logits, labels, ids, {"base": model}))
    metrics = score_benchmark(runs, "vit", mce_on=AUROC, resamples=0).metrics
    metrics = metrics[metrics["data_set"] == "oct"]
    lost = [1 - value(metrics, model=m, corruption="all", metric="auroc")["value"] for m in ("resnet", "vit")]
    assert value(metrics, model="resnet", corruption="all", metric="mce")["value"] == pytest.approx(
        100 * lost[0] / lost[1]
    )


def test_data_sets_of_other_corruptions_and_without_patients_share_a_table():
    run = scored("vit", 0.5)
    conditions = (CLEAN, *(Condition("noise", severity) for severity in range(1, 6)))
    other = replace(run, data_set="wrist", conditions=conditions)
    whose = {"chest": np.repeat(np.arange(20), 10).astype(str)}
    table = finding_scores([run, other], "vit", patients=whose, resamples=20)
    setting = Setting(baseline="vit", metrics=(), suites=(), seen=(), protocol="fixed", mce_on=AUROC)
    text = finding_tables(table, ["vit"], setting)["findings_auroc"].text
    assert text.columns.tolist()[3:] == ["clean", "blur", "noise", "all corruptions", "mCE of 1 - AUROC"]
    of = text.set_index(["data set", "finding"])
    present = run.labels[:, 0].sum()
    assert of.loc[("chest", f"edema (n = 200 images of 20 patients, {present} with it)"), "noise"] == ""
    assert of.loc[("wrist", f"edema (n = 200 images, {present} with it)"), "blur"] == ""
