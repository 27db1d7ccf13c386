"""How long nodes take, before and while they run."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from kedro.io import DataCatalog
from kedro.pipeline.node import Node

from robustmedclip.plan import names
from robustmedclip.progress import duration
from robustmedclip.run.costs import outputs_of, test_shape

#: Seconds that a node takes on one core under the default plan, by its function: what nodes weigh beside each other.
_SECONDS = {
    "ingest_and_describe": 1.5,
    "corrupt_test_set": 0.3,
    "adopt_released_set": 0.3,
    "fit": 6.0,
    "encode": 2.5,
    "encode_with_each": 5.0,
    "encode_and_score": 2.5,
    "fit_temperatures": 0.7,
    "pretrain_model": 600.0,
    "compute_metrics": 3.0,
    "draw_figures": 3.0,
    "write_page": 2.0,
}
_SECONDS_OF_OTHERS = 0.1
#: Test images of a data set of the default plan.
_USUAL_IMAGES = 100


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
    return {node: usual_seconds(node, _images(node, images)) for node in nodes}


def _images(node: Node, images: Mapping[str, int]) -> int:
    """How many test images a node corrupts or encodes."""
    counts = [images.get(of, _USUAL_IMAGES) for of in _data_sets(node)]
    return counts[0] if len(counts) == 1 else _USUAL_IMAGES


def _data_sets(node: Node) -> list[str]:
    """The data sets whose test images a node reads."""
    return [of for kind, of in map(names.parts, node.inputs) if kind in ("test", "corrupted")]


class Durations:
    """How long the nodes of a run have taken, and how long the others are to take.

    Parameters
    ----------
    estimated : mapping
        Node of the run to its :func:`estimated_seconds`.
    """

    def __init__(self, estimated: Mapping[Node, float]):
        self._estimated, self._remaining = estimated, set(estimated)
        self._spent: dict[str, float] = defaultdict(float)
        self._expected: dict[str, float] = defaultdict(float)

    @property
    def count(self) -> int:
        """How many have ended."""
        return len(self._estimated) - len(self._remaining)

    def add(self, node: Node, seconds: float) -> None:
        """A node has ended after so many seconds."""
        self._remaining.discard(node)
        self._spent[function_name(node)] += seconds
        self._expected[function_name(node)] += self._estimated[node]

    def rest(self, elapsed: float) -> float | None:
        """Seconds that the nodes that are left take, after `elapsed` seconds; None while nothing is known.

        They take as much more or less than estimated as those of their function have until now, and as many run at a
        time as until now.
        """
        spent = sum(self._spent.values())
        if not spent or not elapsed:
            return None
        pace = spent / sum(self._expected.values())
        paces = {name: self._spent[name] / seconds for name, seconds in self._expected.items() if seconds}
        work = sum(self._estimated[node] * paces.get(function_name(node), pace) for node in self._remaining)
        return work * elapsed / spent


def time_left(seconds: float | None) -> str:
    """The end of a line of progress."""
    return "" if seconds is None or seconds < 1 else f", about {duration(seconds)} left"
