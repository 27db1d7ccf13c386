"""What ``distributed.yml`` says: which cluster, what nodes ask of its workers, and how much may fail."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import SkipValidation

from robustmedclip.adaptation.methods.settings import expected, is_number
from robustmedclip.errors import InputError
from robustmedclip.plan.problems import parsed, shown, unknown
from robustmedclip.plan.schema import Entry
from robustmedclip.run.distributed.clusters import CLUSTERS, GPU, Cluster, LocalCluster

#: Stages whose nodes run networks: on a GPU where there is one, in every run alike, for it rounds in its own way.
_ON_GPU = ("tuning", "evaluation", "pretraining")


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
        Stage to what each of its nodes takes of a worker: ``{tuning: {GPU: 1}}``. Without it, nodes that run networks
        take a GPU if workers offer any.
    retries : int
        How often a node is tried again that raised an error that another try may mend, or whose worker died; a
        scheduler that runs already has a setting of its own for the latter, ``allowed-failures``.
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

    def resources_of(self, stage: str, offered: frozenset[str]) -> dict[str, float]:
        """What a node of a stage takes, of workers that offer some resources."""
        if self.resources is not None:
            return dict(self.resources.get(stage, {}))
        return {GPU: 1} if stage in _ON_GPU and GPU in offered else {}


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
