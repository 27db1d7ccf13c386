"""Metrics of logits, corruption errors, paired bootstrap intervals, and the one table they all go into."""

from robustmedclip.metrics.bootstrap import interval, resample_counts, resampled_means, seed_weights
from robustmedclip.metrics.calibration import (
    brier_score,
    expected_calibration_error,
    fit_temperature,
    reliability,
    scaled_logits,
    softmax,
)
from robustmedclip.metrics.classification import accuracy, balanced_accuracy, is_correct
from robustmedclip.metrics.comparison import compare_models, compare_pairs, holm, places
from robustmedclip.metrics.metric import Metric, image_values
from robustmedclip.metrics.ranking import aurc, auroc
from robustmedclip.metrics.registry import METRICS, metrics_named
from robustmedclip.metrics.robustness import (
    balanced_error,
    corruption_error,
    error_ratio,
    mce,
    mean_of_defined,
    pooled,
    reference_errors,
    relative_balanced_error,
    relative_corruption_error,
    relative_mce,
    retained_accuracy,
)
from robustmedclip.metrics.summary import auroc_of_findings, error_by_severity, model_rows, summary
from robustmedclip.metrics.table import COLUMNS, Scores, metrics_table, operating_range, overall, score_benchmark

__all__ = [
    "COLUMNS",
    "METRICS",
    "Metric",
    "Scores",
    "accuracy",
    "aurc",
    "auroc",
    "auroc_of_findings",
    "balanced_accuracy",
    "balanced_error",
    "brier_score",
    "compare_models",
    "compare_pairs",
    "corruption_error",
    "error_by_severity",
    "error_ratio",
    "expected_calibration_error",
    "fit_temperature",
    "holm",
    "image_values",
    "interval",
    "is_correct",
    "mce",
    "mean_of_defined",
    "metrics_named",
    "metrics_table",
    "model_rows",
    "operating_range",
    "overall",
    "places",
    "pooled",
    "reference_errors",
    "relative_balanced_error",
    "relative_corruption_error",
    "relative_mce",
    "reliability",
    "resample_counts",
    "resampled_means",
    "retained_accuracy",
    "scaled_logits",
    "score_benchmark",
    "seed_weights",
    "softmax",
    "summary",
]
