"""Image sets on disk: one ``.npz`` each, memory-mapped on load."""

from pathlib import Path

import numpy as np

from robustmedclip.images.sets import ImageSet
from robustmedclip.io.disk import require_space
from robustmedclip.io.npz import Stream, read_npz, write_npz
from robustmedclip.io.versioned import AtomicDataset
from robustmedclip.progress import track

_CHUNK_BYTES = 2**25
_COLUMN = "column-"


class ImageSetDataset(AtomicDataset[ImageSet]):
    """An :class:`~robustmedclip.images.sets.ImageSet`, written chunk by chunk; its pixels are read when used."""

    def _write(self, path: Path, data: ImageSet) -> None:
        shape = data.images.shape
        image_bytes = int(np.prod(shape[1:]))
        require_space(path.parent, len(data) * image_bytes, f"'{data.name}' ({data.split})")
        rows = max(1, _CHUNK_BYTES // image_bytes)
        starts = range(0, len(data), rows)
        chunks = (data.images[start : start + rows] for start in track(starts, f"reading {data.name} ({data.split})"))
        write_npz(
            path,
            images=Stream(shape, np.dtype(np.uint8), chunks),
            labels=data.labels,
            sample_ids=data.sample_ids,
            class_names=np.array(data.class_names),
            name=np.array(data.name),
            split=np.array(data.split),
            modality=np.array(data.modality),
            synthetic=np.array(data.synthetic),
            release=np.array(data.release or ""),
            **{f"{_COLUMN}{name}": values for name, values in data.columns.items()},
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
            synthetic=bool(members["synthetic"]),
            release=str(members["release"]) or None,
            columns={
                name.removeprefix(_COLUMN): values for name, values in members.items() if name.startswith(_COLUMN)
            },
        )
