"""Features of few-shot images on disk."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from robustmedclip.adaptation.guard import as_guard
from robustmedclip.adaptation.shot_features import ShotFeatures
from robustmedclip.io.versioned import AtomicDataset

_ARRAYS, _GUARDS = "features.safetensors", "guards.json"


class ShotFeaturesDataset(AtomicDataset[Mapping[str, ShotFeatures]]):
    """Name of each data set to its :class:`~robustmedclip.adaptation.shot_features.ShotFeatures`, as a folder.

    ``features.safetensors`` has the arrays as ``<data set>.<role>.features`` and ``<data set>.<role>.labels``, the role
    being ``training`` or ``validation``; ``guards.json`` has the fields of the input guard of each data set, or null.
    """

    def _write(self, path: Path, data: Mapping[str, ShotFeatures]) -> None:
        path.mkdir(parents=True)
        arrays = {}
        for name, shots in data.items():
            for role, (features, labels) in (("training", shots.training), ("validation", shots.validation)):
                arrays[f"{name}.{role}.features"] = np.array(features, order="C")
                arrays[f"{name}.{role}.labels"] = np.array(labels, order="C")
        save_file(arrays, path / _ARRAYS)
        guards = {name: asdict(shots.guard) if shots.guard else None for name, shots in data.items()}
        (path / _GUARDS).write_text(json.dumps(guards, indent=2))

    def _read(self, path: Path) -> Mapping[str, ShotFeatures]:
        arrays, guards = load_file(path / _ARRAYS), json.loads((path / _GUARDS).read_text())
        return {
            name: ShotFeatures(
                training=(arrays[f"{name}.training.features"], arrays[f"{name}.training.labels"]),
                validation=(arrays[f"{name}.validation.features"], arrays[f"{name}.validation.labels"]),
                guard=as_guard(fields) if fields else None,
            )
            for name, fields in guards.items()
        }
