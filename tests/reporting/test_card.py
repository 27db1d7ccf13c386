"""Data cards: counts, sizes, origin, and a picture of every class."""

import json

import numpy as np

from robustmedclip.io import PhantomDataset
from robustmedclip.pipelines.ingestion.nodes import ingest_and_describe
from robustmedclip.reporting.card import draw_examples


def test_the_card_counts_every_class_of_every_split_and_says_where_it_comes_from():
    source = PhantomDataset(
        name="blood",
        modality="microscopy",
        anatomy="blood",
        domain="hospital",
        counts={"train": 20, "val": 9, "test": 8},
        seed=0,
        size=32,
        origin={"licence": "MIT"},
    )
    splits = source.load()
    pool, test, card = ingest_and_describe(splits)
    assert json.loads(json.dumps(card)) == card
    assert (card["size"], card["channels"], card["origin"]) == ([32, 32], 3, {"licence": "MIT"})
    for split, part in splits.items():
        assert list(card["counts"][split].values()) == np.bincount(part.labels, minlength=8).tolist()
    assert sum(sum(card["counts"][split].values()) for split in ("train", "val")) == len(pool)
    shown = [axis for axis in draw_examples(test).axes if axis.images]
    assert [axis.get_title() for axis in shown] == list(test.class_names)
    for label, axis in enumerate(shown):
        np.testing.assert_array_equal(axis.images[0].get_array(), test.images[np.argmax(test.labels == label)])


def test_a_class_without_test_images_is_warned_of_and_shown_without_a_picture(caplog):
    settings = {"anatomy": "blood", "domain": "hospital", "counts": {"train": 20, "test": 16}, "seed": 0, "size": 32}
    splits = PhantomDataset(name="blood", modality="microscopy", **settings).load()
    splits["test"] = splits["test"].subset(np.flatnonzero(splits["test"].labels != 3))
    _, test, card = ingest_and_describe(splits)
    absent = test.class_names[3]
    assert f"no image of '{absent}'" in caplog.text and card["counts"]["test"][absent] == 0
    axis = draw_examples(test).axes[3]
    assert not axis.images and axis.get_title() == f"{absent} (no test image)"
