"""What ``distributed.yml`` says: which cluster, what nodes ask of its workers, and how much may fail."""

from collections.abc import Mapping
from typing import Annotated, Any

from kedro.pipeline.node import Node
from pydantic import SkipValidation

from robustmedclip.adaptation.methods.settings import expected, is_number
from robustmedclip.errors import InputError
from robustmedclip.pipelines.bind import RUNS_NETWORK
from robustmedclip.plan.problems import parsed, shown, unknown
from robustmedclip.plan.schema import Entry
from robustmedclip.run.distributed.clusters import CLUSTERS, GPU, Cluster, LocalCluster
from robustmedclip.run.selection import stage_of

#: What the namespaces of nodes begin with.
_STAGES = ("ingestion", "corruption", "few_shot", "tuning", "evaluation", "reporting", "calibration", "pretraining")


class DistributedError(InputError):
    """A run can't be spread as ``distributed.yml`` says; the message lists every problem."""


def _are_resources(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(amounts, Mapping) and all(is_number(amount) and amount > 0 for amount in amounts.values())
        for amounts in value.values()
    )


NotNegativeInteger = Annotated[
    int, expected("an integer of 0 or more", lambda value: is_number(value, int) and value >= 0)
]


class Distributed(Entry):
    """How a run is spread.

    Attributes
    ----------
    cluster : Cluster
        Where it runs.
    resources : mapping
        Stage to what each of its nodes takes of a worker, ``{tuning: {GPU: 1}}``: a GPU only where it runs a network.
        Without it, nodes that run networks take a GPU if workers offer any.
    retries : int
        How often a node is tried again that raised an error that another try may mend, or whose worker died.
    allowed_failures : int
        Of so many nodes that fail for good the rest is reported, and the run counts as a success.
    """

    cluster: SkipValidation[Cluster] = LocalCluster()
    resources: Annotated[
        Mapping[str, Mapping[str, float]] | None,
        expected("stages mapped to resources, such as {tuning: {GPU: 1}}", lambda v: v is None or _are_resources(v)),
    ] = None
    retries: NotNegativeInteger = 3
    allowed_failures: NotNegativeInteger = 0

    def resources_of(self, node: Node, offered: frozenset[str]) -> dict[str, float]:
        """What a node takes, of workers that offer some resources."""
        by_default = {GPU: 1.0} if GPU in offered else {}
        taken = by_default if self.resources is None else self.resources.get(stage_of(node), {})
        return {name: amount for name, amount in taken.items() if name != GPU or RUNS_NETWORK in node.tags}


def read_distributed(values: Mapping[str, Any]) -> Distributed:
    """The settings that ``distributed.yml`` describes.

    Raises
    ------
    DistributedError
        Listing every problem: unknown keys and types, and values.
    """
    problems: list[str] = []
    cluster = _cluster(values.get("cluster", {}), problems)
    rest = {key: value for key, value in values.items() if key != "cluster"}
    settings = parsed(Distributed, "", rest, problems)
    if settings is not None:
        problems += unknown("resources", settings.resources or (), _STAGES)
    if problems or settings is None or cluster is None:
        raise DistributedError("distributed.yml:\n" + "\n".join(f"  - {problem}" for problem in problems))
    return settings.model_copy(update={"cluster": cluster})


def _cluster(values: Any, problems: list[str]) -> Cluster | None:
    if not isinstance(values, Mapping):
        problems.append(f"cluster: expected a type with its settings, found {shown(values)}")
        return None
    kind = values.get("type", "local")
    if wrong := list(unknown("cluster.type", [kind], CLUSTERS)):
        problems += wrong
        return None
    return parsed(CLUSTERS[kind], "cluster", {key: v for key, v in values.items() if key != "type"}, problems)
