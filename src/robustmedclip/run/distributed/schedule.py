"""Which nodes of a pipeline can run, in which order, and what follows from one that fails."""

from collections.abc import Iterable, Mapping

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from robustmedclip.pipelines.bind import may_lack


class Schedule:
    """The nodes of a pipeline that are waiting, and those that can run.

    A node can run when all its inputs are made. What a failed node would have made is missing, and so is all that needs
    it, but for nodes that may lack it: these wait for all else that they need, and run without it, if so many nodes may
    fail.

    Parameters
    ----------
    pipeline : Pipeline
        The nodes to run.
    seconds : mapping
        Node to about how long it takes.
    allowed_failures : int
        How many nodes may fail before those that may lack an input don't run without it.

    Attributes
    ----------
    priorities : dict
        Node to about how many seconds pass from its start to the end of the run, at best.
    failures : dict
        Node that failed to what went wrong.
    given_up : list of Node
        Nodes that can't run, for they need what is missing.
    missing : set of str
        Entries that are not made in this run.
    incomplete : set of str
        Entries that are made of fewer inputs than they should.
    """

    def __init__(self, pipeline: Pipeline, seconds: Mapping[Node, float], allowed_failures: int = 0):
        self._outputs, self._allowed = pipeline.all_outputs(), allowed_failures
        self._waiting, self._settled = list(pipeline.nodes), set[str]()
        self.priorities = longest_paths(pipeline, seconds)
        self.failures: dict[Node, str] = {}
        self.given_up: list[Node] = []
        self.missing, self.incomplete = set[str](), set[str]()

    def ready(self) -> list[Node]:
        """Nodes that can run and were not told before, the most urgent first."""
        ready: list[Node] = []
        for node in self._waiting:  # in an order in which nodes come after those that they need
            if not self._outputs.intersection(node.inputs) <= self._settled:
                continue
            if self.lacks(node) and not self._runs_without(node):
                self.given_up.append(node)
                self._miss(node)
                continue
            ready.append(node)
            if self.lacks(node) or self.incomplete.intersection(node.inputs):
                self.incomplete.update(node.outputs)
        gone = {*ready, *self.given_up}
        self._waiting = [node for node in self._waiting if node not in gone]
        return sorted(ready, key=lambda node: -self.priorities[node])

    def lacks(self, node: Node) -> set[str]:
        """Inputs of a node that are missing."""
        return self.missing.intersection(node.inputs)

    def finished(self, node: Node) -> None:
        """The outputs of a node are there."""
        self._settled.update(node.outputs)

    def failed(self, node: Node, problem: str) -> None:
        """A node has failed for good."""
        self.failures[node] = problem
        self._miss(node)

    @property
    def may_pass(self) -> bool:
        """Whether what has failed may fail, and has kept no node from running that can do without."""
        without = any(may_lack(node, name) for node in self.given_up for name in node.inputs)
        return len(self.failures) <= self._allowed and not without

    def _miss(self, node: Node) -> None:
        self._settled.update(node.outputs)
        self.missing.update(node.outputs)

    def _runs_without(self, node: Node) -> bool:
        return len(self.failures) <= self._allowed and all(may_lack(node, name) for name in self.lacks(node))


def longest_paths(pipeline: Pipeline, seconds: Mapping[Node, float]) -> dict[Node, float]:
    """Node to the seconds that it and the longest chain of nodes that need its outputs take."""
    users: dict[str, list[Node]] = {}
    for node in pipeline.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    lengths: dict[Node, float] = {}
    for node in reversed(pipeline.nodes):
        after: Iterable[float] = (lengths[user] for name in node.outputs for user in users.get(name, ()))
        lengths[node] = seconds[node] + max(after, default=0.0)
    return lengths
