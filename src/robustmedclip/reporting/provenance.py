"""What a result was made of, as JSON: what has to be the same in results side by side, and the rest."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from platform import python_version
from types import MappingProxyType
from typing import Any

import numpy as np

from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.logits import Logits
from robustmedclip.reporting.page import PACKAGES

#: In place of the hash of weights that only their caller has seen.
UNKNOWN = "unknown"
#: What mCE is made of unless it is said.
MCE_OF = ERROR.loss_title
#: Where the corrupted images of a data set lie doesn't matter, as long as they are the same.
_PLACES = ("released",)


def provenance(
    logits: Sequence[Logits],
    corrupted: Sequence[CorruptedSet],
    *,
    baseline: str,
    protocol: str,
    parameters: Mapping[str, Any],
    mce_of: str = MCE_OF,
    patients: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> dict[str, Any]:
    """What a result was made of.

    Parameters
    ----------
    logits : sequence of Logits
        Of the models that are compared.
    corrupted : sequence of CorruptedSet
        The test sets.
    baseline : str
        The model that counts as 100.
    protocol : str
        The protocol, in words.
    parameters : mapping
        Everything that the run was set to.
    mce_of : str
        What mCE is made of, for people.
    patients : mapping
        Data set to whose each of its test images is, where that is known.

    Returns
    -------
    dict
        ``images``: data set to the hash of its test images with their labels, their number, a hash of their patients,
        suite, conditions and what made the corrupted images; ``weights``: model to the content hashes of its weights,
        one per seed; ``baseline``, ``mce_of``, ``protocol``, ``versions`` and ``parameters``.
    """
    weights: dict[str, set[str]] = {}
    for run in logits:
        weights.setdefault(run.model, set()).add(run.attributes.get("weights") or UNKNOWN)
    return {
        "protocol": protocol,
        "baseline": baseline,
        "mce_of": mce_of,
        "images": {
            images.clean.name: _images(images) | {"patients": _digest(patients.get(images.clean.name, ()))}
            for images in corrupted
        },
        "weights": {model: sorted(hashes) for model, hashes in sorted(weights.items())},
        "versions": {"Python": python_version(), **{name: version(name) for name in PACKAGES}},
        "parameters": dict(parameters),
    }


def _images(images: CorruptedSet) -> dict[str, Any]:
    return {
        "hash": images.clean.content_hash(),
        "n": len(images.clean),
        "suite": images.suite,
        "corruption": {
            key: "released files" if key in _PLACES else value for key, value in sorted(images.provenance.items())
        },
        "conditions": [str(condition) for condition in images.conditions],
    }


def _digest(names: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(map(str, names)).encode(), digest_size=16).hexdigest()


def obstacles(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Why two results can't stand in one table, a line each; none if they can.

    Their images, corruptions, protocol and baseline have to be the same, for mCE is relative to the baseline, and what
    it is made of: the error, where earlier releases don't say.
    """
    lines = []
    if first["protocol"] != second["protocol"]:
        lines.append(f"protocol: {first['protocol']} and {second['protocol']}")
    made_of = [result.get("mce_of", MCE_OF) for result in (first, second)]
    if made_of[0] != made_of[1]:
        lines.append(f"mCE: made of {made_of[0]} and of {made_of[1]}")
    if first["baseline"] != second["baseline"]:
        lines.append(f"baseline: {first['baseline']} and {second['baseline']}")
    elif (weights := _baseline_weights(first)) != _baseline_weights(second) or weights == [UNKNOWN]:
        lines.append(f"baseline {first['baseline']}: other weights, or unknown ones")
    if only := sorted(first["images"].keys() ^ second["images"].keys()):
        lines.append(f"data sets in one of them alone: {', '.join(only)}")
    titles = {"hash": "other images or labels", "suite": "another suite", "conditions": "other corruptions"}
    titles["patients"] = "other patients, whom the bootstrap draws"
    titles["corruption"] = "images corrupted with other settings"
    for name in sorted(first["images"].keys() & second["images"].keys()):
        one, other = first["images"][name], second["images"][name]
        lines += [f"{name}: {title}" for key, title in titles.items() if one[key] != other[key]]
    return lines


def _baseline_weights(result: Mapping[str, Any]) -> list[str]:
    weights: list[str] = result["weights"][result["baseline"]]
    return weights


def differences(first: Mapping[str, Any], second: Mapping[str, Any], place: str = "") -> list[tuple[str, Any, Any]]:
    """Where two nested mappings differ: the place, and the value of each, None where there is none."""
    rows = []
    for key in sorted(first.keys() | second.keys(), key=str):
        one, other, there = first.get(key), second.get(key), f"{place}{key}"
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            rows += differences(one, other, f"{there}.")
        elif one != other:
            rows.append((there, one, other))
    return rows
