"""Collections as one npz: MedMNIST's files and a user's own."""

import hashlib
import logging
import re
import zipfile

import fsspec
import numpy as np
import pytest
from content import content_of
from fsspec.implementations.memory import MemoryFileSystem
from kedro.io import DatasetError
from medmnist import INFO
from released_collections import medmnist_arrays

from robustmedclip.errors import InputError
from robustmedclip.io import ImageSetDataset, MedMNISTDataset, NpzDataset
from robustmedclip.pipelines.ingestion.nodes import ingest

GRADES = ["no retinopathy", "mild NPDR", "moderate NPDR", "severe NPDR", "PDR"]
SINGLE_LABEL = [flag for flag in INFO if not flag.endswith("3d") and flag != "chestmnist"]


def medmnist(folder, flag, **settings) -> MedMNISTDataset:
    return MedMNISTDataset(name="set", modality="x", filepath=str(folder), flag=flag, **settings)


def own(folder, arrays, save=np.savez, **settings) -> NpzDataset:
    save(folder / "own.npz", **arrays)
    settings = {"class_names": ["a", "b", "c", "d"], **settings}
    return NpzDataset(name="mine", modality="x", filepath=str(folder / "own.npz"), **settings)


@pytest.mark.parametrize("flag", SINGLE_LABEL)
def test_every_single_label_collection_of_medmnist(tmp_path, flag, caplog):
    arrays = medmnist_arrays(flag)
    np.savez_compressed(tmp_path / f"{flag}.npz", **arrays)
    splits = medmnist(tmp_path, flag, class_names=GRADES if flag == "retinamnist" else None).load()
    for split, image_set in splits.items():
        images = np.asarray(image_set.images)
        np.testing.assert_array_equal(
            images.squeeze(-1) if images.shape[-1] == 1 else images, arrays[f"{split}_images"]
        )
        np.testing.assert_array_equal(image_set.labels, arrays[f"{split}_labels"][:, 0])
    names = [INFO[flag]["label"][str(label)] for label in range(len(INFO[flag]["label"]))]
    assert f"has 20 test images, {flag} has {INFO[flag]['n_samples']['test']}" in caplog.text
    assert list(splits["test"].class_names) == (GRADES if flag == "retinamnist" else names)


@pytest.mark.parametrize("size", [64, 128, 224])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_larger_sizes_and_the_way_through_ingestion(tmp_path, size, save):
    arrays = medmnist_arrays("breastmnist", (8, 4, 6), size)
    save(tmp_path / f"breastmnist_{size}.npz", **arrays)
    pool, test = ingest(medmnist(tmp_path, "breastmnist", size=size).load())
    entry = ImageSetDataset(filepath=str(tmp_path / "pool.npz"))
    entry.save(pool)
    expected = np.concatenate([arrays["train_images"], arrays["val_images"]])[..., None]
    np.testing.assert_array_equal(entry.load().images, expected)
    np.testing.assert_array_equal(test.images[[5, 0, 3]], arrays["test_images"][[5, 0, 3], ..., None])


@pytest.mark.parametrize(
    ("flag", "settings", "reason"),
    [
        ("chestmnist", {}, "one label per image"),
        ("organmnist3d", {}, "volumes.*2D"),
        ("organmnist3d", {"size": 64}, "volumes.*2D"),
        ("bloodmnist", {"size": 100}, "have 28, 64.*can't be 100"),
        ("bloodmnist", {"size": "224"}, "have 28, 64.*can't be '224'"),
        ("bloodmnst", {}, "no collection 'bloodmnst'.*bloodmnist"),
        ("retinamnist", {}, "says nothing in a prompt.*'classes'"),
        ("breastmnist", {"class_names": ["normal, benign", "malignant"]}, "another order"),
        ("breastmnist", {"class_names": ["a", "b", "c"]}, "lists 3 names"),
        ("pneumoniamnist", {}, r"there is no .*pneumoniamnist\.npz: get it from https:.*5856 images.*CC BY 4\.0"),
        ("bloodmnist", {}, r"\(28, 28, 1\), those of bloodmnist are \(28, 28, 3\)"),
    ],
)
def test_what_is_not_supported_is_said_before_anything_is_run(tmp_path, flag, settings, reason):
    np.savez(tmp_path / "breastmnist.npz", **medmnist_arrays("breastmnist"))
    np.savez(tmp_path / "bloodmnist.npz", **medmnist_arrays("octmnist") | medmnist_arrays("tissuemnist"))
    (problem,) = medmnist(tmp_path, flag, **settings).problems()
    if "there is no" not in problem and "those of" not in problem:
        downloaded = medmnist(tmp_path, flag, **settings, download=True)
        assert downloaded.signature() and downloaded.problems() == [problem]
    with pytest.raises(DatasetError, match=f"'set': .*{reason}"):
        medmnist(tmp_path, flag, **settings).load()
    assert problem


