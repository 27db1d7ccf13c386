"""Logits on disk: everything that metrics, intervals and plots need, without a model."""

import json
from pathlib import Path

import numpy as np

from robustmedclip.images.conditions import Condition
from robustmedclip.io.npz import read_npz, write_npz
from robustmedclip.io.versioned import AtomicDataset
from robustmedclip.metrics.logits import Logits


class LogitsDataset(AtomicDataset[Logits]):
    """A :class:`~robustmedclip.metrics.logits.Logits` as one ``.npz``."""

    def _write(self, path: Path, data: Logits) -> None:
        write_npz(
            path,
            logits=data.logits,
            labels=data.labels,
            sample_ids=data.sample_ids,
            class_names=np.array(data.class_names),
            conditions=np.array([str(condition) for condition in data.conditions]),
            model=np.array(data.model),
            data_set=np.array(data.data_set),
            modality=np.array(data.modality),
            attributes=np.array(json.dumps(dict(data.attributes), sort_keys=True)),
        )

    def _read(self, path: Path) -> Logits:
        members = read_npz(path, mapped=())
        return Logits(
            model=str(members["model"]),
            attributes=json.loads(str(members["attributes"])),
            data_set=str(members["data_set"]),
            modality=str(members["modality"]),
            class_names=tuple(members["class_names"].tolist()),
            conditions=tuple(map(Condition.parse, members["conditions"].tolist())),
            logits=members["logits"],
            labels=members["labels"],
            sample_ids=members["sample_ids"],
        )
