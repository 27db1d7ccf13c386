"""Collections in the released layout of MedIMeta."""

import re

import h5py
import numpy as np
import pytest
import yaml
from kedro.io import DatasetError
from released_collections import write_medimeta

from robustmedclip.io import ImageSetDataset, MedIMetaDataset
from robustmedclip.pipelines.ingestion.nodes import ingest

PBC = [
    "neutrophil",
    "eosinophil",
    "basophil",
    "lymphocyte",
    "monocyte",
    "immature granulocyte",
    "erythroblast",
    "platelet",
]


def source(root, **settings) -> MedIMetaDataset:
    settings = {"id": "pbc", "task": "cell class", **settings}
    return MedIMetaDataset(name="pbc", modality="blood cell microscopy", filepath=str(root), **settings)


@pytest.mark.parametrize("hdf5", [True, False], ids=["hdf5", "tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_labels_and_splits(tmp_path, hdf5, channels):
    images = write_medimeta(tmp_path, "pbc", "cell class", PBC, hdf5=hdf5, channels=channels)
    splits = source(tmp_path).load()
    labels = np.load(tmp_path / "pbc/task_labels/cell class.npy")
    assert {split: len(part) for split, part in splits.items()} == {"train": 30, "val": 10, "test": 20}
    for part in splits.values():
        rows = part.sample_ids.astype(int)
        assert part.class_names == tuple(PBC)
        assert rows.tolist() == sorted(rows)
        np.testing.assert_array_equal(part.labels, labels[rows])
        np.testing.assert_array_equal(np.asarray(part.images).reshape(len(rows), *images.shape[1:]), images[rows])
    pool, _ = ingest(splits)
    ImageSetDataset(filepath=str(tmp_path / "pool.npz")).save(pool)
    assert source(tmp_path).test_shape() == (20, 32, 32, channels)


def test_class_names_may_be_replaced_but_not_reordered(tmp_path):
    write_medimeta(tmp_path, "pbc", "cell class", PBC)
    names = [f"a {name}" for name in PBC]
    assert source(tmp_path, class_names=names).load()["test"].class_names == tuple(names)
    assert "another order" in source(tmp_path, class_names=sorted(PBC)).problems()[0]


def test_grades_that_are_numbers_need_names(tmp_path):
    write_medimeta(tmp_path, "dr_regular", "DR level", list("01234"), target="ORDINAL_REGRESSION")
    settings = {"id": "dr_regular", "task": "DR level"}
    assert re.search("called 0, 1.*'classes'", source(tmp_path, **settings).problems()[0])
    assert source(tmp_path, **settings, class_names=["none", "mild", "moderate", "severe", "PDR"]).problems() == []


def test_a_task_with_several_labels_and_unknown_tasks_are_refused(tmp_path):
    write_medimeta(tmp_path, "pbc", "cell class", PBC, target="MULTILABEL_CLASSIFICATION")
    assert "several labels per image: set 'task: findings'" in source(tmp_path).problems()[0]
    assert "no task 'x'; it has 'cell class'" in source(tmp_path, task="x").problems()[0]
    assert "there is no" in source(tmp_path, id="nowhere").problems()[0]


def test_a_task_with_several_labels_has_findings_all_or_some(tmp_path):
    write_medimeta(tmp_path, "chest", "findings", ["edema", "mass", "nodule"], target="MULTILABEL_CLASSIFICATION")
    labels = np.random.default_rng(0).integers(0, 2, (60, 3))
    np.save(tmp_path / "chest/task_labels/findings.npy", labels)
    settings = {"id": "chest", "task": "findings", "findings": True}
    test = source(tmp_path, **settings).load()["test"]
    assert test.class_names == ("edema", "mass", "nodule")
    np.testing.assert_array_equal(test.labels, labels[test.sample_ids.astype(int)])
    some = source(tmp_path, **settings, class_names=["nodule", "edema"]).load()["test"]
    np.testing.assert_array_equal(some.labels, test.labels[:, [2, 0]])
    assert "no finding 'gout'" in source(tmp_path, **settings, class_names=["gout"]).problems()[0]


def edit_info(folder, change) -> None:
    info = yaml.safe_load((folder / "info.yaml").read_text())
    change(info)
    (folder / "info.yaml").write_text(yaml.safe_dump(info))


def rewrite(folder, **settings) -> None:
    (folder / "images.hdf5").unlink()
    with h5py.File(folder / "images.hdf5", "w") as file:
        file.create_dataset("images", **settings)


def link(folder) -> None:
    (folder / "images.hdf5").rename(folder / "other.hdf5")
    with h5py.File(folder / "images.hdf5", "w") as file:
        file["images"] = h5py.ExternalLink("other.hdf5", "images")


def raw(folder) -> None:
    (folder / "images.hdf5").unlink()
    with h5py.File(folder / "images.hdf5", "w") as file:
        file.create_dataset("images", (60, 32, 32), np.uint8, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def cut(folder) -> None:
    content = (folder / "images.hdf5").read_bytes()
    (folder / "images.hdf5").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: edit_info(f, lambda i: i.update(id="aml")), "info.yaml describes 'aml'"),
        (lambda f: edit_info(f, lambda i: i.pop("tasks")), "info.yaml is damaged"),
        (lambda f: edit_info(f, lambda i: i["tasks"][0].update(labels={1: "a", 2: "b"})), "info.yaml is damaged"),
        (lambda f: edit_info(f, lambda i: i["tasks"][0]["labels"].update({0: "platelet"})), "platelet.*platelet"),
        (lambda f: (f / "info.yaml").write_text("[" * 2000), "info.yaml is damaged"),
        (lambda f: (f / "info.yaml").write_text("!!python/object/apply:os.system ['false']"), "info.yaml is damaged"),
        (lambda f: (f / "info.yaml").write_bytes(b"\xff\xfe\x00"), "info.yaml is not text"),
        (lambda f: (f / "splits/test.txt").write_text("images/../../x.tiff"), "test.txt has lines"),
        (lambda f: (f / "splits/test.txt").write_text("images/000060.tiff"), "labels of 60 images"),
        (lambda f: (f / "splits/test.txt").write_text("images/000001.tiff\n" * 2), "more than once"),
        (lambda f: (f / "splits/test.txt").unlink(), "no image of the test split"),
        (lambda f: np.save(f / "task_labels/cell class.npy", np.zeros((60, 3), int)), "cell class.npy.*one per image"),
        (lambda f: np.save(f / "task_labels/cell class.npy", np.full(60, 8)), "cell class.npy.* 8 lie outside"),
        (lambda f: np.save(f / "task_labels/cell class.npy", np.array([{}] * 60)), "cell class.npy.*Python objects"),
        (
            lambda f: np.save(f / "task_labels/cell class.npy", np.arange(61) % 8),
            "60 images, and there are labels of 61",
        ),
        (lambda f: (f / "task_labels/cell class.npy").unlink(), "there is no .*cell class.npy: unpack"),
        (cut, "images.hdf5.*truncated"),
        (link, "images.hdf5.*of its own"),
        (raw, "images.hdf5.*other files"),
        (lambda f: (f / "images.hdf5").write_bytes(b"nothing of the kind"), "images.hdf5 is damaged"),
        (lambda f: rewrite(f, shape=(60, 32, 32, 3), dtype=np.uint8), "images.hdf5.*not written to the end"),
        (lambda f: rewrite(f, shape=(60, 32, 32, 3), dtype="u1", chunks=(1, 32, 32, 3)), "not written to the end"),
        (lambda f: rewrite(f, shape=(60, 9999, 9999), dtype="u1"), "up to 4096"),
        (lambda f: rewrite(f, shape=(60, 4000, 4000), dtype="u1", chunks=(60, 4000, 4000)), "chunks of"),
        (lambda f: rewrite(f, data=np.zeros((60, 32, 32, 3), np.uint16)), "uint8"),
        (lambda f: rewrite(f, data=["a"] * 60, dtype=h5py.string_dtype()), "uint8"),
    ],
)
def test_damage_is_named(tmp_path, damage, reason):
    write_medimeta(tmp_path, "pbc", "cell class", PBC)
    damage(tmp_path / "pbc")
    with pytest.raises(DatasetError, match=f"'pbc': .*{reason}"):
        source(tmp_path).load()


def test_compressed_images_are_read(tmp_path):
    images = write_medimeta(tmp_path, "pbc", "cell class", PBC)
    rewrite(tmp_path / "pbc", data=images, compression="gzip", chunks=(7, 32, 32, 3))
    test = source(tmp_path).load()["test"]
    np.testing.assert_array_equal(test.images, images[test.sample_ids.astype(int)])


def test_missing_images_are_named(tmp_path):
    write_medimeta(tmp_path, "pbc", "cell class", PBC, hdf5=False)
    (tmp_path / "pbc/images/000007.tiff").unlink()
    assert "neither" in source(tmp_path).problems()[0] and "000007.tiff" in source(tmp_path).problems()[0]
