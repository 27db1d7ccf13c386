"""Released corrupted sets as inputs: both layouts, compressed or not, and files that are not what they should be."""

import shutil
from dataclasses import replace

import fsspec
import numpy as np
import pytest
from content import content_of

from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import CorruptedSetDataset, ReleasedSetDataset
from robustmedclip.pipelines.corruption.nodes import adopt_released_set

CONDITIONS = (CLEAN, *(Condition("pixelate", severity) for severity in range(1, 6)))
NAMES = list(map(str, CONDITIONS))


def pixels(image_set: ImageSet, condition: Condition) -> np.ndarray:
    """What stands for the corrupted images: the clean ones, darker with severity."""
    return image_set.images // np.uint8(condition.severity + 1)


def squeezed(images: np.ndarray) -> np.ndarray:
    return images[..., 0] if images.shape[-1] == 1 else images


def write_medimeta_c(folder, image_set, relabel=lambda labels: labels, save=np.savez_compressed):
    (folder / "test").mkdir(parents=True)
    for condition in CONDITIONS:
        images = squeezed(pixels(image_set, condition))
        save(folder / "test" / f"{condition}.npz", images=images, labels=relabel(image_set.labels))
    return ReleasedSetDataset(filepath=str(folder), suite="medimeta-c", conditions=NAMES)


def write_medmnist_c(folder, image_set, relabel=lambda labels: labels, save=np.savez_compressed):
    folder.mkdir(parents=True)
    images = np.concatenate([squeezed(pixels(image_set, condition)) for condition in CONDITIONS[1:]])
    save(
        folder / "pixelate.npz",
        test_images=images,
        test_labels=np.tile(relabel(image_set.labels), 5)[:, None].astype(np.uint8),
    )
    return ReleasedSetDataset(filepath=str(folder), suite="medmnist-c", conditions=NAMES)


WRITERS = {"medimeta-c": write_medimeta_c, "medmnist-c": write_medmnist_c}
of_both = pytest.mark.parametrize("suite", WRITERS)


def adopted(image_set, released, suite, storage="materialised", label_map=None):
    return adopt_released_set(
        image_set, released.load(), suite=suite, storage=storage, conditions=CONDITIONS, label_map=label_map
    )


@of_both
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("storage", ["materialised", "on_the_fly"])
def test_the_benchmark_gets_the_released_images(tmp_path, image_set, suite, save, storage):
    released = WRITERS[suite](tmp_path / "release", image_set, save=save)
    assert released.problems() == []
    dataset = CorruptedSetDataset(filepath=str(tmp_path / "cells"))
    dataset.save(adopted(image_set, released, suite, storage))
    loaded = dataset.load()
    np.testing.assert_array_equal(loaded.clean.images, image_set.images)
    np.testing.assert_array_equal(loaded.clean.labels, image_set.labels)
    for condition in CONDITIONS:
        read = np.concatenate(list(loaded.read(condition, 40)))
        np.testing.assert_array_equal(read, pixels(image_set, condition))


