"""A user's own folder of images: what is read, and what is said of bad input."""

import logging
import os

import numpy as np
import pandas as pd
import pytest
from content import content_of
from kedro.io import DatasetError
from PIL import Image

from robustmedclip.io import FolderDataset, ImageSetDataset
from robustmedclip.pipelines.ingestion.nodes import ingest


@pytest.fixture
def folder(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for index in range(40):
        mode = "L" if index % 10 == 0 else "RGB"
        pixels = rng.integers(0, 256, (16, 16) if mode == "L" else (16, 16, 3), np.uint8)
        file = f"images/{index:02d}.png"
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / file)
        rows.append((file, "cat" if index % 2 else "dog", ("train", "val", "test")[index % 3]))
    pd.DataFrame(rows, columns=["file", "label", "split"]).to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path


def source(folder, **settings) -> FolderDataset:
    return FolderDataset(
        name="pets", modality="photo", filepath=str(folder), **{"class_names": ["dog", "cat"], **settings}
    )


def edit(folder, change) -> None:
    table = pd.read_csv(folder / "labels.csv")
    change(table).to_csv(folder / "labels.csv", index=False)


def test_pixels_labels_and_splits(folder):
    splits = source(folder).load()
    assert set(splits) == {"train", "val", "test"}
    test = splits["test"]
    index = test.sample_ids.tolist().index("images/05.png")
    np.testing.assert_array_equal(test.images[index], np.asarray(Image.open(folder / "images/05.png")))
    assert test.class_names[test.labels[index]] == "cat"
    pool, _ = ingest(splits)
    assert len(pool) == len(splits["train"]) + len(splits["val"])


def test_without_a_split_column_each_class_is_split_the_same_way_each_time(folder, caplog):
    caplog.set_level(logging.INFO, "robustmedclip")
    source(folder).load()
    assert caplog.text == ""
    edit(folder, lambda table: table.drop(columns="split"))
    first = source(folder).load()
    assert (
        f"'pets': there is no column 'split' in {folder}/labels.csv, so 28 images were drawn to train on" in caplog.text
    )
    assert "and 12 to test on" in caplog.text
    edit(folder, lambda table: table.iloc[::-1])
    second = source(folder).load()
    assert {name: set(split.sample_ids) for name, split in first.items()} == {
        name: set(split.sample_ids) for name, split in second.items()
    }
    assert first["train"].class_counts().tolist() == [14, 14]
    assert first["test"].class_counts().tolist() == [6, 6]


def test_a_folder_may_be_named_from_where_one_is(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    named = source(folder.name).load()["test"]
    np.testing.assert_array_equal(named.sample_ids, source(folder).load()["test"].sample_ids)


def test_size_brings_images_of_any_size_together(folder):
    Image.new("RGB", (40, 30)).save(folder / "images/01.png")
    with pytest.raises(DatasetError, match="differ in size.*'size'"):
        source(folder).load()
    assert source(folder, size=28).load()["train"].images.shape[1:] == (28, 28, 3)


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        (lambda t: t.assign(label=t["label"].where(t.index != 3, "horse")), "'horse' (images/03.png)"),
        (lambda t: t.assign(file=t["file"].where(t.index != 3, "gone.png")), "gone.png"),
        (lambda t: t.assign(file=t["file"].where(t.index != 3, "../../etc/passwd")), "outside the folder"),
        (lambda t: t.assign(split=t["split"].where(t.index != 3, "dev")), "dev"),
        (lambda t: pd.concat([t, t.iloc[[3]]]), "more than once: images/03.png"),
        (
            lambda t: t[(t["label"] == "dog") | (t["split"] != "test")],
            "no image of 'cat' in the test split, which needs two classes",
        ),
        (lambda t: t.rename(columns={"label": "klass"}), "no column label"),
        (lambda t: t.rename(columns={"split": "Split"}), "rename its column 'Split' to 'split'"),
        (lambda t: t.rename(columns={"split": " split "}), "rename its column ' split ' to 'split'"),
        (lambda t: t.assign(SPLIT=t["split"]), "rename its column 'SPLIT' to 'split'"),
        (
            lambda t: t.rename(columns={"file": "File", "label": "LABEL"}),
            "rename its column 'File' to 'file', 'LABEL' to 'label'",
        ),
    ],
)
def test_bad_tables_are_found_before_anything_is_read(folder, change, culprit):
    edit(folder, change)
    assert culprit in "; ".join(source(folder).problems())
    with pytest.raises(DatasetError, match="pets"):
        source(folder).load()


