"""What a run costs: room on the disk, and time for the encoding of images; and whether models can do it."""

import logging
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from kedro.io import DataCatalog, DatasetError
from kedro.pipeline.node import Node

from robustmedclip.corruptions.corrupt import SMALLEST_SIDE
from robustmedclip.errors import InputError
from robustmedclip.io.disk import machine_folder
from robustmedclip.io.sources.source import is_source
from robustmedclip.io.versioned import entry_path, is_local
from robustmedclip.plan import names
from robustmedclip.plan.plan import Adaptation, Plan
from robustmedclip.progress import duration, volume
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.processes import elsewhere

logger = logging.getLogger(__name__)


def outputs_of(nodes: Sequence[Node]) -> set[str]:
    """Everything that the nodes make."""
    return {name for node in nodes for name in node.outputs}


def shape_problems(nodes: Sequence[Node], catalog: DataCatalog, plan: Plan) -> list[str]:
    """Data sets whose test images are too small to be corrupted, as far as their sources tell."""
    outputs = outputs_of(nodes)
    problems = []
    for data_set in plan.data_sets:
        if names.corrupted(data_set.name) not in outputs or data_set.released:
            continue
        shape = test_shape(data_set.name, outputs, catalog)
        if shape and min(shape[1:3]) < SMALLEST_SIDE:
            problems.append(
                f"{names.spoken(names.raw(data_set.name))}: the test images have {shape[1]} x {shape[2]} px, and must "
                f"be at least {SMALLEST_SIDE} px high and wide to be corrupted: get them in a larger size, "
                "or leave the data set out"
            )
    return problems


def disk_problems(nodes: Sequence[Node], catalog: DataCatalog, plan: Plan, project: Path) -> list[str]:
    """A line that says how much room is missing on the disk for the corrupted test sets; none if they fit."""
    outputs, needed, folder = outputs_of(nodes), 0, project
    largest = 0  # of those that lie elsewhere, which are put there one by one
    for data_set in plan.data_sets:
        entry = names.corrupted(data_set.name)
        target: Any = catalog[entry]
        if entry not in outputs or not (shape := test_shape(data_set.name, outputs, catalog)):
            continue
        size = prod(shape) * (1 if data_set.storage == "on_the_fly" else len(data_set.conditions))
        if is_local(target):
            needed += max(0, size - target.partial_bytes())
            folder = Path(entry_path(target))
        else:
            largest = max(largest, size)
    while not folder.exists():
        folder = folder.parent
    return [
        *_lack_of_space("the corrupted test sets take", needed, folder, "'data' in globals.yml to another disk"),
        *_lack_of_space("a corrupted test set takes", largest, machine_folder("copies"), "TMPDIR to a larger disk"),
    ]


def _lack_of_space(what: str, needed: int, folder: Path, instead: str) -> list[str]:
    """What lacks in a folder, and what to set instead, if something does."""
    if needed <= (free := shutil.disk_usage(folder).free):
        return []
    return [
        f"{what} {volume(needed)}, and {volume(free)} are free under {folder}: free some space, choose fewer "
        f"corruptions, set 'storage: on_the_fly' in benchmark.yml, or set {instead}"
    ]


def model_problems(
    nodes: Sequence[Node], catalog: FingerprintedCatalog, plan: Plan, evaluation: Mapping[str, Any]
) -> list[str]:
    """Load each model that the nodes use once, and say what is wrong with it or its adaptations.

    Where nothing is wrong, it is logged what encoding costs.

    Parameters
    ----------
    nodes : sequence of Node
        Nodes that will run.
    catalog : FingerprintedCatalog
        Where the models and images are.
    plan : Plan
        The plan of the session.
    evaluation : mapping
        Settings of the evaluation.
    """
    outputs = outputs_of(nodes)
    cells = _encoded_cells(nodes)
    counts = _image_counts({data_set for _, data_set in cells}, outputs, catalog, plan)
    images = Counter[str]()
    for model, data_set in cells:
        images[model] += counts.get(data_set, 0)
    models = sorted({model for node in nodes for model in _inputs(node, "model")})
    adaptations = {model: _adaptations_of(model, outputs, plan) for model in models}
    encoding = [model for model in models if images[model]]
    entries = catalog.part([names.model(model) for model in models])
    problems, rates = elsewhere(_tried_models, entries, adaptations, encoding, evaluation) if models else ([], {})
    seconds = sum(images[model] / rate for model, rate in rates.items())
    if not problems and seconds >= 60:
        _log_cost(cells, counts, seconds, [f"{model} {rate:.3g} images/s" for model, rate in rates.items()])
    return problems


