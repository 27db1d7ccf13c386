"""Perceptual hashes: what counts as the same picture, and that the search misses nothing."""

from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustmedclip.images.near_duplicates import (
    FRAMINGS,
    LARGEST_DISTANCE,
    nearest,
    perceptual_hashes,
    pixel_digests,
)
from robustmedclip.phantoms import ANATOMIES, DOMAINS, draw_phantoms

pytestmark = pytest.mark.slow


@cache
def phantoms(anatomy: str, count: int, size: int = 64, split: str = "train") -> np.ndarray:
    labels = np.arange(count) % len(ANATOMIES[anatomy].CLASSES)
    ids = np.array([f"{split}/{index:06d}" for index in range(count)])
    return draw_phantoms(anatomy, ids, labels, size=size, seed=0, domain=DOMAINS["hospital"])


def of(images: np.ndarray, framing: str = "whole") -> np.ndarray:
    return perceptual_hashes(images)[:, FRAMINGS.index(framing)]


def resized(images: np.ndarray, side: int) -> np.ndarray:
    made = np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in images])
    return made if made.ndim == 4 else made[..., None]


def jpeg(image: np.ndarray) -> np.ndarray:
    _, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return cv2.imdecode(content, cv2.IMREAD_UNCHANGED).reshape(image.shape)


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_the_same_picture_is_found_after_what_does_not_change_it_and_others_are_not(anatomy):
    images = phantoms(anatomy, 120)
    for changed in (
        np.stack(list(map(jpeg, images))),
        resized(images, 28),
        resized(images, 224),
        (images * 0.8 + 20).astype(np.uint8),
    ):
        rows, distances = nearest(of(changed), of(images))
        assert rows.tolist() == list(range(120))
        assert distances.max() <= LARGEST_DISTANCE
    _, distances = nearest(of(images), of(phantoms(anatomy, 60, split="test")))
    assert distances.min() > LARGEST_DISTANCE


@pytest.mark.parametrize("side", [28, 224])
def test_cells_are_found_where_one_collection_shows_more_of_their_surroundings(side):
    source = phantoms("blood", 16, 360)
    padded, cut = resized(source, 224), resized(source[:, 80:280, 80:280], side)
    rows, distances = nearest(of(padded, "centre"), of(cut))
    assert rows.tolist() == list(range(16)) and distances.max() <= LARGEST_DISTANCE
    assert nearest(of(padded), of(cut))[1].min() > LARGEST_DISTANCE


@pytest.mark.parametrize("side", [28, 224])
def test_scans_are_found_where_one_collection_pads_and_the_other_cuts(side):
    source = phantoms("oct", 16, 360)
    padded = np.zeros_like(source)
    padded[:, 60:300] = source[:, 60:300]
    rows, distances = nearest(of(resized(padded, 224), "content"), of(resized(source[:, 60:300, 60:300], side)))
    assert rows.tolist() == list(range(16)) and distances.max() <= LARGEST_DISTANCE


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_the_nearest_is_that_of_a_plain_search(first, second, seed):
    rng = np.random.default_rng(seed)
    ours, theirs = (rng.integers(0, 256, (count, 32), np.uint8) for count in (first, second))
    ours[rng.random(first) < 0.2] = 0
    theirs[rng.random(second) < 0.2] = 0
    rows, distances = nearest(ours, theirs)
    bits = np.unpackbits(ours[:, None] ^ theirs[None], axis=-1).sum(-1, dtype=int)
    bits[~ours.any(1)] = bits[:, ~theirs.any(1)] = 256
    expected = bits.min(1, initial=256)
    np.testing.assert_array_equal(distances, expected)
    matched = expected < 256
    np.testing.assert_array_equal(rows[matched], bits.argmin(1)[matched] if second else [])


def test_blocks_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(0)
    ours, theirs = (rng.integers(0, 256, (count, 32), np.uint8) for count in (300, 200))
    whole = nearest(ours, theirs)
    monkeypatch.setattr("robustmedclip.images.near_duplicates._BLOCK", 37)
    np.testing.assert_array_equal(nearest(ours, theirs), whole)


def test_an_image_without_structure_has_no_hash_and_a_batch_does_not_change_one():
    flat = np.full((2, 32, 32, 3), 128, np.uint8)
    assert not perceptual_hashes(flat).any()
    images = phantoms("chest", 6)
    alone = np.concatenate([perceptual_hashes(image[None]) for image in images])
    np.testing.assert_array_equal(perceptual_hashes(images), alone)
    assert len(set(pixel_digests(np.concatenate([images, images])))) == 6
