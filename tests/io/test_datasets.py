"""Our datasets: round trips, versions, atomic writes, remote paths."""

import numpy as np
import pytest
from kedro.io import DatasetError
from kedro.io.core import Version

from robustmedclip.io import AdapterDataset, CorruptedSetDataset, FilesDataset, ImageSetDataset, LogitsDataset
from robustmedclip.pipelines.corruption.nodes import corrupt_test_set
from robustmedclip.types import CLEAN, Adapter, Condition, ImageSet, Logits

CONDITIONS = (CLEAN, Condition("gaussian_noise", 1), Condition("pixelate", 5))


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
    made = corrupt_test_set(image_set, {"seed": 0}, "medimeta-c", CONDITIONS)
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
        expected = np.concatenate(list(made.read(condition, 1000)))
        np.testing.assert_array_equal(np.concatenate(list(loaded.read(condition, 7))), expected)


def test_a_corrupted_file_of_other_images_is_refused(tmp_path, image_set):
    dataset = CorruptedSetDataset(filepath=str(tmp_path / "cells"))
    dataset.save(corrupt_test_set(image_set, {"seed": 0}, "medimeta-c", CONDITIONS))
    other = image_set.subset(np.arange(10, 140))
    elsewhere = CorruptedSetDataset(filepath=str(tmp_path / "other"))
    elsewhere.save(corrupt_test_set(other, {"seed": 0}, "medimeta-c", CONDITIONS))
    name = "test/pixelate_severity_5.npz"
    (tmp_path / "cells" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(ValueError, match="pixelate_severity_5"):
        list(dataset.load().read(Condition("pixelate", 5), 10))


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


def test_files_round_trip(tmp_path):
    dataset = FilesDataset(filepath=str(tmp_path / "f"))
    dataset.save({"a.txt": b"1", "b.bin": b"\0"})
    assert dataset.load() == {"a.txt": b"1", "b.bin": b"\0"}


def test_a_failing_write_leaves_nothing(tmp_path, image_set):
    def fail(condition, batch_size):
        if condition != CLEAN:
            raise RuntimeError("power cut")
        yield image_set.images

    made = corrupt_test_set(image_set, {"seed": 0}, "medimeta-c", CONDITIONS)
    object.__setattr__(made, "read", fail)
    with pytest.raises((RuntimeError, DatasetError), match="power cut"):
        CorruptedSetDataset(filepath=str(tmp_path / "cells")).save(made)
    assert list(tmp_path.iterdir()) == []