def test_where_a_labels_file_is_missed_folders_of_classes_are_told_what_to_set(folder):
    (folder / "labels.csv").rename(folder / "other.csv")
    assert source(folder).problems() == [f"there is no file {folder}/labels.csv"]
    (folder / "other.csv").unlink()
    missed = f"there is no file {folder}/labels.csv"
    assert source(folder).problems() == [f"{missed}: for a folder per class set 'labels: null'"]
    assert source(folder / "images").problems() == [f"there is no file {folder}/images/labels.csv"]


def test_all_problems_at_once(folder):
    edit(folder, lambda t: t.assign(label="horse", file=[f"gone{i}.png" for i in range(len(t))]))
    message = "; ".join(source(folder).problems())
    assert all(
        word in message
        for word in ("'horse' (gone0.png and 39 more)", "gone0.png, gone1.png", "and 30 more", "no image of 'dog'")
    )


def test_every_unreadable_image_is_named_beside_what_is_wrong_with_it(folder):
    for name in ("03", "05"):
        (folder / f"images/{name}.png").write_bytes(b"not an image")
    (folder / "images/04.png").write_bytes((folder / "images/04.png").read_bytes()[:60])
    reasons = r"03\.png is in no format that is read: .*PNG.* \(the same: .*05\.png\); .*04\.png can't be read"
    with pytest.raises(DatasetError, match=reasons):
        source(folder).load()


def test_sixteen_bit_images_are_not_squeezed_silently(folder):
    Image.fromarray(np.full((16, 16), 1500, np.uint16)).save(folder / "images/03.png")
    with pytest.raises(DatasetError, match=r"03\.png .*set 'window'"):
        source(folder).load()
    train = source(folder, window={"low": 1000, "high": 2000}).load()["train"]
    np.testing.assert_array_equal(train.images[train.sample_ids.tolist().index("images/03.png")], 128)
    for window in ({"center": 3}, "flie"):
        found = f"window: expected {{center, width}} with a width above 1, {{low, high}} or file, found {window!r}"
        assert source(folder, window=window).problems() == [found]


@pytest.mark.parametrize("layout", ["split/class", "class"])
def test_a_folder_per_class(folder, layout, caplog):
    caplog.set_level(logging.INFO, "robustmedclip")
    expected = source(folder).load() if layout == "split/class" else None
    for row in pd.read_csv(folder / "labels.csv").itertuples():
        target = folder / "sorted" / (f"{row.split}/{row.label}" if layout == "split/class" else row.label)
        target.mkdir(parents=True, exist_ok=True)
        (target / row.file.rpartition("/")[2]).write_bytes((folder / row.file).read_bytes())
    (folder / "sorted/README.md").write_text("not an image, and in no folder of a class")
    caplog.clear()
    splits = source(folder / "sorted", labels=None).load()
    assert ("there is no folder train in" in caplog.text) == (layout == "class")
    if layout == "class":
        edit(folder, lambda table: table.drop(columns="split"))
        assert {name: len(split) for name, split in splits.items()} == {
            name: len(split) for name, split in source(folder).load().items()
        }
    else:
        for name, split in splits.items():
            order = np.argsort([sample_id.rpartition("/")[2] for sample_id in split.sample_ids])
            np.testing.assert_array_equal(split.images[order], expected[name].images)
            np.testing.assert_array_equal(split.labels[order], expected[name].labels)


