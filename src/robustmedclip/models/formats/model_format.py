"""What a format of models says of itself."""

import importlib.util
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robustmedclip.errors import InputError

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel

HUB = "hf-hub:"
PACKAGE = "package:"
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True, kw_only=True)
class ModelFormat(ABC):
    """A model in a format: the fields are the settings that its ``source`` may have beside ``type``.

    Attributes
    ----------
    root : str
        Folder that relative paths count from; filled in, not set in ``benchmark.yml``.
    """

    #: Packages that loading needs, as they are imported.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Whether its models encode texts; without, they are scored with a head alone, and have no zero-shot row.
    has_text: ClassVar[bool] = True

    root: str = ""

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a folder holds a model of this format."""
        return False

    @classmethod
    def saved_as(cls, folder: str) -> dict[str, Any]:
        """The settings that load what :meth:`save` wrote into a folder."""
        return {"path": folder}

    @abstractmethod
    def paths(self) -> list[str]:
        """Local files and folders that the model is made of, whether they exist or not."""

    @abstractmethod
    def load(self) -> "VisionLanguageModel":
        """Load the model, in evaluation mode and with frozen parameters.

        Raises
        ------
        InputError
            If the weights are missing, damaged, not finite, or don't fit the architecture.
        """

    @classmethod
    def save(cls, folder: Path, model: "VisionLanguageModel") -> None:
        """Write a model of this format into an existing folder.

        Raises
        ------
        InputError
            If the format can't be written.
        """
        raise InputError(f"{model.name} can't be written: {cls.__qualname__} has no 'save'")

    @classmethod
    def can_be_saved(cls) -> bool:
        """Whether the format has a :meth:`save` of its own."""
        return cls.save.__func__ is not ModelFormat.save.__func__  # type: ignore[attr-defined]

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail although all paths exist, found without reading the weights."""
        return [
            f"models of this format need the package {package!r}: install it"
            for package in self.needs
            if importlib.util.find_spec(package) is None
        ]

    def settings(self) -> dict[str, Any]:
        """The settings as they were given, without those that have their default."""
        return {
            field.name: value
            for field in fields(self)
            if field.name != "root" and (value := getattr(self, field.name)) != field.default
        }

    def located(self, path: str) -> str:
        """The absolute path of a `path` that counts from the root, or, after ``package:``, from the installed package.

        A name on the hub, ``hf-hub:...``, stays as it is.
        """
        if path.startswith(HUB):
            return path
        if path.startswith(PACKAGE):
            return str(files("robustmedclip") / path.removeprefix(PACKAGE))
        return os.path.abspath(Path(self.root, path))

    def located_or_name(self, source: str) -> str:
        """The absolute path of a `source` that exists or looks like a file; otherwise `source`, a name."""
        path = self.located(source)
        is_path = source.startswith(PACKAGE) or Path(path).suffix in _SUFFIXES or os.path.exists(path)
        return path if is_path else source


def local(*sources: str | None) -> list[str]:
    """The paths among sources that were located."""
    return [source for source in sources if source is not None and Path(source).is_absolute()]
