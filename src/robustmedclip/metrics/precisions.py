"""How much of what models decide changes with the precision that images are encoded in."""

import numpy as np
import pandas as pd

from robustmedclip.metrics.logits import Logits

COLUMNS = {
    "model": "str",
    "seed": "Int64",
    "data_set": "str",
    "precision": "str",
    "corruption": "str",
    "severity": "int64",
    "n": "int64",
    "changed": "int64",
    "changed_percent": "float64",
    "low": "float64",
    "high": "float64",
    "largest_logit_difference": "float64",
    "mean_cosine": "float64",
}


def precision_changes(logits: Logits, float32: Logits, cosines: np.ndarray) -> pd.DataFrame:
    """How logits differ from those of the same images encoded in float32.

    Parameters
    ----------
    logits, float32 : Logits
        Of one model, on the same images under the same conditions.
    cosines : ndarray
        Cosine of the features of each image in the two precisions, float ``(conditions, N)``.

    Returns
    -------
    DataFrame
        A row per condition, with :data:`COLUMNS`: ``changed`` is how many of ``n`` images are decided otherwise, those
        of findings if any finding is; ``low`` and ``high`` are Wilson's interval of 95 % of it, in percent.
    """
    changed = (_decisions(logits) != _decisions(float32)).reshape(*logits.logits.shape[:2], -1).any(-1)
    differences = np.abs(logits.logits - float32.logits).max((1, 2))
    rows = [
        {
            "model": logits.model,
            "seed": logits.attributes.get("seed"),
            "data_set": logits.data_set,
            "precision": logits.attributes["precision"],
            "corruption": condition.corruption,
            "severity": condition.severity,
            "n": changed.shape[1],
            "changed": changed[place].sum(),
            **changed_percent(int(changed[place].sum()), changed.shape[1]),
            "largest_logit_difference": differences[place],
            "mean_cosine": cosines[place].mean(),
        }
        for place, condition in enumerate(logits.conditions)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def no_changes() -> pd.DataFrame:
    """The table where images are encoded in float32: without a row."""
    return pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)


def changed_percent(changed: int, images: int) -> dict[str, float]:
    """Percentage of changed decisions, with Wilson's interval of 95 % (1927, J. Am. Stat. Assoc. 22, 209)."""
    from scipy.stats import binomtest  # slow to import, and the plan imports this module

    interval = binomtest(changed, images).proportion_ci(method="wilson")
    return {"changed_percent": 100 * changed / images, "low": 100 * interval.low, "high": 100 * interval.high}


def _decisions(run: Logits) -> np.ndarray:
    """The class of each image, int64 ``(conditions, N)``; of findings whether it has each, ``(conditions, N, C)``."""
    return run.logits.argmax(-1) if run.labels.ndim == 1 else run.logits > 0
