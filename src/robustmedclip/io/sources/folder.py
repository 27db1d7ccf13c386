"""A user's own images: a folder with a CSV of labels, or with a folder per class."""

import logging
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from robustmedclip.errors import first_ten
from robustmedclip.images.pixels import chosen_rows
from robustmedclip.images.sets import PATIENT, ImageSet
from robustmedclip.io.sources.class_folders import class_folder_table
from robustmedclip.io.sources.entries import (
    Entries,
    is_chosen,
    matches,
    require_regular,
    skip_by_patterns,
    skip_other_files,
    skip_unnamed,
    skipped_line,
)
from robustmedclip.io.sources.findings import BLANK, DEFAULTS, UNCERTAIN, finding_labels, with_findings
from robustmedclip.io.sources.image_files import image_files
from robustmedclip.io.sources.label_table import LARGEST_TABLE, read_label_table
from robustmedclip.io.sources.labels import SPLITS
from robustmedclip.io.sources.levels import Frame, ImageFileError, Window, WindowChoice
from robustmedclip.io.sources.patients import drawn_splits, patient_column, patients
from robustmedclip.io.sources.pixels import PixelReader
from robustmedclip.io.sources.source import SourceDataset
from robustmedclip.io.sources.table_checks import normal_paths, table_problems
from robustmedclip.io.sources.table_warnings import table_warnings
from robustmedclip.io.versioned import SourceError

logger = logging.getLogger(__name__)

#: Sides that `size` may have; corruptions need 28 px.
SMALLEST_SIDE, LARGEST_SIDE = 28, 4096


@dataclass(frozen=True)
class _Labels:
    """A table with the columns ``file``, ``label``, ``split`` and others; what lies in the folder; what to say."""

    table: pd.DataFrame
    entries: Entries
    drawn: bool


