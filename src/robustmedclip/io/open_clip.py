"""Models of the open_clip family as catalog entries."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset


class OpenCLIPDataset(AbstractDataset[None, Any]):
    """Loads a model with open_clip: from a local folder, or by open_clip's names.

    Parameters
    ----------
    path : str, optional
        Folder with ``open_clip_config.json``, safetensors weights and the tokenizer's files.
    model, pretrained : str, optional
        open_clip's model name and weights tag, e.g. ``ViT-B-16-quickgelu`` and ``openai``; or a
        model ``hf-hub:<repository>`` alone. The weights are downloaded on first use.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        model: str | None = None,
        pretrained: str | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        if (path is None) == (model is None):
            raise ValueError("A model needs either 'path' (a local folder) or 'model' (a name of open_clip)")
        self._path, self._model, self._pretrained = path, model, pretrained
        self.metadata = metadata

    def load(self) -> Any:
        """Load the model, a :class:`~robustmedclip.models.VisionLanguageModel`."""
        from robustmedclip.models import load_open_clip

        if self._path is not None:
            return load_open_clip(f"local-dir:{self._path}")
        return load_open_clip(self._model, self._pretrained)

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail, found without reading the weights."""
        if self._path is None:
            return []
        folder = Path(self._path)
        if not folder.is_dir():
            return [f"there is no folder {folder}"]
        problems = []
        if not (folder / "open_clip_config.json").is_file():
            problems.append(f"{folder} has no open_clip_config.json")
        if not any(folder.glob("*.safetensors")):
            problems.append(f"{folder} has no .safetensors weights")
        return problems

    def signature(self) -> Any:
        """What the model depends on: its names, and name, size and time of each file."""
        files = sorted(Path(self._path).glob("*")) if self._path else []
        return [self._describe(), [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files]]

    def save(self, data: None) -> None:
        """Models are read, not saved."""
        raise NotImplementedError("OpenCLIPDataset is a source: it can't be saved to")

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path, "model": self._model, "pretrained": self._pretrained}
