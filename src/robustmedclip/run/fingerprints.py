"""Fingerprints: what an intermediate is made of, as a hash.

The fingerprint of a node's output covers the fingerprints of its inputs, the values of its parameters and
settings, and the version number of the code of its stage (``VERSION`` in the module of its nodes).
"""

import hashlib
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

#: Fingerprint of an input that is not there.
UNKNOWN = object()


def expected_fingerprints(
    pipeline: Pipeline,
    input_fingerprint: Callable[[str], Any],
    stored_fingerprint: Callable[[str], str | None] = lambda name: None,
) -> dict[str, Any]:
    """Fingerprint of everything that the pipeline makes.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline.
    input_fingerprint : callable
        Name of an input of the pipeline to something that JSON can say and that changes with its content; for what
        another pipeline made, its fingerprint, so that a stage alone and all of them expect the same. :data:`UNKNOWN` of
        what is not there any more.
    stored_fingerprint : callable, optional
        Name of an entry to the fingerprint that it has, if any: what is made of unknown inputs is taken as it is stored.

    Returns
    -------
    dict
        Name of each output of a node to its fingerprint, or to :data:`UNKNOWN`.
    """
    known = {name: input_fingerprint(name) for name in pipeline.inputs()}
    made = {}
    for node in pipeline.nodes:
        inputs = [known[name] for name in node.inputs]
        for name in node.outputs:
            if any(one is UNKNOWN for one in inputs):
                made[name] = known[name] = stored_fingerprint(name) or UNKNOWN
            else:
                made[name] = known[name] = _digest([name, _code(node), inputs])
    return made


def _code(node: Node) -> list[Any]:
    function, settings = node.func, {}
    if isinstance(function, partial):
        function, settings = function.func, [repr(node.func.args), sorted(map(repr, node.func.keywords.items()))]
    version = getattr(sys.modules[function.__module__], "VERSION", None)
    return [f"{function.__module__}.{function.__qualname__}", version, settings]


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
