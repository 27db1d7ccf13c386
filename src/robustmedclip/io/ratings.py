"""Answers of clinicians, as rating sheets download them."""

import json
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from robustmedclip.calibration.ratings import Sheet, sheet_of
from robustmedclip.errors import InputError
from robustmedclip.io.versioned import SourceError


class RatingsDataset(AbstractDataset[None, list[Sheet]]):
    """All JSON files of a local folder, by name; there may be none, and no folder.

    Parameters
    ----------
    filepath : str
        The folder.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None):
        self._folder, self.metadata = Path(filepath), metadata

    def load(self) -> list[Sheet]:
        """Read the answers.

        Raises
        ------
        SourceError
            Naming every file that is none of a rating sheet.
        """
        if problems := self.problems():
            raise SourceError("; ".join(problems))
        return [_read(file) for file in self._files()]

    def save(self, data: None) -> None:
        """Refused: clinicians make these files."""
        raise SourceError(f"{self._folder} holds what clinicians answered: nothing is written there")

    def problems(self) -> list[str]:
        """What would make its loading fail."""
        lines = []
        for file in self._files():
            try:
                _read(file)
            except InputError as error:
                lines.append(error.message)
        return lines

    def missing(self) -> str | None:
        """Never anything: there need not be ratings."""
        return None

    def signature(self) -> list[list[str]]:
        """Names and texts of the files."""
        return [[file.name, file.read_text(errors="replace")] for file in self._files()]

    def paths(self) -> list[str]:
        """The folder."""
        return [str(self._folder)]

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))


def _read(file: Path) -> Sheet:
    try:
        return sheet_of(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:
        reason = error.message if isinstance(error, InputError) else " ".join(str(error).split())
        raise InputError(
            f"{file} is no file of a rating sheet ({reason}): take it out of the folder, or download it again"
        ) from error
