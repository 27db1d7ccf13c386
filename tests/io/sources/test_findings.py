"""A finding of several, as a data set of two classes."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from released_collections import medmnist_arrays

from robustmedclip.io import FolderDataset, MedMNISTDataset

CLASSES = ["no edema", "edema"]


def chest(path, values: list[str], **settings) -> FolderDataset:
    files = [f"{index}.png" for index in range(len(values))]
    for index, file in enumerate(files):
        pixels = np.random.default_rng(index).integers(0, 256, (28, 28), np.uint8)
        Image.fromarray(pixels).save(path / file)
    pd.DataFrame({"file": files, "edema": values, "mass": "0"}).to_csv(path / "labels.csv", index=False)
    settings = {"class_names": CLASSES, "finding": "edema", **settings}
    return FolderDataset(name="chest", modality="chest X-ray", filepath=str(path), **settings)


@pytest.mark.parametrize(("uncertain", "counts"), [("absent", [30, 10]), ("present", [20, 20]), ("left out", [20, 10])])
def test_a_finding_of_a_csv_is_present_absent_uncertain_or_not_mentioned(tmp_path, uncertain, counts):
    splits = chest(tmp_path, ["1.0", "0", "-1", ""] * 10, uncertain=uncertain).load()
    assert sum(part.class_counts() for part in splits.values()).tolist() == counts
    assert splits["test"].class_names == tuple(CLASSES)


def test_other_values_and_settings_are_named(tmp_path):
    (problem,) = chest(tmp_path, ["1", "0", "yes"] * 5).problems()
    assert "the column 'edema' has values other than 1, 0, -1 and nothing: 'yes' in row 4" in problem
    (problem,) = chest(tmp_path, ["1", "0"] * 5, class_names=["a", "b", "c"]).problems()
    assert "has two 'classes', absent first" in problem
    (problem,) = chest(tmp_path, ["1", "0"] * 5, finding="oedema").problems()
    assert "no column oedema" in problem
    assert any("uncertain must be" in problem for problem in chest(tmp_path, ["1"], uncertain="maybe").problems())


def test_a_finding_of_chestmnist_has_a_pair_of_classes(tmp_path):
    arrays = medmnist_arrays("chestmnist")
    arrays["test_labels"][:, 1] = np.arange(20) < 5
    np.savez(tmp_path / "chestmnist.npz", **arrays)
    source = {"name": "chest", "modality": "chest X-ray", "flag": "chestmnist", "filepath": str(tmp_path)}
    test = MedMNISTDataset(**source, finding="cardiomegaly").load()["test"]
    assert test.class_names == ("no cardiomegaly", "cardiomegaly") and test.class_counts().tolist() == [15, 5]
    (problem,) = MedMNISTDataset(**source).problems()
    assert "one label per image: 'finding' has to be one of atelectasis, cardiomegaly" in problem
    (problem,) = MedMNISTDataset(**source | {"flag": "breastmnist"}, finding="mass").problems()
    assert "leave 'finding' out" in problem