def test_a_moved_project_reads_the_released_images_that_lie_in_it(tmp_path, image_set):
    def stored(project) -> CorruptedSetDataset:
        return CorruptedSetDataset(filepath=str(project / "data/cells"), root=str(project))

    def darkest(project) -> np.ndarray:
        return np.concatenate(list(stored(project).load().read(CONDITIONS[-1], 40)))

    old, copy, moved = (tmp_path / name for name in ("old", "copy", "moved"))
    stored(old).save(adopted(image_set, write_medimeta_c(old / "release", image_set), "medimeta-c", "on_the_fly"))
    shutil.copytree(old, copy)
    other = replace(image_set, images=image_set.images // np.uint8(2))
    shutil.rmtree(old / "release")
    write_medimeta_c(old / "release", other)
    np.testing.assert_array_equal(darkest(copy), pixels(image_set, CONDITIONS[-1]))
    np.testing.assert_array_equal(darkest(old), pixels(other, CONDITIONS[-1]))
    manifest = old / "data/cells/manifest.json"
    manifest.write_text(manifest.read_text().replace('"release"', f'"{old}/release"'))  # as earlier versions wrote it
    np.testing.assert_array_equal(darkest(old), pixels(other, CONDITIONS[-1]))
    shutil.rmtree(old)
    copy.rename(moved)
    np.testing.assert_array_equal(darkest(moved), pixels(image_set, CONDITIONS[-1]))


def shares(image_set: ImageSet) -> ImageSet:
    """100 images of one class and 50 of the other."""
    return image_set.subset(np.r_[np.flatnonzero(image_set.labels == 0), np.flatnonzero(image_set.labels == 1)[:50]])


@pytest.mark.parametrize(
    ("choose", "brighter", "reason"),
    [
        (shares, 1, "'a' 50 and 75, 'b' 75 and 50"),
        (shares, 0, "125 of the 125 clean images .* another class"),
        (lambda whole: whole, 0, "150 of the 150 clean images .* another class"),
    ],
    ids=["by their sizes", "by their images", "by their images alone"],
)
def test_classes_in_another_order_are_found(tmp_path, image_set, choose, brighter, reason):
    test = choose(image_set)
    copy = replace(test, images=test.images + np.uint8(brighter))
    released = write_medimeta_c(tmp_path / "release", copy, relabel=lambda labels: 1 - labels)
    with pytest.raises(InputError, match=rf"{reason}.*fit with .*label_map: \{{0: 'b', 1: 'a'\}}"):
        adopted(test, released, "medimeta-c")
    made = adopted(test, released, "medimeta-c", label_map={0: "b", 1: "a"})
    np.testing.assert_array_equal(made.clean.labels, test.labels)


def test_an_order_that_cannot_be_told_is_warned_of(tmp_path, image_set, caplog):
    copy = replace(image_set, images=image_set.images + np.uint8(1))
    adopted(image_set, write_medimeta_c(tmp_path / "release", copy), "medimeta-c")
    assert "number them as {0: 'a', 1: 'b'} can't be checked" in caplog.text
    caplog.clear()
    adopted(image_set, write_medimeta_c(tmp_path / "same", image_set), "medimeta-c")
    assert not caplog.text


def test_grey_images_are_recognised_in_three_channels_and_copies_of_each_other_are_not(tmp_path, image_set):
    grey = replace(image_set, images=image_set.images[..., :1])
    colour = replace(grey, images=grey.images.repeat(3, axis=-1))
    with pytest.raises(InputError, match="150 of the 150 clean images"):
        adopted(grey, write_medimeta_c(tmp_path / "grey", colour, lambda labels: 1 - labels), "medimeta-c")
    grey.images[7] = grey.images[0]
    adopted(grey, write_medimeta_c(tmp_path / "copies", grey), "medimeta-c")


def test_labels_are_compared_image_by_image_where_the_release_has_no_clean_images(tmp_path, image_set):
    released = write_medmnist_c(tmp_path / "release", image_set, relabel=lambda labels: 1 - labels)
    with pytest.raises(
        InputError, match=r"150 of 150 labels of pixelate_severity_1 differ.*label_map: \{0: 'b', 1: 'a'\}"
    ):
        adopted(image_set, released, "medmnist-c")
    adopted(image_set, released, "medmnist-c", label_map={0: "b", 1: "a"})


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ({0: "a", 1: "c"}, r"\['c'\] are no classes of 'cells': \['a', 'b'\]"),
        ({0: "a"}, r"the released files have labels \[1\] that it does not name"),
    ],
)
def test_a_label_map_that_does_not_fit_is_refused(tmp_path, image_set, label_map, message):
    released = write_medimeta_c(tmp_path / "release", image_set)
    with pytest.raises(InputError, match=message):
        adopted(image_set, released, "medimeta-c", label_map=label_map)


