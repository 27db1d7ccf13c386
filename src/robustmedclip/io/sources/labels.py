"""Checks of labels and class names that sources share."""

from collections.abc import Collection, Sequence

import numpy as np

from robustmedclip.errors import first_ten
from robustmedclip.io.versioned import SourceError

SPLITS = ("train", "val", "test")
PARTS = {"training pool": ("train", "val"), "test split": ("test",)}


def absence(part: str, present: Collection[str], class_names: Sequence[str]) -> str | None:
    """What is wrong with the classes that a part of a data set has images of, as the end of a sentence.

    The training pool needs all of them, the test split two. Of findings, `class_names` are those of
    :func:`robustmedclip.images.findings.members`.
    """
    if not present:
        return f"has no image of the {part}"
    absent = [name for name in class_names if name not in present]
    if not absent or (part == "test split" and len(absent) <= len(class_names) - 2):
        return None
    needed = "two classes at least" if part == "test split" else "every class"
    return f"has no image of {first_ten(map(repr, absent))} in the {part}, which needs {needed}"


def checked_labels(labels: np.ndarray, classes: int, where: str) -> np.ndarray:
    """Label ids as int64 ``(N,)``.

    Raises
    ------
    SourceError
        If they are not whole numbers, one per image, from 0 to `classes` - 1.
    """
    if labels.dtype.kind not in "iu" or labels.ndim not in (1, 2) or labels.size != len(labels):
        raise SourceError(f"{where}: labels must be whole numbers, one per image, not {labels.dtype} {labels.shape}")
    if outside := np.unique(labels[(labels < 0) | (labels >= classes)]).tolist():
        shown = first_ten(map(str, outside))
        raise SourceError(f"{where}: the labels {shown} lie outside the {classes} classes, which count from 0")
    return labels.reshape(-1).astype(np.int64)


def renamed_classes(names: Sequence[str], wanted: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """The class names of a collection, or those that the plan gives them, in the order of the label ids.

    Raises
    ------
    SourceError
        If there are not as many, or the same names in another order; or if none is given where they are numbers.
    """
    if wanted is None and all(name.isdigit() for name in names):
        raise SourceError(
            f"the classes of {where} are called {first_ten(names)}, which says nothing in a prompt: give their names "
            "in 'classes' in benchmark.yml, in this order"
        )
    if wanted is None:
        return tuple(names)
    if len(wanted) != len(names):
        raise SourceError(
            f"'classes' lists {len(wanted)} names, and {where} has {len(names)} classes: {first_ten(names)}"
        )
    if set(wanted) == set(names) and list(wanted) != list(names):
        raise SourceError(
            f"'classes' lists the classes of {where} in another order than its label ids: {first_ten(names)}"
        )
    return tuple(wanted)
