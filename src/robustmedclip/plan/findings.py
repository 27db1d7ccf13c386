"""Data sets of findings, in the plan: what can't be done with them, and what their mCE is made of."""

from collections.abc import Iterator, Sequence

from robustmedclip.errors import InputError
from robustmedclip.metrics import Metric
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.registry import fitting_for_mce
from robustmedclip.plan.plan import Adaptation, DataSet
from robustmedclip.plan.schema import Procedure


def finding_problems(data_sets: Sequence[DataSet], adaptations: Sequence[Adaptation]) -> Iterator[str]:
    """Released corrupted images, which have one label each, and adaptations that choose one class for an image."""
    names = [data_set.name for data_set in data_sets if data_set.scoring]
    for data_set in data_sets:
        if data_set.scoring and data_set.released:
            yield f"data_sets.{data_set.name}: 'released' files have one label per image, and findings several"
    for adaptation in adaptations if names else ():
        if not adaptation.method.handles_findings:
            yield (
                f"adaptations.{adaptation.name}: '{adaptation.method_name}' chooses one class for an image, and an "
                f"image of {', '.join(names)} may have several findings: choose another method, such as linear-probe, "
                "or leave it out"
            )


def chosen_mce(
    procedure: Procedure | None, metrics: Sequence[Metric], data_sets: Sequence[DataSet], problems: list[str]
) -> Metric:
    """The metric that mCE is made of; problems are added where it can't be, or has to be said."""
    chosen = None if procedure is None else procedure.mce_on
    if chosen is None:
        if names := [data_set.name for data_set in data_sets if data_set.scoring]:
            problems.append(
                f"mce_on: missing. Of findings that few images have, as {', '.join(names)} may have, the error is low "
                "whatever a model says: set balanced_accuracy or auroc, and mCE is made of what these lack of 1; or "
                "error"
            )
        return ERROR
    try:
        return fitting_for_mce(chosen, metrics)
    except InputError as error:
        problems.append(error.message)
        return ERROR
