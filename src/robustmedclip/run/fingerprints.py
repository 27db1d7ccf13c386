"""Fingerprints: what an intermediate is made of, as a hash.

The fingerprint of a node's output covers the fingerprints of its inputs, the values of its parameters and settings, and
the code that makes it (:mod:`robustmedclip.run.code_hash`): that of the node's function, of whatever is plugged into
it, and of the dataset that writes it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import BaseModel

from robustmedclip.adaptation.methods import METHODS
from robustmedclip.corruptions.suites import SUITES
from robustmedclip.io.sources import SOURCES
from robustmedclip.metrics import METRICS
from robustmedclip.run.code_hash import code_hash

#: Fingerprint of an input that is not there.
UNKNOWN = object()

#: Short names of all that is plugged in, and dotted paths.
_PLUGGED_IN = {**SUITES, **METHODS, **METRICS, **SOURCES}


def expected_fingerprints(
    pipeline: Pipeline,
    input_fingerprint: Callable[[str], Any],
    stored_fingerprint: Callable[[str], str | None] = lambda name: None,
    dataset_class: Callable[[str], type | None] = lambda name: None,
) -> dict[str, Any]:
    """Fingerprint of everything that the pipeline makes.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline.
    input_fingerprint : callable
        Name of an input of the pipeline to something that JSON can say and that changes with its content; for what
        another pipeline made, its fingerprint, so that a stage alone and all of them expect the same. :data:`UNKNOWN`
        of what is not there any more.
    stored_fingerprint : callable, optional
        Name of an entry to the fingerprint that it has, if any: what is made of unknown inputs is taken as it is
        stored.
    dataset_class : callable, optional
        Name of an entry to the class of its dataset, if it has one.

    Returns
    -------
    dict
        Name of each output of a node to its fingerprint, or to :data:`UNKNOWN`.
    """
    known = {name: input_fingerprint(name) for name in pipeline.inputs()}
    outputs = {}
    for node in pipeline.nodes:
        inputs = [known[name] for name in node.inputs]
        for name in node.outputs:
            if any(value is UNKNOWN for value in inputs):
                outputs[name] = known[name] = stored_fingerprint(name) or UNKNOWN
            else:
                outputs[name] = known[name] = _digest([name, _code(node, dataset_class(name)), inputs])
    return outputs


def signature_fingerprint(dataset: Any, signature: Any) -> Any:
    """Fingerprint of a source: its signature, and the code that reads it."""
    return [code_hash([type(dataset).__module__, *_plugged_modules(signature)]), signature]


def _code(node: Node, dataset_class: type | None) -> list[Any]:
    function: Any = node.func
    arguments: tuple[Any, ...] = ()
    settings: dict[str, Any] = {}
    if isinstance(function, partial):
        function, arguments, settings = function.func, function.args, function.keywords
    writers = [dataset_class.__module__] if dataset_class is not None else []
    modules = {function.__module__, *writers, *_plugged_modules([arguments, settings])}
    values = [repr(arguments), sorted(map(repr, settings.items()))]
    return [f"{function.__module__}.{function.__qualname__}", code_hash(modules), values]


def _plugged_modules(value: Any) -> Iterator[str]:
    """Modules of what is plugged in: of objects in a value, and of those that it names."""
    if isinstance(value, str):
        module, _, attribute = _PLUGGED_IN.get(value, value).rpartition(".")
        if module and attribute.isidentifier() and all(part.isidentifier() for part in module.split(".")):
            yield module
    elif isinstance(value, Mapping):
        for item in value.items():
            yield from _plugged_modules(list(item))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _plugged_modules(item)
    elif isinstance(value, BaseModel):
        yield type(value).__module__
        yield from _plugged_modules([getattr(value, name) for name in type(value).model_fields])
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield type(value).__module__
        yield from _plugged_modules([getattr(value, field.name) for field in dataclasses.fields(value)])
    elif isinstance(value, partial):
        yield from _plugged_modules([value.func, value.args, value.keywords])
    elif callable(value) and getattr(value, "__module__", None):
        yield value.__module__


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
