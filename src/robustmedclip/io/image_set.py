"""Image sets on disk: one ``.npz`` each, memory-mapped on load."""

from pathlib import Path

import numpy as np

from robustmedclip.io.npz import read_npz, write_npz
from robustmedclip.io.versioned import AtomicDataset
from robustmedclip.types import ImageSet


class ImageSetDataset(AtomicDataset[ImageSet]):
    """An :class:`~robustmedclip.types.ImageSet`; ``images`` stays on disk until it is read."""

    def _write(self, path: Path, data: ImageSet) -> None:
        write_npz(
            path,
            images=np.asarray(data.images),
            labels=data.labels,
            sample_ids=data.sample_ids,
            class_names=np.array(data.class_names),
            name=np.array(data.name),
            split=np.array(data.split),
            modality=np.array(data.modality),
        )

    def _read(self, path: Path) -> ImageSet:
        members = read_npz(path)
        return ImageSet.validated(
            name=str(members["name"]),
            split=str(members["split"]),
            modality=str(members["modality"]),
            class_names=tuple(members["class_names"].tolist()),
            images=members["images"],
            labels=members["labels"],
            sample_ids=members["sample_ids"],
        )
