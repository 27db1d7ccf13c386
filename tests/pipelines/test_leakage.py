"""Images of the test splits that are also in a training pool: found, reported, and never trained on."""

from dataclasses import replace

import numpy as np
import pytest

from robustmedclip.errors import InputError
from robustmedclip.images.sets import ImageSet
from robustmedclip.phantoms import ANATOMIES, DOMAINS, draw_phantoms
from robustmedclip.pipelines.few_shot.leakage import find_duplicates, hash_images
from robustmedclip.pipelines.few_shot.nodes import draw_few_shots


def phantom_set(anatomy: str, split: str, count: int) -> ImageSet:
    classes = ANATOMIES[anatomy].CLASSES
    labels = np.arange(count) % len(classes)
    ids = np.array([f"{split}/{index:06d}" for index in range(count)])
    return ImageSet.validated(
        name=anatomy,
        split=split,
        modality="x",
        class_names=tuple(classes),
        images=draw_phantoms(anatomy, ids, labels, size=64, seed=0, domain=DOMAINS["hospital"]),
        labels=labels,
        sample_ids=ids,
    )


@pytest.fixture(scope="module")
def sets() -> dict[str, tuple[ImageSet, ImageSet]]:
    return {anatomy: (phantom_set(anatomy, "pool", 80), phantom_set(anatomy, "test", 24)) for anatomy in ANATOMIES}


def duplicates_of(sets):
    return find_duplicates(*(hash_images(*pair) for pair in sets.values()))


def with_images(one: ImageSet, places: list[int], images: np.ndarray) -> ImageSet:
    changed = np.array(one.images)
    changed[places] = images
    return replace(one, images=changed)


@pytest.mark.slow
def test_phantoms_share_no_image(sets):
    assert duplicates_of(sets).empty


def test_shared_images_are_found_within_and_across_data_sets_and_never_drawn(sets):
    pool, test = sets["chest"]
    brighter = np.clip(test.images[[1, 2]] * 0.9 + 15, 0, 255).astype(np.uint8)
    pool = with_images(with_images(pool, [5], test.images[[0]]), [7, 9], brighter)
    breast = with_images(sets["breast"][0], [3], test.images[[4]])
    leaking = {**sets, "chest": (pool, test), "breast": (breast, sets["breast"][1])}
    table = duplicates_of(leaking)
    found = [tuple(row) for row in table.drop(columns="bits").itertuples(index=False)]
    assert found == [
        ("breast", "pool/000003", "chest", "test/000004", "exact"),
        ("chest", "pool/000005", "chest", "test/000000", "exact"),
        ("chest", "pool/000007", "chest", "test/000001", "near"),
        ("chest", "pool/000009", "chest", "test/000002", "near"),
    ]
    leaked = set(zip(table["pool_set"], table["pool_sample"], strict=True))
    drawn = draw_few_shots(table, pool, breast, fraction=0.5, seed=0)
    assert not leaked & set(zip(drawn["data_set"], drawn["sample_id"], strict=True))
    others = draw_few_shots(duplicates_of(sets), pool, breast, fraction=1 / 3, seed=0)
    assert leaked & set(zip(others["data_set"], others["sample_id"], strict=True))


def test_a_class_that_leaked_as_a_whole_is_an_error(sets):
    pool, _ = sets["breast"]
    places = np.flatnonzero(pool.labels == 1)
    test = replace(pool.subset(places), split="test")
    table = find_duplicates(hash_images(pool, test))
    with pytest.raises(InputError, match="'breast': every image of .* also in a test split"):
        draw_few_shots(table, pool, fraction=0.1, seed=0)


def test_a_patient_of_the_test_split_is_never_drawn_and_is_counted(sets):
    pool, test = sets["chest"]
    pool = replace(pool, columns={"patient": np.array([f"p{index // 2}" for index in range(80)])})
    test = replace(test, columns={"patient": np.array([f"p{30 + index}" for index in range(24)])})
    table = duplicates_of({"chest": (pool, test), "breast": sets["breast"]})
    assert set(table["kind"]) == {"patient"} and table["bits"].isna().all()
    assert table["pool_sample"].tolist() == [f"pool/{index:06d}" for index in range(60, 80)]
    assert table["test_sample"].iloc[0] == "test/000000"
    drawn = draw_few_shots(table, pool, fraction=0.4, seed=0)
    assert not set(drawn["sample_id"]) & set(table["pool_sample"])
