"""How long nodes take, before and while they run."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from kedro.io import DataCatalog
from kedro.pipeline.node import Node

from robustmedclip.plan import names
from robustmedclip.plan.amounts import labelled_fraction
from robustmedclip.run.costs import outputs_of, test_shape

#: Seconds that a node takes on one core under the default plan, by its function: what nodes weigh beside each other.
_SECONDS = {
    "ingest_and_describe": 1.8,
    "corrupt_test_set": 0.2,
    "adopt_released_set": 0.2,
    "fit": 11.0,
    "encode": 1.3,
    "encode_with_each": 2.6,
    "encode_and_score": 1.4,
    "encode_in_float32": 0.1,
    "encode_and_compare": 0.2,
    "fit_temperatures": 0.4,
    "pretrain_model": 450.0,
    "compute_metrics": 4.5,
    "draw_montage": 1.5,
    "draw_figures": 4.0,
    "write_page": 2.0,
    "write_tables": 0.5,
    "write_report": 0.4,
}
_SECONDS_OF_OTHERS = 0.1
#: Test images of a data set of the default plan.
_USUAL_IMAGES = 100
#: The fraction of labelled images whose training takes what is said of ``fit``.
_USUAL_FRACTION = 0.1
#: Rounds after which the paces of functions and models no longer change by a percent.
_ROUNDS = 10


def function_name(node: Node) -> str:
    """What a node's function is called."""
    return getattr(node.func, "__name__", type(node.func).__name__)


def usual_seconds(node: Node, images: int = _USUAL_IMAGES) -> float:
    """How long a node takes on one core, by its function and the number of test images that it works on."""
    return _SECONDS.get(function_name(node), _SECONDS_OF_OTHERS) * images / _USUAL_IMAGES


def estimated_seconds(nodes: Sequence[Node], catalog: DataCatalog) -> dict[Node, float]:
    """How long each node takes, in proportion: nodes of one large data set take longer than those of a small one."""
    outputs, images = outputs_of(nodes), dict[str, int]()
    for data_set in {of for node in nodes for of in _data_sets(node)}:
        if shape := test_shape(data_set, outputs, catalog):
            images[data_set] = shape[0]
    return {node: usual_seconds(node, _images(node, images)) * _labels(node) for node in nodes}


def _images(node: Node, images: Mapping[str, int]) -> int:
    """How many test images a node corrupts or encodes."""
    counts = [images.get(of, _USUAL_IMAGES) for of in _data_sets(node)]
    return counts[0] if len(counts) == 1 else _USUAL_IMAGES


def _data_sets(node: Node) -> list[str]:
    """The data sets whose test images a node reads."""
    return [of for kind, of in map(names.parts, node.inputs) if kind in ("test", "corrupted")]


def _labels(node: Node) -> float:
    """How many labelled images a training has, as a multiple of the usual; 1 where it is not told by its inputs."""
    cells = [of for kind, of in map(names.parts, node.inputs) if kind == "few_shots"]
    fraction = labelled_fraction(cells[0].partition("_")[0]) if function_name(node) == "fit" and cells else None
    return 1.0 if fraction is None else fraction / _USUAL_FRACTION


class Durations:
    """How long the nodes of a run have taken, and how long the others are to take.

    A node takes its estimate times the pace of its function times that of its model, as measured until then: a model
    that is slow to encode images is slow to train.

    Parameters
    ----------
    estimated : mapping
        Node of the run to its :func:`estimated_seconds`.
    """

    def __init__(self, estimated: Mapping[Node, float]):
        self._estimated, self._remaining = estimated, set(estimated)
        self._spent: dict[tuple[str, str], float] = defaultdict(float)
        self._expected: dict[tuple[str, str], float] = defaultdict(float)

    def add(self, node: Node, seconds: float) -> None:
        """A node has ended after so many seconds."""
        self._remaining.discard(node)
        self._spent[_kind(node)] += seconds
        self._expected[_kind(node)] += self._estimated.get(node, 0.0)

    def rest(self, elapsed: float) -> float | None:
        """Seconds that the nodes that are left take, after `elapsed` seconds; None while nothing is known.

        As many run at a time as until now.
        """
        spent, expected = sum(self._spent.values()), sum(self._expected.values())
        if not spent or not expected or not elapsed:
            return None
        functions, models = self._paces()
        work = 0.0
        for node in self._remaining:
            function, model = _kind(node)
            work += self._estimated[node] * functions.get(function, spent / expected) * models.get(model, 1.0)
        return work * elapsed / spent

    def _paces(self) -> tuple[dict[str, float], dict[str, float]]:
        """The factors of functions and of models whose products come closest to what was measured, alternately."""
        functions, models = dict[str, float](), dict[str, float]()
        for _ in range(_ROUNDS):
            functions = self._ratios(0, {kind: models.get(kind[1], 1.0) for kind in self._spent})
            models = self._ratios(1, {kind: functions.get(kind[0], 1.0) for kind in self._spent})
            models.pop("", None)
        return functions, models

    def _ratios(self, part: int, factors: Mapping[tuple[str, str], float]) -> dict[str, float]:
        """Seconds spent by those expected times `factors`, of all kinds that have a part in common."""
        spent, expected = defaultdict[str, float](float), defaultdict[str, float](float)
        for kind, factor in factors.items():
            spent[kind[part]] += self._spent[kind]
            expected[kind[part]] += self._expected[kind] * factor
        return {name: spent[name] / seconds for name, seconds in expected.items() if seconds}


def _kind(node: Node) -> tuple[str, str]:
    """The function of a node, and the models that it uses."""
    return function_name(node), " ".join(of for kind, of in map(names.parts, node.inputs) if kind == "model")
