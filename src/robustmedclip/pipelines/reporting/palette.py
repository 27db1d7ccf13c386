"""Colours that colour-blind readers can tell apart."""

from collections.abc import Sequence

#: Okabe & Ito (2008), "Color Universal Design".
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


def colour_of(name: str, names: Sequence[str]) -> str:
    """The colour of `name` among `names`; they repeat after eight."""
    return COLOURS[names.index(name) % len(COLOURS)]
