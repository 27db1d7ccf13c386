"""Names of classes that the sources alone know, beside what the plan says of them, before a run spends work on any."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from kedro.io import DataCatalog, DatasetError
from kedro.pipeline.node import Node

from robustmedclip.errors import InputError
from robustmedclip.images.findings import prompted_pair
from robustmedclip.images.sets import ImageSet
from robustmedclip.plan import names
from robustmedclip.plan.plan import Plan
from robustmedclip.plan.problems import unknown


def class_problems(nodes: Sequence[Node], catalog: DataCatalog, plan: Plan) -> Iterator[str]:
    """A line for each synonym of no class, and for sites of other classes, of data sets that have no 'classes'.

    Parameters
    ----------
    nodes : sequence of Node
        Nodes that will run.
    catalog : DataCatalog
        Where the sources are, and what was made of them.
    plan : Plan
        What it says of classes that it names was checked when it was read.
    """
    used = {entry for node in nodes for entry in (*node.inputs, *node.outputs)}
    of = {data_set.name: data_set for data_set in plan.data_sets}
    for name, data_set in of.items():
        if data_set.class_names is None and data_set.synonyms and names.test(name) in used:
            if test := _test_set(name, used, catalog):
                absences = [prompted_pair(finding, data_set.scoring or "pair", {})[0][0] for finding in _findings(test)]
                yield from unknown(f"data_sets.{name}.synonyms", data_set.synonyms, [*test.class_names, *absences])
    for away, home in plan.shifts.items():
        if None in (of[away].class_names, of[home].class_names) and {names.test(away), names.test(home)} & used:
            tests = [_test_set(name, used, catalog) for name in (home, away)]
            if len({test.class_names for test in tests if test}) > 1:
                yield (
                    f"shift: '{home}' and '{away}' have other classes, or another order: give both the same 'classes'"
                )


def _findings(test: ImageSet) -> Sequence[str]:
    return test.class_names if test.has_findings else ()


def _test_set(name: str, used: set[str], catalog: DataCatalog) -> ImageSet | None:
    """The test set as stored, or if it will be made, as the source has it; None if it can't be read."""
    with suppress(DatasetError, InputError, OSError):
        made = names.raw(name) in used
        test: ImageSet = catalog.load(names.raw(name))["test"] if made else catalog.load(names.test(name))
        return test
    return None