def test_a_download_that_fails_says_what_to_fetch(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("robustmedclip.io.sources.download.urlopen", offline)
    source = medmnist(tmp_path, "breastmnist", size=224, download=True)
    assert source.problems() == []
    assert source.test_shape() == (156, 224, 224, 1)
    with pytest.raises(DatasetError, match=r"zenodo.*breastmnist_224\.npz.*b56378a6eefa9fed602bb16d192d4c8b"):
        source.load()


def change(**changed):
    return {**medmnist_arrays("octmnist"), **changed}


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({}, "no array train_images.*it has none"),
        ({"x": np.ones(3)}, "no array train_images.*it has x"),
        (
            change(test_labels=np.full((20, 1), 4, np.uint8)),
            "'test_labels'.* 4 lie outside .* which count from 0",
        ),
        (change(test_labels=np.full((20, 1), -1, np.int8)), "-1 lie outside"),
        (change(test_labels=np.full((20, 1), 2**63, np.uint64)), "9223372036854775808 lie outside"),
        (change(test_labels=np.zeros((20, 2), np.uint8)), "one per image"),
        (change(test_labels=np.zeros(20)), "whole numbers"),
        (change(test_labels=np.zeros(19, int)), "20 test_images and 19 test_labels"),
        (change(test_labels=np.zeros(20, int)), "no image of 'b', 'c', 'd' in the test split, which needs two classes"),
        (
            change(train_labels=np.zeros(40, int), val_labels=np.ones(15, int)),
            "no image of 'c', 'd' in the training pool",
        ),
        (change(test_labels=np.array([{}] * 20)), "Python objects"),
        (change(test_images=np.array([{}] * 20)), "Python objects"),
        (change(test_images=np.zeros((20, 28, 28), np.uint16)), "'test_images' must be uint8"),
        (change(test_images=np.zeros((20, 28, 28, 4), np.uint8)), "must be uint8"),
        (change(test_images=np.zeros((20, 28, 5000), np.uint8)), "up to 4096 px"),
        (change(test_images=np.asfortranarray(np.zeros((20, 28, 28), np.uint8))), "ascontiguousarray"),
    ],
)
def test_wrong_content_is_named(tmp_path, arrays, reason):
    source = own(tmp_path, arrays)
    with pytest.raises(DatasetError, match=rf"(?s)own\.npz.*{reason}"):
        source.load()


def test_a_header_that_lies_about_its_size_allocates_nothing(tmp_path):
    source = own(tmp_path, medmnist_arrays("octmnist"))
    file = tmp_path / "own.npz"
    content = file.read_bytes()
    for lie in (b"(999999999, 28, 28), ", b"(-20, 28, 28), "):
        changed = content.replace(b"(20, 28, 28), }".ljust(len(lie) + 1), lie + b"}")
        assert changed != content
        file.write_bytes(changed)
        with pytest.raises(DatasetError, match=r"own\.npz.*'test_images'"):
            source.load()


def test_a_changed_byte_is_found_when_it_is_read(tmp_path):
    source = own(tmp_path, medmnist_arrays("octmnist", size=128))
    file = tmp_path / "own.npz"
    with zipfile.ZipFile(file) as archive:
        place = archive.getinfo("test_images.npy").header_offset + 200_000
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    _, test = ingest(source.load())
    with pytest.raises(DatasetError, match=r"own\.npz.*CRC"):
        ImageSetDataset(filepath=str(tmp_path / "test.npz")).save(test)
    assert not (tmp_path / "test.npz").exists()


@pytest.mark.parametrize("keep", [10, 500, 20_000])
def test_a_truncated_file_is_named(tmp_path, keep):
    source = own(tmp_path, medmnist_arrays("octmnist"), np.savez_compressed)
    file = tmp_path / "own.npz"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DatasetError, match=r"own\.npz is damaged"):
        source.load()


def test_training_and_test_images_of_different_sizes_are_said(tmp_path, caplog):
    arrays = medmnist_arrays("octmnist")
    ingest(own(tmp_path, arrays).load())
    assert caplog.text == ""
    arrays["test_images"] = np.zeros((len(arrays["test_labels"]), 64, 64, 3), np.uint8)
    ingest(own(tmp_path, arrays).load())
    assert "train on have 28 x 28 px and 1 channels, those to test on 64 x 64 px and 3 channels" in caplog.text