def test_a_label_beyond_the_classes_is_refused(tmp_path, image_set):
    released = write_medimeta_c(tmp_path / "release", image_set, relabel=lambda labels: labels + 1)
    with pytest.raises(InputError, match=r"labels \[2\]"):
        adopted(image_set, released, "medimeta-c")


def test_another_number_of_images_is_refused(tmp_path, image_set):
    released = write_medimeta_c(tmp_path / "release", image_set.subset(np.arange(20)))
    with pytest.raises(InputError, match="clean set has 20 images, the test split of 'cells' 150"):
        adopted(image_set, released, "medimeta-c")


def test_images_of_another_size_are_refused(tmp_path, image_set):
    released = write_medmnist_c(tmp_path / "release", image_set)
    smaller = ImageSet(**{**vars(image_set), "images": image_set.images[:, :28]})
    with pytest.raises(InputError, match="choose a source of that size"):
        adopted(smaller, released, "medmnist-c")


def damage(path, how):
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif how == "no archive":
        path.write_bytes(b"hello")
    elif how == "other keys":
        np.savez(path, x=np.zeros(3))
    elif how == "floats":
        np.savez(path, images=np.zeros((150, 32, 28), np.float32), labels=np.zeros(150, int))
    elif how == "other counts":
        np.savez(path, images=np.zeros((150, 32, 28), np.uint8), labels=np.zeros(149, int))
    elif how == "objects":
        np.savez(path, images=np.array([{}] * 150), labels=np.zeros(150, int))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "lacks test/pixelate_severity_3.npz"),
        ("truncated", "is damaged or not a file of plain arrays"),
        ("no archive", "is damaged or not a file of plain arrays"),
        ("other keys", "has no images and no labels; it has x"),
        ("floats", r"images must be uint8 \(N, H, W\) or \(N, H, W, 3\), not float32"),
        ("other counts", "150 images and .* don't match"),
        ("objects", "holds Python objects"),
    ],
)
def test_every_problem_is_known_before_the_run(tmp_path, image_set, how, message):
    released = write_medimeta_c(tmp_path / "release", image_set)
    damage(tmp_path / "release/test/pixelate_severity_3.npz", how)
    (problem,) = released.problems()
    assert "pixelate_severity_3.npz" in problem
    with pytest.raises(InputError, match=message):
        released.load()


def test_a_folder_that_is_not_there(tmp_path):
    released = ReleasedSetDataset(filepath=str(tmp_path / "gone"), suite="medimeta-c", conditions=NAMES)
    assert released.problems() == [f"there is no folder {tmp_path / 'gone'}"]


def test_its_content_changes_with_the_files(tmp_path, image_set):
    released = write_medmnist_c(tmp_path / "release", image_set)
    before = content_of(released)
    assert content_of(released) == before
    np.savez(tmp_path / "release/pixelate.npz", test_images=np.zeros(3), test_labels=np.zeros(3))
    assert content_of(released) != before


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A filesystem elsewhere, and a machine that has fetched nothing yet."""
    (tmp_path / "machine").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


@of_both
def test_a_release_at_a_url_is_read_like_one_in_a_folder(tmp_path, image_set, suite, store):
    WRITERS[suite](tmp_path / "release", image_set)
    store.put(str(tmp_path / "release"), "/release", recursive=True)
    released = ReleasedSetDataset(filepath="memory://bucket/release", suite=suite, conditions=NAMES)
    assert released.problems() == [] and released.paths() == [] and released.verified().shapes
    dataset = CorruptedSetDataset(filepath=str(tmp_path / "cells"))
    dataset.save(adopted(image_set, released, suite, "on_the_fly"))
    for condition in CONDITIONS:
        read = np.concatenate(list(dataset.load().read(condition, 40)))
        np.testing.assert_array_equal(read, pixels(image_set, condition))
    before = content_of(released)
    name = next(path for path in store.find("/release") if "pixelate" in path)
    store.pipe_file(name, b"another file")
    assert content_of(released) != before
    store.rm_file(name)
    assert released.problems() == [f"memory://bucket/release lacks {name.removeprefix('/release/')}"]
