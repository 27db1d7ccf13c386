"""Findings of each kind of source, of which an image may have several."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from released_collections import medmnist_arrays

from robustmedclip.io import FolderDataset, MedMNISTDataset, NpzDataset, PhantomDataset

FINDINGS = ["edema", "mass"]


def chest(path, edema: list[str], **settings) -> FolderDataset:
    files = [f"{index}.png" for index in range(len(edema))]
    for index, file in enumerate(files):
        pixels = np.random.default_rng(index).integers(0, 256, (28, 28), np.uint8)
        Image.fromarray(pixels).save(path / file)
    mass = [str(index // 2 % 2) for index in range(len(edema))]
    pd.DataFrame({"file": files, "edema": edema, "mass": mass}).to_csv(path / "labels.csv", index=False)
    settings = {"class_names": FINDINGS, "findings": True, **settings}
    return FolderDataset(name="chest", modality="chest X-ray", filepath=str(path), **settings)


@pytest.mark.parametrize(
    ("policy", "counts"),
    [
        ({}, {1: 10, 0: 20, -1: 10}),
        ({"uncertain": "positive"}, {1: 20, 0: 20, -1: 0}),
        ({"uncertain": "negative", "blank": "ignore"}, {1: 10, 0: 20, -1: 10}),
    ],
)
def test_what_is_uncertain_or_not_mentioned_counts_as_the_policy_says(tmp_path, policy, counts):
    splits = chest(tmp_path, ["1.0", "0", "-1", ""] * 10, **policy).load()
    edema = np.concatenate([part.labels[:, 0] for part in splits.values()])
    assert {value: int((edema == value).sum()) for value in counts} == counts
    assert splits["test"].class_names == tuple(FINDINGS)


def test_splits_that_are_drawn_have_each_finding_on_both_sides(tmp_path):
    splits = chest(tmp_path, ["1", *["0"] * 9] * 4).load()
    assert all(part.members()[name].any() for part in splits.values() for name in ("edema", "no edema", "mass"))


def test_an_image_of_which_no_finding_is_known_is_left_out(tmp_path):
    splits = chest(tmp_path, ["1", "0", "-1", "1"] * 5, class_names=["edema"]).load()
    assert sum(map(len, splits.values())) == 15


def test_other_values_and_settings_are_named(tmp_path):
    (problem,) = chest(tmp_path, ["1", "0", "yes"] * 5).problems()
    assert "the column 'edema' has values other than 1, 0, -1 and nothing: 'yes' in row 4" in problem
    (problem,) = chest(tmp_path, ["1", "0"] * 5, class_names=["oedema"]).problems()
    assert "no column oedema" in problem
    (problem,) = chest(tmp_path, ["0", "0"] * 5).problems()[:1]
    assert "no image of 'edema' in the training pool" in problem
    assert any("uncertain must be" in problem for problem in chest(tmp_path, ["1"], uncertain="maybe").problems())
    assert any("needs a CSV file" in problem for problem in chest(tmp_path, ["1"], labels=None).problems())


def test_a_policy_for_findings_is_refused_where_there_are_none(tmp_path):
    pd.DataFrame({"file": ["0.png"], "label": ["edema"]}).to_csv(tmp_path / "labels.csv")
    source = {"name": "chest", "modality": "chest X-ray", "filepath": str(tmp_path), "class_names": FINDINGS}
    assert any("set 'task: findings'" in problem for problem in FolderDataset(**source, blank="ignore").problems())


def test_chestmnist_has_findings_all_or_some(tmp_path):
    arrays = medmnist_arrays("chestmnist")
    for split in ("train", "val", "test"):
        count = len(arrays[f"{split}_labels"])
        arrays[f"{split}_labels"][:] = (np.arange(count)[:, None] + np.arange(14)) % 3 == 0
    np.savez(tmp_path / "chestmnist.npz", **arrays)
    source = {"name": "chest", "modality": "chest X-ray", "flag": "chestmnist", "filepath": str(tmp_path)}
    test = MedMNISTDataset(**source, findings=True).load()["test"]
    assert test.labels.shape == (20, 14) and test.class_names[1] == "cardiomegaly"
    some = MedMNISTDataset(**source, findings=True, class_names=["effusion", "cardiomegaly"]).load()["test"]
    np.testing.assert_array_equal(some.labels, test.labels[:, [2, 1]])
    (problem,) = MedMNISTDataset(**source).problems()
    assert "more than one label per image: set 'task: findings'" in problem
    (problem,) = MedMNISTDataset(**source, findings=True, class_names=["gout"]).problems()
    assert "has no finding 'gout'" in problem and "cardiomegaly" in problem
    (problem,) = MedMNISTDataset(**source | {"flag": "breastmnist"}, findings=True).problems()
    assert "leave 'task' out" in problem


def test_phantoms_have_their_classes_as_findings():
    settings = {"anatomy": "chest", "domain": "hospital", "counts": {"train": 6, "test": 6}, "seed": 0, "size": 32}
    names = ["viral pneumonia", "bacterial pneumonia"]
    source = PhantomDataset(name="chest", modality="x-ray", class_names=names, findings=True, **settings)
    assert source.load()["test"].labels.tolist() == [[0, 0], [0, 1], [1, 0]] * 2
    (problem,) = PhantomDataset(name="c", modality="m", class_names=["gout"], findings=True, **settings).problems()
    assert "there is no finding gout; there are normal lungs, bacterial" in problem


def test_an_npz_has_a_column_for_each_finding(tmp_path):
    labels = np.stack([np.arange(12) % 2, np.arange(12) % 3 - 1], axis=1)
    arrays = {f"{split}_images": np.zeros((12, 28, 28), np.uint8) for split in ("train", "test")}
    arrays |= {f"{split}_labels": labels for split in ("train", "test")}
    np.savez(tmp_path / "chest.npz", **arrays)
    settings = {"name": "chest", "modality": "x-ray", "filepath": str(tmp_path / "chest.npz"), "findings": True}
    np.testing.assert_array_equal(NpzDataset(**settings, class_names=FINDINGS).load()["test"].labels, labels)
    (problem,) = NpzDataset(**settings, class_names=["edema"]).problems()
    assert "(N, 1), not int64 (12, 2)" in problem
