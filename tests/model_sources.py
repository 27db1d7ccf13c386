"""Models as ``benchmark.yml`` names them, as entries of a catalog."""

from collections.abc import Mapping
from typing import Any

from robustmedclip.io import ModelDataset


def model_dataset(source: Mapping[str, Any], **others: Any) -> ModelDataset:
    """The dataset of a ``source``: its ``type`` and settings."""
    settings = {name: value for name, value in source.items() if name != "type"}
    return ModelDataset(format=source["type"], settings=settings, **others)


def open_clip_dataset(*, origin: Mapping[str, str] | None = None, **settings: Any) -> ModelDataset:
    """The dataset of a model of open_clip."""
    return ModelDataset(format="open_clip", settings=settings, origin=origin)
