"""Collections of images in the layouts in which they are released: real names and metadata, few small images."""

from pathlib import Path

import h5py
import numpy as np
import yaml
from medmnist import INFO
from PIL import Image


def medmnist_arrays(
    flag: str, counts: tuple[int, int, int] = (40, 15, 20), size: int = 28, seed: int = 0
) -> dict[str, np.ndarray]:
    """The six arrays of a collection of MedMNIST, with fewer images."""
    info, rng = INFO[flag], np.random.default_rng(seed)
    shape = (size, size, 3) if info["n_channels"] == 3 else (size, size)
    columns = len(info["label"]) if "multi-label" in info["task"] else 1
    arrays = {}
    for split, count in zip(("train", "val", "test"), counts, strict=True):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, *shape), np.uint8)
        labels = np.arange(count)[:, None] % (2 if columns > 1 else len(info["label"]))
        arrays[f"{split}_labels"] = np.repeat(labels, columns, axis=1).astype(np.uint8)
    return arrays


def write_medimeta(
    root: Path,
    id: str,
    task: str,
    classes: list[str],
    *,
    hdf5: bool = True,
    channels: int = 3,
    target: str = "MULTICLASS_CLASSIFICATION",
    seed: int = 0,
) -> np.ndarray:
    """A collection of 60 images of 32 px in the layout of MedIMeta; returns its images, uint8 (N, H, W[, 3])."""
    folder, rng, count = root / id, np.random.default_rng(seed), 60
    for name in ("images", "splits", "task_labels"):
        (folder / name).mkdir(parents=True)
    images = rng.integers(0, 256, (count, 32, 32, 3) if channels == 3 else (count, 32, 32), np.uint8)
    files = [f"images/{index:06d}.tiff" for index in range(count)]
    if hdf5:
        with h5py.File(folder / "images.hdf5", "w") as file:
            file.create_dataset("images", data=images)
    for image, name in zip(images, files, strict=True):
        Image.fromarray(image).save(folder / name, compression=None)
    order = rng.permutation(count)
    parts = {"train": order[:30], "val": order[30:40], "test": order[40:]}
    for split, rows in parts.items():
        (folder / f"splits/{split}.txt").write_text("\n".join(files[row] for row in rows))
    labels = np.empty(count, np.int64)
    for rows in parts.values():
        labels[rows] = np.arange(len(rows)) % len(classes)
    np.save(folder / f"task_labels/{task}.npy", labels)
    info = {
        "id": id,
        "name": id,
        "domain": "test",
        "tasks": [{"task_name": task, "task_target": target, "labels": dict(enumerate(classes))}],
        "input_size": [channels, 32, 32],
        "total_num_samples": count,
        "splits_num_samples": {split: len(rows) for split, rows in parts.items()},
        "license": "CC BY 4.0",
    }
    (folder / "info.yaml").write_text(yaml.safe_dump(info))
    return images
