"""``kedro import-model``: a published model as one local folder that needs no network."""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.io import DatasetError
from kedro.utils import find_kedro_project

from robustmedclip.errors import InputError
from robustmedclip.io.models import Copies, is_url
from robustmedclip.models.formats import FORMATS, ModelFormat, format_name, load_model, model_format

_EXAMPLES = """\b
Examples:
  kedro import-model data/06_models/clip --model ViT-B-16-quickgelu --pretrained openai
  kedro import-model data/06_models/biomedclip \\
      --model hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224
  kedro import-model data/06_models/unimedclip --layout unimedclip --weights unimed_clip_vit_b16.pt
  kedro import-model data/06_models/resnet18 --timm hf-hub:timm/resnet18.tv_in1k
  kedro import-model data/06_models/robustmedclip --path data/06_models/biomedclip --adapter model.pth
"""

#: The options that name a model, and what goes with each.
_KINDS = {
    "path": (),
    "model": ("pretrained", "quick_gelu", "preprocess"),
    "config": ("pretrained", "preprocess"),
    "layout": ("weights", "text"),
    "transformers": ("weights",),
    "timm": ("weights",),
    "transformers_vision": ("weights",),
}


def import_model(source: Mapping[str, Any], folder: Path, licence: str | None = None) -> dict[str, Any]:
    """Load a model by its source, and write it as a folder that loads with no network.

    What was written is loaded again before it gets its name: a folder that exists is whole.

    Parameters
    ----------
    source : mapping
        Source of the model, as in ``benchmark.yml``; relative paths count from the project, or the working directory.
    folder : Path
        Must not exist yet.
    licence : str, optional
        Licence of the weights, to be noted in the folder.

    Returns
    -------
    dict
        Source of the folder, as ``benchmark.yml`` has it.

    Raises
    ------
    InputError
        If `folder` exists or can't be written, or the model can't be loaded.
    """
    folder = Path(os.path.abspath(folder))
    if os.path.lexists(folder):
        raise InputError(f"{folder} exists already: choose another folder, or delete it first")
    copies = Copies()
    try:
        model = model_format(copies.instead(source), str(_root()))
    except (TypeError, ValueError) as error:
        raise InputError(f"The model is not described as it should be: {' '.join(str(error).split())}") from error
    absent = [f"there is no {copies.url(path)}" for path in model.paths() if not Path(path).exists()]
    if problems := absent or model.problems():
        raise InputError("The model can't be imported: " + "; ".join(problems))
    try:
        return _written(folder, model, dict(source), licence)
    except OSError as error:
        raise InputError(f"{folder} can't be written ({error}): choose another folder, or make room for it") from error


