"""Few-shot sampling: stratified, nested, disjoint, and independent of order."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustmedclip.errors import InputError
from robustmedclip.images.sets import ImageSet
from robustmedclip.pipelines.few_shot.leakage import find_duplicates
from robustmedclip.pipelines.few_shot.nodes import chosen, draw_few_shots

NONE = find_duplicates()
FRACTIONS = (0.01, 0.03, 0.07, 0.1)


def make_pool(counts: list[int], name: str = "pool") -> ImageSet:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return ImageSet.validated(
        name=name,
        split="pool",
        modality="x-ray",
        class_names=tuple(f"class {i}" for i in range(len(counts))),
        images=np.zeros((len(labels), 8, 8, 1), np.uint8),
        labels=labels,
        sample_ids=np.array([f"{i:05d}" for i in range(len(labels))]),
    )


def ids(table, role: str) -> set[str]:
    return set(table[table["role"] == role]["sample_id"])


def findings_pool(labels: np.ndarray, patients: np.ndarray | None = None) -> ImageSet:
    return ImageSet.validated(
        name="chest",
        split="pool",
        modality="x-ray",
        class_names=tuple(f"finding {place}" for place in range(labels.shape[1])),
        images=np.zeros((len(labels), 8, 8, 1), np.uint8),
        labels=labels,
        sample_ids=np.array([f"{i:05d}" for i in range(len(labels))]),
        columns={} if patients is None else {"patient": patients.astype(str)},
    )


@pytest.mark.parametrize("amount", [{"fraction": 0.1}, {"shots": 2}])
def test_shots_have_and_lack_each_finding_and_validation_has_none_of_their_patients(amount):
    labels = np.random.default_rng(0).choice([-1, 0, 0, 0, 0, 1], (200, 4))
    pool = findings_pool(labels, patients=np.arange(200) // 2)
    table = draw_few_shots(NONE, pool, seed=0, **amount)
    training, validation = (chosen(pool, table, role) for role in ("training", "validation"))
    counts = {name: images.sum() for name, images in training.members().items()}
    assert min(counts.values()) >= amount.get("shots", 1)
    assert not set(training.patients) & set(validation.patients)
    assert not table.duplicated(["role", "sample_id"]).any() and len(training) < 60


def test_a_finding_whose_images_are_all_tested_on_is_named():
    pool = findings_pool(np.array([[1, 1], [0, 1], [0, 0], [0, 0]]))
    duplicates = NONE.assign(pool_set=[], pool_sample=[]).astype(object)
    duplicates.loc[0, ["pool_set", "pool_sample", "test_set"]] = ["chest", "00000", "other"]
    with pytest.raises(InputError, match="every image of 'finding 0' in the training pool is also in a test split"):
        draw_few_shots(duplicates, pool, fraction=0.5, seed=0)


@settings(max_examples=30)
@given(st.lists(st.integers(2, 120), min_size=2, max_size=5), st.integers(0, 5))
def test_samples_are_stratified_nested_and_disjoint_from_validation(counts, seed):
    pool = make_pool(counts)
    smaller: set[str] = set()
    for fraction in FRACTIONS:
        table = draw_few_shots(NONE, pool, fraction=fraction, seed=seed)
        training, validation = ids(table, "training"), ids(table, "validation")
        assert smaller <= training
        assert not training & validation
        per_class = table[table["role"] == "training"]["class_name"].value_counts()
        assert per_class.to_dict() == {f"class {i}": max(1, round(fraction * n)) for i, n in enumerate(counts)}
        smaller = training


def test_a_fraction_of_less_than_half_an_image_is_said_to_be_one_image(caplog):
    table = draw_few_shots(NONE, make_pool([40, 120]), fraction=0.01, seed=0)
    assert len(ids(table, "training")) == 2
    assert "A fraction of 0.01 is less than half an image of class 0 of pool (40 images): one" in caplog.text


def test_the_draw_does_not_depend_on_the_order_of_images_or_data_sets():
    first, second = make_pool([40, 60], "first"), make_pool([30, 30], "second")
    shuffled = first.subset(np.random.default_rng(0).permutation(len(first)))
    one = draw_few_shots(NONE, first, second, fraction=0.1, seed=3)
    other = draw_few_shots(NONE, second, shuffled, fraction=0.1, seed=3)
    assert set(map(tuple, one.to_numpy())) == set(map(tuple, other.to_numpy()))


def test_seeds_draw_different_images():
    pool = make_pool([100, 100])
    assert ids(draw_few_shots(NONE, pool, fraction=0.1, seed=0), "training") != ids(
        draw_few_shots(NONE, pool, fraction=0.1, seed=1), "training"
    )


def test_a_pool_without_an_image_for_validation_is_refused():
    with pytest.raises(ValueError, match="'pool'.*validation"):
        draw_few_shots(NONE, make_pool([3, 3]), fraction=1, seed=0)
    all_of_it = draw_few_shots(NONE, make_pool([3, 3]), fraction=1, seed=0, validated=False)
    assert set(all_of_it["role"]) == {"training"} and len(all_of_it) == 6


def test_chosen_images_are_those_of_the_table():
    pool = make_pool([20, 30])
    table = draw_few_shots(NONE, pool, fraction=0.1, seed=0)
    training = chosen(pool, table, "training")
    assert set(training.sample_ids) == ids(table, "training")
    assert training.class_counts().tolist() == [2, 3]


def test_shots_are_as_many_of_each_class_and_all_where_there_are_fewer(caplog):
    pool = make_pool([30, 10, 3])
    table = draw_few_shots(NONE, pool, shots=4, seed=0)
    counts = table.groupby(["role", "class_name"]).size()
    assert counts["training"].to_dict() == {"class 0": 4, "class 1": 4, "class 2": 3}
    assert "fewer than 4 images of class 2" in caplog.text
    assert ids(draw_few_shots(NONE, pool, shots=2, seed=0), "training") <= ids(table, "training")


def of_patients(pool: ImageSet, images_each: int) -> ImageSet:
    """The pool with patients of so many images, of several classes."""
    order = np.random.default_rng(0).permutation(len(pool))
    return replace(pool, columns={"patient": np.array([f"p{place // images_each}" for place in order])})


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_no_patient_is_in_training_and_validation(fraction):
    pool = of_patients(make_pool([60, 40]), 5)
    table = draw_few_shots(NONE, pool, fraction=fraction, seed=0)
    assert len(ids(table, "training")) == 100 * fraction
    sides = [set(chosen(pool, table, role).patients) for role in ("training", "validation")]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    fewer = draw_few_shots(NONE, pool, fraction=fraction / 2, seed=0)
    assert ids(fewer, "training") <= ids(table, "training")


def test_a_fraction_that_leaves_no_other_patient_to_validate_on_is_refused():
    pool = of_patients(make_pool([50, 50]), 5)
    with pytest.raises(InputError, match="no image of another patient .* is left for validation"):
        draw_few_shots(NONE, pool, fraction=1, seed=0)
