"""What can be compared where logits are missing: averages over fewer data sets are never set beside whole ones."""

from collections.abc import Mapping

from robustmedclip.metrics.logits import Logits

#: A model, with its seed, and a data set.
Cell = tuple[str, str]


def comparable(cells: Mapping[Cell, Logits | None], baseline: str) -> list[Logits]:
    """The logits of the models that have them on all data sets; of data sets, those on which the baseline has them.

    Parameters
    ----------
    cells : mapping
        The logits of each model and data set, None where they are missing.
    baseline : str
        The model that others are compared with.
    """
    data_sets = {logits.data_set for logits in cells.values() if logits is not None and logits.model == baseline}
    incomplete = {model for model, data_set in missing(cells) if data_set in data_sets}
    return [
        logits
        for (model, data_set), logits in cells.items()
        if logits is not None and data_set in data_sets and model not in incomplete
    ]


def missing(cells: Mapping[Cell, Logits | None]) -> list[Cell]:
    """The models and data sets of which there are no logits."""
    return [cell for cell, logits in cells.items() if logits is None]
