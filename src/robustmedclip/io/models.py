"""Models as catalog entries: one class for each way in which they are published.

Relative paths in them are those from the project's root, wherever a run is started.
"""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

_HUB = "hf-hub:"
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


class ModelDataset(AbstractDataset[None, Any]):
    """What the model datasets share: they load a :class:`~robustmedclip.models.VisionLanguageModel`.

    Parameters
    ----------
    origin : mapping, optional
        Filled in from the plan's ``origin``: ``url``, ``size``, ``licence`` and ``citation`` of the weights.
    metadata : dict, optional
        For plugins such as Kedro-Viz.
    """

    def __init__(self, *, origin: Mapping[str, str] | None = None, metadata: dict[str, Any] | None = None):
        self._origin, self.metadata = dict(origin or {}), metadata

    @abstractmethod
    def load(self) -> Any:
        """Load the model, a :class:`~robustmedclip.models.VisionLanguageModel`."""

    @abstractmethod
    def paths(self) -> list[str]:
        """Local files and folders that the model is made of."""

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail, found without reading the weights."""
        return [f"there is no {path}{self._where()}" for path in self.paths() if not Path(path).exists()]

    def missing(self) -> str | None:
        """What to do if none of its files is there."""
        absent = bool(self.paths()) and not any(Path(path).exists() for path in self.paths())
        return self.problems()[0] if absent else None

    def _where(self) -> str:
        """Where to get what is missing, as the end of a sentence."""
        facts = "; ".join(self._origin[key] for key in ("size", "licence") if key in self._origin)
        where = f": import it from {self._origin['url']}" if "url" in self._origin else ""
        return f"{where}{f' ({facts})' if facts else ''}"

    def signature(self) -> Any:
        """What the model depends on: its names, and name, size and time of each file."""
        files = [
            file for path in self.paths() for file in (Path(path), *sorted(Path(path).rglob("*"))) if file.is_file()
        ]
        return [self._describe(), [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files]]

    def save(self, data: None) -> None:
        """Models are read, not saved."""
        raise NotImplementedError(f"{type(self).__name__} is a source: it can't be saved to")


class OpenCLIPDataset(ModelDataset):
    """Loads a model of open_clip: from a local folder, or by open_clip's names.

    Parameters
    ----------
    path : str, optional
        Folder with ``open_clip_config.json``, weights and the tokenizer's files.
    model, pretrained : str, optional
        open_clip's model name and weights tag or file, e.g. ``ViT-B-16-quickgelu`` and ``openai``; or a
        model ``hf-hub:<repository>`` alone, which has weights of its own. What is not local is downloaded on first use.
    **common
        As for :class:`ModelDataset`.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        model: str | None = None,
        pretrained: str | None = None,
        **common: Any,
    ):
        super().__init__(**common)
        if (path is None) == (model is None):
            raise ValueError("A model needs either 'path' (a local folder) or 'model' (a name of open_clip)")
        if pretrained is not None and (model is None or model.startswith(_HUB)):
            raise ValueError(
                f"{path or model} brings its own weights, and 'pretrained: {pretrained}' names others: leave 'pretrained' out, "
                "or give it beside one of open_clip's model names"
            )
        self._path, self._model = _located(path, always=True), model
        self._pretrained = _located(pretrained)

    def load(self) -> Any:
        from robustmedclip.models.open_clip import load_open_clip

        if self._path is not None:
            return load_open_clip(f"local-dir:{self._path}")
        return load_open_clip(self._model, self._pretrained)

    def paths(self) -> list[str]:
        return _local(self._path, self._pretrained)

    def problems(self) -> list[str]:
        if self._path is None:
            return super().problems()
        if not Path(self._path).is_dir():
            how = ", see python -m robustmedclip.commands.import_model --help" if self._origin else ""
            return [f"there is no {self._path}{self._where()}{how}"]
        if not (Path(self._path) / "open_clip_config.json").is_file():
            return [f"{self._path} has no open_clip_config.json"]
        return []

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path, "model": self._model, "pretrained": self._pretrained}


