"""Warnings of a table of images that can be read."""

import re
from collections.abc import Collection, Iterator

import pandas as pd

from robustmedclip.errors import first_ten
from robustmedclip.io.sources.class_folders import SUBFOLDER
from robustmedclip.io.sources.label_table import COLUMNS
from robustmedclip.io.sources.patients import patient_column, patients

_GROUP = re.compile(
    r"(patient|subject|group|case|participant|person|donor|animal|mouse|study|exam|visit|"
    r"specimen|slide|biopsy|lesion|eye|"
    r"source[ _-]?image|mrn|pid)s?([ _-]?(id|ids|no|nr|num|number|name|key|uid|code|hash))?",
    re.IGNORECASE,
)
_MASK = re.compile(
    r"(?P<image>.+?)[ _.-]*[ _.-]"
    r"(mask|masks|seg|segm|segmentation|label|labels|gt|groundtruth|ground_truth|annotation|contour|roi)[ _-]?\d*",
    re.IGNORECASE,
)
_MASK_FOLDER = re.compile(r"(masks?|segmentations?|labels?|annotations?|ground[ _-]?truth|gt)", re.IGNORECASE)


def table_warnings(table: pd.DataFrame, drawn: bool, read: Collection[str] = ()) -> Iterator[str]:
    """Patients in training and test, names of masks, and columns that nothing reads, a sentence each.

    Parameters
    ----------
    table : DataFrame
        Columns ``file``, ``label``, ``split``, and any others.
    drawn : bool
        Whether the splits were drawn here.
    read : collection of str
        Further columns that are read.
    """
    patient = patient_column(table)
    others = [str(column) for column in table.columns if column and column not in (*COLUMNS, *read, patient)]
    groups = [name for name in others if name == SUBFOLDER or _GROUP.fullmatch(name.strip())]
    for name in groups:
        yield from _both_sides(table, name, drawn)
        if patient is None and name != SUBFOLDER:
            yield f"if the column {name!r} says whose an image is, call it 'patient', and splits and intervals heed it"
    if patient is not None and not drawn:
        yield from _patients_on_both_sides(table)
    if unread := [name for name in others if name not in groups]:
        yield f"columns that nothing reads: {first_ten(unread)}"
    if masks := mask_names(table["file"].tolist()):
        yield (
            f"{len(masks)} files are called as masks are ({first_ten(masks)}), and count as images of their class: if "
            "they are masks, leave them out, as with 'exclude: [\"*_mask*\"]'"
        )


def _patients_on_both_sides(table: pd.DataFrame) -> Iterator[str]:
    whose, in_test = patients(table), table["split"] == "test"
    if whose is not None and len(shared := sorted(set(whose[in_test]) & set(whose[~in_test]))):
        yield (
            f"{len(shared)} patients of the test split are also in the training pool ({first_ten(shared)}): their "
            f"{whose[~in_test].isin(shared).sum()} images there are not trained on"
        )


def mask_names(files: Collection[str]) -> list[str]:
    """Files whose name is that of another with ``_mask`` or the like, and those in a folder of masks."""
    stems = {_stem(file) for file in files}
    return [file for file in files if _looks_like_mask(file, stems)]


def _looks_like_mask(file: str, stems: Collection[str]) -> bool:
    folder, _, name = _stem(file).rpartition("/")
    if _MASK_FOLDER.fullmatch(folder.rpartition("/")[2]):
        return True
    beside = _MASK.fullmatch(name)
    return beside is not None and (f"{folder}/{beside['image']}" if folder else beside["image"]) in stems


def _stem(file: str) -> str:
    folder, _, name = file.rpartition("/")
    stem = name.rpartition(".")[0] or name
    return f"{folder}/{stem}" if folder else stem


def _both_sides(table: pd.DataFrame, column: str, drawn: bool) -> Iterator[str]:
    named = table[table[column].str.strip() != ""]
    in_test = named["split"] == "test"
    test, pool = set(named[column][in_test]), set(named[column][~in_test])
    if shared := sorted(test & pool):
        how = "the split was drawn by image" if drawn else "the splits are as given"
        what = "of the folders inside classes" if column == SUBFOLDER else f"values of the column {column!r}"
        yield (
            f"{len(shared)} of the {len(test)} {what} in the test split are also in the training pool "
            f"({first_ten(shared)}): if they are patients, the figures look better than they are; {how}, so give each "
            "image its split in a CSV file, with all images of a patient on one side"
        )