@pytest.mark.parametrize("names", [[0, 1], "ab", {"a": 0}])
def test_class_names_that_are_no_texts_are_refused(tmp_path, names):
    with pytest.raises(InputError, match="'mine': class_names must be a list of texts, not .*: quote them"):
        NpzDataset(name="mine", modality="x", filepath=str(tmp_path), class_names=names)


def test_own_arrays_need_classes_and_their_content_is_that_of_the_file(tmp_path):
    arrays = medmnist_arrays("octmnist")
    assert "needs 'classes'" in own(tmp_path, arrays, class_names=None).problems()[0]
    before = content_of(own(tmp_path, arrays))
    del arrays["val_images"], arrays["val_labels"]
    source = own(tmp_path, arrays)
    assert content_of(source) != before
    assert set(source.load()) == {"train", "test"}


class Bucket(MemoryFileSystem):
    """A remote filesystem, which calls its time as `stamp` says."""

    protocol, stamp = "bucket", "created"

    def info(self, path, **options):
        info = super().info(path, **options)
        return {self.stamp if key == "created" else key: value for key, value in info.items()}


@pytest.mark.parametrize("stamp", ["created", "ETag", "etag", "LastModified", "last_modified", "modificationTime"])
def test_the_signature_changes_with_a_remote_file_of_the_same_size(monkeypatch, stamp):
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    monkeypatch.setattr(Bucket, "stamp", stamp)
    source = NpzDataset(name="mine", modality="x", filepath="bucket:///own.npz", class_names=["a", "b"])
    source._fs.pipe_file("/own.npz", b"1")
    before = source.signature()
    assert source.signature() == before
    source._fs.pipe_file("/own.npz", b"2")
    assert source.signature() != before


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    source = NpzDataset(name="mine", modality="x", filepath=str(tmp_path), class_names=["a", "b"])
    assert re.search(rf"can't be read .*{tmp_path}", source.problems()[0])
    with pytest.raises(DatasetError, match=f"'mine': .*{tmp_path}"):
        source.load()


def test_images_may_have_names(tmp_path):
    arrays = medmnist_arrays("octmnist")
    names = [f"eye {index}.png" for index in range(len(arrays["test_labels"]))]
    splits = own(tmp_path, {**arrays, "test_ids": np.array(names)}).load()
    assert splits["test"].sample_ids.tolist() == names
    assert splits["train"].sample_ids[0] == "train/000000"


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        (np.arange(20), "test_ids must be text"),
        (np.array(["a"] * 19), "test_ids must be text"),
        (np.array([f"{index // 2}" for index in range(20)]), "test_ids names 10 images twice"),
        (np.array(["a"] * 20, object), r"Python objects, which are not read: save text with .astype\(str\)"),
    ],
)
def test_names_that_are_wrong_are_refused(tmp_path, ids, reason):
    (problem,) = own(tmp_path, {**medmnist_arrays("octmnist"), "test_ids": ids}).problems()
    assert re.search(reason, problem)


def test_only_the_released_file_carries_its_release(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "robustmedclip")
    path = tmp_path / "breastmnist_224.npz"
    np.savez(path, **medmnist_arrays("breastmnist", size=224))
    released = {
        "n_samples": {"train": 40, "val": 15, "test": 20},
        "MD5_224": hashlib.md5(path.read_bytes()).hexdigest(),
    }
    assert {part.release for part in medmnist(tmp_path, "breastmnist", size=224).load().values()} == {None}
    monkeypatch.setitem(INFO, "breastmnist", INFO["breastmnist"] | released)
    assert {part.release for part in medmnist(tmp_path, "breastmnist", size=224).load().values()} == {"breastmnist_224"}
    np.savez(path, **medmnist_arrays("breastmnist", size=224, seed=1))
    assert {part.release for part in medmnist(tmp_path, "breastmnist", size=224).load().values()} == {None}
    assert "is not the released file byte for byte" in caplog.text


def test_an_altered_copy_under_the_right_name_is_used_with_a_warning_and_says_so_of_itself(tmp_path, caplog):
    np.savez(tmp_path / "breastmnist.npz", **medmnist_arrays("breastmnist"))
    splits = medmnist(tmp_path, "breastmnist").load()
    assert "WARNING" in caplog.text and "it has 40 train images, breastmnist has 546" in caplog.text
    assert splits["test"].origin["size"].startswith("another file than released, MD5 ")
    assert splits["test"].origin["size"].endswith(": 75 images")
