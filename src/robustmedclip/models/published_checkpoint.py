"""Checkpoints that were published in layouts of their own, loaded as models of open_clip."""

from pathlib import Path

from robustmedclip.errors import InputError
from robustmedclip.models.checkpoints import local_path
from robustmedclip.models.formats.model_format import HUB
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.layouts import LAYOUTS
from robustmedclip.models.open_clip_network import assembled
from robustmedclip.models.text_towers import SMALL_FILES, has_tokenizer


def load_checkpoint(layout: str, weights: str, text: str | None = None, name: str | None = None) -> VisionLanguageModel:
    """Load a checkpoint that was published in a layout of its own.

    Parameters
    ----------
    layout : str
        ``unimedclip`` (MMKD-CLIP, too), ``medclip``, ``pmcclip``, ``flair``, ``cxrclip`` or ``mammoclip``.
    weights : str
        The file or the folder, or ``hf-hub:`` and a repository, with or without a file.
    text : str, optional
        Folder, or name on the hub, of the text tower's tokenizer (and ``config.json``, if it is an unusual one); by
        default the folder of the weights, if it has a tokenizer, else the hub.
    name : str, optional
        What to call it.

    Returns
    -------
    VisionLanguageModel
        In evaluation mode, its parameters frozen.

    Raises
    ------
    InputError
        If files are missing, damaged, not finite, or belong to another model.
    """
    if layout not in LAYOUTS:
        raise InputError(f"There is no layout {layout!r}; known are {', '.join(LAYOUTS)}")
    path = local_path(weights, (*SMALL_FILES, *(s for p in LAYOUTS[layout].files for s in p.split("|"))))
    converted = LAYOUTS[layout].read(path)
    folder = path if path.is_dir() else path.parent
    if text is not None or not has_tokenizer(folder):
        source = text or converted.config["text_cfg"]["hf_tokenizer_name"]
        folder = Path(source) if Path(source).is_dir() else local_path(f"{HUB}{source}", SMALL_FILES)
    return assembled(
        converted.config,
        converted.weights,
        converted.preprocessing,
        tokenizer=str(folder),
        folder=folder,
        name=name or f"{layout} ({path.name})",
        text_tower=converted.text_tower,
    )
