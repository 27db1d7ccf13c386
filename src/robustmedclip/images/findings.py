"""Findings: labels of which an image may have several, each of them present, absent or not known.

A finding is a task of two classes, absent and present. What the prompts call its absence is how it is scored: ``pair``
names the finding (``no edema``), as CheXzero does (Tiu et al. 2022, doi:10.1038/s41551-022-00936-9); ``margin`` is the
same for all findings (``no finding``).
"""

from collections.abc import Mapping, Sequence

import numpy as np

ABSENT, PRESENT, UNKNOWN = 0, 1, -1
#: Name of a scoring to what the absence of a finding is called in prompts.
SCORINGS: dict[str, str] = {"pair": "no {finding}", "margin": "no finding"}


def members(labels: np.ndarray, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Which images are of each class; of findings, which have it, and which don't, as ``no <finding>``.

    Parameters
    ----------
    labels : ndarray
        int64 ``(N,)``, classes; or ``(N, findings)``, of :data:`ABSENT`, :data:`PRESENT` and :data:`UNKNOWN`.
    class_names : sequence of str
        The classes or findings.

    Returns
    -------
    dict
        Name to bool ``(N,)``.
    """
    if labels.ndim == 1:
        return {name: labels == label for label, name in enumerate(class_names)}
    columns = list(zip(class_names, labels.T, strict=True))
    return {name: column == PRESENT for name, column in columns} | {
        SCORINGS["pair"].format(finding=name): column == ABSENT for name, column in columns
    }


def differing(labels: np.ndarray) -> list[int]:
    """Places of the findings that some images have and others don't; others can't be scored.

    `labels` are those of :func:`members`, ``(N, findings)``.
    """
    both = (labels == PRESENT).any(0) & (labels == ABSENT).any(0)
    return [int(place) for place in np.flatnonzero(both)]


def strata(labels: np.ndarray) -> np.ndarray:
    """What an image is drawn as: the place of the rarest finding that it has, else how many findings there are.

    `labels` are those of :func:`members`, ``(N, findings)``; the result is int64 ``(N,)``.
    """
    present = labels == PRESENT
    rarest = np.argsort(present.sum(0), kind="stable")
    ordered = present[:, rarest]
    places: np.ndarray = np.where(ordered.any(1), rarest[ordered.argmax(1)], labels.shape[1])
    return places


def prompted_pair(
    finding: str, scoring: str, synonyms: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, str], dict[str, Sequence[str]]]:
    """The two classes of a finding as prompts name them, absent first, and the synonyms of both.

    A synonym of the finding stands in the name of its absence, too, unless that has synonyms of its own.

    Parameters
    ----------
    finding : str
        Its name.
    scoring : str
        One of :data:`SCORINGS`.
    synonyms : mapping
        Name to the names that prompts have in its place.
    """
    absence = SCORINGS[scoring]
    absent, others = absence.format(finding=finding), synonyms.get(finding, [finding])
    of_absent = synonyms.get(absent, list(dict.fromkeys(absence.format(finding=other) for other in others)))
    return (absent, finding), {absent: of_absent, finding: others}
