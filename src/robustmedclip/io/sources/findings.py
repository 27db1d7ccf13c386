"""Findings of a table that has a column for each, and of a collection that has several labels per image."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from robustmedclip.errors import first_ten
from robustmedclip.images.findings import ABSENT, PRESENT, UNKNOWN, strata
from robustmedclip.io.versioned import SourceError

#: What a finding that is uncertain, -1, counts as: U-Zeros, U-Ones and U-Ignore of CheXpert (Irvin et al. 2019,
#: arXiv:1901.07031, sec. 3.1).
UNCERTAIN = {"negative": ABSENT, "positive": PRESENT, "ignore": UNKNOWN}
#: What a finding that is not mentioned, an empty cell, counts as.
BLANK = {"negative": ABSENT, "ignore": UNKNOWN}
DEFAULTS = {"uncertain": "ignore", "blank": "negative"}
#: The stratum of images that have none of the findings.
_NONE = "none of the findings"


def with_findings(table: pd.DataFrame, findings: Sequence[str], uncertain: str, blank: str) -> pd.DataFrame:
    """The table with 1, 0 or -1 for not known in the column of each finding, as text; images with none known left out.

    Parameters
    ----------
    table : DataFrame
        Text; the columns of the findings have 1 (present), 0 (absent), -1 (uncertain), or nothing where a finding is
        not mentioned.
    findings : sequence of str
        The columns.
    uncertain, blank : str
        Of :data:`UNCERTAIN` and :data:`BLANK`.

    Returns
    -------
    DataFrame
        Its column ``label`` is the rarest finding that an image has: what splits are drawn by.

    Raises
    ------
    ValueError
        If a column has other values; with the rows.
    """
    meanings = {"1": PRESENT, "0": ABSENT, "-1": UNCERTAIN[uncertain], "": BLANK[blank]}
    values = table[list(findings)].apply(lambda column: column.str.strip().str.removesuffix(".0"))
    for name in findings:
        if len(other := values.loc[~values[name].isin(meanings), name]):
            shown = first_ten(f"{value!r} in row {row}" for row, value in other.items())
            raise ValueError(f"the column {name!r} has values other than 1, 0, -1 and nothing: {shown}")
    labels = values.apply(lambda column: column.map(meanings))
    drawn_as = np.array([*findings, _NONE], object)[strata(labels.to_numpy(np.int64))]
    return table.assign(**labels.astype(str), label=drawn_as)[(labels != UNKNOWN).any(axis=1)]


def finding_labels(table: pd.DataFrame, findings: Sequence[str]) -> np.ndarray:
    """The labels of :func:`with_findings`, int64 ``(N, findings)``."""
    labels: np.ndarray = table[list(findings)].to_numpy(np.str_).astype(np.int64)
    return labels


def chosen_findings(
    known: Sequence[str], wanted: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], list[int]]:
    """Those of a collection's findings that the plan names, or all; and their columns.

    Raises
    ------
    SourceError
        If the collection has no such finding.
    """
    if wanted is None:
        return tuple(known), list(range(len(known)))
    if unknown := [name for name in wanted if name not in known]:
        raise SourceError(
            f"{where} has no finding {first_ten(map(repr, unknown))}: 'classes' names some of {', '.join(known)}; "
            "other names for the prompts are 'synonyms'"
        )
    return tuple(wanted), [list(known).index(name) for name in wanted]


def checked_findings(labels: np.ndarray, findings: int, where: str) -> np.ndarray:
    """Labels of findings as int64 ``(N, findings)``.

    Raises
    ------
    SourceError
        If they are not 1, 0 or -1 for not known, one per image and finding.
    """
    if labels.dtype.kind not in "biu" or labels.ndim != 2 or labels.shape[1] != findings:
        raise SourceError(
            f"{where}: labels of findings must be whole numbers (N, {findings}), not {labels.dtype} {labels.shape}"
        )
    values = labels.astype(np.int64)
    if other := sorted(set(np.unique(values).tolist()) - {PRESENT, ABSENT, UNKNOWN}):
        raise SourceError(
            f"{where}: labels of findings are 1, 0, or -1 for not known, not {first_ten(map(str, other))}"
        )
    return values
