"""Corrupted sets that somebody else made and released."""

from pathlib import Path
from typing import Any

import fsspec
from kedro.io import AbstractDataset
from kedro.io.core import get_protocol_and_path

from robustmedclip.corruptions import suite as suite_of
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import Condition
from robustmedclip.images.corrupted import ReleasedSet
from robustmedclip.io.corrupted_files import CorruptedFiles
from robustmedclip.io.npz import NpzArchive
from robustmedclip.io.remote import stamp
from robustmedclip.io.versioned import SourceError


class ReleasedSetDataset(AbstractDataset[None, ReleasedSet]):
    """The files of one data set of a released suite; loads a :class:`~robustmedclip.images.corrupted.ReleasedSet`.

    Images are read when they are used. The suite says how they are laid out (:mod:`robustmedclip.io.corrupted_files`).

    Parameters
    ----------
    filepath : str
        The folder of the data set: a path, or a URL that fsspec knows, whose files are fetched when they are used.
    suite : str
        Short name or dotted path of the corruption suite, which says how the files are laid out.
    conditions : list of str
        The conditions that are needed, the first of them clean.
    """

    def __init__(self, *, filepath: str, suite: str, conditions: list[str], metadata: dict[str, Any] | None = None):
        self._protocol, self._path = get_protocol_and_path(filepath)
        self._fs = fsspec.filesystem(self._protocol)
        self._folder, self.metadata = filepath, metadata
        layout = suite_of(suite).layout
        self._conditions = layout.released(tuple(map(Condition.parse, conditions)))
        self._names = list(dict.fromkeys(str(layout.file("test", condition)) for condition in self._conditions))
        self._no_files = CorruptedFiles(Path(), layout, "test", self._conditions)

    def load(self) -> ReleasedSet:
        """Read the labels and open the images.

        Raises
        ------
        SourceError
            Naming every file that is missing, damaged or in another layout.
        """
        if problems := self.problems():
            raise SourceError("; ".join(problems))
        files = self._no_files.at(self._folder)
        return ReleasedSet(
            folder=self._folder,
            labels={condition: files.labels(condition) for condition in self._conditions},
            shapes={condition: files.shape(condition) for condition in self._conditions},
            images=files.images,
        )

    def verified(self) -> ReleasedSet:
        """As :meth:`load`, after reading every file once and comparing its checksums."""
        released, files = self.load(), self._no_files.at(self._folder)
        for file in sorted(set(map(files.file, self._conditions))):
            with open(file, "rb") as opened:
                NpzArchive(opened, str(file)).verify()
        return released

    def save(self, data: None) -> None:
        """Sources are read only."""
        raise NotImplementedError("a released set is a source: it can't be saved to")

    def missing(self) -> str | None:
        """Which folder is not there, if it is not."""
        return None if self._fs.isdir(self._path) else f"there is no folder {self._folder}"

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail; of a URL, only which files are missing."""
        if absent := self.missing():
            return [absent]
        missing = [name for name in self._names if not self._fs.isfile(f"{self._path}/{name}")]
        problems = [f"{self._folder} lacks {', '.join(missing)}"] if missing else []
        if self._protocol != "file":
            return problems
        files = self._no_files.at(self._folder)
        for condition in self._conditions:
            if files.file(condition).is_file():
                try:
                    files.shape(condition)
                except InputError as error:
                    problems.append(str(error))
        return list(dict.fromkeys(problems))

    def signature(self) -> Any:
        """Where the files are, and the conditions that are read; of a URL, size and stamp of each file too."""
        described = [self._folder, list(map(str, self._conditions))]
        if self._protocol == "file":
            return described
        infos = [self._fs.info(f"{self._path}/{name}") for name in self._names]
        return [*described, [[info["size"], stamp(info)] for info in infos]]

    def paths(self) -> list[str]:
        """The files of the conditions, if they are local."""
        return sorted(f"{self._path}/{name}" for name in self._names) if self._protocol == "file" else []

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._folder, "conditions": len(self._conditions)}
