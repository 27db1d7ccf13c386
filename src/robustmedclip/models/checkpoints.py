"""Checkpoint files: found, read without running code, and loaded without a gap."""

import argparse
import logging
import os
import pickle
import struct
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from robustmedclip.errors import InputError
from robustmedclip.models.formats.model_format import HUB

T = TypeVar("T")

#: What trainings write their settings as, beside weights: values, and no code.
_SETTINGS: list[Any] = [
    argparse.Namespace,
    *(DictConfig, ListConfig, AnyNode, ContainerMetadata, Metadata, Any),  # of Hydra
    *(dict, list, defaultdict, str, int, float, bool),
]

logger = logging.getLogger(__name__)

#: Buffers of old transformers versions that hold 0, 1, 2, ...: newer ones compute them.
_COMPUTED = ("position_ids", "relative_position_index")

#: What weights are saved as; 8-bit floats and quantised integers need a scale that a plain checkpoint has no place for.
_DTYPES = frozenset(
    {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool}
    | {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
)


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
        are not weights, such as an optimiser's state, take none. What it declares is compared with its size, and what
        it holds with its checksums, before the values are used.

    Returns
    -------
    dict
        Parameter name to tensor.

    Raises
    ------
    InputError
        If the file is missing, damaged, compressed, declares more than it holds, holds code or other objects, or has
        values that are not finite.
    """
    if not path.is_file():
        raise InputError(f"There is no weights file {path}")
    is_safetensors = path.suffix == ".safetensors"
    weights = _tensors(_from_safetensors(path) if is_safetensors else _from_torch(path), path)
    _check_numbers(weights, path)
    if not is_safetensors:
        _check_storages(weights, path)
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith(_COMPUTED)}
    _check_values(weights, path)
    return weights


def _from_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{_damaged(path)} ({error})") from error


def _from_torch(path: Path) -> object:
    is_archive = _is_archive(path)
    if is_archive:
        _check_archive(path)
    try:
        with torch.serialization.safe_globals(_SETTINGS):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is not a file of tensors alone: it is damaged, or holds Python objects, which could be "
            f"code and are not loaded. Get it as safetensors, or from a source you trust ({_first_line(error)})"
        ) from error
    except Exception as error:  # changed bytes fail wherever torch uses them
        raise InputError(f"{_damaged(path)} ({_first_line(error)})") from error


def _is_archive(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _check_archive(path: Path) -> None:
    """Refuse an archive that has a program in it, declares more than the file holds, or differs from its checksums."""
    members = _of_archive(path, zipfile.ZipFile.infolist)
    if any("/code/" in member.filename for member in members):
        raise InputError(
            f"{path} is a TorchScript archive, a program with weights in it, and is not run. "
            "Use a copy of the weights in safetensors: for OpenAI's CLIP, 'pretrained: openai'"
        )
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise InputError(
            f"{path} is compressed, so that its weights may be of any size, and is not read. Save it again with "
            "torch.save, or as safetensors"
        )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise InputError(f"{_damaged(path)} (its directory declares more than the file holds)")
    if changed := _of_archive(path, zipfile.ZipFile.testzip):
        raise InputError(f"{_damaged(path)} ({changed} in it differs from its checksum)")


def _record_sizes(path: Path) -> Counter[int]:
    return Counter(member.file_size for member in _of_archive(path, zipfile.ZipFile.infolist))


def _of_archive(path: Path, read: Callable[[zipfile.ZipFile], T]) -> T:
    """What `read` returns of the archive; one that can't be read is refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except (zipfile.BadZipFile, struct.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{_damaged(path)} ({_first_line(error)})") from error


def _damaged(path: Path) -> str:
    return f"{path} is damaged or cut off: get it again"


def _check_numbers(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    other = [
        name
        for name, tensor in weights.items()
        if tensor.dtype not in _DTYPES or tensor.layout != torch.strided or tensor.device.type != "cpu"
    ]
    if other:
        raise InputError(
            f"The weights in {path} are not plain numbers, but sparse, quantised or left out: {_some(other)}. "
            "Save them as float32"
        )


def _check_values(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse values that are not finite, and matrices that are all 0, as of a file never filled; warn of some."""
    extremes = {name: torch.aminmax(tensor) for name, tensor in weights.items() if tensor.numel()}
    bad = [name for name, (low, high) in extremes.items() if not (low.isfinite() and high.isfinite())]
    if bad:
        raise InputError(f"The weights in {path} are not finite: {_some(bad)}. Get an undamaged copy")
    matrices = [name for name, tensor in weights.items() if tensor.ndim > 1 and tensor.is_floating_point()]
    zeros = [name for name in matrices if name not in extremes or not any(extremes[name])]
    if zeros and len(zeros) == len(matrices):
        raise InputError(f"The weights in {path} are all 0: {_some(zeros)}. Get a copy of a trained model")
    if zeros:
        logger.warning("Of the weights in %s, %s are all 0: is the file whole?", path, _some(zeros))


def _check_storages(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse tensors that are larger than the file, and, in an archive, whose storage is not one of its records."""
    size = path.stat().st_size
    larger = [name for name, tensor in weights.items() if tensor.nbytes > size]
    if larger:
        raise InputError(f"The weights in {path} are larger than the file of {size} bytes: {_some(larger)}")
    storages = {tensor.data_ptr(): tensor.nbytes() for tensor in (t.untyped_storage() for t in weights.values())}
    sizes = Counter(nbytes for nbytes in storages.values() if nbytes)
    records = _record_sizes(path) if _is_archive(path) else sizes
    if sizes.total() and (not sizes <= records or sum(sizes.elements()) > size):
        raise InputError(f"{_damaged(path)} (its weights are not those that its directory declares)")


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
    """Load weights that fit the network exactly; raises as :func:`check_fit`."""
    check_fit(network, weights, source)
    network.load_state_dict(weights)


def check_fit(network: nn.Module, weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Refuse weights that don't fit the network exactly; the network's own values are not looked at.

    Raises
    ------
    InputError
        Naming the weights that are missing, left over, of another shape, or integers in place of fractions.
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
        "of another kind of number": [
            f"{name} {weights[name].dtype} for {expected[name].dtype}"
            for name in expected
            if name in weights and expected[name].is_floating_point() and not weights[name].is_floating_point()
        ],
    }
    named = [f"{len(names)} {what} ({_some(names)})" for what, names in problems.items() if names]
    if named:
        raise InputError(
            f"The weights in {source} can't be loaded, they are of another architecture: {'; '.join(named)}"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
