"""What amounts of labelled images are called."""

import re


def fraction_label(fraction: float) -> str:
    """Name of a few-shot fraction that is safe in namespaces: 0.1 is ``k10``, 0.005 is ``k0p5``."""
    return f"k{100 * fraction:.6g}".replace(".", "p")


def labelled_fraction(label: str) -> float | None:
    """The fraction that a :func:`fraction_label` names; None for any other label."""
    match = re.fullmatch(r"k(\d+(?:p\d+)?)", label)
    return float(match[1].replace("p", ".")) / 100 if match else None


def shots_label(shots: int) -> str:
    """Name of a number of labelled images of each class: 4 is ``4shot``."""
    return f"{shots}shot"
