"""The lines of a reliability diagram, as both kinds of figure draw them."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from robustmedclip.images.conditions import CLEAN
from robustmedclip.metrics import reliability, scaled_logits
from robustmedclip.metrics.calibration import BINS
from robustmedclip.metrics.logits import Logits


def reliability_lines(runs: Sequence[Logits]) -> dict[str, pd.DataFrame]:
    """Share of right predictions against confidence, each image of all `runs` counted alike.

    Returns
    -------
    dict
        ``clean``, ``clean, scaled``, ``corrupted`` (all corruptions and severities) and ``corrupted, scaled`` (after
        temperature scaling) to a row per bin that holds predictions: their mean ``confidence``, the share ``right``, and
        how many ``predictions`` they are.
    """
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((3, BINS)))
    for run in runs:
        clean = np.array([condition == CLEAN for condition in run.conditions])
        scaled = scaled_logits(run.logits, run.logits[clean.argmax()], run.labels)
        for name, rows in (("clean", clean), ("corrupted", ~clean)):
            sums[name] += reliability(run.logits[rows], run.labels)
            sums[f"{name}, scaled"] += reliability(scaled[rows], run.labels)
    lines = {}
    for name, (predictions, confidence, right) in sums.items():
        filled = predictions > 0
        count = predictions[filled]
        lines[name] = pd.DataFrame(
            {"confidence": confidence[filled] / count, "right": right[filled] / count, "predictions": count}
        )
    return lines
