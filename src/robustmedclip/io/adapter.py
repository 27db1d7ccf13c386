"""Tuned encoders on disk; low-rank updates in the layout of the peft library."""

import json
from contextlib import suppress
from pathlib import Path, PurePosixPath

from safetensors.numpy import load_file, save_file

from robustmedclip.adaptation.artefacts import Adapter
from robustmedclip.io.head import read_head, write_head
from robustmedclip.io.versioned import AtomicDataset, entry_path, filesystem_of

_CONFIG, _ADAPTER, _ENCODER = "adapter_config.json", "adapter_model.safetensors", "visual.safetensors"
_HEAD = "head"


class AdapterDataset(AtomicDataset[Adapter]):
    """An :class:`~robustmedclip.adaptation.artefacts.Adapter` as a folder.

    A low-rank update is ``adapter_config.json`` and ``adapter_model.safetensors``, which
    ``PeftModel.from_pretrained`` reads; a whole encoder is ``visual.safetensors``. ``metadata.json`` says what it
    belongs to. The head that the encoder was tuned with, if there is one, is the folder ``head``.
    """

    def save(self, data: Adapter) -> None:
        """Write `data`; the checkpoints of its training, which are beside the entry, go."""
        super().save(data)
        filesystem, entry = filesystem_of(self), PurePosixPath(entry_path(self))
        for path in filesystem.ls(str(entry.parent), detail=False):
            if f".{entry.name}.partial-" in PurePosixPath(path).name:
                with suppress(FileNotFoundError):  # another run may train the same
                    filesystem.rm(path)

    def _write(self, path: Path, data: Adapter) -> None:
        path.mkdir(parents=True)
        (path / "metadata.json").write_text(json.dumps(dict(data.metadata), indent=2, sort_keys=True))
        save_file(dict(data.weights), path / (_ADAPTER if data.config else _ENCODER), metadata={"format": "pt"})
        if data.head:
            write_head(path / _HEAD, data.head)
        if data.config:
            (path / _CONFIG).write_text(json.dumps(dict(data.config), indent=2, sort_keys=True))

    def _read(self, path: Path) -> Adapter:
        low_rank = (path / _CONFIG).is_file()
        return Adapter(
            config=json.loads((path / _CONFIG).read_text()) if low_rank else {},
            weights=load_file(path / (_ADAPTER if low_rank else _ENCODER)),
            metadata=json.loads((path / "metadata.json").read_text()),
            head=read_head(path / _HEAD) if (path / _HEAD).is_dir() else None,
        )
