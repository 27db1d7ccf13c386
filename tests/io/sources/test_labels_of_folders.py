"""A folder's labels: nothing of it vanishes, and what is wrong with it is said where it is."""

import logging
import os
import socket
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image
from platforms import posix_only

from robustmedclip.io import FolderDataset, MedIMetaDataset, NpzDataset

LETTER = "é"
NFD = unicodedata.normalize("NFD", LETTER)


def source(folder: Path, **settings) -> FolderDataset:
    return FolderDataset(
        name="pets",
        modality="photo",
        filepath=str(folder),
        **{"class_names": ["cat", "dog"], "labels": None, **settings},
    )


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (28, 28), np.uint8)).save(path)


@pytest.fixture
def classes(tmp_path) -> Path:
    """Folders of two classes with ten images each."""
    for label in ("cat", "dog"):
        for index in range(10):
            save(tmp_path / label / f"{index}.png", index)
    return tmp_path


@pytest.fixture
def table(tmp_path) -> Path:
    """The same with a CSV file."""
    lines = ["file,label,split"]
    for index in range(20):
        save(tmp_path / f"images/{index}.png", index)
        lines.append(f"images/{index}.png,{'dog' if index % 2 else 'cat'},{'train' if index < 12 else 'test'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def rewrite(folder: Path, change) -> None:
    path = folder / "labels.csv"
    path.write_text("\n".join(change(path.read_text().splitlines())))


def problem(dataset) -> str:
    (found,) = dataset.problems()
    with pytest.raises(DatasetError):
        dataset.load()
    return found


# What lies in a folder


def test_a_link_to_nothing_is_refused_by_name(classes):
    (classes / "cat/3.png").unlink()
    (classes / "cat/3.png").symlink_to("../store/3.png")
    assert "cat/3.png is a link to nothing (../store/3.png)" in problem(source(classes))


def test_a_folder_that_can_not_be_listed_is_refused_by_name(classes, monkeypatch):
    scan = os.scandir

    def denied(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert "cat can't be listed (Permission denied)" in "; ".join(source(classes).problems())


@posix_only
@pytest.mark.parametrize("layout", ["classes", "csv"])
def test_pipes_and_sockets_in_place_of_images_are_refused_and_do_not_hang(tmp_path, layout, request):
    folder = request.getfixturevalue("classes" if layout == "classes" else "table")
    inside = folder / ("cat" if layout == "classes" else "images")
    labels = None if layout == "classes" else "labels.csv"
    (inside / "3.png").unlink()
    os.mkfifo(inside / "3.png")
    assert "3.png is a named pipe (FIFO), not a file" in problem(source(folder, labels=labels))
    (inside / "3.png").unlink()
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(inside / "3.png"))
        assert "3.png is a socket, not a file" in problem(source(folder, labels=labels))


@posix_only
def test_a_pipe_in_place_of_a_table_or_an_array_is_refused_and_does_not_hang(tmp_path):
    for name in ("labels.csv", "images.npz"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "pbc").mkdir()
    os.mkfifo(tmp_path / "pbc/info.yaml")
    settings = {"name": "x", "modality": "m", "class_names": ["a", "b"]}
    assert "labels.csv is a named pipe" in problem(source(tmp_path, labels="labels.csv"))
    assert "images.npz is a named pipe" in problem(NpzDataset(filepath=str(tmp_path / "images.npz"), **settings))
    assert "info.yaml is a named pipe" in problem(
        MedIMetaDataset(filepath=str(tmp_path), id="pbc", task="cell", **settings)
    )


def test_what_is_skipped_is_counted_with_the_reason(classes, caplog):
    caplog.set_level(logging.INFO, "robustmedclip")
    for name in ("cat/.DS_Store", "dog/Thumbs.db", ".git/a.png", "notes.txt", "dog/report.PDF"):
        (classes / name).parent.mkdir(exist_ok=True)
        (classes / name).write_bytes(b"")
    (classes / "bird").mkdir()
    (classes / "cat/up").symlink_to(classes)
    splits = source(classes).load()
    assert sum(map(len, splits.values())) == 20
    line = next(record.getMessage() for record in caplog.records if "skipped" in record.getMessage())
    for part in (
        "3 hidden or a system file (.git/a.png, cat/.DS_Store, dog/Thumbs.db)",
        "1 no image (.txt) (notes.txt)",
        "1 no image (.pdf) (dog/report.PDF)",
        "1 empty folder (bird)",
        "1 link back to a folder above (cat/up)",
    ):
        assert part in line


def test_images_that_the_table_does_not_name_are_counted(table, caplog):
    caplog.set_level(logging.INFO, "robustmedclip")
    save(table / "images/extra.png")
    source(table, labels="labels.csv").load()
    assert "skipped 1 not in labels.csv (images/extra.png)" in caplog.text


def test_an_image_in_no_folder_of_a_class_is_refused(classes):
    save(classes / "overview.png")
    assert "in no folder of a class: overview.png; move them, or leave them out with 'exclude'" in problem(
        source(classes)
    )
    assert source(classes, exclude=["overview.png"]).problems() == []


def test_names_that_are_no_text_are_refused(classes):
    Path(os.fsdecode(os.fsencode(classes) + b"/cat/\xff.png")).write_bytes(b"")
    assert "has a name that is not UTF-8: rename it" in problem(source(classes))


# Patterns, and masks


def test_patterns_choose_images_and_one_that_matches_nothing_is_named(classes, table):
    for index in range(10):
        save(classes / f"cat/{index}_mask.png")
    chosen = source(classes, exclude=["*_mask.png", "images/*"]).load()
    assert sum(map(len, chosen.values())) == 20
    few = source(classes, include=["cat/[0-4].png", "dog/[0-4].png"]).load()
    assert sum(map(len, few.values())) == 10
    assert "'exclude' matches no file in" in problem(
        source(classes, include=["cat/?.png", "dog/?.png"], exclude=["*_msk*"])
    )
    assert "exclude must be a list of patterns" in problem(source(classes, exclude="*_mask*"))
    of_table = source(table, labels="labels.csv", exclude=["images/1.png"]).load()
    assert "images/1.png" not in of_table["train"].sample_ids


@pytest.mark.parametrize("name", ["3_mask.png", "3_mask_1.png", "3-seg.tif", "3 (mask).png", "masks/3.png"])
def test_names_of_masks_beside_images_are_warned_of(classes, caplog, name):
    save(classes / "cat" / name.replace(".tif", ".png"))
    source(classes, size=28).load()
    expected = name != "3 (mask).png"
    assert ("1 files are called as masks are" in caplog.text) == expected


def test_names_that_only_contain_such_words_are_not(classes, caplog):
    for name in ("mask.png", "unmasked_3.png", "segment.png"):
        save(classes / "cat" / name)
    source(classes).load()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# Patients


def test_patients_on_both_sides_are_counted_where_the_table_names_them(table, caplog):
    rewrite(
        table, lambda lines: [lines[0] + ",patient_id,age", *(f"{line},p{i % 5},7" for i, line in enumerate(lines[1:]))]
    )
    source(table, labels="labels.csv").load()
    assert (
        "5 of the 5 values of the column 'patient_id' in the test split are also in the training pool (p0, p1"
        in caplog.text
    )
    assert "the splits are as given" in caplog.text and "columns that nothing reads: age" in caplog.text


def test_patients_on_one_side_are_no_trouble(table, caplog):
    rewrite(table, lambda lines: [lines[0] + ",patient", *(f"{line},p{i}" for i, line in enumerate(lines[1:]))])
    source(table, labels="labels.csv").load()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_patients_as_folders_in_a_class_are_counted_where_we_draw_the_split(tmp_path, caplog):
    for label in ("cat", "dog"):
        for index in range(40):
            save(tmp_path / label / f"patient{index % 4}" / f"{index}.png", index)
    source(tmp_path).load()
    assert "4 of the 4 of the folders inside classes in the test split are also in the training pool" in caplog.text
    assert "the split was drawn by image" in caplog.text


# The same file under two names


@pytest.mark.parametrize("spelling", ["./images/3.png", "images//3.png", "images/./3.png", "linked/3.png", "hard.png"])
def test_a_file_under_two_names_with_two_labels_is_refused(table, spelling):
    (table / "linked").symlink_to(table / "images")
    os.link(table / "images/3.png", table / "hard.png")
    rewrite(table, lambda lines: [*lines, f"{spelling},cat,test"])
    found = problem(source(table, labels="labels.csv"))
    assert f"lists a file more than once: {spelling}" in found or (
        f"a file under two names, with different labels or splits: images/3.png (dog, train) and {spelling} (cat, test)"
        in found
    )


def test_a_file_in_two_classes_by_a_link_is_refused(classes):
    (classes / "dog/copy.png").symlink_to(classes / "cat/3.png")
    assert "cat/3.png (cat, t" in problem(source(classes)) and "dog/copy.png (dog, t" in problem(source(classes))


# What is said of tables


def test_empty_cells_and_rows_are_named_by_row_and_column(table):
    rewrite(
        table, lambda lines: [*lines[:3], "images/2.png,,train", *lines[4:6], "  ,dog,", *lines[7:8], ",,", *lines[9:]]
    )
    message = problem(source(table, labels="labels.csv"))
    assert message.endswith("row 4 has no label; row 7 has no file, split; row 9 is empty")


def test_rows_with_too_few_or_too_many_cells_are_named_and_blank_lines_are_not(table):
    rewrite(
        table, lambda lines: [*lines[:3], "", "images/2.png,cat", *lines[4:6], lines[6] + ",extra", lines[7] + ",,"]
    )
    message = problem(source(table, labels="labels.csv"))
    assert message.endswith("row 5 has 2 cells, and there are 3 columns; row 8 has 4 cells, and there are 3 columns")


@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (lambda text: text.encode("utf-16"), "UTF-16.*save it as CSV in UTF-8"),
        (lambda text: text.encode("utf-16-le"), "UTF-16"),
        (lambda text: text.replace(",", ";").encode(), "separated by semicolons: save it with commas"),
        (lambda text: text.replace(",", "\t").encode(), "separated by tabs"),
        (
            lambda text: text.replace("images/1.png,dog", "images/1.png,d\xf6g").encode("latin-1"),
            "line 3 is not text in UTF-8",
        ),
        (lambda text: b"PK\x03\x04" + text.encode(), "Excel workbook"),
        (lambda text: text.replace("split", "label").encode(), "the column 'label' more than once"),
        (lambda text: (text + '\nimages/9.png,"dog').encode(), "line 22: unexpected end of data"),
        (lambda text: b"", "it is empty"),
    ],
)
def test_a_table_in_another_form_is_named_for_what_it_is(table, encode, reason):
    text = (table / "labels.csv").read_text()
    (table / "labels.csv").write_bytes(encode(text))
    dataset = source(table, labels="labels.csv")
    with pytest.raises(DatasetError, match=rf"labels\.csv can't be read: .*{reason}"):
        dataset.load()


