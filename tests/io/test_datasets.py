"""Our datasets: round trips, versions, atomic writes, remote paths."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from kedro.io import DatasetError
from kedro.io.core import Version

from robustmedclip.adaptation.artefacts import Adapter, Head
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.images.pixels import batches
from robustmedclip.images.sets import ImageSet
from robustmedclip.io import (
    AdapterDataset,
    CorruptedSetDataset,
    FeaturesDataset,
    FilesDataset,
    HeadDataset,
    ImageSetDataset,
    LogitsDataset,
)
from robustmedclip.metrics.logits import Logits
from robustmedclip.models.features import Features
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set

CONDITIONS = (CLEAN, Condition("gaussian_noise", 1), Condition("pixelate", 5))


def corrupted(image_set: ImageSet, conditions=CONDITIONS, **settings) -> CorruptedSet:
    defaults = {"suite": "medimeta-c", "dataset": None, "grey": "native", "storage": "materialised"}
    return corrupt_test_set(image_set, {"seed": 0}, conditions=conditions, **defaults | settings)


def pixels_of(corrupted_set: CorruptedSet, condition: Condition, batch_size: int = 7) -> np.ndarray:
    return np.concatenate(list(corrupted_set.read(condition, batch_size)))


def assert_same(one: ImageSet, other: ImageSet) -> None:
    for field in ("images", "labels", "sample_ids"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert (one.name, one.split, one.modality, one.class_names) == (
        other.name,
        other.split,
        other.modality,
        other.class_names,
    )


def test_image_set_round_trip(tmp_path, image_set):
    dataset = ImageSetDataset(filepath=str(tmp_path / "set.npz"))
    dataset.save(image_set)
    assert_same(dataset.load(), image_set)


def test_versions(tmp_path, image_set):
    for version in ("1", "2"):
        ImageSetDataset(filepath=str(tmp_path / "set.npz"), version=Version(None, version)).save(image_set)
    assert (tmp_path / "set.npz" / "2" / "set.npz").is_file()
    assert ImageSetDataset(filepath=str(tmp_path / "set.npz"), version=Version(None, None)).load().name == "cells"


def test_remote_paths(image_set):
    dataset = ImageSetDataset(filepath="memory://bucket/set.npz")
    dataset.save(image_set)
    assert_same(dataset.load(), image_set)


def test_corrupted_set_has_the_layout_of_medimeta_c(tmp_path, image_set):
    dataset = CorruptedSetDataset(filepath=str(tmp_path / "cells"))
    made = corrupted(image_set)
    dataset.save(made)
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.npz")}
    assert files == {
        "cells/test/clean.npz",
        "cells/test/gaussian_noise_severity_1.npz",
        "cells/test/pixelate_severity_5.npz",
    }
    with np.load(tmp_path / "cells/test/pixelate_severity_5.npz") as members:
        assert set(members.files) == {"images", "labels"}
        assert members["images"].shape == image_set.images.squeeze(-1 if image_set.images.shape[-1] == 1 else ()).shape
    loaded = dataset.load()
    assert_same(loaded.clean, image_set)
    for condition in CONDITIONS:
        np.testing.assert_array_equal(pixels_of(loaded, condition), pixels_of(made, condition, 1000))


def test_corrupted_set_has_the_layout_of_medmnist_c(tmp_path, image_set):
    conditions = (CLEAN, *(Condition(name, severity) for name in ("bubble", "pixelate") for severity in range(1, 6)))
    dataset = CorruptedSetDataset(filepath=str(tmp_path / "cells"))
    made = corrupted(image_set, conditions, suite="medmnist-c", dataset="bloodmnist")
    dataset.save(made)
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.npz")}
    assert files == {"cells/clean.npz", "cells/bubble.npz", "cells/pixelate.npz"}
    with np.load(tmp_path / "cells/bubble.npz") as members:
        assert set(members.files) == {"test_images", "test_labels"}
        assert members["test_images"].shape[0] == 5 * len(image_set)
        np.testing.assert_array_equal(members["test_labels"], np.tile(image_set.labels, 5)[:, None])
    loaded = dataset.load()
    assert_same(loaded.clean, image_set)
    for condition in conditions:
        np.testing.assert_array_equal(pixels_of(loaded, condition), pixels_of(made, condition, 1000))


@pytest.mark.parametrize("findings", [1, 3])
@pytest.mark.parametrize(("suite", "of"), [("medimeta-c", None), ("medmnist-c", "bloodmnist")])
def test_corrupted_images_keep_all_of_their_findings(tmp_path, image_set, suite, of, findings):
    labels = np.random.default_rng(0).integers(-1, 2, (len(image_set), findings))
    labels[:2] = [[1] * findings, [0] * findings]
    names = tuple(f"finding {place}" for place in range(findings))
    images = replace(image_set, labels=labels, class_names=names)
    conditions = (CLEAN, *(Condition("pixelate", severity) for severity in range(1, 6)))
    for storage in ("materialised", "on_the_fly"):
        dataset = CorruptedSetDataset(filepath=str(tmp_path / storage))
        dataset.save(corrupted(images, conditions, suite=suite, dataset=of, storage=storage))
        assert_same(dataset.load().clean, images)
        assert pixels_of(dataset.load(), conditions[-1]).shape == images.images.shape


@pytest.mark.parametrize("suite", ["medimeta-c", "medmnist-c"])
def test_corrupting_on_the_fly_stores_the_clean_images_alone_and_gives_the_same_bytes(tmp_path, image_set, suite):
    settings = {"suite": suite, "dataset": "organamnist" if suite == "medmnist-c" else None, "grey": "reference"}
    sets = {}
    for storage in ("materialised", "on_the_fly"):
        dataset = CorruptedSetDataset(filepath=str(tmp_path / storage))
        dataset.save(corrupted(image_set, storage=storage, **settings))
        sets[storage] = dataset.load()
    assert len(list((tmp_path / "on_the_fly").rglob("*.npz"))) == 1
    assert_same(sets["on_the_fly"].clean, image_set)
    for condition in CONDITIONS[:2]:
        np.testing.assert_array_equal(
            pixels_of(sets["on_the_fly"], condition, 11), pixels_of(sets["materialised"], condition)
        )


def test_an_interrupted_set_goes_on_with_the_unfinished_file(tmp_path, image_set):
    dataset, made, corrupting = CorruptedSetDataset(filepath=str(tmp_path / "cells")), corrupted(image_set), []

    def read(condition, batch_size):
        corrupting.append(str(condition))
        for start, batch in enumerate(made.read(condition, batch_size)):
            if interrupt and condition == CONDITIONS[2] and start == 1:
                raise KeyboardInterrupt
            yield batch

    interrupt = True
    with pytest.raises(KeyboardInterrupt):
        dataset.save(replace(made, corrupted=SimpleNamespace(batches=read)))
    assert not (tmp_path / "cells").exists()
    assert dataset.partial_bytes() > image_set.images.nbytes * 2
    interrupt, corrupting = False, []
    dataset.save(replace(made, corrupted=SimpleNamespace(batches=read)))
    assert corrupting == ["pixelate_severity_5"]
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]
    for condition in CONDITIONS:
        np.testing.assert_array_equal(pixels_of(dataset.load(), condition), pixels_of(made, condition))


def test_what_is_left_of_other_settings_is_not_used(tmp_path, image_set):
    def interrupted(condition, batch_size):
        if condition == CONDITIONS[1]:
            raise KeyboardInterrupt
        return batches(image_set.images, batch_size)

    dataset = CorruptedSetDataset(filepath=str(tmp_path / "cells"))
    with pytest.raises(KeyboardInterrupt):
        dataset.save(replace(corrupted(image_set), corrupted=SimpleNamespace(batches=interrupted)))
    other = image_set.subset(np.arange(20))
    dataset.save(corrupted(other))
    assert_same(dataset.load().clean, other)
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]


def test_a_corrupted_file_of_other_images_is_refused(tmp_path, image_set):
    dataset = CorruptedSetDataset(filepath=str(tmp_path / "cells"))
    dataset.save(corrupted(image_set))
    other = image_set.subset(np.arange(10, 140))
    elsewhere = CorruptedSetDataset(filepath=str(tmp_path / "other"))
    elsewhere.save(corrupted(other))
    name = "test/pixelate_severity_5.npz"
    (tmp_path / "cells" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(ValueError, match="pixelate_severity_5"):
        list(dataset.load().read(Condition("pixelate", 5), 10))


def test_features_are_read_from_the_disk(tmp_path):
    rows = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    fields = {
        "data_set": "d",
        "modality": "x",
        "class_names": ("a", "b"),
        "conditions": CONDITIONS,
        "labels": np.array([0, 1, 0, 1]),
        "sample_ids": np.array(list("wxyz")),
        "weights": "abc",
        "precision": "bfloat16",
    }
    dataset = FeaturesDataset(filepath=str(tmp_path / "f.npz"))
    dataset.save(Features(**fields, rows=rows))
    loaded = dataset.load()
    assert all(isinstance(part, np.memmap) for part in (loaded.rows, *loaded.batches()))
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(loaded.batches())), rows)
    for name, value in fields.items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    with pytest.raises(DatasetError, match="got 8 of 12 rows"):
        dataset.save(Features(**fields, rows=rows[:8]))
    np.testing.assert_array_equal(dataset.load().rows, rows)


def test_logits_round_trip(tmp_path):
    logits = Logits(
        model="m",
        data_set="d",
        modality="x",
        class_names=("a", "b"),
        conditions=CONDITIONS,
        logits=np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32),
        labels=np.array([0, 1, 0, 1]),
        sample_ids=np.array(list("wxyz")),
        attributes={"base": "m", "fraction": 0.1, "seed": None},
    )
    dataset = LogitsDataset(filepath=str(tmp_path / "l.npz"))
    dataset.save(logits)
    loaded = dataset.load()
    np.testing.assert_array_equal(loaded.logits, logits.logits)
    assert (loaded.conditions, loaded.attributes, loaded.class_names) == (
        logits.conditions,
        logits.attributes,
        logits.class_names,
    )


def test_adapter_round_trip(tmp_path):
    adapter = Adapter({"r": 8}, {"x.lora_A.weight": np.ones((8, 4), np.float32)}, {"seed": 0})
    dataset = AdapterDataset(filepath=str(tmp_path / "a"))
    dataset.save(adapter)
    loaded = dataset.load()
    assert (loaded.config, loaded.metadata) == (adapter.config, adapter.metadata)
    np.testing.assert_array_equal(loaded.weights["x.lora_A.weight"], 1)


def test_head_round_trip(tmp_path):
    cache = {"keys": np.ones((3, 2), np.float32).T, "alpha": np.array(0.5, np.float32)}
    head = Head({"blood": cache, "oct": {"bias": np.zeros(2, np.float32)}}, {"base_model_hash": "abc", "seed": 0})
    dataset = HeadDataset(filepath=str(tmp_path / "h"))
    dataset.save(head)
    loaded = dataset.load()
    assert loaded.metadata == head.metadata and loaded.content_hash() == head.content_hash()
    assert {name: set(arrays) for name, arrays in loaded.classifiers.items()} == {"blood": set(cache), "oct": {"bias"}}
    np.testing.assert_array_equal(loaded.classifiers["blood"]["keys"], cache["keys"])
    assert loaded.classifiers["blood"]["alpha"].shape == ()


def test_files_round_trip(tmp_path):
    dataset = FilesDataset(filepath=str(tmp_path / "f"))
    dataset.save({"a.txt": b"1", "b.bin": b"\0"})
    assert dataset.load() == {"a.txt": b"1", "b.bin": b"\0"}


def test_a_failing_write_leaves_nothing(tmp_path, image_set):
    def fail(condition, batch_size):
        raise RuntimeError("power cut")

    made = replace(corrupted(image_set), corrupted=SimpleNamespace(batches=fail))
    with pytest.raises((RuntimeError, DatasetError), match="power cut"):
        CorruptedSetDataset(filepath=str(tmp_path / "cells")).save(made)
    assert list(tmp_path.iterdir()) == []
