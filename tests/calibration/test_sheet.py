"""A rating sheet, as a clinician opens it."""

import re

import numpy as np
import pytest

from robustmedclip.calibration.ratings import Pair
from robustmedclip.calibration.sheet import rating_sheet
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet

CONDITIONS = (CLEAN, *(Condition("scatter", s) for s in range(1, 6)), *(Condition("haze", s) for s in range(1, 6)))
SETTINGS = {"suite": "acquisition-c", "dataset": "own", "seed": 0}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return ImageSet.validated(
        name="own",
        split="test",
        modality="chest X-ray <1>",
        class_names=("a", "b"),
        images=np.random.default_rng(0).integers(0, 200, (4, 40, 40, 1), np.uint8),
        labels=np.arange(4) % 2,
        sample_ids=np.array(list("abcd")),
    )


def pairs_of(page: str) -> list[tuple[Pair, str, str]]:
    entries = re.findall(r'\["([\w=-]+)", "(data:image/png;base64,[^"]+)", "(data:image/png;base64,[^"]+)"\]', page)
    return [(Pair.of_token(token), original, other) for token, original, other in entries]


def test_every_level_is_shown_beside_its_original_and_some_pairs_are_equal(images):
    pairs = pairs_of(rating_sheet(images, CONDITIONS, 2, 0, SETTINGS))
    conditions = [pair.condition for pair, _, _ in pairs]
    assert sorted(conditions) == sorted([*CONDITIONS[1:], *CONDITIONS[1:], CLEAN, CLEAN])
    assert all((original == other) == (pair.condition == CLEAN) for pair, original, other in pairs)


def test_the_order_is_drawn_and_tells_nothing(images):
    first, again, other = (rating_sheet(images, CONDITIONS, 1, seed, SETTINGS) for seed in (0, 0, 1))
    assert first == again
    orders = [[pair.condition for pair, _, _ in pairs_of(page)] for page in (first, other)]
    assert orders[0] != orders[1] != sorted(orders[1])


def test_the_page_opens_offline_names_no_corruption_and_escapes(images):
    page = rating_sheet(images, CONDITIONS, 1, 0, SETTINGS)
    assert not re.search(r"https?://|src=\"(?!data)", page)
    assert "scatter" not in page
    assert "haze" not in page
    assert "chest X-ray &lt;1&gt;" in page