def test_a_table_with_a_byte_order_mark_is_read(table):
    (table / "labels.csv").write_bytes(b"\xef\xbb\xbf" + (table / "labels.csv").read_bytes())
    assert source(table, labels="labels.csv").problems() == []


@pytest.mark.parametrize(
    ("label", "classes", "difference"),
    [
        (NFD, ["cat", LETTER], "which looks like 'é', spelled in another Unicode form"),
        ("dog\u200b", ["cat", "dog"], r"but for characters that don't show \(U\+200B\)"),
        ("dog ", ["cat", "dog"], "but for spaces"),
        ("my\u00a0dog", ["cat", "my dog"], r"characters that don't show \(U\+00A0\)"),
        ("Dog", ["cat", "dog"], "but for upper and lower case"),
    ],
)
def test_labels_that_look_like_a_class_say_how_they_differ(table, label, classes, difference):
    rewrite(table, lambda lines: [line.replace("dog", label) for line in lines])
    with pytest.raises(DatasetError, match=difference):
        source(table, labels="labels.csv", class_names=classes).load()


def test_classes_that_look_the_same_are_refused(table):
    message = "; ".join(source(table, labels="labels.csv", class_names=["cat", "dog", LETTER, NFD]).problems())
    assert r"the classes '\xe9' and 'e\u0301' look the same" in message


