"""Node functions with their settings filled in, and what tags say of nodes: what they need, and may lack."""

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

from kedro.pipeline.node import Node

from robustmedclip.plan import names

_MAY_LACK = "may-lack-"

#: Tag of a node that runs a network: on a GPU where there is one, in every run alike, for it rounds in its own way.
RUNS_NETWORK = "runs-network"


def bind(function: Callable[..., Any], **settings: Any) -> partial[Any]:
    """``partial(function, **settings)`` with the name of `function`, for the names that Kedro shows."""
    bound = partial(function, **settings)
    update_wrapper(bound, function)
    delattr(bound, "__wrapped__")  # else inspection would ask for the settings again
    return bound


def without(*kinds: str) -> set[str]:
    """Tags of a node that may lack inputs of some kinds: each that could not be made is None then."""
    return {f"{_MAY_LACK}{kind}" for kind in kinds}


def may_lack(node: Node, entry: str) -> bool:
    """Whether a node runs without one of its inputs, if that could not be made."""
    return f"{_MAY_LACK}{names.parts(entry)[0]}" in node.tags
