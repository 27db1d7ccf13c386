"""Any loaded model as a folder that loads again with no network."""

from pathlib import Path
from typing import Any

import yaml

from robustmedclip.models.interface import VisionLanguageModel


def save_model(folder: Path, model: VisionLanguageModel, source: dict[str, Any], licence: str | None) -> None:
    """Write a model as a self-contained folder: configuration, both towers, tokenizer, preprocessing and a card.

    It is written in the format that its own format says, see :mod:`robustmedclip.models.formats`.

    Parameters
    ----------
    folder : Path
        Existing folder.
    model : VisionLanguageModel
        As loaded; an adapter, if it has one, is merged.
    source : dict
        Catalog entry that the model was loaded by, for the card.
    licence : str, optional
        Licence of the weights, for the card.
    """
    model.format.save(folder, model)
    (folder / "README.md").write_text(_card(model, source, licence))


def _card(model: VisionLanguageModel, source: dict[str, Any], licence: str | None) -> str:
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    facts = {"license": licence or "unknown", "content_hash": model.content_hash(), "source": source}
    note = (
        f"The weights are under this licence: {licence}."
        if licence
        else "Their licence was not recorded: it is that of the published weights, and their terms apply to this copy."
    )
    return (
        f"---\n{yaml.safe_dump(facts, sort_keys=False)}---\n\n# {model.name}\n\n"
        f"{parameters:,} parameters, imported from the source above and unchanged but for names and format. {note}\n"
    )