@pytest.mark.parametrize(
    ("name", "hint"), [("images\\3.png", "with / in place of"), ("images/3.PNG", "upper and lower case")]
)
def test_a_file_that_exists_in_another_spelling_is_pointed_to(table, name, hint):
    rewrite(table, lambda lines: [line.replace("images/3.png", name) for line in lines])
    message = problem(source(table, labels="labels.csv"))
    assert "looks like 'images/3.png'" in message and hint in message


def test_a_folder_of_the_name_of_a_file_is_called_a_folder(table):
    for name in ("3.png", "4.png"):
        (table / "images" / name).unlink()
        (table / "images" / name).mkdir()
    (table / "images/4.png/4.png").touch()
    message = problem(source(table, labels="labels.csv"))
    assert "names files that don't exist: images/3.png (it is a folder), images/4.png (it is a folder)" in message


@pytest.mark.parametrize(
    ("folders", "advice"),
    [
        (("Train", "Test"), "rename 'Test' to 'test', 'Train' to 'train'"),
        (("Training", "Testing"), "rename 'Testing' to 'test', 'Training' to 'train'"),
        (("train", "validation", "test"), "rename 'validation' to 'val'"),
        (("train", "valid", "test"), "rename 'valid' to 'val'"),
    ],
)
def test_folders_that_are_splits_in_other_words_are_suggested_to_be_renamed(tmp_path, folders, advice):
    for folder in folders:
        for label in ("cat", "dog"):
            save(tmp_path / folder / label / "1.png")
    assert advice in problem(source(tmp_path))


def test_classes_that_only_sound_like_a_split_are_classes(tmp_path):
    for label in ("valid", "invalid"):
        for index in range(4):
            save(tmp_path / label / f"{index}.png")
    assert source(tmp_path, class_names=["valid", "invalid"]).problems() == []


def test_splits_in_other_words_are_suggested_to_be_renamed(table):
    rewrite(table, lambda lines: [line.replace(",test", ",Testing") for line in lines])
    assert "other than train, val and test: Testing (rename 'Testing' to 'test')" in "; ".join(
        source(table, labels="labels.csv").problems()
    )


@pytest.mark.parametrize("size", [True, 27, 28.0, "224", 5000])
def test_sizes_that_can_not_be_are_refused(table, size):
    assert f"size must be a whole number of pixels from 28 to 4096, not {size!r}" in problem(source(table, size=size))


def test_a_folder_that_can_not_be_listed_is_refused_whatever_is_included(classes, monkeypatch):
    scan = os.scandir

    def denied(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert "cat can't be listed" in "; ".join(source(classes, include=["*.png"]).problems())


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "file can't be listed (Not a directory)" in "; ".join(source(tmp_path / "file").problems())
