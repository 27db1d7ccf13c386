"""Corrupted sets that somebody else made and released."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from robustmedclip.corruptions import suite as suite_of
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import Condition
from robustmedclip.images.corrupted import ReleasedSet
from robustmedclip.io.corrupted_files import CorruptedFiles
from robustmedclip.io.npz import NpzArchive
from robustmedclip.io.versioned import SourceError


class ReleasedSetDataset(AbstractDataset[None, ReleasedSet]):
    """The files of one data set of a released suite; loads a :class:`~robustmedclip.images.corrupted.ReleasedSet`.

    Images are read when they are used. The suite says how they are laid out (:mod:`robustmedclip.io.corrupted_files`).

    Parameters
    ----------
    filepath : str
        The local folder of the data set.
    suite : str
        Short name or dotted path of the corruption suite, which says how the files are laid out.
    conditions : list of str
        The conditions that are needed, the first of them clean.
    """

    def __init__(self, *, filepath: str, suite: str, conditions: list[str], metadata: dict[str, Any] | None = None):
        self._folder, self.metadata = Path(filepath), metadata
        layout = suite_of(suite).layout
        self._conditions = layout.released(tuple(map(Condition.parse, conditions)))
        self._files = CorruptedFiles(self._folder, layout, "test", self._conditions)

    def load(self) -> ReleasedSet:
        """Read the labels and open the images.

        Raises
        ------
        SourceError
            Naming every file that is missing, damaged or in another layout.
        """
        if problems := self.problems():
            raise SourceError("; ".join(problems))
        return ReleasedSet(
            folder=str(self._folder),
            labels={condition: self._files.labels(condition) for condition in self._conditions},
            shapes={condition: self._files.shape(condition) for condition in self._conditions},
            images=self._files.images,
        )

    def verified(self) -> ReleasedSet:
        """As :meth:`load`, after reading every file once and comparing its checksums."""
        released = self.load()
        for file in self.paths():
            with open(file, "rb") as opened:
                NpzArchive(opened, file).verify()
        return released

    def save(self, data: None) -> None:
        """Sources are read only."""
        raise NotImplementedError("a released set is a source: it can't be saved to")

    def missing(self) -> str | None:
        """A message that names the folder that is not there; None if it is there."""
        return None if self._folder.is_dir() else f"there is no folder {self._folder}"

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail."""
        if absent := self.missing():
            return [absent]
        files = list(dict.fromkeys(map(self._files.file, self._conditions)))
        missing = [file.relative_to(self._folder).as_posix() for file in files if not file.is_file()]
        problems = [f"{self._folder} lacks {', '.join(missing)}"] if missing else []
        for condition in self._conditions:
            if self._files.file(condition).is_file():
                try:
                    self._files.shape(condition)
                except InputError as error:
                    problems.append(str(error))
        return list(dict.fromkeys(problems))

    def signature(self) -> Any:
        """Where the files are, and the conditions that are read."""
        return [self._folder.as_posix(), list(map(str, self._conditions))]

    def paths(self) -> list[str]:
        """The files of the conditions."""
        return sorted({str(self._files.file(condition)) for condition in self._conditions})

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._folder.as_posix(), "conditions": len(self._conditions)}
