"""When each model was worked on in a run."""

import time
from collections import defaultdict
from collections.abc import Iterable

from kedro.pipeline.node import Node

from robustmedclip.plan import names
from robustmedclip.run.selection import stage_of

#: The stages whose entries are about one model each.
_STAGES = ("tuning", "evaluation")


class WorkTimes:
    """Start and end of the nodes that a run executes for each model or seed: its tuning, encoding and scoring.

    A node that works for several models, as one that encodes for them side by side, counts for each of them.
    """

    def __init__(self) -> None:
        self._starts: dict[str, dict[str, float]] = defaultdict(dict)
        self._ends: dict[str, float] = {}

    def begin(self, node: Node) -> None:
        """Take the time at which a node starts, when this is called for the first time."""
        if stage_of(node) in _STAGES:
            for cell in {names.cell(output) for output in node.outputs}:
                self._starts[cell].setdefault(node.name, time.time())

    def end(self, node: Node) -> None:
        """Take the time at which a node has ended, when this is called for the last time."""
        self._ends[node.name] = time.time()

    def start(self, cell: str) -> float | None:
        """When the first node of a model or seed began, in seconds since 1970; None if none did."""
        return min(self._starts[cell].values()) if cell in self._starts else None

    def seconds(self, cell: str) -> float:
        """For how long some node of a model or seed ran; those that have not ended run until now."""
        starts, now = self._starts.get(cell, {}), time.time()
        return covered((start, self._ends.get(node, now)) for node, start in starts.items())


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    length, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        length += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return length
