"""Adapters on disk, in the layout of the peft library."""

import json
from pathlib import Path

from safetensors.numpy import load_file, save_file

from robustmedclip.io.versioned import AtomicDataset
from robustmedclip.types import Adapter


class AdapterDataset(AtomicDataset[Adapter]):
    """An :class:`~robustmedclip.types.Adapter` as a folder that ``PeftModel.from_pretrained`` reads.

    ``adapter_config.json`` and ``adapter_model.safetensors`` are peft's; ``metadata.json`` says what
    the adapter belongs to.
    """

    def _write(self, path: Path, data: Adapter) -> None:
        path.mkdir(parents=True)
        (path / "adapter_config.json").write_text(json.dumps(dict(data.config), indent=2, sort_keys=True))
        (path / "metadata.json").write_text(json.dumps(dict(data.metadata), indent=2, sort_keys=True))
        save_file(dict(data.weights), path / "adapter_model.safetensors", metadata={"format": "pt"})

    def _read(self, path: Path) -> Adapter:
        return Adapter(
            config=json.loads((path / "adapter_config.json").read_text()),
            weights=load_file(path / "adapter_model.safetensors"),
            metadata=json.loads((path / "metadata.json").read_text()),
        )