def _tried_models(
    catalog: DataCatalog,
    adaptations: Mapping[str, Sequence[Adaptation]],
    encoding: Collection[str],
    evaluation: Mapping[str, Any],
) -> tuple[list[str], dict[str, float]]:
    """What is wrong with models and their adaptations; and of those that encode, how many images a second they do."""
    from robustmedclip.pipelines.evaluation.nodes import images_per_second

    problems, rates = [], {}
    for model, of_model in adaptations.items():
        try:
            loaded = catalog.load(names.model(model))
        except DatasetError as error:
            problems.append(f"model {model}: {getattr(error, 'message', error)}")
            continue
        for adaptation in of_model:
            problems += [f"adaptation {adaptation.name}: {problem}" for problem in adaptation.method.check(loaded)]
        if model in encoding:
            rates[model] = images_per_second(loaded, evaluation)
        del loaded
    return problems, rates


def _encoded_cells(nodes: Sequence[Node]) -> list[tuple[str, str]]:
    """Model and data set of each cell whose images are encoded, once for all of its shards."""
    cells = [
        (node.namespace, *cell)
        for node in nodes
        for cell in product(_inputs(node, "model"), _inputs(node, "corrupted"))
    ]
    return [(model, data_set) for _, model, data_set in dict.fromkeys(cells)]


def _log_cost(
    cells: Sequence[tuple[str, str]], counts: Mapping[str, int], seconds: float, rates: Sequence[str]
) -> None:
    unknown = sorted({data_set for _, data_set in cells} - set(counts))
    logger.info(
        "The evaluation encodes %s images, in about %s on this machine (%s)%s",
        f"{sum(counts.get(data_set, 0) for _, data_set in cells):,}",
        duration(seconds),
        ", ".join(rates),
        f"; not counted: {', '.join(unknown)}, whose size is not known" if unknown else "",
    )


def _adaptations_of(model: str, outputs: Collection[str], plan: Plan) -> list[Adaptation]:
    """The adaptations of a model of which something is to be made, by name."""
    adaptations = {
        tuned.adaptation.name: tuned.adaptation
        for tuned in plan.tuned_models
        if tuned.adaptation and tuned.base == model and tuned.artefact in outputs
    }
    return [adaptations[name] for name in sorted(adaptations)]


def _image_counts(
    data_sets: Collection[str], outputs: Collection[str], catalog: DataCatalog, plan: Plan
) -> dict[str, int]:
    """Images under all conditions of each data set whose size is known."""
    shapes = {
        data_set.name: (test_shape(data_set.name, outputs, catalog), len(data_set.conditions))
        for data_set in plan.data_sets
        if data_set.name in data_sets
    }
    return {name: shape[0] * conditions for name, (shape, conditions) in shapes.items() if shape}


def _inputs(node: Node, kind: str) -> list[str]:
    """The data sets, models or cells of a node's inputs of a kind."""
    return [of for entry_kind, of in map(names.parts, node.inputs) if entry_kind == kind]


def test_shape(data_set: str, outputs: Collection[str], catalog: DataCatalog) -> tuple[int, ...] | None:
    """Shape of a data set's test images: as stored, unless the run makes them anew, else as the source tells."""
    with suppress(DatasetError, InputError, OSError):
        if (entry := names.test(data_set)) not in outputs and catalog.exists(entry):
            shape: tuple[int, ...] = catalog.load(entry).images.shape
            return shape
        if is_source(source := catalog[names.raw(data_set)]):
            return source.test_shape()
    return None
