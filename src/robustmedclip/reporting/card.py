"""Data cards: what a data set holds, and where it comes from."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from robustmedclip.images.sets import ImageSet

_COLUMNS = 5


def data_card(splits: Mapping[str, ImageSet]) -> dict[str, Any]:
    """What a source holds, as JSON can say it.

    Returns
    -------
    dict
        ``name``, ``modality``, ``size`` (height and width in pixels), ``channels``, ``counts`` (split to class name to
        number of images), ``origin`` (``url``, ``size``, ``licence`` and ``citation``, as far as they are known),
        ``synthetic`` (whether a program drew the images) and ``release`` (that of a published collection, or null).
    """
    first = next(iter(splits.values()))
    return {
        "name": first.name,
        "modality": first.modality,
        "size": list(first.images.shape[1:3]),
        "channels": first.images.shape[3],
        "counts": {
            split: dict(zip(part.class_names, part.class_counts().tolist(), strict=True))
            for split, part in splits.items()
        },
        "origin": dict(first.origin),
        "synthetic": first.synthetic,
        "release": first.release,
    }


def draw_examples(test: ImageSet) -> Any:
    """The first test image of each class that has one, a figure of Matplotlib, which is imported when it is drawn."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from robustmedclip.reporting.fonts import font_families

    rows = -(-len(test.class_names) // _COLUMNS)
    with rc_context({"font.family": font_families([test.name, test.modality, *test.class_names])}):
        figure = Figure(figsize=(2.4 * _COLUMNS, 2.7 * rows), layout="constrained")
        axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        images_of = test.members()
        for axis, name in zip(axes, test.class_names, strict=False):
            members = np.flatnonzero(images_of[name])
            axis.set_title(name if len(members) else f"{name} (no test image)", fontsize=8, wrap=True)
            if len(members):
                image = test.images[int(members[0])]
                axis.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        figure.suptitle(f"{test.name}: {test.modality}")
    return figure
