"""Inputs of a run that are not what the benchmark would make now."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from robustmedclip.errors import first_ten
from robustmedclip.io.external import is_external
from robustmedclip.plan.names import spoken
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.fingerprint_hook import input_fingerprint
from robustmedclip.run.fingerprints import UNKNOWN, expected_fingerprints

logger = logging.getLogger(__name__)


def maker_of(name: str) -> str:
    """The pipeline that makes an entry."""
    registered: Mapping[str, Pipeline] = pipelines
    return next(stage for stage, pipeline in registered.items() if name in pipeline.all_outputs())


def stale_problems(names: set[str], catalog: FingerprintedCatalog, project: Path) -> list[str]:
    """Problems with entries that a run reads and that the benchmark would make otherwise now.

    Parameters
    ----------
    names : set of str
        Entries that the run reads.
    catalog : FingerprintedCatalog
        Where they are.
    project : Path
        The project's folder.

    Returns
    -------
    list of str
        At most one problem, which names them and the commands that make them anew.
    """
    making, judged = _making(names, catalog)
    if not judged:
        return []
    expected = _expected(making, catalog, project)
    stale = sorted(name for name in judged if catalog.stored_fingerprint(name) != expected[name])
    if not stale:
        return []
    upstream = pipelines["benchmark"].to_outputs(*stale).all_outputs() & expected.keys()
    makers = {maker_of(name) for name in upstream if catalog.stored_fingerprint(name) != expected[name]}
    them, stages = "them" if len(stale) > 1 else "it", ",".join(filter(makers.__contains__, pipelines))
    return [
        f"{first_ten(map(spoken, stale))}: of another plan, source or code than the present one, or never finished. "
        f"To make {them} anew: kedro run --pipelines {stages}; or, for all that is stale: kedro run --pipeline "
        "benchmark --only-missing-outputs, with the same --env and --params"
    ]


def _making(names: set[str], catalog: FingerprintedCatalog) -> tuple[Pipeline, set[str]]:
    """The nodes that make the entries, and the entries that can be judged: only nodes of the benchmark make them."""
    benchmark = pipelines.get("benchmark", Pipeline([]))
    others = {node for pipeline in pipelines.values() for node in pipeline.nodes} - set(benchmark.nodes)
    other_outputs = {name for node in others for name in node.outputs}
    judged = {name for name in names & (benchmark.all_outputs() - other_outputs) if catalog.is_fingerprinted(name)}
    if not judged:
        return Pipeline([]), judged
    nodes = benchmark.to_outputs(*judged).nodes
    return Pipeline([node for node in nodes if not other_outputs.intersection(node.outputs)]), judged


def _expected(making: Pipeline, catalog: FingerprintedCatalog, project: Path) -> Mapping[str, Any]:
    """Expected fingerprints of the outputs of a pipeline; warns of sources that are gone."""
    missing = []

    def fingerprint(name: str) -> Any:
        if is_external(dataset := catalog.get(name)) and dataset.missing():
            missing.append(name)
            return UNKNOWN
        return input_fingerprint(name, catalog, project)

    expected = expected_fingerprints(making, fingerprint, catalog.stored_fingerprint, catalog.writer_of)
    if missing:
        logger.warning(
            "There is no %s: what was made of it is taken as it is stored", first_ten(map(spoken, sorted(missing)))
        )
    return expected
