"""The metrics that ship, by short name, and the choice of some of them or of others."""

from collections.abc import Iterable

from robustmedclip.errors import InputError
from robustmedclip.metrics import derived
from robustmedclip.metrics.metric import Metric
from robustmedclip.plugins import plugged_in

#: Short name to dotted path, in the order of the tables.
METRICS: dict[str, str] = {
    "error": "robustmedclip.metrics.classification.ERROR",
    "balanced_accuracy": "robustmedclip.metrics.classification.BALANCED_ACCURACY",
    "auroc": "robustmedclip.metrics.ranking.AUROC",
    "aurc": "robustmedclip.metrics.ranking.AURC",
    "brier": "robustmedclip.metrics.calibration.BRIER",
    "ece": "robustmedclip.metrics.calibration.ECE",
    "scaled_ece": "robustmedclip.metrics.calibration.SCALED_ECE",
    "overconfidence": "robustmedclip.metrics.calibration.OVERCONFIDENCE",
    "calibration_shift": "robustmedclip.metrics.calibration.CALIBRATION_SHIFT",
}

#: What corruption errors and balanced errors are ratios of.
_NEEDED = ("error", "balanced_accuracy")
#: What the table of metrics derives.
_TAKEN = (
    derived.CLEAN_ERROR,
    "corrupted_error",
    derived.POINTS_LOST,
    derived.POINTS_WON_BACK,
    derived.CE,
    derived.RELATIVE_CE,
    derived.BE,
    derived.RBE,
    derived.RETAINED_ACCURACY,
)
_TAKEN_BEGINNINGS = (derived.MCE, derived.RELATIVE_MCE, derived.CLEAN_ERROR_RATIO)


def metrics_named(chosen: Iterable[str | Metric] = METRICS) -> tuple[Metric, ...]:
    """The metrics that are `chosen`: by short name, by dotted path, or as they are.

    The error and the balanced accuracy come first where they are not chosen: ratios are made of them.

    Raises
    ------
    InputError
        If there is no such metric, what the path leads to is none, or two would have the same name in the tables.
    """
    metrics = [_metric(name) for name in chosen]
    names = [metric.name for metric in metrics]
    metrics = [_metric(needed) for needed in _NEEDED if needed not in names] + metrics
    for metric in metrics:
        if sum(other.name == metric.name for other in metrics) > 1:
            raise InputError(f"Two metrics are called '{metric.name}': choose one of them, or rename yours")
        replaced = metric.name in _NEEDED and metric != _metric(metric.name)
        if replaced or metric.name in _TAKEN or metric.name.startswith(_TAKEN_BEGINNINGS):
            raise InputError(f"A metric can't be called '{metric.name}': the tables have something else of that name")
    return tuple(metrics)


def fitting_for_mce(name: str, metrics: Iterable[Metric]) -> Metric:
    """The metric of that name, if mCE can be made of it: one of which higher, or lower, is better.

    Raises
    ------
    InputError
        Naming those that fit.
    """
    fitting = {metric.name: metric for metric in metrics if metric.higher_is_better is not None}
    if name not in fitting:
        raise InputError(f"mce_on: expected one of {', '.join(fitting)}, found {name!r}")
    return fitting[name]


def _metric(chosen: str | Metric) -> Metric:
    metric = plugged_in(chosen, METRICS, "metric") if isinstance(chosen, str) else chosen
    if not isinstance(metric, Metric):
        raise InputError(f"'{chosen}' is no robustmedclip.metrics.Metric, but {type(metric).__name__}")
    return metric
