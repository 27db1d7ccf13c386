"""Likeness, the verdicts of clinicians, and what becomes of both."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from robustmedclip.calibration.levels import drawn_images, extreme_conditions, judged_levels, likeness_table
from robustmedclip.calibration.likeness import psnr, ssim
from robustmedclip.calibration.ratings import Pair, Sheet, Verdict, sheet_of, verdicts
from robustmedclip.corruptions import suite
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import RatingsDataset
from robustmedclip.io.versioned import SourceError

SUITE = suite("acquisition-c")
CONDITIONS = (CLEAN, *(Condition(name, s) for name in ("quantum_noise", "jpeg2000") for s in range(1, 6)))
SETTINGS = {"suite": "acquisition-c", "dataset": "chest", "seed": 0}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    views = [data.camera()[top : top + 64, 100:164] for top in range(0, 200, 10)]
    return ImageSet.validated(
        name="chest",
        split="test",
        modality="chest X-ray",
        class_names=("a", "b"),
        images=np.stack(views)[..., None],
        labels=np.arange(20) % 2,
        sample_ids=np.array([f"image {index}" for index in range(20)]),
    )


def mean_and_spread(batch: np.ndarray) -> np.ndarray:
    features = np.stack([batch.mean((1, 2, 3)), batch.std((1, 2, 3))], axis=1)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def likeness(images) -> pd.DataFrame:
    return likeness_table(drawn_images(images, 8, 0), CONDITIONS, mean_and_spread, SETTINGS)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_scikit_image(channels):
    first = data.astronaut()[:80, :90, :channels]
    second = np.clip(first + np.random.default_rng(0).normal(0, 20, first.shape), 0, 255).astype(np.uint8)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(first, second, channel_axis=-1, data_range=255, full=True, **settings)[1].mean()
    assert ssim(first, second) == pytest.approx(expected, abs=1e-6)
    assert ssim(first, first) == pytest.approx(1)


def test_psnr_of_a_difference_of_one_level_and_of_none():
    image = np.full((9, 9, 1), 100, np.uint8)
    assert psnr(image, image + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(image, image) == 78


def test_images_are_drawn_by_their_ids_alone(images):
    some = set(drawn_images(images, 5, 0).sample_ids)
    assert len(some) == 5
    assert set(drawn_images(images.subset(np.arange(20)[::-1]), 5, 0).sample_ids) == some
    assert set(drawn_images(images, 5, 1).sample_ids) != some
    assert len(drawn_images(images, 50, 0)) == 20


def test_likeness_falls_and_features_move_with_severity(likeness):
    noise = likeness[likeness["corruption"] == "quantum_noise"]
    assert list(noise["severity"]) == [1, 2, 3, 4, 5]
    assert (noise[["ssim", "psnr"]].diff()[1:] < 0).all(axis=None)
    assert noise["shift"].iloc[-1] > noise["shift"].iloc[0] >= 0
    assert (likeness["ssim_low"] <= likeness["ssim"]).all()
    assert set(likeness["n"]) == {8}


def judged(likeness, answers=None) -> pd.DataFrame:
    return judged_levels(likeness, {"chest": (SUITE, None)}, answers or {}).set_index(["corruption", "severity"])


def test_levels_have_the_band_of_the_suite_and_who_says_so(likeness):
    levels = judged(likeness)
    assert list(levels.loc["quantum_noise", "band"]) == ["realistic"] * 4 + ["extreme"]
    assert set(levels.loc["quantum_noise", "band_source"]) == {"ours: SSIM of 0.70 and above"}
    assert all(source.startswith("clinicians: Jaspers") for source in levels.loc["jpeg2000", "band_source"])
    assert levels.loc[("jpeg2000", 2), "value"] == "28"


def test_levels_whose_ssim_is_on_the_other_side_are_marked_unless_clinicians_have_judged(likeness):
    low = likeness.assign(ssim=0.6)
    assert list(judged(low).loc["quantum_noise", "outside"]) == [True] * 4 + [False]
    assert not judged(low).loc["jpeg2000", "outside"].any()
    verdict = {("chest", Condition("quantum_noise", 1)): Verdict(3, 4)}
    assert not judged(low, verdict).loc[("quantum_noise", 1), "outside"]


def test_clinicians_come_before_the_suite(likeness):
    answers = {
        ("chest", Condition("quantum_noise", 1)): Verdict(1, 4),
        ("chest", Condition("quantum_noise", 5)): Verdict(2, 4),
        ("other", Condition("quantum_noise", 2)): Verdict(0, 4),
    }
    levels = judged(likeness, answers)
    assert list(levels.loc["quantum_noise", "band"]) == ["extreme", *["realistic"] * 4]
    assert levels.loc[("quantum_noise", 1), "band_source"] == "clinicians: 1 of 4 answers accept"
    extreme = extreme_conditions(levels.reset_index())
    jpeg = {Condition("jpeg2000", 4), Condition("jpeg2000", 5)}
    assert extreme == {"chest": {Condition("quantum_noise", 1), *jpeg}}


def test_answers_are_read_back_and_counted(tmp_path):
    level, control = (Pair("chest", condition, "image 1") for condition in (Condition("blur", 2), CLEAN))
    for rater, accepts, knows in (("A", True, True), ("B", False, True), ("C", True, False)):
        content = {"sheet": "chest", "rater": rater, "answers": {level.token(): accepts, control.token(): knows}}
        (tmp_path / f"{rater}.json").write_text(json.dumps(content))
    sheets = RatingsDataset(filepath=str(tmp_path)).load()
    assert [sheet.rater for sheet in sheets] == ["A", "B", "C"]
    assert [sheet.is_reliable for sheet in sheets] == [True, True, False]  # C rejects originals
    assert verdicts(sheets) == {("chest", Condition("blur", 2)): Verdict(1, 2)}
    assert Verdict(1, 2).band == "realistic"
    assert Verdict(1, 3).band == "extreme"


def test_there_need_not_be_ratings(tmp_path):
    dataset = RatingsDataset(filepath=str(tmp_path / "none"))
    assert (dataset.load(), dataset.problems(), dataset.missing()) == ([], [], None)


@pytest.mark.parametrize("text", ["{", "[]", '{"rater": "A"}', '{"rater": "A", "answers": {"x": true}}'])
def test_other_files_among_the_ratings_are_named(tmp_path, text):
    (tmp_path / "wrong.json").write_text(text)
    with pytest.raises(SourceError, match=r"wrong.json is no file of a rating sheet .*: take it out"):
        RatingsDataset(filepath=str(tmp_path)).load()


def test_new_answers_change_what_the_levels_are_made_of(tmp_path):
    dataset = RatingsDataset(filepath=str(tmp_path))
    before = dataset.signature()
    (tmp_path / "a.json").write_text('{"rater": "A", "answers": {}}')
    assert dataset.signature() != before
    assert sheet_of({"rater": "A", "answers": {}}) == Sheet("A", {})


def test_a_suite_that_says_nothing_of_bands_has_none(likeness):
    levels = judged_levels(likeness.assign(corruption="contrast"), {"chest": (suite("medimeta-c"), None)}, {})
    assert levels["band"].isna().all()
    assert not levels["outside"].any()
    assert extreme_conditions(levels) == {}
    assert not replace(SUITE, lists={None: suite("medimeta-c").corruptions()}).has_bands
