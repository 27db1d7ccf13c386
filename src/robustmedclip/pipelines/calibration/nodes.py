"""Nodes of the calibration."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.calibration.levels import drawn_images, judged_levels, likeness_table
from robustmedclip.calibration.ratings import Sheet, verdicts
from robustmedclip.corruptions import suite
from robustmedclip.images.conditions import Condition
from robustmedclip.images.sets import ImageSet

logger = logging.getLogger(__name__)


def measure_likeness(
    test: ImageSet,
    model: Any,
    calibration: Mapping[str, Any],
    corruption: Mapping[str, Any],
    *,
    conditions: Sequence[Condition],
    settings: Mapping[str, Any],
) -> pd.DataFrame:
    """SSIM, PSNR and the shift of a model's features at each level, on some images of a test set."""
    from robustmedclip.models.inference import image_features, move_to_device

    precision = move_to_device(model, "float32")

    def encode(images: np.ndarray) -> np.ndarray:
        return np.concatenate(list(image_features(model, [images], precision)))

    images = drawn_images(test, calibration["images"], calibration["seed"])
    return likeness_table(images, conditions, encode, _settings(test, corruption, settings))


def judge_levels(
    ratings: Sequence[Sheet], *likeness: pd.DataFrame, suites: Mapping[str, tuple[str, str | None]]
) -> pd.DataFrame:
    """Which levels are realistic, who says so, and which the images at hand contradict."""
    for sheet in ratings:
        if not sheet.is_reliable:
            logger.warning("The answers of %s are left out: most originals were rejected", sheet.rater)
    objects = {data_set: (suite(name), of) for data_set, (name, of) in suites.items()}
    return judged_levels(pd.concat(likeness, ignore_index=True), objects, verdicts(ratings))


def draw_likeness(levels: pd.DataFrame) -> Any:
    """The picture: likeness against severity."""
    from robustmedclip.calibration.picture import likeness_by_severity

    return likeness_by_severity(levels)


def write_rating_sheets(
    calibration: Mapping[str, Any],
    corruption: Mapping[str, Any],
    *tests: ImageSet,
    conditions: Mapping[str, Sequence[Condition]],
    settings: Mapping[str, Mapping[str, Any]],
) -> dict[str, bytes]:
    """A page for each data set, on which clinicians rate its levels."""
    from robustmedclip.calibration.sheet import rating_sheet

    pages = {}
    for test in tests:
        images = drawn_images(test, calibration["images"], calibration["seed"])
        how = _settings(test, corruption, settings[test.name])
        page = rating_sheet(images, conditions[test.name], calibration["pairs"], calibration["seed"], how)
        pages[f"{test.name}.html"] = page.encode()
    return pages


def _settings(test: ImageSet, corruption: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """How the corruption stage corrupts the images of a data set."""
    return {**settings, "dataset": settings["dataset"] or test.name, "seed": corruption["seed"]}
