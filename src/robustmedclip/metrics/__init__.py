"""Scores of logits, corruption errors, paired bootstrap intervals, and the one table they all go into."""

from robustmedclip.metrics.bootstrap import interval, resample_counts
from robustmedclip.metrics.robustness import (
    corruption_error,
    error_ratio,
    mce,
    mce_ratio_of_means,
    mean_of_defined,
    relative_corruption_error,
    relative_mce,
)
from robustmedclip.metrics.scores import (
    accuracy,
    auroc,
    balanced_accuracy,
    expected_calibration_error,
    is_correct,
    softmax,
)
from robustmedclip.metrics.table import COLUMNS, metrics_table

__all__ = [
    "COLUMNS",
    "accuracy",
    "auroc",
    "balanced_accuracy",
    "corruption_error",
    "error_ratio",
    "expected_calibration_error",
    "interval",
    "is_correct",
    "mce",
    "mce_ratio_of_means",
    "mean_of_defined",
    "metrics_table",
    "relative_corruption_error",
    "relative_mce",
    "resample_counts",
    "softmax",
]
