"""Metrics of the order that scores put images in.

Logits are ``(..., N, classes)``, labels int ``(N,)``, and results keep the leading axes, for instance conditions.
All raise ValueError where shapes or labels don't fit or a logit is not finite.
"""

from functools import partial

import numpy as np

from robustmedclip.metrics.arrays import checked, in_parts, log_odds, mean_over_images, tied_means
from robustmedclip.metrics.classification import class_members, error_values
from robustmedclip.metrics.metric import Metric


def auroc(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, one class against the rest, unweighted mean over classes, in [0, 1].

    The area of a class is the Mann-Whitney statistic: the probability that an image of the class
    gets a higher softmax probability than an image of another, equal scores counting a half
    (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747). Images are ranked by the log-odds
    of that probability, which order them alike and don't saturate.

    Returns
    -------
    ndarray
        float64 ``(...)``, mean over the classes that occur in `labels`; NaN if there is only one.
    """
    return mean_over_images(auroc_values(logits, labels))


def aurc(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the risk-coverage curve, in [0, 1], float64 ``(...)``; lower is better.

    The mean over k of the error of the k images of the highest confidence, the softmax probability of the
    predicted class (Geifman et al. 2019, arXiv:1805.08206), which orders them as its log-odds do, that don't saturate.
    Images of equal confidence come in random order, of which the expectation is taken.
    """
    return mean_over_images(aurc_values(logits, labels))


def auroc_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Values of the images, float64 ``(..., N)``, of which :func:`auroc` is the mean.

    An image's influence on the area of a class is the fraction of the images on the other side that it is
    on the right side of (DeLong et al. 1988, doi:10.2307/2531595).
    """
    from scipy.stats import rankdata  # slow to import, and the plan imports this module

    logits, labels = checked(logits, labels)
    present, members, sizes = class_members(labels)
    if len(present) == 1:
        return np.full(logits.shape[:-1], np.nan)
    odds, total = log_odds(logits), np.zeros(logits.shape[:-1])
    for label, inside, size in zip(present, members.T.astype(bool), sizes, strict=True):
        scores, others = odds[..., label], len(labels) - size
        above = rankdata(scores, axis=-1)
        placements = np.empty_like(scores)
        placements[..., inside] = (above[..., inside] - rankdata(scores[..., inside], axis=-1)) / others
        placements[..., ~inside] = 1 - (above[..., ~inside] - rankdata(scores[..., ~inside], axis=-1)) / size
        area = placements[..., inside].mean(-1, keepdims=True)
        total += area + (placements - area) * len(labels) / np.where(inside, size, others)
    return total / len(present)


def aurc_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Values of the images, float64 ``(..., N)``, of which :func:`aurc` is the mean."""
    wrong, confidence = error_values(logits, labels), log_odds(logits).max(-1)
    order = np.argsort(-confidence, axis=-1, kind="stable")
    errors = tied_means(np.take_along_axis(wrong, order, -1), np.take_along_axis(confidence, order, -1))
    covered = np.arange(1, wrong.shape[-1] + 1)
    risk = np.cumsum(errors, -1) / covered
    later = np.cumsum((1 / covered)[::-1])[::-1]
    influence = errors * later - np.cumsum((risk / covered)[..., ::-1], -1)[..., ::-1]
    values = np.empty_like(errors)
    np.put_along_axis(values, order, risk + influence, -1)
    return values


AUROC = Metric(
    name="auroc",
    title="AUROC",
    unit="",
    higher_is_better=True,
    bounds=(0, 1),
    decimals=3,
    source="Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747; one class against the rest",
    values=partial(in_parts, auroc_values),
    leaderboard=("clean",),
    table=None,
)

AURC = Metric(
    name="aurc",
    title="AURC",
    unit="%",
    higher_is_better=False,
    bounds=(0, 1),
    decimals=1,
    source="Geifman et al. 2019, arXiv:1805.08206",
    values=partial(in_parts, aurc_values),
    leaderboard=(),
    table="calibration",
)
