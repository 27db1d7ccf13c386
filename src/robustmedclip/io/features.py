"""Image features on disk: what is left of the images once a model has seen them."""

from pathlib import Path

import numpy as np

from robustmedclip.images.conditions import Condition
from robustmedclip.io.disk import require_space
from robustmedclip.io.npz import Stream, read_npz, write_npz
from robustmedclip.io.versioned import AtomicDataset
from robustmedclip.models.features import Features


class FeaturesDataset(AtomicDataset[Features]):
    """A :class:`~robustmedclip.models.features.Features` as one ``.npz``.

    It takes 2 kB per image and condition at 512 dimensions. Features are read through a memory map.
    """

    def _write(self, path: Path, data: Features) -> None:
        shape = (len(data.conditions) * len(data.labels), data.rows.shape[1])
        require_space(path.parent, data.rows.nbytes, f"'{path.name}'")
        write_npz(
            path,
            features=Stream(shape, np.dtype(np.float32), data.batches()),
            labels=data.labels,
            sample_ids=data.sample_ids,
            class_names=np.array(data.class_names),
            conditions=np.array([str(condition) for condition in data.conditions]),
            data_set=np.array(data.data_set),
            modality=np.array(data.modality),
            weights=np.array(data.weights),
            precision=np.array(data.precision),
        )

    def _read(self, path: Path) -> Features:
        members = read_npz(path, mapped=("features",))
        return Features(
            data_set=str(members["data_set"]),
            modality=str(members["modality"]),
            class_names=tuple(members["class_names"].tolist()),
            conditions=tuple(map(Condition.parse, members["conditions"].tolist())),
            labels=members["labels"],
            sample_ids=members["sample_ids"],
            weights=str(members["weights"]),
            precision=str(members["precision"]),
            rows=members["features"],
        )
