"""Phantoms: reproducible, of any size, and not to be told apart by their mean colour."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from robustmedclip.io import PhantomDataset
from robustmedclip.phantoms import ANATOMIES, DOMAINS, Domain, draw_phantoms

pytestmark = pytest.mark.slow

anatomies = pytest.mark.parametrize("anatomy", ANATOMIES)


def draw(anatomy: str, count: int, **settings) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % len(ANATOMIES[anatomy].CLASSES)
    settings = {"size": 64, "seed": 5, "domain": DOMAINS["web"], **settings}
    return draw_phantoms(anatomy, [f"{i}" for i in range(count)], labels, **settings), labels


@anatomies
def test_a_phantom_depends_on_its_id_label_and_seed_alone(anatomy):
    images, labels = draw(anatomy, 6)
    again = draw_phantoms(anatomy, ["4", "1"], labels[[4, 1]], size=64, seed=5, domain=DOMAINS["web"])
    np.testing.assert_array_equal(again, images[[4, 1]])
    assert not np.array_equal(draw(anatomy, 6, seed=6)[0], images)


@anatomies
@pytest.mark.parametrize("size", [28, 100, 256])
def test_any_size_shows_the_same_scene(anatomy, size):
    images, _ = draw(anatomy, 2, size=size)
    assert images.shape == (2, size, size, ANATOMIES[anatomy].CHANNELS)
    assert images.dtype == np.uint8
    reference, _ = draw(anatomy, 2)
    assert abs(images.mean() - reference.mean()) < 6


@anatomies
def test_mean_colour_does_not_tell_the_classes_apart(anatomy):
    images, labels = draw(anatomy, 750)
    probe = make_pipeline(StandardScaler(), LogisticRegression())
    right = cross_val_score(probe, images.mean((1, 2)), labels, cv=5)  # each time of 600, on the other 150
    assert right.mean() < 1 / len(ANATOMIES[anatomy].CLASSES) + 0.07


@anatomies
def test_domains_show_the_same_anatomy_differently(anatomy):
    web, hospital = draw(anatomy, 20)[0], draw(anatomy, 20, domain=DOMAINS["hospital"])[0]
    assert np.abs(web.astype(int) - hospital).mean() > 3


@anatomies
def test_captions_name_the_class_first(anatomy):
    for name, phrases in ANATOMIES[anatomy].CLASSES.items():
        assert phrases[0] == name
        assert len(set(phrases)) == 5


def test_the_source_makes_balanced_splits():
    source = PhantomDataset(
        name="oct",
        modality="OCT",
        anatomy="oct",
        domain={"noise": (0.0, 0.0)},
        counts={"train": 8, "test": 4},
        seed=0,
        size=32,
    )
    assert source.problems() == []
    splits = source.load()
    assert splits["train"].class_counts().tolist() == [2, 2, 2, 2]
    assert splits["test"].images.shape == (4, 32, 32, 1)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"anatomy": "knee"}, "unknown anatomy 'knee'"),
        ({"domain": "hostpital"}, "unknown domain"),
        ({"domain": {"blur": 1}}, "unknown field of a domain: blur"),
        ({"counts": {"train": 8, "test": 1}}, "counts.test must be at least 4"),
        ({"counts": {"train": "many", "test": 4}}, "counts must map splits to whole numbers of images"),
        ({"counts": 600}, "counts must map splits to whole numbers of images, as {train: 600, test: 100}, not 600"),
        ({"domain": 3}, "domain must be the name of one, or fields of one, not 3"),
        ({"size": 5}, "between 28 and 1024"),
        ({"size": "big"}, "between 28 and 1024 px, not 'big'"),
        ({"class_names": ["a", "b"]}, "2 class names for 4 classes"),
    ],
)
def test_wrong_settings_are_named(settings, problem):
    right = {"anatomy": "oct", "domain": "web", "counts": {"train": 8, "test": 4}, "seed": 0}
    source = PhantomDataset(name="x", modality="y", **{**right, **settings})
    assert problem in "; ".join(source.problems())


def test_domain_fields_have_an_effect():
    blurred = draw("oct", 3, domain=Domain(resolution=(60, 60), noise=(0, 0)))[0]
    sharp = draw("oct", 3, domain=Domain(resolution=(0, 0), noise=(0, 0)))[0]
    assert np.abs(np.diff(blurred.astype(int), axis=2)).mean() < np.abs(np.diff(sharp.astype(int), axis=2)).mean() / 2
