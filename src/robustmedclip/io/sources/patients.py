"""Whose the images of a table are, and splits that keep the images of one patient together."""

import hashlib

import numpy as np
import pandas as pd

from robustmedclip.images.sets import patients_of

#: Columns that say whose an image is; the first that is there counts.
PATIENT_COLUMNS = ("patient", "group")


def patient_column(table: pd.DataFrame) -> str | None:
    """The column that says whose the images of a table are, if there is one."""
    return next((name for name in PATIENT_COLUMNS if name in table.columns), None)


def patients(table: pd.DataFrame) -> pd.Series | None:
    """Whose each image of a table is, if a column says so; an image whose cell is empty has a patient of its own."""
    if (column := patient_column(table)) is None:
        return None
    return pd.Series(patients_of(table[column], table["file"]), table.index)


def drawn_splits(table: pd.DataFrame) -> pd.Series:
    """``train`` or ``test`` for every image: 70 and 30 % of each class, at least one to train on.

    They are chosen by a hash of the name of the file. Where it is known whose the images are, patients are chosen in
    place of images, by a hash of their name, so that all images of one are on one side; a patient counts to the class
    of most of their images, the first by name among equals.

    Parameters
    ----------
    table : DataFrame
        Columns ``file`` and ``label``, and perhaps one of :data:`PATIENT_COLUMNS`, text.
    """
    whose = patients(table)
    units = pd.DataFrame({"unit": table["file"] if whose is None else whose, "label": table["label"]})
    if whose is not None:
        counts = units.groupby(["unit", "label"], as_index=False).size()
        units = counts.sort_values(["size", "label"], ascending=[False, True], kind="stable")
    labels = units.drop_duplicates("unit").set_index("unit")["label"]
    order = pd.Series(labels.index.map(_hash), labels.index)
    rank, count = order.groupby(labels).rank(method="first"), order.groupby(labels).transform("size")
    sides = pd.Series(np.where(rank <= (count * 0.7).round().clip(lower=1), "train", "test"), labels.index)
    return (table["file"] if whose is None else whose).map(sides)


def _hash(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