class CheckpointDataset(ModelDataset):
    """Loads a checkpoint that was published in a layout of its own.

    Parameters
    ----------
    layout : str
        ``unimedclip``, ``medclip`` or ``pmcclip``.
    weights : str
        The file, or the folder that holds the files; or ``hf-hub:`` with a repository, with or without a file.
    text : str, optional
        Folder, or name on the hub, of the tokenizer of the text tower; by default the folder of the weights,
        if it has a tokenizer, else the hub.
    **common
        As for :class:`ModelDataset`.
    """

    def __init__(self, *, layout: str, weights: str, text: str | None = None, **common: Any):
        super().__init__(**common)
        self._layout, self._weights, self._text = layout, _located(weights, always=True), _located(text)

    def load(self) -> Any:
        from robustmedclip.models.open_clip import load_checkpoint

        return load_checkpoint(self._layout, self._weights, self._text)

    def paths(self) -> list[str]:
        return _local(self._weights, self._text)

    def _describe(self) -> dict[str, Any]:
        return {"layout": self._layout, "weights": self._weights, "text": self._text}


class TransformersDataset(ModelDataset):
    """Loads a CLIP or SigLIP of transformers.

    Parameters
    ----------
    model : str
        Folder, or name on the hub, with configuration, tokenizer, preprocessing and weights.
    weights : str, optional
        Weights file, if not the model's own.
    **common
        As for :class:`ModelDataset`.
    """

    def __init__(self, *, model: str, weights: str | None = None, **common: Any):
        super().__init__(**common)
        self._model, self._weights = _located(model), _located(weights, always=True)

    def load(self) -> Any:
        from robustmedclip.models.transformers_clip import load_transformers

        return load_transformers(self._model, self._weights)

    def paths(self) -> list[str]:
        return _local(self._model, self._weights)

    def _describe(self) -> dict[str, Any]:
        return {"model": self._model, "weights": self._weights}


class RobustMedCLIPDataset(ModelDataset):
    """Loads a model that the authors of the study tuned: a base model with their adapter added.

    Parameters
    ----------
    base : dict
        Catalog entry of the base: BiomedCLIP for their ViT, MedCLIP-ResNet for their ResNet.
    adapter : str
        ``model.pth``, ``lora_weights.safetensors``, or the folder that holds them, from which the first is taken; or
        ``hf-hub:`` and a file of a repository.
    **common
        As for :class:`ModelDataset`.
    """

    def __init__(self, *, base: dict[str, Any], adapter: str, **common: Any):
        super().__init__(**common)
        self._base = AbstractDataset.from_config("base", base)
        self._adapter = _located(adapter, always=True)

    def load(self) -> Any:
        from robustmedclip.adaptation.study_adapters import import_robustmedclip
        from robustmedclip.adaptation.tuning import merge_adapter

        base = self._base.load()
        return merge_adapter(base, import_robustmedclip(base, self._adapter))

    def paths(self) -> list[str]:
        return [*self._base.paths(), *_local(self._adapter)]

    def _describe(self) -> dict[str, Any]:
        return {"base": self._base._describe(), "adapter": self._adapter}


class AuthorsModelDataset(ModelDataset):
    """Loads another model dataset's model as the study's code treats it.

    Parameters
    ----------
    model : dict
        Catalog entry of the model.
    switches : list of str
        What the study's code does to it: see :mod:`robustmedclip.models.study_quirks`.
    """

    def __init__(self, *, model: dict[str, Any], switches: list[str], metadata: dict[str, Any] | None = None):
        self._dataset, self._switches = AbstractDataset.from_config("model", model), switches
        self.metadata = metadata

    def load(self) -> Any:
        from robustmedclip.models.study_quirks import as_the_authors

        return as_the_authors(self._dataset.load(), self._switches)

    def paths(self) -> list[str]:
        return self._dataset.paths()

    def problems(self) -> list[str]:
        return self._dataset.problems()

    def _describe(self) -> dict[str, Any]:
        return {"model": self._dataset._describe(), "switches": self._switches}


def _located(source: str | None, always: bool = False) -> str | None:
    """The absolute path of `source` if it is a path: `always`, where it could only be on the hub instead; else if it looks
    like a file or exists. Otherwise `source`, a name."""
    if source is None or source.startswith(_HUB):
        return source
    from robustmedclip.run.config import project_root

    path = Path(project_root(), source)
    return str(path) if always or path.suffix in _SUFFIXES or path.exists() else source


def _local(*sources: str | None) -> list[str]:
    """The paths among some sources that :func:`_located` gave."""
    return [source for source in sources if source is not None and Path(source).is_absolute()]
