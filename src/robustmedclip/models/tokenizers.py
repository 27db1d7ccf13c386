"""Tokenizers that are read from files, checked against the text tower that they belong to, and written."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robustmedclip.errors import InputError

#: Files that a tokenizer is read from.
TOKENIZER_FILES = (
    *("added_tokens.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"),
    *("merges.txt", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model"),
)
_SETTINGS = "tokenizer_config.json"
#: Files that a vocabulary is read from: all of one line.
_VOCABULARIES = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spiece.model",),
    ("tokenizer.model",),
)


@dataclass(frozen=True)
class CheckedTokenizer:
    """A tokenizer that refuses tokens which the text tower does not have.

    Attributes
    ----------
    tokenizer : callable
        List of strings to token ids, int64 ``(N, tokens)``.
    vocabulary : int
        How many tokens the text tower has.
    folder : Path, optional
        Where the tokenizer's files lie, for messages.
    """

    tokenizer: Callable[[list[str]], torch.Tensor]
    vocabulary: int
    folder: Path | None = None

    def __call__(self, texts: list[str]) -> torch.Tensor:
        tokens = self.tokenizer(texts)
        if (largest := int(tokens.max())) >= self.vocabulary:
            raise InputError(
                f"The tokenizer{_in(self.folder)} gives token {largest}, and the model has {self.vocabulary}: they are "
                f"not of the same model, or changed. {_advice(self.folder)}"
            )
        return tokens


def read_json(file: Path) -> dict[str, Any]:
    """The settings in a JSON file of a model.

    Raises
    ------
    InputError
        If it can't be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"The model in {file.parent} can't be loaded: {file.name} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"The model in {file.parent} can't be loaded: {file.name} holds no settings")
    return content


def checked_tokenizer(
    build: Callable[[], Callable[[list[str]], torch.Tensor]], vocabulary: int, folder: Path | None
) -> CheckedTokenizer:
    """The tokenizer that `build` reads from the files in a folder, tried on a text.

    Parameters
    ----------
    build : callable
        Returns the tokenizer.
    vocabulary : int
        How many tokens the text tower has.
    folder : Path, optional
        Where its files lie; None if they do not come from a folder: then errors of `build` are passed on.

    Raises
    ------
    InputError
        If a file can't be read or followed, which names the files.
    """
    for file in tokenizer_files(folder):
        if file.suffix == ".json":
            read_json(file)
    try:
        tokenizer = CheckedTokenizer(build(), vocabulary, folder)
        tokenizer(["a"])
    except InputError:
        raise
    except Exception as error:  # a changed file fails wherever its values are used
        if folder is None or not tokenizer_files(folder):
            raise
        refuse_missing(folder)
        raise InputError(
            f"The model in {folder} can't be loaded, for its tokenizer: {error!r}. {_advice(folder)}"
        ) from error
    return tokenizer


def save_tokenizer(tokenize: Any, folder: Path) -> None:
    """Write a tokenizer into a folder, whatever is wrapped around it; one that needs no files writes none."""
    while not hasattr(tokenize, "save_pretrained"):
        if not hasattr(tokenize, "tokenizer"):
            return
        tokenize = tokenize.tokenizer
    tokenize.save_pretrained(folder)


def tokenizer_files(folder: Path | None) -> list[Path]:
    """The files of a tokenizer that a folder has."""
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()] if folder else []


def refuse_missing(folder: Path) -> None:
    """Refuse a folder that lacks files without which most tokenizers can't be read.

    Raises
    ------
    InputError
        Naming the settings, or the files in which a vocabulary may be.
    """
    there = {file.name for file in tokenizer_files(folder)}
    absent = [] if _SETTINGS in there else [_SETTINGS]
    if not any(there.issuperset(files) for files in _VOCABULARIES):
        absent.append(" or ".join(" with ".join(files) for files in _VOCABULARIES))
    if absent:
        raise InputError(
            f"The model in {folder} can't be loaded, for its tokenizer: there is no {', and no '.join(absent)}. Get "
            "the files of its tokenizer again"
        )


def _in(folder: Path | None) -> str:
    return f" in {folder}" if folder else ""


def _advice(folder: Path | None) -> str:
    return f"Get its files again: {', '.join(file.name for file in tokenizer_files(folder)) or 'there are none'}"
