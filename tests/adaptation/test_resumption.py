"""A training that was killed goes on after its last finished epoch, to the same bytes."""

import contextlib
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from tasks import LORA, changed, classifier_of, phantoms, shipped

import robustmedclip.adaptation.training
import robustmedclip.io.checkpoint
from robustmedclip.adaptation.methods.full import FullFineTuning
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.tuning import tune
from robustmedclip.io import AdapterDataset, TrainingCheckpointDataset
from robustmedclip.models.study_quirks import apply_study_quirks
from robustmedclip.run.catalog import FingerprintedCatalog

pytestmark = pytest.mark.slow

LOW_RANK = changed(LORA, epochs=4, batch_size=8)
SCALED = changed(
    LOW_RANK, keep="scaled_update", label_space="data_set", batch_norm="adapted", schedule="cosine", targets="all"
)
BATCH = changed(LOW_RANK, batch_norm="batch")
FULL = FullFineTuning(epochs=4, batch_size=8, learning_rate=2e-3, flip=True, keep="best_epoch")


class Killed(BaseException):
    pass


@pytest.fixture(scope="module", autouse=True)
def every_epoch_is_kept() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustmedclip.io.checkpoint, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
        yield


@pytest.fixture(scope="module", params=["phantom_vit", "phantom_resnet"])
def model(request):
    return shipped(request.param)


@pytest.fixture(scope="module")
def task(model):
    sets, held_out = ([phantoms("oct", seed, 12), phantoms("blood", seed, 12)] for seed in (1, 2))
    return Samples(sets, model.preprocess), Samples(held_out, model.preprocess), classifier_of(model, sets)


def run(model, task, settings, folder: Path | None, seed: int = 0):
    checkpoint = TrainingCheckpointDataset(filepath=str(folder / "adapter")).load() if folder else None
    return tune(model, *task, settings, seed=seed, metadata={}, checkpoint=checkpoint)


def kill_in_epoch(epoch: int, monkeypatch) -> None:
    """Raise in the second of an epoch's three batches."""
    calls, read = count(), Samples.pixels

    def pixels(samples, indices, augment=None, device="cpu"):
        if augment is not None and next(calls) == 3 * (epoch - 1) + 1:
            raise Killed
        return read(samples, indices, augment, device)

    monkeypatch.setattr(Samples, "pixels", pixels)


def epochs_trained(monkeypatch) -> list[int]:
    """Is filled with the epochs that a training from now on goes through."""
    trained, epoch = [], robustmedclip.adaptation.training._epoch

    def recorded(*arguments):
        trained.append(arguments[5])
        return epoch(*arguments)

    monkeypatch.setattr(robustmedclip.adaptation.training, "_epoch", recorded)
    return trained


def checkpoints(folder: Path) -> list[Path]:
    return list(folder.glob(".adapter.partial-*"))


@pytest.mark.parametrize("settings", [LOW_RANK, SCALED, BATCH, FULL], ids=["epoch", "scale", "batch", "full"])
def test_a_killed_training_ends_in_the_same_bytes(model, task, settings, tmp_path):
    expected, curves = run(model, task, settings, None)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_in_epoch(3, patch)
        run(model, task, settings, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        trained = epochs_trained(patch)
        adapter, history = run(model, task, settings, tmp_path)
    assert trained == [3, 4]
    np.testing.assert_equal(history, curves)
    assert adapter.metadata == expected.metadata and adapter.config == expected.config
    assert adapter.weights.keys() == expected.weights.keys()
    assert all(adapter.weights[name].tobytes() == array.tobytes() for name, array in expected.weights.items())


@pytest.fixture(scope="module")
def left(model, task, tmp_path_factory) -> Path:
    """What a training leaves that is killed in its second epoch."""
    folder = tmp_path_factory.mktemp("left")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_in_epoch(2, patch)
        run(model, task, LOW_RANK, folder)
    assert len(checkpoints(folder)) == 1
    return folder


@pytest.fixture
def killed(left, tmp_path) -> Path:
    return shutil.copytree(left, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize("change", ["settings", "seed", "images", "preprocessing", "logit scale"])
def test_a_checkpoint_of_another_training_is_ignored(model, task, killed, change, monkeypatch):
    settings = changed(LOW_RANK, learning_rate=1e-3, epochs=2) if change == "settings" else LOW_RANK
    if change == "images":
        sets = [phantoms("oct", 5, 12), phantoms("blood", 5, 12)]
        task = (Samples(sets, model.preprocess), *task[1:])
    if change == "preprocessing":
        model = apply_study_quirks(model, ["normalised_twice"])
    if change == "logit scale":
        model = apply_study_quirks(model, ["no_logit_scale"])
    trained = epochs_trained(monkeypatch)
    kill_in_epoch(1, monkeypatch)
    with pytest.raises(Killed):  # in the first epoch that it trains, whichever it is
        run(model, task, settings, killed, seed=int(change == "seed"))
    assert trained == [1]


def test_a_checkpoint_of_other_code_is_ignored(model, task, tmp_path, monkeypatch):
    entry = TrainingCheckpointDataset(filepath=str(tmp_path / "adapter"))
    catalog = FingerprintedCatalog({"checkpoint-vit_lora_k10_s0": entry})
    trained = epochs_trained(monkeypatch)
    for code, expected in (("old", [1, 2]), ("new", [1, 2]), ("new", [2, 3])):
        catalog.fingerprints = {"adapter-vit_lora_k10_s0": code}
        trained.clear()
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            kill_in_epoch(2, patch)
            checkpoint = catalog.load("checkpoint-vit_lora_k10_s0")
            tune(model, *task, LOW_RANK, seed=0, metadata={}, checkpoint=checkpoint)
        assert trained == expected


def test_a_damaged_checkpoint_is_ignored(model, task, killed, monkeypatch):
    (path,) = checkpoints(killed)
    path.write_bytes(path.read_bytes()[:1000])
    trained = epochs_trained(monkeypatch)
    run(model, task, LOW_RANK, killed)
    assert trained == [1, 2, 3, 4]


def test_the_checkpoint_goes_when_the_adapter_is_there(model, task, killed):
    (killed / ".adapter_2.partial-0").touch()
    adapter, _ = run(model, task, LOW_RANK, killed)
    assert checkpoints(killed)
    AdapterDataset(filepath=str(killed / "adapter")).save(adapter)
    assert not checkpoints(killed)
    assert sorted(path.name for path in killed.iterdir()) == [".adapter_2.partial-0", "adapter"]


def test_a_disk_that_takes_no_checkpoint_does_not_end_the_training(model, task, tmp_path, caplog):
    (tmp_path / "file").touch()
    checkpoint = TrainingCheckpointDataset(filepath=str(tmp_path / "file/adapter")).load()
    _, history = tune(model, *task, changed(LOW_RANK, epochs=1), seed=0, metadata={}, checkpoint=checkpoint)
    assert len(history) == 2 and "No checkpoint can be written" in caplog.text


def test_listeners_hear_of_every_epoch(model, task, tmp_path):
    checkpoint = TrainingCheckpointDataset(filepath=str(tmp_path / "adapter")).load()
    heard = []
    checkpoint.listeners.append(heard.append)
    _, history = tune(model, *task, LOW_RANK, seed=0, metadata={}, checkpoint=checkpoint)
    np.testing.assert_equal(heard, history)
