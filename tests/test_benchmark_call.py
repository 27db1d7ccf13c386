"""The benchmark as a call: any function of images, or a model of torch with a text per class, and a report."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.transforms.functional import to_tensor

from robustmedclip.benchmark import benchmark, classifier_of_texts
from robustmedclip.errors import InputError
from robustmedclip.metrics import score_benchmark
from robustmedclip.metrics.subgroups import subgroup_errors

LABELS = np.arange(24) % 2
IMAGES = np.random.default_rng(0).integers(0, 120, (24, 32, 32, 1), np.uint8) + (
    100 * LABELS[:, None, None, None]
).astype(np.uint8)


def by_brightness(images: np.ndarray) -> np.ndarray:
    means = images.mean((1, 2, 3))
    return np.stack([110 - means, means - 110], axis=1)


def by_one_pixel(images: np.ndarray) -> np.ndarray:
    return np.stack([60.0 - images[:, 0, 0, 0].astype(float), np.zeros(len(images))], axis=1)


def not_yet(images: np.ndarray) -> np.ndarray:
    raise AssertionError("a model runs")


@pytest.fixture(scope="module")
def result():
    models = {"mean": by_brightness, "pixel": by_one_pixel}
    return benchmark(
        models, IMAGES, LABELS, ["dark", "bright"], baseline="pixel", corruptions=["pixelate"], resamples=50
    )


def test_the_better_model_is_first_and_the_baseline_has_100(result):
    assert result.leaderboard["model"].tolist() == ["mean", "pixel"]
    assert result.leaderboard.set_index("model").loc["pixel", "mce"] == 100


@pytest.mark.slow
def test_tables_and_report_are_written(result, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report/subgroups.csv").touch()  # of an earlier call
    result.save(tmp_path / "report")
    assert pd.read_csv(tmp_path / "report/leaderboard.csv")["model"].tolist() == ["mean", "pixel"]
    assert {file.name for file in (tmp_path / "report").iterdir()} == {
        "comparisons.csv",
        "leaderboard.csv",
        "mce_resamples.csv",
        "metrics.csv",
        "provenance.json",
        "report.html",
        "report.md",
    }
    for name in ("report.md", "report.html"):
        assert "pixelate" in (tmp_path / "report" / name).read_text()


@pytest.mark.slow
def test_patients_and_subgroups_give_the_numbers_of_the_tables_and_stand_in_the_report(result, tmp_path):
    models, patients = {"mean": by_brightness, "pixel": by_one_pixel}, [f"patient {i // 3}" for i in range(24)]
    scanners = ["A"] * 20 + ["B"] * 4
    called = benchmark(
        models,
        IMAGES,
        LABELS,
        ["dark", "bright"],
        baseline="pixel",
        corruptions=["pixelate"],
        patients=patients,
        subgroups={"scanner": scanners},
        resamples=50,
    )
    known = {"images": np.array(patients)}
    scored = score_benchmark(called.logits, "pixel", patients=known, resamples=50)
    pd.testing.assert_frame_equal(called.metrics, scored.metrics)
    assert not called.metrics["low"].equals(result.metrics["low"])
    tests = {"images": called.images.clean}
    pd.testing.assert_frame_equal(called.subgroups, subgroup_errors(called.logits, tests, resamples=50))
    called.save(tmp_path)
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    for report in (page, text):
        assert "n = 24 images of 8 patients" in report and "A (n = 20 images of 7 patients)" in report
    assert pd.read_csv(tmp_path / "subgroups.csv")["group"].tolist().count("A") == 6


@pytest.mark.slow
def test_findings_are_labels_of_several_columns_and_logits_are_log_odds(tmp_path):
    findings = np.stack([LABELS, np.arange(24) % 3 == 0], axis=1).astype(int)
    models = {"mean": lambda images: by_brightness(images)[:, ::-1], "pixel": by_one_pixel}
    settings = {"corruptions": ["pixelate"], "resamples": 20}
    result = benchmark(models, IMAGES, findings, ["bright", "third"], mce_on="auroc", **settings)
    assert set(result.findings["finding"]) == {"bright", "third", "all"}
    assert "mCE is made of:** 1 - AUROC" in result.markdown() and "of findings by corruption" in result.markdown()
    result.save(tmp_path)
    assert (tmp_path / "findings.csv").exists()
    with pytest.raises(InputError, match="mce_on: expected one of error, balanced_accuracy"):
        benchmark(models, IMAGES, findings, ["bright", "third"], mce_on="precision", **settings)
    with pytest.raises(InputError, match="findings are not compared by subgroup"):
        benchmark(models, IMAGES, findings, ["bright", "third"], subgroups={"scanner": ["A"] * 24}, **settings)


@pytest.mark.parametrize("unknown", [None, float("nan"), " "])
def test_images_of_unknown_patients_are_not_of_one_patient(unknown):
    patients = ["a", "a", "b", *[unknown] * 21]
    called = benchmark({"mine": by_brightness}, IMAGES, LABELS, ["dark", "bright"], patients=patients, resamples=20)
    assert set(called.metrics["patients"].dropna()) == {2 + 21}


def test_labels_that_are_no_whole_numbers_are_refused():
    with pytest.raises(InputError, match="labels: expected whole numbers.* found float64"):
        benchmark({"mine": by_brightness}, IMAGES, np.array(LABELS) + 0.6, ["dark", "bright"])


def test_as_many_patients_as_images_are_asked_for():
    with pytest.raises(InputError, match="patient must be one text for each of 24 images"):
        benchmark({"mine": by_brightness}, IMAGES, LABELS, ["dark", "bright"], patients=["somebody"])


def test_logits_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"'mine' gives logits \(24, 3\)"):
        benchmark({"mine": lambda images: np.zeros((len(images), 3))}, IMAGES, LABELS, ["dark", "bright"])


def test_a_corruption_of_another_suite_is_refused():
    with pytest.raises(ValueError, match="fog"):
        benchmark({"mine": by_brightness}, IMAGES, LABELS, ["dark", "bright"], corruptions=["fog"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"models": {}}, "models: expected names mapped to functions of images, found {}"),
        ({"models": {"mine": not_yet, "other": 3}}, "found {'mine': 'function', 'other': 'int'}"),
        ({"baseline": "mein"}, "baseline: unknown 'mein'; did you mean 'mine'?"),
        ({"metrics": ["auc"]}, "unknown metric 'auc'; did you mean 'aurc'?"),
        ({"mce_on": "precision"}, "mce_on: expected one of error"),
        ({"corruptions": []}, "corruptions: expected different ones of medimeta-c, at least one, found []"),
        ({"corruptions": ["pixelate", "pixelate"]}, "corruptions: expected different ones"),
        ({"images": [*IMAGES[1:], IMAGES[0, 1:]]}, "the images differ in size or channels"),
    ],
)
def test_what_is_asked_for_is_checked_before_a_model_runs(wrong, message):
    call = {"models": {"mine": not_yet}, "images": IMAGES, "labels": LABELS, "class_names": ["dark", "bright"]}
    with pytest.raises(InputError, match=re.escape(message)):
        benchmark(**call | wrong)


def test_images_may_be_a_list(result):
    models = {"mean": by_brightness, "pixel": by_one_pixel}
    settings = {"baseline": "pixel", "corruptions": ["pixelate"], "resamples": 50}
    listed = benchmark(models, list(IMAGES), LABELS, ["dark", "bright"], **settings)
    pd.testing.assert_frame_equal(listed.metrics, result.metrics)


class MeanColour(torch.nn.Module):
    """Images and texts as directions in a plane: how bright, and how dark."""

    def __init__(self):
        super().__init__()
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.0))

    def encode_image(self, pixels):
        means = pixels.mean((1, 2, 3))
        return torch.stack([1 - means, means], dim=1)

    def encode_text(self, tokens):
        return torch.stack([1 - tokens, tokens], dim=1)


def test_a_model_of_torch_classifies_by_a_text_per_class_or_several():
    def tokenize(texts):
        return torch.tensor([{"dark": 0.0, "black": 0.1, "bright": 1.0}[text] for text in texts])

    classify = classifier_of_texts(MeanColour(), tokenize, to_tensor, [["dark", "black"], "bright"])
    logits = classify(np.stack([np.full((28, 28, 1), level, np.uint8) for level in (10, 250)]))
    assert logits.shape == (2, 2) and logits.argmax(1).tolist() == [0, 1]
    assert logits.max() == pytest.approx(np.exp(2.0), rel=0.01)
