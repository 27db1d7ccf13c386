"""Metrics of the predicted class.

Logits are ``(..., N, classes)``, labels int ``(N,)``, and results keep the leading axes, for instance conditions.
All raise ValueError where shapes or labels don't fit or a logit is not finite.
"""

from functools import partial

import numpy as np

from robustmedclip.metrics.arrays import checked, in_parts, mean_over_images
from robustmedclip.metrics.metric import Metric


def is_correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the class of the highest logit is the label, bool ``(..., N)``; the first of equal logits counts."""
    logits, labels = checked(logits, labels)
    correct: np.ndarray = logits.argmax(-1) == labels
    return correct


def accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Top-1 accuracy in [0, 1], float64 ``(...)``; the top-1 error is one minus it."""
    return mean_over_images(is_correct(logits, labels))


def balanced_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that occur in `labels`, in [0, 1], float64 ``(...)``.

    Brodersen et al. 2010, doi:10.1109/ICPR.2010.764; for more than two classes as in scikit-learn.
    """
    return mean_over_images(balanced_accuracy_values(logits, labels))


def error_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the prediction is wrong, else 0: float64 ``(..., N)``."""
    return 1.0 - is_correct(logits, labels)


def balanced_accuracy_values(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Values of the images, float64 ``(..., N)``, of which :func:`balanced_accuracy` is the mean."""
    correct, (_, members, sizes) = is_correct(logits, labels), class_members(labels)
    recalls = correct @ members / sizes
    class_of_image = members.argmax(1)
    surplus = (correct - recalls[..., class_of_image]) * (len(labels) / (len(sizes) * sizes[class_of_image]))
    values: np.ndarray = recalls.mean(-1, keepdims=True) + surplus
    return values


def class_members(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes that occur, their members as 0 and 1 ``(N, classes)``, and their sizes."""
    present, class_of_image = np.unique(labels, return_inverse=True)
    members = np.eye(len(present))[class_of_image]
    return present, members, members.sum(0)


ERROR = Metric(
    name="error",
    title="error",
    unit="%",
    higher_is_better=False,
    bounds=(0, 1),
    decimals=1,
    source="one minus the top-1 accuracy",
    values=partial(in_parts, error_values),
    table=None,
)

BALANCED_ACCURACY = Metric(
    name="balanced_accuracy",
    title="balanced accuracy",
    unit="%",
    higher_is_better=True,
    bounds=(0, 1),
    decimals=1,
    source="Brodersen et al. 2010, doi:10.1109/ICPR.2010.764",
    values=partial(in_parts, balanced_accuracy_values),
    leaderboard=("clean",),
    table=None,
)
