"""Heads on disk: their arrays as safetensors, and what they belong to."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from robustmedclip.adaptation.artefacts import Head
from robustmedclip.io.versioned import AtomicDataset


class HeadDataset(AtomicDataset[Head]):
    """A :class:`~robustmedclip.adaptation.artefacts.Head` as a folder.

    ``head.safetensors`` has the arrays as ``<data set>.<array>``; ``metadata.json`` says what they belong to.
    """

    def _write(self, path: Path, data: Head) -> None:
        write_head(path, data)

    def _read(self, path: Path) -> Head:
        return read_head(path)


def write_head(path: Path, data: Head) -> None:
    """Write a head into a new folder."""
    path.mkdir(parents=True)
    (path / "metadata.json").write_text(json.dumps(dict(data.metadata), indent=2, sort_keys=True))
    arrays = {
        f"{data_set}.{name}": np.array(array, order="C")
        for data_set, classifier in data.classifiers.items()
        for name, array in classifier.items()
    }
    save_file(arrays, path / "head.safetensors")


def read_head(path: Path) -> Head:
    """The head in a folder."""
    classifiers: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for key, array in load_file(path / "head.safetensors").items():
        data_set, _, name = key.partition(".")
        classifiers[data_set][name] = array
    return Head(dict(classifiers), json.loads((path / "metadata.json").read_text()))
