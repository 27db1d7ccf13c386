"""What tells models apart in figures: colours that colour-blind readers can tell apart, and a marker per adaptation."""

from collections.abc import Iterable, Sequence

from robustmedclip.metrics.logits import ZERO_SHOT

#: Okabe & Ito (2008), "Color Universal Design".
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
#: Of heat maps: below what is compared with, at it, above it. Black text on any of them has a contrast above 8.
HEAT = ("#5AA7D6", "#F4F4F4", "#E6863B")
#: As Matplotlib calls them, and as Plotly does.
MARKERS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
}


def colour_of(name: str, names: Sequence[str]) -> str:
    """The colour of `name` among `names`; they repeat after eight."""
    return COLOURS[names.index(name) % len(COLOURS)]


def marker_of(adaptation: str, known: Iterable[str]) -> str:
    """The marker of `adaptation` among those that are `known`; zero-shot has the first, and they repeat."""
    ordered = sorted(set(known), key=lambda name: (name != ZERO_SHOT, name))
    return list(MARKERS)[ordered.index(adaptation) % len(MARKERS)]
