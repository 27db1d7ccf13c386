"""Checkpoint files: found, read without running code, and loaded without a gap."""

import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from robustmedclip.errors import InputError

HUB = "hf-hub:"

#: Buffers of old transformers versions that hold 0, 1, 2, ...: newer ones compute them.
_COMPUTED = ("position_ids", "relative_position_index")


def local_path(source: str, patterns: Sequence[str]) -> Path:
    """Where the files of `source` lie, after a download if it is on the hub and not in its cache.

    Parameters
    ----------
    source : str
        A file, a folder, ``hf-hub:<owner>/<repository>`` or ``hf-hub:<owner>/<repository>/<file>``; repositories
        of data are ``hf-hub:datasets/<owner>/<repository>``.
    patterns : sequence of str
        The files to download of a repository, with wildcards.

    Raises
    ------
    InputError
        If there is nothing at `source`, or the hub can't be reached.
    """
    if not source.startswith(HUB):
        if not os.path.exists(source):
            raise InputError(f"There are no weights at {source}")
        return Path(source)
    identifier = source.removeprefix(HUB)
    kind = "dataset" if identifier.startswith("datasets/") else "model"
    owner, _, rest = identifier.removeprefix("datasets/").partition("/")
    repository, _, file = rest.partition("/")
    try:
        if file:
            return Path(hf_hub_download(f"{owner}/{repository}", file, repo_type=kind))
        return Path(snapshot_download(f"{owner}/{repository}", allow_patterns=list(patterns), repo_type=kind))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise InputError(
            f"{source} can't be downloaded, and is not in the cache of the Hugging Face hub: {error}. Check the name, "
            "the network and your access to it, or download it elsewhere and give the path"
        ) from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Weights of a checkpoint file, without the wrapping that training scripts put around them.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file, or one written by ``torch.save``. It is mapped into memory, so that parts which
        are not weights, such as an optimiser's state, are not read.

    Returns
    -------
    dict
        Parameter name to tensor.

    Raises
    ------
    InputError
        If the file is missing, damaged, holds code or other objects, or has values that are not finite.
    """
    if not path.is_file():
        raise InputError(f"There is no weights file {path}")
    weights = _tensors(_read(path), path)
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith(_COMPUTED)}
    bad = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise InputError(f"The weights in {path} are not finite: {_some(bad)}. Get an undamaged copy")
    return weights


def _read(path: Path) -> object:
    damaged = f"{path} is damaged or cut off: get it again"
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{damaged} ({error})") from error
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if is_archive:
        if not zipfile.is_zipfile(path):
            raise InputError(damaged)
        if any("/code/" in name for name in zipfile.ZipFile(path).namelist()):
            raise InputError(
                f"{path} is a TorchScript archive, a program with weights in it, and is not run. "
                "Use a copy of the weights in safetensors: for OpenAI's CLIP, 'pretrained: openai'"
            )
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is not a file of tensors alone: it is damaged, or holds Python objects, which could be "
            f"code and are not loaded. Get it as safetensors, or from a source you trust ({_first_line(error)})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{damaged} ({_first_line(error)})") from error


def _tensors(content: object, path: Path) -> dict[str, torch.Tensor]:
    for wrapping in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    if isinstance(content, torch.Tensor):
        return {"": content}
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds no weights, but {type(content).__name__}")
    wrong = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if wrong:
        raise InputError(f"{path} is not a file of weights alone: {_some(wrong)} are something else")
    if all(name.startswith("module.") for name in content):
        return {name.removeprefix("module."): tensor for name, tensor in content.items()}
    return dict(content)


def load_strictly(network: nn.Module, weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Load weights that fit the network exactly; anything else is refused.

    Raises
    ------
    InputError
        Naming the weights that are missing, left over, or of another shape.
    """
    expected = network.state_dict()
    problems = {
        "missing": [name for name in expected if name not in weights],
        "left over": [name for name in weights if name not in expected],
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} for {tuple(expected[name].shape)}"
            for name in expected
            if name in weights and weights[name].shape != expected[name].shape
        ],
    }
    if found := [f"{len(names)} {what} ({_some(names)})" for what, names in problems.items() if names]:
        raise InputError(
            f"The weights in {source} can't be loaded, they are of another architecture: {'; '.join(found)}"
        )
    network.load_state_dict(weights)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