class FolderDataset(SourceDataset):
    """Images in a folder; loads ``{split: ImageSet}``.

    Their labels come from a CSV file with the columns ``file`` (path inside the folder), ``label`` (class name) and
    optionally ``split`` (``train``, ``val`` or ``test``); or, with ``labels: null``, from the names of folders:
    ``<split>/<class>/<file>`` or ``<class>/<file>``. Without splits, 70 % of each class go to ``train`` and 30 % to
    ``test``, chosen by a hash of the file name, and the log says so; it also names columns that nothing reads, and
    warns of patients in training and test alike.

    A column ``patient`` (or ``group``) says whose an image is: splits that are drawn keep patients on one side, and
    intervals resample patients in place of images.

    In folders of classes every file is an image, or the data set is refused; what is skipped is counted in the log:
    hidden files, those of operating systems, text, tables and documents by their suffix, and what `include` and
    `exclude` leave out.

    Parameters
    ----------
    filepath : str
        The folder: a path, or a URL that fsspec knows.
    labels : str, optional
        The CSV file, a path inside the folder; null for a folder per class.
    size : int, optional
        Side in pixels to bring every image to: the largest centred square, scaled (bicubic).
        Needed only where the images differ in size.
    window : mapping or str, optional
        Levels of files of more than 8 bits, and of DICOM whose levels are rescaled: ``{center, width}`` or
        ``{low, high}``, as in :class:`~robustmedclip.io.sources.levels.Window`. Other files of 8 bits are taken as they
        are. ``file`` shows each DICOM file by the window or lookup table that it suggests, those of 8 bits, too.
    frame : int or str, optional
        Which frame of DICOM and other files of several is read: its number, from 1, or ``middle``; files of one frame
        are taken as they are.
    include, exclude : list of str, optional
        Patterns of the shell, as ``*_mask*`` or ``scans/*.png``: only images that match one of `include`, and none that
        matches one of `exclude`; compared with the path inside the folder, and with its last part.
    uncertain, blank : str, optional
        Where the classes are findings, of which the CSV file has a column each, in place of ``label``: what a finding
        counts as that is uncertain, -1 (``negative``, ``positive`` or by default ``ignore``), and one that is not
        mentioned, an empty cell (by default ``negative``, or ``ignore``). What is ignored is not known of the image,
        which is left out where that is so of all findings.
    **source
        As in :class:`~robustmedclip.io.sources.source.SourceDataset`; ``class_names`` is needed.
    """

    def __init__(
        self,
        *,
        filepath: str,
        labels: str | None = "labels.csv",
        size: int | None = None,
        window: Mapping[str, float] | Literal["file"] | None = None,
        frame: Frame | None = None,
        include: list[str] | None = None,
        exclude: list[str] | None = None,
        uncertain: str | None = None,
        blank: str | None = None,
        **source: Any,
    ):
        super().__init__(filepath=filepath, **source)
        self._labels, self._size, self._window, self._frame = labels, size, window, frame
        self._policies = {"uncertain": uncertain, "blank": blank}
        self._include: list[str] = [] if include is None else include
        self._exclude: list[str] = [] if exclude is None else exclude

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail, found from the labels and the list of files alone."""
        if absent := self.missing():
            return [absent]
        return self._checked()[1]

    def test_shape(self) -> tuple[int, int, int, int]:
        """Shape of the test images, ``(N, H, W, C)``, as far as ten of them tell.

        0 x 0 unless all ten are as large as the first and none is damaged; in colour if one of them is.
        """
        table = self._read_labels(self._entries()).table
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
        labels, problems = self._checked()
        if labels is None or problems:
            raise SourceError(first_ten(problems, "; "))
        self._log(labels)
        table, class_names = labels.table, self._class_names or []
        paths = [str(self._path / file) for file in table["file"]]
        images = image_files(self._fs, paths, self._reader())
        label_ids, files = self._label_ids(table, class_names), table["file"].to_numpy(np.str_)
        rows = {split: np.flatnonzero(table["split"] == split) for split in SPLITS}
        columns = self._columns(table)
        return self._labelled_splits(
            class_names,
            {split: (chosen_rows(images, of), label_ids[of], files[of]) for split, of in rows.items() if len(of)},
            str(self._path),
            {split: {name: values[of] for name, values in columns.items()} for split, of in rows.items()},
        )

    def _label_ids(self, table: pd.DataFrame, class_names: Sequence[str]) -> np.ndarray:
        if self._findings:
            return finding_labels(table, class_names)
        ids = {class_name: label for label, class_name in enumerate(class_names)}
        label_ids: np.ndarray = table["label"].map(ids).to_numpy(np.int64)
        return label_ids

    def _columns(self, table: pd.DataFrame) -> dict[str, np.ndarray]:
        """What the table says of each image beside its class."""
        whose = patients(table)
        known = {name: table[name].str.strip() for name in self._subgroup}
        known |= {} if whose is None else {PATIENT: whose}
        return {name: values.to_numpy(np.str_) for name, values in known.items()}

    def _log(self, labels: _Labels) -> None:
        """Say what was skipped and drawn, and warn of what should be looked at."""
        if line := skipped_line(labels.entries):
            logger.info("Data set '%s': skipped %s", self._name, line)
        if labels.drawn:
            lacking = (
                f"column 'split' in {self._path / self._labels}" if self._labels else f"folder train in {self._path}"
            )
            logger.info(
                "Data set '%s': there is no %s, so %d images were drawn to train on and %d to test on, "
                "70 and 30 %% of each class%s",
                self._name,
                lacking,
                *labels.table["split"].value_counts()[["train", "test"]],
                ", with all images of a patient on one side" if patient_column(labels.table) else "",
            )
        read = [*self._subgroup, *((self._class_names or []) if self._findings else [])]
        for sentence in table_warnings(labels.table, labels.drawn, read):
            logger.warning("Data set '%s': %s", self._name, sentence)

    def _reader(self) -> PixelReader:
        window: WindowChoice | None = "file" if self._window == "file" else None
        if isinstance(self._window, Mapping):
            window = Window.parse(self._window)
        return PixelReader(self._size, window, self._frame)

    def _checked(self) -> tuple[_Labels | None, list[str]]:
        """The labels, and everything that is wrong with them and the settings; no labels where they can't be read."""
        if problems := list(self._settings_problems()):
            return None, problems
        entries, where = self._entries(), str(self._path / (self._labels or ""))
        try:
            labels = self._read_labels(entries)
        except SourceError as error:
            return None, [error.message]
        except (ValueError, OSError) as error:
            return None, [*self._refused(entries, set()), f"{where} can't be read: {error}"]
        files = set(labels.table["file"]) if entries.refused else set()
        problems = [*self._unmatched(entries), *self._refused(entries, files)]
        if absent := [name for name in self._subgroup if name not in labels.table.columns]:
            problems.append(f"{where} has no column {first_ten(absent)}, which 'subgroup' in benchmark.yml names")
        of_table = table_problems(labels.table, entries, self._class_names or [], where, self._findings)
        return labels, [*problems, *of_table]

    def _refused(self, entries: Entries, files: Collection[str]) -> list[str]:
        """Files that can't be read: in folders of classes, or among the `files` of a CSV file."""
        refused = sorted(entries.refused.items())
        return [
            f"{self._path / path.rstrip('/')} {reason}"
            for path, reason in refused
            if self._labels is None or path in files
        ]

    def _unmatched(self, entries: Entries) -> list[str]:
        """Patterns that no file matches: a slip of the pen would go unseen."""
        paths = [*entries.files, *entries.refused, *entries.skipped]
        return [
            f"'{setting}' matches no file in {self._path}: {pattern!r}"
            for setting, patterns in (("include", self._include), ("exclude", self._exclude))
            for pattern in patterns
            if not any(matches(path, pattern) for path in paths)
        ]

    def _read_labels(self, entries: Entries) -> _Labels:
        """The labels as they are given, with splits; `entries` then tells what was skipped."""
        if self._labels is None:
            skip_other_files(entries)
            skip_by_patterns(entries, self._include, self._exclude)
            table = class_folder_table(entries.files)
        else:
            table = self._labels_file(self._labels)
            if self._include or self._exclude:
                table = table[[is_chosen(file, self._include, self._exclude) for file in table["file"]]]
            if entries.files:
                skip_unnamed(entries, set(normal_paths(table["file"])), f"not in {self._labels}")
        drawn = "split" not in table.columns
        return _Labels(table.assign(split=drawn_splits(table)) if drawn else table, entries, drawn)

    def _labels_file(self, labels: str) -> pd.DataFrame:
        path = str(self._path / labels)
        require_regular(self._fs, path, local=self._protocol == "file")
        if self._fs.size(path) > LARGEST_TABLE:
            raise ValueError(f"it has more than {LARGEST_TABLE} bytes")
        content, findings = self._fs.cat_file(path), (self._class_names or []) if self._findings else []
        if not findings:
            return read_label_table(content)
        return with_findings(read_label_table(content, findings), findings, **self._chosen_policies())

    def _settings_problems(self) -> Iterator[str]:
        if not self._class_names:
            yield f"data_sets.{self._name} needs 'classes' in benchmark.yml{self._labels_there()}"
            return
        if self._size is not None and (type(self._size) is not int or not SMALLEST_SIDE <= self._size <= LARGEST_SIDE):
            yield f"size must be a whole number of pixels from {SMALLEST_SIDE} to {LARGEST_SIDE}, not {self._size!r}"
        if self._frame not in (None, "middle") and (type(self._frame) is not int or self._frame < 1):
            yield f"frame must be the number of a frame, from 1, or middle, not {self._frame!r}"
        if self._window not in (None, "file"):
            try:
                Window.parse(cast(Mapping[str, float], self._window))
            except ValueError as error:
                yield f"window: {error}"
        yield from self._finding_problems()
        for setting, patterns in (("include", self._include), ("exclude", self._exclude)):
            if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
                yield f'{setting} must be a list of patterns, as ["*_mask*"], not {patterns!r}'
        if self._labels is not None and not isinstance(self._labels, str):
            yield f"labels must be a CSV file in the folder, or null for a folder per class, not {self._labels!r}"
            return
        where = PurePosixPath(posixpath.normpath(self._path / (self._labels or "")))
        if not where.is_relative_to(self._path):
            yield (
                f"'labels: {self._labels}' lies outside the folder {self._path}: move it there, or let 'filepath' be a "
                "folder that holds both, with the names of the files in the CSV to match"
            )
        elif not self._fs.exists(str(where)):
            yield f"there is no {'file' if self._labels else 'folder'} {where}{self._folders_instead()}"

    def _finding_problems(self) -> Iterator[str]:
        for name, known in (("uncertain", UNCERTAIN), ("blank", BLANK)):
            value = self._policies[name]
            if value is not None and not self._findings:
                yield f"'{name}' says what labels of findings mean: set 'task: findings', or leave it out"
            elif self._chosen_policies()[name] not in known:
                yield f"{name} must be one of {', '.join(known)}, not {value!r}"
        if self._findings and self._labels is None:
            yield "'task: findings' needs a CSV file, 'labels', with a column for each"

    def _chosen_policies(self) -> dict[str, str]:
        return DEFAULTS | {name: value for name, value in self._policies.items() if value is not None}

    def _folders_instead(self) -> str:
        """What to set where folders may be the classes, as the end of a sentence."""
        files = self._entries().files
        if (
            self._findings
            or not any("/" in path for path in files)
            or any(path.lower().endswith(".csv") for path in files)
        ):
            return ""
        return ": for a folder per class set 'labels: null'"

    def _labels_there(self) -> str:
        """The labels that are there, as the end of a sentence."""
        try:
            labels = sorted(set(self._read_labels(self._entries()).table["label"]))
        except (ValueError, TypeError, OSError, SourceError):
            return ""
        return f"; found there: {first_ten(labels)}"

    def _describe(self) -> dict[str, Any]:
        patterns = {"include": self._include, "exclude": self._exclude}
        settings = {"labels": self._labels, "size": self._size, "window": self._window}
        settings |= self._chosen_policies() if self._findings else {}
        settings |= {} if self._frame is None else {"frame": self._frame}
        return {**super()._describe(), **settings, **{key: value for key, value in patterns.items() if value}}
