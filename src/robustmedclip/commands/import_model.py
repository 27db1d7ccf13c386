"""``python -m robustmedclip.commands.import_model``: a published model as one local folder that needs no network."""

import argparse
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.io import DatasetError
from kedro.utils import find_kedro_project

from robustmedclip.errors import InputError
from robustmedclip.run.catalog import FingerprintedCatalog

_EXAMPLES = """
examples:
  python -m robustmedclip.commands.import_model data/06_models/clip --model ViT-B-16-quickgelu --pretrained openai
  python -m robustmedclip.commands.import_model data/06_models/biomedclip \\
      --model hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224
  python -m robustmedclip.commands.import_model data/06_models/unimedclip --layout unimedclip --weights unimed_clip_vit_b16.pt
  python -m robustmedclip.commands.import_model data/06_models/robustmedclip --path data/06_models/biomedclip --adapter model.pth
"""

#: What goes with each way to name a model.
_OPTIONS = {"path": (), "model": ("pretrained",), "layout": ("weights", "text"), "transformers": ("weights",)}


def import_model(source: dict[str, Any], folder: Path, licence: str | None = None) -> dict[str, Any]:
    """Load a model by its catalog entry, and write it as a folder that loads with no network.

    What was written is loaded again before it gets its name: a folder that exists is whole.

    Parameters
    ----------
    source : dict
        Catalog entry of the model, as in ``benchmark.yml``.
    folder : Path
        Must not exist yet.
    licence : str, optional
        Licence of the weights, to be noted in the folder.

    Returns
    -------
    dict
        Catalog entry of the folder.

    Raises
    ------
    InputError
        If `folder` exists or can't be written, or the model can't be loaded.
    """
    folder = Path(os.path.abspath(folder))
    if os.path.lexists(folder):
        raise InputError(f"{folder} exists already: choose another folder, or delete it first")
    catalog = FingerprintedCatalog.from_config({"model": source})
    if problems := catalog.get("model").problems():
        raise InputError("The model can't be imported: " + "; ".join(problems))
    try:
        return _written(folder, catalog, source, licence)
    except OSError as error:
        raise InputError(f"{folder} can't be written ({error}): choose another folder, or make room for it") from error


def _written(
    folder: Path, catalog: FingerprintedCatalog, source: dict[str, Any], licence: str | None
) -> dict[str, Any]:
    from robustmedclip.models.export import save_model

    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        model = catalog.load("model")
        save_model(staged, model, source, licence)
        content_hash = model.content_hash()
        del model
        written = FingerprintedCatalog.from_config({"model": _entry(staged)}).load("model")
        if written.content_hash() != content_hash:
            raise InputError(f"What was written to {staged} is not what was loaded: is the disk sound?")
        staged.chmod(0o755)
        staged.rename(folder)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return _entry(folder)


def _entry(folder: Path) -> dict[str, Any]:
    if (folder / "open_clip_config.json").is_file():
        return {"type": "robustmedclip.io.OpenCLIPDataset", "path": _from_root(folder)}
    return {"type": "robustmedclip.io.TransformersDataset", "model": _from_root(folder)}


def _from_root(path: str | Path) -> str:
    """A path of the shell as catalog entries have it: from the project's root, or absolute outside of it."""
    absolute, project = Path(os.path.abspath(path)), find_kedro_project(Path.cwd())
    return str(absolute.relative_to(project) if project and absolute.is_relative_to(project) else absolute)


def _name(folder: Path) -> str:
    """A name for the model that the plan takes, as close to the folder's as it can be."""
    name = re.sub("[^a-z0-9]+", "_", Path(os.path.abspath(folder)).name.lower()).strip("_")
    return name if name[:1].isalpha() and name != "all" else f"model_{name}".strip("_")


def _source(arguments: argparse.Namespace) -> dict[str, Any]:
    """The catalog entry that the arguments describe."""
    given = {name: getattr(arguments, name) for name in ("model", "layout") if getattr(arguments, name) is not None}
    for name in ("path", "weights", "adapter", "pretrained", "text", "transformers"):
        if (value := getattr(arguments, name)) is not None:
            is_path = name in ("path", "weights", "adapter") or os.path.exists(value)
            given[name] = _from_root(value) if is_path and not value.startswith("hf-hub:") else value
    adapter = given.pop("adapter", None)
    if arguments.layout is not None:
        kind = "CheckpointDataset"
    elif arguments.transformers is not None:
        kind, given["model"] = "TransformersDataset", given.pop("transformers")
    else:
        kind = "OpenCLIPDataset"
    source = {"type": f"robustmedclip.io.{kind}", **given}
    if adapter is None:
        return source
    return {"type": "robustmedclip.io.RobustMedCLIPDataset", "base": source, "adapter": adapter}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m robustmedclip.commands.import_model",
        description="Turn a published model into one local folder that loads with no network.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="folder to write; must not exist")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--path", help="folder in open_clip's format")
    kind.add_argument("--model", help="model name of open_clip, or hf-hub:<owner>/<repository>")
    kind.add_argument("--layout", help="layout of a published checkpoint: unimedclip, medclip or pmcclip")
    kind.add_argument("--transformers", help="folder, or name on the hub, of a CLIP or SigLIP of transformers")
    parser.add_argument("--pretrained", help="with --model: weights file, or tag of open_clip")
    parser.add_argument("--weights", help="with --layout or --transformers: weights file, folder or hf-hub: name")
    parser.add_argument("--text", help="with --layout: folder, or name on the hub, of the text tower's tokenizer")
    parser.add_argument(
        "--adapter", help="RobustMedCLIP's model.pth or lora_weights.safetensors, to merge into the model"
    )
    parser.add_argument("--licence", help="licence of the weights, to be noted in the folder")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    kind = next(kind for kind in _OPTIONS if getattr(parsed, kind) is not None)
    for name in ("pretrained", "weights", "text"):
        if getattr(parsed, name) is not None and name not in _OPTIONS[kind]:
            parser.error(f"--{name} does not go with --{kind}")
    if kind == "layout" and parsed.weights is None:
        parser.error("--layout needs --weights")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        entry = import_model(_source(parsed), parsed.folder, parsed.licence)
    except (InputError, DatasetError) as error:
        sys.exit(f"{error}")
    sys.stdout.write(
        f"Wrote {parsed.folder}. In benchmark.yml:\n\nmodels:\n  {_name(parsed.folder)}:\n    source: "
        f"{yaml.safe_dump(entry, default_flow_style=True, width=200, sort_keys=False)}"
    )


@click.command("import-model", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def import_model_command(arguments: tuple[str, ...]) -> None:
    """Turn a published model into one local folder."""
    main(arguments)


if __name__ == "__main__":
    main()
