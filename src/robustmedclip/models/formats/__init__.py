"""Formats that models are published in: how a folder of one is recognised, loaded and written."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustmedclip.models.formats.model_format import ModelFormat
from robustmedclip.plugins import plugged_in

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel

__all__ = ["FORMATS", "FORMER_NAMES", "ModelFormat", "format_class", "format_name", "load_model", "model_format"]

#: Short names of the formats that ship; any other is named by its dotted path.
FORMATS = {
    "open_clip": "robustmedclip.models.formats.open_clip.OpenCLIP",
    "checkpoint": "robustmedclip.models.formats.checkpoint.Checkpoint",
    "transformers": "robustmedclip.models.formats.transformers.Transformers",
    "timm": "robustmedclip.models.formats.timm.Timm",
    "transformers_vision": "robustmedclip.models.formats.transformers.TransformersVision",
    "robustmedclip": "robustmedclip.models.formats.robustmedclip.RobustMedCLIP",
}

#: What they were called as Kedro datasets.
FORMER_NAMES = {
    "robustmedclip.io.OpenCLIPDataset": "open_clip",
    "robustmedclip.io.CheckpointDataset": "checkpoint",
    "robustmedclip.io.TransformersDataset": "transformers",
    "robustmedclip.io.RobustMedCLIPDataset": "robustmedclip",
}


def format_class(name: str) -> type[ModelFormat]:
    """The class of a format, by its short name or dotted path.

    Raises
    ------
    InputError
        If there is none, with the name that was probably meant.
    """
    model_format: type[ModelFormat] = plugged_in(FORMER_NAMES.get(name, name), FORMATS, "model format")
    return model_format


def format_name(kind: type[ModelFormat]) -> str:
    """The name by which :func:`format_class` finds a format: a short name, or the dotted path."""
    path = f"{kind.__module__}.{kind.__qualname__}"
    return next((short for short, dotted in FORMATS.items() if dotted == path), path)


def model_format(source: Mapping[str, Any], root: str = "") -> ModelFormat:
    """The format of a ``source``: ``type`` and its settings.

    Parameters
    ----------
    source : mapping
        As in ``benchmark.yml``.
    root : str
        Folder that relative paths count from; by default the working directory.

    Raises
    ------
    InputError
        If there is no such format.
    TypeError, ValueError
        If a setting is unknown or missing, or settings don't go together.
    """
    settings = {name: value for name, value in source.items() if name != "type"}
    return format_class(source["type"])(root=root, **settings)


def load_model(folder: Path | str, kind: str | None = None) -> "VisionLanguageModel":
    """The model in a folder.

    Parameters
    ----------
    folder : Path or str
        As the ``save`` of a format wrote it.
    kind : str, optional
        Name of the format; by default that of those that ship which recognises the folder.

    Raises
    ------
    InputError
        If the weights are missing or wrong; a folder that no format recognises is taken for one of open_clip.
    """
    if kind is None:
        kind = next((name for name in FORMATS if format_class(name).recognises(Path(folder))), "open_clip")
    chosen = format_class(kind)
    return chosen(**chosen.saved_as(str(folder))).load()
