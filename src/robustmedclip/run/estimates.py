"""How long nodes take, before and while they run."""

from collections import defaultdict
from collections.abc import Iterable

from kedro.pipeline.node import Node

from robustmedclip.progress import duration

#: Seconds that a node takes on one core under the default plan, by its function: what nodes weigh beside each other.
_SECONDS = {
    "ingest_and_describe": 2.0,
    "corrupt_test_set": 8.0,
    "adopt_released_set": 2.0,
    "fit": 10.0,
    "encode": 10.0,
    "encode_with_each": 20.0,
    "encode_and_score": 10.0,
    "pretrain_model": 600.0,
    "compute_metrics": 10.0,
    "draw_figures": 5.0,
    "write_page": 5.0,
}
_SECONDS_OF_OTHERS = 0.5


def function_name(node: Node) -> str:
    """What a node's function is called."""
    return getattr(node.func, "__name__", type(node.func).__name__)


def usual_seconds(node: Node) -> float:
    """How long a node takes by its function, as long as nothing is known of this run."""
    return _SECONDS.get(function_name(node), _SECONDS_OF_OTHERS)


class Durations:
    """How long the nodes of a run have taken, and how long the others are to take."""

    def __init__(self, nodes: Iterable[Node]):
        self._remaining = dict.fromkeys(nodes)
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._usual = 0.0

    @property
    def count(self) -> int:
        """How many have ended."""
        return sum(map(len, self._seconds.values()))

    def add(self, node: Node, seconds: float) -> None:
        """A node has ended after so many seconds."""
        self._remaining.pop(node, None)
        self._seconds[function_name(node)].append(seconds)
        self._usual += usual_seconds(node)

    def rest(self, elapsed: float) -> float | None:
        """Seconds that the nodes that are left take, after `elapsed` seconds; None while nothing is known.

        Nodes of a function that has run take its mean; others what is usual, as this machine is to the usual one. As
        many run at a time as until now.
        """
        spent = sum(map(sum, self._seconds.values()))
        if not spent or not elapsed:
            return None
        known = {name: sum(seconds) / len(seconds) for name, seconds in self._seconds.items()}
        pace = spent / self._usual
        work = sum(known.get(function_name(node), pace * usual_seconds(node)) for node in self._remaining)
        return work * elapsed / spent


def time_left(seconds: float | None) -> str:
    """The end of a line of progress."""
    return "" if seconds is None or seconds < 1 else f", about {duration(seconds)} left"
