"""The catalog entries that the plan itself declares: sources of images, released sets and models."""

from collections.abc import Mapping
from typing import Any

from robustmedclip.io.sources import SOURCES
from robustmedclip.plan import names
from robustmedclip.plan.plan import DataSet, Plan


def catalog_entries(plan: Plan, root: str) -> dict[str, dict[str, Any]]:
    """Entries of the raw data, of released corrupted sets and of the models, by the names of the plan's entries.

    `root` is the folder of the project, from which the paths of models count.
    """
    entries = {names.raw(data_set.name): _raw(data_set) for data_set in plan.data_sets}
    entries |= {names.released(data_set.name): _released(data_set) for data_set in plan.data_sets if data_set.released}
    return entries | {
        names.model(name): _model(source, plan.switches.get(name, ()), root) for name, source in plan.models.items()
    }


def _raw(data_set: DataSet) -> dict[str, Any]:
    kind = data_set.source["type"]
    entry = {**data_set.source, "type": SOURCES.get(kind, kind), "name": data_set.name, "modality": data_set.modality}
    if data_set.class_names is not None:
        entry["class_names"] = list(data_set.class_names)
    if data_set.origin:
        entry["origin"] = dict(data_set.origin)
    if data_set.subgroup:
        entry["subgroup"] = list(data_set.subgroup)
    if data_set.scoring:
        entry["findings"] = True
    return _in_layer(entry, "raw")


def _released(data_set: DataSet) -> dict[str, Any]:
    entry = {
        "type": "robustmedclip.io.ReleasedSetDataset",
        "filepath": data_set.released,
        "suite": data_set.suite,
        "conditions": list(map(str, data_set.conditions)),
    }
    return _in_layer(entry, "raw")


def _model(source: Mapping[str, Any], switches: tuple[str, ...], root: str) -> dict[str, Any]:
    settings = {name: value for name, value in source.items() if name not in ("type", "origin")}
    entry = {"type": "robustmedclip.io.ModelDataset", "format": source["type"], "settings": settings, "root": root}
    if switches:
        entry["switches"] = list(switches)
    if "origin" in source:
        entry["origin"] = source["origin"]
    return _in_layer(entry, "models")


def _in_layer(entry: dict[str, Any], layer: str) -> dict[str, Any]:
    return {**entry, "metadata": {"kedro-viz": {"layer": layer}}}
