"""What tells models apart in figures: colours that colour-blind readers can tell apart, and one symbol per approach."""

from collections.abc import Iterable, Sequence

import pandas as pd

from robustmedclip.metrics.logits import ZERO_SHOT

#: Okabe & Ito (2008), "Color Universal Design".
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


def colour_of(name: str, names: Sequence[str]) -> str:
    """The colour of `name` among `names`; they repeat after eight."""
    return COLOURS[names.index(name) % len(COLOURS)]


def approaches(rows: pd.DataFrame) -> pd.Series:
    """What was done to the model of each row: zero-shot, or the name of its adaptation, which all fractions share."""
    return rows["adaptation"]


def symbol_of(approach: str, known: Iterable[str], symbols: Sequence[str]) -> str:
    """The symbol of `approach` among those that are `known`; zero-shot has the first, and they repeat."""
    ordered = sorted(set(known), key=lambda name: (name != ZERO_SHOT, name))
    return symbols[ordered.index(approach) % len(symbols)]
