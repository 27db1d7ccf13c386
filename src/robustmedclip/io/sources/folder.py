"""A user's own images: a folder with a CSV of labels, or with a folder per class."""

import hashlib
import logging
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.errors import first_ten
from robustmedclip.images.pixels import chosen_rows
from robustmedclip.images.sets import ImageSet
from robustmedclip.io.sources.image_files import image_files
from robustmedclip.io.sources.labels import PARTS, SPLITS, absence
from robustmedclip.io.sources.levels import ImageFileError, Window
from robustmedclip.io.sources.pixels import PixelReader
from robustmedclip.io.sources.source import SourceDataset
from robustmedclip.io.versioned import SourceError

logger = logging.getLogger(__name__)

_COLUMNS = ("file", "label", "split")


class FolderDataset(SourceDataset):
    """Images in a folder; loads ``{split: ImageSet}``.

    Their labels come from a CSV file with the columns ``file`` (path inside the folder), ``label`` (class name) and
    optionally ``split`` (``train``, ``val`` or ``test``); or, with ``labels: null``, from the names of folders:
    ``<split>/<class>/<file>`` or ``<class>/<file>``. Without splits, 70 % of each class go to ``train`` and
    30 % to ``test``, chosen by a hash of the file name, and the log says so.

    Parameters
    ----------
    labels : str, optional
        The CSV file, a path inside the folder; null for a folder per class.
    size : int, optional
        Side in pixels to bring every image to: the largest centred square, scaled (bicubic).
        Needed only where the images differ in size.
    window : mapping, optional
        Levels of files of more than 8 bits, and of DICOM whose levels are rescaled: ``{center, width}`` or ``{low, high}``,
        as in :class:`~robustmedclip.io.sources.pixels.Window`. Other files of 8 bits are taken as they are.
    **source
        As in :class:`~robustmedclip.io.sources.source.SourceDataset`; ``class_names`` is needed.
    """

    def __init__(
        self,
        *,
        labels: str | None = "labels.csv",
        size: int | None = None,
        window: Mapping[str, float] | None = None,
        **source: Any,
    ):
        super().__init__(**source)
        self._labels, self._size, self._window = labels, size, window

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail, found from the labels and the list of files alone."""
        if absent := self.missing():
            return [absent]
        return list(self._problems())

    def test_shape(self) -> tuple[int, int, int, int]:
        """Shape of the test images, ``(N, H, W, C)``, if all are as large as the first of ten, and in colour if one of them is.

        0 x 0 if one of them is damaged.
        """
        table = self._table()
        some = table["file"].iloc[:: -(-len(table) // 10)]
        try:
            shapes = [self._image_shape(file) for file in some]
        except (ImageFileError, OSError):
            shapes = [(0, 0, 3)]
        return int((table["split"] == "test").sum()), *shapes[0][:2], max(channels for *_, channels in shapes)

    def _image_shape(self, file: str) -> tuple[int, int, int]:
        with self._fs.open(str(self._path / file), "rb") as opened:
            return self._reader().shape(opened)

    def _splits(self) -> dict[str, ImageSet]:
        if problems := self.problems():
            raise SourceError(first_ten(problems, "; "))
        listing = self._listing()
        table = _with_splits(listing)
        if "split" not in listing.columns:
            lacking = (
                f"column 'split' in {self._path / self._labels}" if self._labels else f"folder train in {self._path}"
            )
            logger.info(
                "Data set '%s': there is no %s, so %d images were drawn to train on and %d to test on, 70 and 30 %% of each class",
                self._name,
                lacking,
                *table["split"].value_counts()[["train", "test"]],
            )
        paths = [str(self._path / file) for file in table["file"]]
        images = image_files(self._fs, paths, self._reader())
        ids = {class_name: label for label, class_name in enumerate(self._class_names)}
        labels, files = table["label"].map(ids).to_numpy(np.int64), table["file"].to_numpy(np.str_)
        rows = {split: np.flatnonzero(table["split"] == split) for split in SPLITS}
        return self._labelled_splits(
            self._class_names,
            {split: (chosen_rows(images, of), labels[of], files[of]) for split, of in rows.items() if len(of)},
            str(self._path),
        )

    def _reader(self) -> PixelReader:
        window = None if self._window is None else Window.parse(self._window)
        return PixelReader(self._size, window)

    def _problems(self) -> Iterator[str]:
        if not self._class_names:
            yield f"data_sets.{self._name} needs 'classes' in benchmark.yml{self._found_labels()}"
            return
        if self._size is not None and not (isinstance(self._size, int) and 1 <= self._size <= 4096):
            yield f"size must be a whole number from 1 to 4096, not {self._size!r}"
        if self._window is not None:
            try:
                Window.parse(self._window)
            except ValueError as error:
                yield f"window: {error}"
        if self._labels is not None and not isinstance(self._labels, str):
            yield f"labels must be a CSV file in the folder, or null for a folder per class, not {self._labels!r}"
            return
        where = PurePosixPath(posixpath.normpath(self._path / (self._labels or "")))
        if not where.is_relative_to(self._path):
            yield (
                f"'labels: {self._labels}' lies outside the folder {self._path}: move it there, or let 'filepath' be a folder "
                "that holds both, with the names of the files in the CSV to match"
            )
            return
        if not self._fs.exists(str(where)):
            yield f"there is no {'file' if self._labels else 'folder'} {where}"
            return
        try:
            table = self._table()
        except (ValueError, pd.errors.ParserError, OSError) as error:
            yield f"{where} can't be read: {error}"
            return
        yield from self._table_problems(table, where)

    def _found_labels(self) -> str:
        """The labels that are there, as the end of a sentence."""
        try:
            labels = sorted(set(self._listing()["label"]))
        except (ValueError, TypeError, OSError):
            return ""
        return f"; found there: {first_ten(labels)}"

    def _table(self) -> pd.DataFrame:
        """Columns ``file``, ``label`` and ``split``, a row per image."""
        return _with_splits(self._listing())

    def _listing(self) -> pd.DataFrame:
        """The table as it is given: ``split`` may be missing."""
        if self._labels is None:
            return self._folders()
        with self._fs.open(str(self._path / self._labels), "rb") as file:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
        meant = {column: column.strip().lower() for column in table.columns if column not in _COLUMNS}
        if renamed := [f"{column!r} to {name!r}" for column, name in meant.items() if name in _COLUMNS]:
            raise ValueError(f"rename its column {first_ten(renamed)}")
        if missing := {"file", "label"} - set(table.columns):
            raise ValueError(f"no column {', '.join(sorted(missing))}; found {first_ten(table.columns)}")
        return table

    def _folders(self) -> pd.DataFrame:
        """The table of a folder per class; files that lie in no folder and hidden files don't count."""
        files = [PurePosixPath(file).relative_to(self._path) for file in sorted(self._files())]
        files = [file for file in files if len(file.parts) > 1 and not any(p.startswith(".") for p in file.parts)]
        if not files:
            raise ValueError("no images in folders of it")
        first = {file.parts[0] for file in files}
        if (others := first - set(SPLITS)) and first != others:
            raise ValueError(
                f"{first_ten(sorted(first - others))} beside {first_ten(sorted(others))}: name the splits train, val and test, "
                "and put the folders of classes into them; or have folders of classes alone"
            )
        if others:
            return pd.DataFrame([(str(f), f.parts[0]) for f in files], columns=["file", "label"])
        if loose := [str(file) for file in files if len(file.parts) < 3]:
            raise ValueError(f"in no folder of a class: {first_ten(loose)}")
        return pd.DataFrame([(str(f), f.parts[1], f.parts[0]) for f in files], columns=["file", "label", "split"])

    def _table_problems(self, table: pd.DataFrame, where: PurePosixPath) -> Iterator[str]:
        unsafe = [f for f in table["file"] if PurePosixPath(f).is_absolute() or ".." in PurePosixPath(f).parts]
        if unsafe:
            yield f"{where} names files outside the folder: {first_ten(unsafe)}"
            return
        if twice := table["file"][table["file"].duplicated()].unique().tolist():
            yield f"{where} lists a file more than once: {first_ten(twice)}"
        present = self._files()
        if missing := [f for f in table["file"] if str(self._path / f) not in present]:
            yield f"{where} names files that don't exist: {first_ten(missing)}"
        outside = table[~table["label"].isin(self._class_names)]
        if len(outside):
            groups = [(label, files.tolist()) for label, files in outside.groupby("label")["file"]]
            others = [f" and {len(files) - 1} more" if len(files) > 1 else "" for _, files in groups]
            named = [f"{label!r} ({files[0]}{more})" for (label, files), more in zip(groups, others, strict=True)]
            yield f"{where} has labels outside the classes {self._class_names}: {first_ten(named)}"
        if wrong := sorted(set(table["split"]) - set(SPLITS)):
            yield f"{where} has splits other than train, val and test: {first_ten(wrong)}"
        for part, splits in PARTS.items():
            if problem := absence(part, set(table["label"][table["split"].isin(splits)]), self._class_names):
                yield f"{where} {problem}"

    def _describe(self) -> dict[str, Any]:
        settings = {"labels": self._labels, "size": self._size, "window": self._window}
        return {**super()._describe(), **settings}


def _with_splits(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column ``split``: its own, or a 70/30 split of each class by a hash of the file name, with at
    least one image to train on."""
    if "split" in table.columns:
        return table
    order = table["file"].map(lambda file: hashlib.blake2b(file.encode(), digest_size=8).hexdigest())
    rank = order.groupby(table["label"]).rank(method="first")
    count = order.groupby(table["label"]).transform("size")
    return table.assign(split=np.where(rank <= (count * 0.7).round().clip(lower=1), "train", "test"))