def test_a_folder_of_no_class_and_a_loose_file_are_named(folder):
    assert "'images'" in source(folder, labels=None).problems()[0]
    (folder / "sorted/train/cat").mkdir(parents=True)
    (folder / "sorted/train/loose.png").write_bytes(b"")
    assert "loose.png" in source(folder / "sorted", labels=None).problems()[0]
    (folder / "sorted/validation/cat").mkdir(parents=True)
    (folder / "sorted/validation/cat/1.png").write_bytes(b"")
    assert "train beside validation: name the splits" in source(folder / "sorted", labels=None).problems()[0]


def test_an_image_that_breaks_after_its_header_leaves_no_file(folder, tmp_path_factory):
    file = folder / "images/05.png"
    file.write_bytes(file.read_bytes()[:-200])
    _, test = ingest(source(folder).load())
    target = tmp_path_factory.mktemp("out")
    with pytest.raises(DatasetError, match=r"05\.png"):
        ImageSetDataset(filepath=str(target / "test.npz")).save(test)
    assert list(target.iterdir()) == []


def test_folders_that_are_links_are_read(folder, tmp_path_factory):
    expected = source(folder).load()
    archive = tmp_path_factory.mktemp("archive")
    (folder / "images").rename(archive / "images")
    (folder / "images").symlink_to(archive / "images")
    linked = source(folder).load()
    for name, split in linked.items():
        np.testing.assert_array_equal(split.sample_ids, expected[name].sample_ids)
        np.testing.assert_array_equal(split.images, expected[name].images)
    before = content_of(source(folder))
    Image.new("RGB", (16, 16)).save(archive / "images/03.png")
    assert content_of(source(folder)) != before


def test_classes_that_are_links_are_read_and_links_in_a_circle_end(folder):
    for row in pd.read_csv(folder / "labels.csv").itertuples():
        target = folder / "archive" / f"{row.split}-{row.label}"
        target.mkdir(parents=True, exist_ok=True)
        (target / row.file.rpartition("/")[2]).write_bytes((folder / row.file).read_bytes())
        link = folder / "sorted" / row.split / row.label
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(target)
    (folder / "archive/train-cat/up").symlink_to(folder / "sorted")
    for name, target in (("gone.png", "nowhere.png"), ("itself.png", "itself.png")):
        (folder / "archive/train-cat" / name).symlink_to(target)
    splits = source(folder / "sorted", labels=None, exclude=["gone.png", "itself.png"]).load()
    assert sum(map(len, splits.values())) == 40


@pytest.mark.parametrize("labels", ["../labels.csv", "images/../../labels.csv", "{folder}/labels.csv"])
def test_labels_outside_the_folder_are_refused(folder, labels):
    (folder / "inner").mkdir()
    (problem,) = source(folder / "inner", labels=labels.format(folder=folder)).problems()
    assert "labels.csv' lies outside the folder" in problem and "let 'filepath' be a folder that holds both" in problem
    assert source(folder, labels=f"{folder}/images/../labels.csv").problems() == []


def test_grey_images_are_counted_as_grey(folder):
    assert source(folder).test_shape() == (13, 16, 16, 3)
    for file in (folder / "images").iterdir():
        Image.open(file).convert("L").save(file)
    assert source(folder).test_shape() == source(folder).load()["test"].images.shape == (13, 16, 16, 1)
    (folder / "images/00.png").write_bytes(b"not an image")
    assert source(folder).test_shape() == (13, 0, 0, 3)


def test_missing_classes_and_missing_folder(tmp_path, folder):
    assert "needs 'classes' in benchmark.yml; found there: " in source(folder, class_names=None).problems()[0]
    assert source(folder, labels=3).problems() == [
        "labels must be a CSV file in the folder, or null for a folder per class, not 3"
    ]
    assert "there is no" in source(tmp_path / "nowhere").problems()[0]


def test_its_content_is_that_of_the_files_whatever_their_times(folder):
    before = content_of(source(folder))
    os.utime(folder / "images/01.png", (0, 0))
    (folder / ".DS_Store").touch()
    assert content_of(source(folder)) == before
    Image.new("RGB", (16, 16)).save(folder / "images/01.png")
    assert content_of(source(folder)) != before
