"""Types of datasets that a catalog may name, and the one that was probably meant."""

import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import kedro_datasets

from robustmedclip.errors import InputError, closest
from robustmedclip.plugins import plugged_in, public_names

#: What Kedro puts before the name of a type.
_PREFIXES = ("", "kedro.io.", "kedro_datasets.")
_DATASET = re.compile(r"\b[A-Z]\w*Dataset\b")


def type_problem(name: str) -> str | None:
    """That there is no such type of dataset, with the one that was probably meant; None if there is, or Kedro has it.

    A type of Kedro whose library is not installed is there: Kedro says what to install.
    """
    known = [*_of_modules("robustmedclip.io", name.rpartition(".")[0]), *_of_kedro()]
    if name in known or any(_exists(prefix + name) for prefix in _PREFIXES):
        return None
    by_class = {path.rpartition(".")[2]: path for path in reversed(known)}
    meant = closest(name, known) if "." in name else by_class.get(closest(name, by_class) or "")
    return f"there is no type of dataset {name!r}" + (f"; did you mean {meant!r}?" if meant else "")


def _of_modules(*modules: str) -> Iterator[str]:
    """The dotted paths of the datasets that some modules offer."""
    for module in modules:
        with suppress(ImportError, ValueError):
            yield from (f"{module}.{name}" for name in public_names(import_module(module)) if name.endswith("Dataset"))


def _of_kedro() -> list[str]:
    """The names of Kedro's datasets in a catalog, those that use pandas first; none of their libraries is imported."""
    files = [file for folder in kedro_datasets.__path__ for file in sorted(Path(folder).glob("*/__init__.py"))]
    files.sort(key=lambda file: file.parent.name != "pandas")
    types = [f"{file.parent.name}.{name}" for file in files for name in _DATASET.findall(file.read_text("utf-8"))]
    return [path.removeprefix("kedro.io.") for path in _of_modules("kedro.io")] + types


def _exists(path: str) -> bool:
    try:
        plugged_in(path, {}, "type of dataset")
    except (InputError, ImportError):
        return False
    return True
