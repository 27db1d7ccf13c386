"""Models that a folder or a name gives, and perhaps a file of other weights: those of timm and of transformers."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustmedclip.models.formats.model_format import ModelFormat, local


@dataclass(frozen=True, kw_only=True)
class NamedModel(ModelFormat):
    """A model of a library that knows it by a folder with a ``config.json``, or by a name.

    Attributes
    ----------
    model : str
        The folder or the name.
    weights : str, optional
        Weights file, if not the model's own.
    """

    model: str
    weights: str | None = None

    @classmethod
    @abstractmethod
    def is_described_by(cls, config: Mapping[str, Any]) -> bool:
        """Whether the ``config.json`` of a folder is of this format."""

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether it has a ``config.json`` of this format."""
        try:
            config = json.loads((folder / "config.json").read_text())
        except (OSError, ValueError):
            return False
        return isinstance(config, dict) and cls.is_described_by(config)

    @classmethod
    def saved_as(cls, folder: str) -> dict[str, Any]:
        """The settings that load what :meth:`save` wrote."""
        return {"model": folder}

    def paths(self) -> list[str]:
        """The folder and the weights, where they are local."""
        return local(*self.sources())

    def sources(self) -> tuple[str, str | None]:
        """The path or the name of the model, and the path of other weights, if they are given."""
        return self.located_or_name(self.model), None if self.weights is None else self.located(self.weights)
