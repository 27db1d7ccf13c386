"""Patients and subgroups of each kind of source."""

import logging
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from released_collections import medmnist_arrays, write_medimeta

from robustmedclip.io import FolderDataset, ImageSetDataset, MedIMetaDataset, NpzDataset
from robustmedclip.pipelines.ingestion.nodes import ingest

CLASSES = ["cat", "dog"]


def folder(path, columns: dict[str, list[str]], **settings) -> FolderDataset:
    """Forty images of two classes, and a table with further columns."""
    files = [f"{index}.png" for index in range(40)]
    for index, file in enumerate(files):
        pixels = np.random.default_rng(index).integers(0, 256, (28, 28), np.uint8)
        Image.fromarray(pixels).save(path / file)
    labels = [CLASSES[index % 2] for index in range(40)]
    pd.DataFrame({"file": files, "label": labels, **columns}).to_csv(path / "labels.csv", index=False)
    return FolderDataset(name="pets", modality="photo", filepath=str(path), class_names=CLASSES, **settings)


@pytest.mark.parametrize("column", ["patient", "group"])
def test_a_split_that_we_draw_keeps_a_patient_on_one_side(tmp_path, column, caplog):
    caplog.set_level(logging.INFO, "robustmedclip")
    splits = folder(tmp_path, {column: [f"p{index // 4}" for index in range(40)]}).load()
    sides = {split: set(part.patients) for split, part in splits.items()}
    assert len(sides["train"]) == 7 and len(sides["test"]) == 3 and not sides["train"] & sides["test"]
    assert "with all images of a patient on one side" in caplog.text


def test_an_image_without_a_patient_has_one_of_its_own(tmp_path):
    whose = [f"p{index // 4}" if index < 20 else " " for index in range(40)]
    splits = folder(tmp_path, {"patient": whose}).load()
    assert len({name for part in splits.values() for name in part.patients}) == 5 + 20


def test_patients_in_two_given_splits_are_named(tmp_path, caplog):
    sides = ["train" if index < 20 else "test" for index in range(40)]
    folder(tmp_path, {"patient": [f"p{index % 18}" for index in range(40)], "split": sides}).load()
    assert "18 patients of the test split are also in the training pool (p0, p1" in caplog.text
    assert "their 20 images there are not trained on" in caplog.text


def test_another_column_that_looks_like_patients_is_pointed_at(tmp_path, caplog):
    folder(tmp_path, {"patient_id": [f"p{index}" for index in range(40)]}).load()
    assert "'patient_id' says whose an image is, call it 'patient'" in caplog.text


def test_subgroups_are_columns_of_the_table_and_missing_ones_are_named(tmp_path):
    sex = ["female" if index % 4 < 2 else "male" for index in range(40)]
    splits = folder(tmp_path, {"sex": sex}, subgroup=["sex"]).load()
    assert set(splits["test"].columns["sex"]) == {"female", "male"}
    (problem,) = folder(tmp_path, {"sex": sex}, subgroup=["sex", "scanner"]).problems()
    assert "has no column scanner, which 'subgroup'" in problem


def npz(path, arrays, **settings) -> NpzDataset:
    np.savez(path / "own.npz", **arrays)
    names = ["a", "b", "c", "d"]
    return NpzDataset(name="mine", modality="x", filepath=str(path / "own.npz"), class_names=names, **settings)


def groups(arrays, each: int) -> dict[str, np.ndarray]:
    return {f"{split}_groups": np.arange(len(arrays[f"{split}_labels"])) // each for split in ("train", "val", "test")}


def test_an_npz_has_groups_and_subgroups_that_stay_with_the_images(tmp_path):
    arrays = medmnist_arrays("octmnist")
    arrays |= groups(arrays, 4) | {"test_scanner": np.array(["A", "B"] * 10)}
    pool, test = ingest(npz(tmp_path, arrays, subgroup=["scanner"]).load())
    assert len(set(test.patients)) == 5 and test.columns["scanner"].tolist() == ["A", "B"] * 10
    assert len(pool.patients) == len(pool) == 55 and "scanner" not in pool.columns
    stored = ImageSetDataset(filepath=str(tmp_path / "test.npz"))
    stored.save(test)
    assert stored.load().subset(np.array([7])).columns == {"scanner": ["B"], "patient": ["1"]}


def test_images_without_a_group_are_not_of_one_patient(tmp_path):
    arrays = medmnist_arrays("octmnist")
    named = {key: np.where(rows < 1, "a", "") for key, rows in groups(arrays, 4).items()}
    pool, test = ingest(npz(tmp_path, arrays | named).load())
    assert len(set(test.patients)) == 1 + 16
    assert len(set(pool.patients)) == 1 + 55 - 8


def test_groups_of_some_splits_alone_are_refused(tmp_path):
    arrays = medmnist_arrays("octmnist")
    (problem,) = npz(tmp_path, arrays | {"test_groups": np.arange(20)}).problems()
    assert re.search("has no array train_groups", problem)
    (problem,) = npz(tmp_path, arrays, subgroup=["sex"]).problems()
    assert "has no array test_sex" in problem


def test_medimeta_says_whose_the_images_are_in_its_annotations(tmp_path):
    write_medimeta(tmp_path, "pbc", "cell", ["a", "b"])
    files = [f"images/{row:06d}.tiff" for row in range(60)]
    table = pd.DataFrame({"filepath": files, "patient_id": [row // 3 for row in range(60)], "sex": ["f", "m"] * 30})
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "pbc/annotations.csv", index=False)
    source = {"id": "pbc", "task": "cell", "name": "pbc", "modality": "x", "filepath": str(tmp_path)}
    test = MedIMetaDataset(**source, subgroup=["sex"]).load()["test"]
    rows = test.sample_ids.astype(int)
    assert test.patients.tolist() == [str(row // 3) for row in rows]
    assert test.columns["sex"].tolist() == [["f", "m"][row % 2] for row in rows]
    (problem,) = MedIMetaDataset(**source, subgroup=["age"]).problems()
    assert "has no column age" in problem
