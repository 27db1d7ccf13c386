"""Scores of logits, corruption errors, paired bootstrap intervals, and the one table they all go into."""

from robustmedclip.metrics.bootstrap import interval, resample_counts, resampled_means, seed_weights
from robustmedclip.metrics.calibration import fit_temperature, reliability, scaled_logits, softmax
from robustmedclip.metrics.comparison import compare_models, holm, rank_stability
from robustmedclip.metrics.robustness import (
    alexnet_errors,
    balanced_error,
    corruption_error,
    error_ratio,
    mce,
    mean_of_defined,
    pooled,
    relative_balanced_error,
    relative_corruption_error,
    relative_mce,
    resilience,
)
from robustmedclip.metrics.scores import (
    accuracy,
    aurc,
    auroc,
    balanced_accuracy,
    brier_score,
    expected_calibration_error,
    is_correct,
    score_values,
)
from robustmedclip.metrics.table import COLUMNS, metrics_table, overall, score_benchmark

__all__ = [
    "COLUMNS",
    "accuracy",
    "alexnet_errors",
    "aurc",
    "auroc",
    "balanced_accuracy",
    "balanced_error",
    "brier_score",
    "compare_models",
    "corruption_error",
    "error_ratio",
    "expected_calibration_error",
    "fit_temperature",
    "holm",
    "interval",
    "is_correct",
    "mce",
    "mean_of_defined",
    "metrics_table",
    "overall",
    "pooled",
    "rank_stability",
    "relative_balanced_error",
    "relative_corruption_error",
    "relative_mce",
    "reliability",
    "resample_counts",
    "resampled_means",
    "resilience",
    "scaled_logits",
    "score_benchmark",
    "score_values",
    "seed_weights",
    "softmax",
]
