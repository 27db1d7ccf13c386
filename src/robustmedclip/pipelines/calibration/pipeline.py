"""Connects the calibration nodes."""

from typing import Any

from kedro.pipeline import Node, Pipeline

from robustmedclip.pipelines.bind import RUNS_NETWORK, bind
from robustmedclip.pipelines.calibration.nodes import (
    draw_likeness,
    judge_levels,
    measure_likeness,
    write_rating_sheets,
)
from robustmedclip.plan import names
from robustmedclip.plan.plan import DataSet, Plan


def create_pipeline(plan: Plan) -> Pipeline:
    """Each data set's likeness, then the levels of all, their picture and the rating sheets."""
    likeness = [names.likeness(data_set.name) for data_set in plan.data_sets]
    tests = [names.test(data_set.name) for data_set in plan.data_sets]
    judge = bind(judge_levels, suites={each.name: (each.suite, each.suite_dataset) for each in plan.data_sets})
    sheets = bind(
        write_rating_sheets,
        conditions={data_set.name: data_set.conditions for data_set in plan.data_sets},
        settings={data_set.name: _settings(data_set) for data_set in plan.data_sets},
    )
    seeds = ["params:calibration", "params:corruption"]
    return Pipeline(
        [
            *(_measuring(data_set, plan.baseline) for data_set in plan.data_sets),
            Node(judge, ["ratings", *likeness], "levels", name="judge_levels", namespace="calibration"),
            Node(draw_likeness, "levels", "likeness_by_severity", name="draw_likeness", namespace="calibration"),
            Node(sheets, [*seeds, *tests], "rating_sheets", name="write_rating_sheets", namespace="calibration"),
        ]
    )


def _measuring(data_set: DataSet, model: str) -> Node:
    return Node(
        bind(measure_likeness, conditions=data_set.conditions, settings=_settings(data_set)),
        [names.test(data_set.name), names.model(model), "params:calibration", "params:corruption"],
        names.likeness(data_set.name),
        name="measure_likeness",
        namespace=f"calibration.{data_set.name}",
        tags=RUNS_NETWORK,
    )


def _settings(data_set: DataSet) -> dict[str, Any]:
    return {"suite": data_set.suite, "dataset": data_set.suite_dataset, "grey": data_set.grey}
