"""A user's own images: a folder and a CSV of labels."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

import fsspec
import numpy as np
import pandas as pd
from kedro.io import AbstractDataset
from kedro.io.core import get_protocol_and_path
from PIL import Image, UnidentifiedImageError

from robustmedclip.io.versioned import SourceError
from robustmedclip.types import ImageSet

_SPLITS = ("train", "val", "test")
_SHOWN = 10


class FolderDataset(AbstractDataset[None, dict[str, ImageSet]]):
    """Images in a folder, listed in a CSV file; loads ``{split: ImageSet}``.

    The CSV has the columns ``file`` (path inside the folder), ``label`` (class name) and optionally
    ``split`` (``train``, ``val`` or ``test``). Without it, 70 % of each class go to ``train`` and 30 %
    to ``test``, chosen by a hash of the file name.

    Parameters
    ----------
    name, modality : str
        Filled in from the plan.
    class_names : list of str
        Filled in from the plan's ``classes``; the order is the order of the label ids.
    filepath : str
        The folder: a path, or a URL that fsspec knows.
    labels : str
        The CSV file, relative to the folder.
    size : int, optional
        Side in pixels to bring every image to: shortest side scaled (bicubic), then centre crop.
        Needed only where the images differ in size.
    credentials, fs_args : dict, optional
        Passed to the filesystem.
    """

    def __init__(
        self,
        *,
        name: str,
        modality: str,
        filepath: str,
        class_names: list[str] | None = None,
        labels: str = "labels.csv",
        size: int | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        protocol, path = get_protocol_and_path(filepath)
        self._fs = fsspec.filesystem(protocol, **(credentials or {}), **(fs_args or {}))
        self._name, self._modality, self._class_names = name, modality, class_names
        self._folder, self._labels, self._size = PurePosixPath(path), labels, size
        self.metadata = metadata

    def load(self) -> dict[str, ImageSet]:
        """Read every image.

        Raises
        ------
        SourceError
            Naming each row and file that is wrong: at most ten are spelt out.
        """
        if problems := self.problems():
            raise SourceError(_message(self._name, problems))
        table = self._table()
        images, problems = [], []
        for file in table["file"]:
            try:
                images.append(self._read_image(file))
            except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
                problems.append(f"{self._folder / file} can't be read as an image ({error})")
        if not problems and len({image.shape[:2] for image in images}) > 1:
            sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for image in images})
            problems.append(f"the images differ in size ({', '.join(sizes[:5])}, ...): set 'size' in the source")
        if problems:
            raise SourceError(_message(self._name, problems))
        if any(image.shape[-1] == 3 for image in images):
            images = [np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image for image in images]
        pixels = np.stack(images)
        ids = {class_name: label for label, class_name in enumerate(self._class_names)}
        labels = table["label"].map(ids).to_numpy(np.int64)
        splits = {}
        for split in _SPLITS:
            rows = np.flatnonzero(table["split"] == split)
            if len(rows):
                splits[split] = ImageSet(
                    name=self._name,
                    split=split,
                    modality=self._modality,
                    class_names=tuple(self._class_names),
                    images=pixels[rows],
                    labels=labels[rows],
                    sample_ids=table["file"].to_numpy(np.str_)[rows],
                )
        return splits

    def problems(self) -> list[str]:
        """What would make :meth:`load` fail, found from the CSV and the list of files alone."""
        csv = self._folder / self._labels
        if not self._class_names:
            return [f"data_sets.{self._name} needs 'classes' in benchmark.yml"]
        if not self._fs.exists(str(csv)):
            return [f"there is no file {csv}"]
        try:
            table = self._table()
        except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
            return [f"{csv} can't be read: {error}"]
        return list(self._table_problems(table, csv))

    def test_bytes(self) -> int:
        """Size of the test images in bytes, if all are as large as the first and in colour; 0 if that is damaged."""
        table = self._table()
        width = height = self._size or 0
        if not width:
            with (
                suppress(OSError),
                self._fs.open(str(self._folder / table["file"].iloc[0]), "rb") as stream,
                Image.open(stream) as image,
            ):
                width, height = image.size
        return int((table["split"] == "test").sum()) * width * height * 3

    def signature(self) -> Any:
        """What the images depend on: settings, and name, size and time of each file."""
        files = self._fs.find(str(self._folder), detail=True)
        listing = [[name, info["size"], str(info.get("mtime", ""))] for name, info in sorted(files.items())]
        return [self._describe(), listing]

    def save(self, data: None) -> None:
        """A user's images are read, not saved."""
        raise NotImplementedError("FolderDataset is a source: it can't be saved to")

    def _table(self) -> pd.DataFrame:
        with self._fs.open(str(self._folder / self._labels), "rb") as file:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
        if missing := {"file", "label"} - set(table.columns):
            raise ValueError(f"no column {', '.join(sorted(missing))}; found {', '.join(table.columns)}")
        if "split" not in table.columns:
            table["split"] = _split(table)
        return table

    def _table_problems(self, table: pd.DataFrame, csv: PurePosixPath) -> Iterator[str]:
        unsafe = [f for f in table["file"] if PurePosixPath(f).is_absolute() or ".." in PurePosixPath(f).parts]
        if unsafe:
            yield f"{csv} names files outside the folder: {_shortened(unsafe)}"
            return
        if twice := table["file"][table["file"].duplicated()].unique().tolist():
            yield f"{csv} lists a file more than once: {_shortened(twice)}"
        present = set(self._fs.find(str(self._folder)))
        if missing := [f for f in table["file"] if str(self._folder / f) not in present]:
            yield f"{csv} names files that don't exist: {_shortened(missing)}"
        outside = table[~table["label"].isin(self._class_names)]
        if len(outside):
            named = [f"{row.label!r} ({row.file})" for row in outside.itertuples()]
            yield f"{csv} has labels outside the classes {self._class_names}: {_shortened(named)}"
        if wrong := sorted(set(table["split"]) - set(_SPLITS)):
            yield f"{csv} has splits other than train, val and test: {_shortened(wrong)}"
        for pool, splits in (("training pool", ("train", "val")), ("test split", ("test",))):
            labels = set(table["label"][table["split"].isin(splits)])
            if empty := [name for name in self._class_names if name not in labels]:
                yield f"no image of {', '.join(map(repr, empty))} in the {pool}"

    def _read_image(self, file: str) -> np.ndarray:
        with self._fs.open(str(self._folder / file), "rb") as stream, Image.open(stream) as image:
            if image.mode in ("I", "I;16", "I;16B", "F"):
                raise OSError("more than 8 bits per pixel")
            pixels = image.convert("L" if image.mode in ("1", "L") else "RGB")
        if self._size is not None:
            scale = self._size / min(pixels.size)
            width, height = (max(self._size, round(side * scale)) for side in pixels.size)
            pixels = pixels.resize((width, height), Image.Resampling.BICUBIC)
            left, top = (width - self._size) // 2, (height - self._size) // 2
            pixels = pixels.crop((left, top, left + self._size, top + self._size))
        array = np.asarray(pixels)
        return array[..., None] if array.ndim == 2 else array

    def _describe(self) -> dict[str, Any]:
        return {
            "name": self._name,
            "modality": self._modality,
            "filepath": str(self._folder),
            "labels": self._labels,
            "class_names": self._class_names,
            "size": self._size,
        }


def _split(table: pd.DataFrame) -> pd.Series:
    """A 70/30 split of each class, by a hash of the file name; at least one image in each part."""
    order = table["file"].map(lambda file: hashlib.blake2b(file.encode(), digest_size=8).hexdigest())
    rank = order.groupby(table["label"]).rank(method="first")
    count = order.groupby(table["label"]).transform("size")
    return pd.Series(np.where(rank <= (count * 0.7).round().clip(lower=1), "train", "test"), table.index)


def _shortened(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def _message(name: str, problems: list[str]) -> str:
    return f"Data set '{name}': " + "; ".join(problems[:_SHOWN]) + (
        f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    )