def _written(folder: Path, source: ModelFormat, described: dict[str, Any], licence: str | None) -> dict[str, Any]:
    from robustmedclip.models.export import save_model

    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        model = source.load()
        save_model(staged, model, described, licence)
        content_hash, saved_format = model.content_hash(), model.format
        del model
        if load_model(staged, format_name(saved_format)).content_hash() != content_hash:
            raise InputError(f"What was written to {staged} is not what was loaded: is the disk sound?")
        staged.chmod(0o755)
        staged.rename(folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return {"type": format_name(saved_format), **saved_format.saved_as(_from_root(folder))}


def _root() -> Path:
    """The folder that relative paths count from."""
    return Path(find_kedro_project(Path.cwd()) or Path.cwd())


def _from_root(path: str | Path) -> str:
    """A path of the shell as sources have it: from the project's root, or absolute outside of it."""
    absolute, project = Path(os.path.abspath(path)), find_kedro_project(Path.cwd())
    return str(absolute.relative_to(project) if project and absolute.is_relative_to(project) else absolute)


def _name(folder: Path) -> str:
    """A name for the model that the plan takes, as close to the folder's as it can be."""
    name = re.sub("[^a-z0-9]+", "_", Path(os.path.abspath(folder)).name.lower()).strip("_")
    return name if name[:1].isalpha() and name != "all" else f"model_{name}".strip("_")


def _source(options: Mapping[str, str | bool | None]) -> dict[str, Any]:
    """The source that the options describe.

    Raises
    ------
    UsageError
        If they don't go together.
    """
    kinds = [kind for kind in _KINDS if options.get(kind) is not None]
    if len(kinds) != 1:
        flags = ", ".join(f"--{kind.replace('_', '-')}" for kind in _KINDS)
        raise click.UsageError(f"Give one of {flags}")
    (kind,) = kinds
    for name in ("pretrained", "quick_gelu", "preprocess", "weights", "text"):
        if options.get(name) is not None and name not in _KINDS[kind]:
            raise click.UsageError(f"--{name.replace('_', '-')} does not go with --{kind}")
    if kind == "layout" and options.get("weights") is None:
        raise click.UsageError("--layout needs --weights")
    given = {name: _located(name, value) for name, value in options.items() if value is not None}
    adapter = given.pop("adapter", None)
    if kind in FORMATS:
        given["model"] = given.pop(kind)
    if preprocess := given.pop("preprocess", None):
        given["preprocess"] = yaml.safe_load(str(preprocess))
    names = {"layout": "checkpoint", **dict.fromkeys(("path", "model", "config"), "open_clip")}
    source: dict[str, Any] = {"type": names.get(kind, kind), **given}
    return source if adapter is None else {"type": "robustmedclip", "base": source, "adapter": adapter}


def _located(name: str, value: str | bool) -> str | bool:
    """The value of an option, a path as sources have it."""
    if isinstance(value, bool) or name in ("model", "layout", "preprocess"):
        return value
    if is_url(value) or value.startswith(("hf-hub:", "package:")):
        return value
    is_path = name in ("path", "config", "weights", "adapter") or os.path.exists(value)
    return _from_root(value) if is_path else value


@click.command("import-model", epilog=_EXAMPLES)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--path", help="Folder in open_clip's format.")
@click.option("--model", help="Model name of open_clip, or hf-hub:<owner>/<repository>.")
@click.option(
    "--config", help="With --pretrained: JSON file with open_clip's model_cfg, of a model that it doesn't know."
)
@click.option(
    "--layout", help="Layout of a published checkpoint: unimedclip, medclip, pmcclip, flair, cxrclip or mammoclip."
)
@click.option("--transformers", help="Folder, or name on the hub, of a CLIP or SigLIP of transformers.")
@click.option("--timm", help="Image encoder without text: folder, hf-hub:<repository>, or name of timm.")
@click.option("--transformers-vision", help="Image encoder without text: folder, or name on the hub, of a DINOv2.")
@click.option("--pretrained", help="With --model: weights file, or tag of open_clip.")
@click.option(
    "--quick-gelu/--no-quick-gelu",
    default=None,
    help="With a weights file in --pretrained: whether it was trained with the activation QuickGELU, as OpenAI's CLIP.",
)
@click.option(
    "--preprocess", help='With a weights file in --pretrained: how images are prepared, "{mean: 0.4, std: 0.3}".'
)
@click.option("--weights", help="With --layout, --timm or --transformers: weights file, folder or hf-hub: name.")
@click.option("--text", help="With --layout: folder, or name on the hub, of the text tower's tokenizer.")
@click.option("--adapter", help="RobustMedCLIP's model.pth or lora_weights.safetensors, to merge into the model.")
@click.option("--licence", help="Licence of the weights, to be noted in the folder.")
def import_model_command(folder: Path, licence: str | None, **options: str | bool | None) -> None:
    """Turn a published model into one local FOLDER that loads with no network; it must not exist."""
    try:
        source = import_model(_source(options), folder, licence)
    except DatasetError as error:
        raise InputError(str(error)) from error
    entry = {"source": source, **({"origin": {"licence": licence}} if licence else {})}
    lines = [
        f"    {key}: {yaml.safe_dump(value, default_flow_style=True, width=200, sort_keys=False)}"
        for key, value in entry.items()
    ]
    click.echo(f"Wrote {folder}. In benchmark.yml:\n\nmodels:\n  {_name(folder)}:\n{''.join(lines)}", nl=False)
