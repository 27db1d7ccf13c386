"""Any loaded model as a folder that loads again with no network."""

import json
from pathlib import Path
from typing import Any

import yaml

from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.open_clip import save_open_clip
from robustmedclip.models.transformers_clip import Towers, save_transformers


def save_model(folder: Path, model: VisionLanguageModel, source: dict[str, Any], licence: str | None) -> None:
    """Write a model as a self-contained folder: configuration, both towers, tokenizer, preprocessing and a card.

    A model of transformers is written in its format, any other in open_clip's, with the text tower's configuration in
    ``text``. Attention gets back the names and shapes that open_clip and timm give it.

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
    if isinstance(model.network, Towers):
        save_transformers(folder, model)
    else:
        save_open_clip(folder, model.network, dict(model.config), model.preprocess)
        if hasattr(model.tokenize, "tokenizer"):
            model.tokenize.tokenizer.save_pretrained(folder)
        if "hf_model_name" in model.config["text_cfg"]:
            (folder / "text").mkdir()
            tower = model.network.text.config.to_dict()
            (folder / "text" / "config.json").write_text(json.dumps(tower, indent=2) + "\n")
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
