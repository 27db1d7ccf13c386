"""Rating sheets: pages that open offline, on which a clinician says which images could come from their scanner."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from robustmedclip.calibration.ratings import Pair
from robustmedclip.corruptions import corrupt
from robustmedclip.corruptions.draws import Draws
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import ImageSet
from robustmedclip.reporting.page import image_url

#: Pairs of equal images for each ten others: they show whether a rater knows an original.
_CONTROLS = 1 / 10


def rating_sheet(
    images: ImageSet, conditions: Sequence[Condition], per_level: int, seed: int, settings: Mapping[str, Any]
) -> str:
    """The page of a data set: pairs of an original and what a level makes of it, in an order that tells nothing.

    Parameters
    ----------
    images : ImageSet
        The images; the pairs take turns with them.
    conditions : sequence of Condition
        The levels; clean ones are passed over.
    per_level : int
        Pairs of each level.
    seed : int
        Of the order.
    settings : mapping
        Of :func:`robustmedclip.corruptions.corrupt`.

    Returns
    -------
    str
        HTML without any reference to the network.
    """
    levels = [condition for condition in conditions if condition != CLEAN for _ in range(per_level)]
    levels += [CLEAN] * max(1, round(_CONTROLS * len(levels)))
    rows = [index % len(images) for index in range(len(levels))]
    pairs = [
        Pair(images.name, condition, str(images.sample_ids[row])) for condition, row in zip(levels, rows, strict=True)
    ]
    keys = [int(Draws("sheet", seed, pair.token(), place).bits32((1,))[0]) for place, pair in enumerate(pairs)]
    shown = [_shown(images, pairs[place], rows[place], settings) for place in np.argsort(keys, kind="stable")]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files("robustmedclip.calibration").joinpath("rating_sheet.html.jinja").read_text()
    return environment.from_string(template).render(data_set=images.name, modality=images.modality, pairs=shown)


def _shown(images: ImageSet, pair: Pair, row: int, settings: Mapping[str, Any]) -> tuple[str, str, str]:
    """The token of a pair, and both images."""
    original = np.asarray(images.images[row : row + 1])
    other = original
    if pair.condition != CLEAN:
        other = corrupt(original, *pair.condition, sample_ids=[pair.sample_id], **settings)
    return pair.token(), image_url(original[0]), image_url(other[0])
