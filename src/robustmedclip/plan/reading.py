"""From the parameters of an environment to the plan."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from robustmedclip.corruptions.suites import suite
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.findings import prompted_pair
from robustmedclip.metrics import METRICS, Metric, metrics_named
from robustmedclip.models.study_switches import STUDY_SWITCHES
from robustmedclip.plan.collisions import collisions
from robustmedclip.plan.findings import chosen_mce, finding_problems
from robustmedclip.plan.held_out import holding_out
from robustmedclip.plan.methods import method_of, under_protocol
from robustmedclip.plan.plan import Adaptation, DataSet, Plan, scored_families
from robustmedclip.plan.problems import parsed, refuse, shown, unknown
from robustmedclip.plan.prompts import template_problems
from robustmedclip.plan.schema import (
    SETTINGS,
    AdaptationEntry,
    CorruptionEntry,
    DataSetEntry,
    ModelEntry,
    Procedure,
)
from robustmedclip.plan.shift import with_shifts
from robustmedclip.plan.sources import format_problems, source_problems
from robustmedclip.plan.vision_only import adapted_models, vision_only_problems, without_text

_REQUIRED = ("data_sets", "corruptions", "templates", "models", "seeds", "baseline")
_KNOWN = (*dict.fromkeys((*_REQUIRED, *Procedure.model_fields)), "adaptations", "methods", *SETTINGS)
#: Parameters of earlier releases, and what stands in their place.
_REMOVED = {"check_only": "it is a command now: kedro check"}
#: Names become names of files, several of them joined.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def read_plan(parameters: Mapping[str, Any]) -> Plan:
    """The plan that the parameters of an environment describe.

    A key that starts with ``_`` is a user's own: an anchor, or a parameter of their pipelines.

    Raises
    ------
    PlanError
        Listing every problem: missing or unknown keys, names and values.
    """
    problems = [f"unknown '{key}'; {instead}" for key, instead in _REMOVED.items() if key in parameters]
    keys = [key for key in parameters if not str(key).startswith("_") and key not in _REMOVED]
    problems += unknown("", keys, _KNOWN)
    for name, model in SETTINGS.items():
        if name in parameters:
            parsed(model, name, parameters[name], problems)
    if missing := [key for key in _REQUIRED if parameters.get(key) in (None, {})]:
        problems.append(f"missing: {', '.join(missing)}")
    refuse_shapes(parameters, missing, problems)
    problems += template_problems("templates", parameters["templates"])
    procedure = parsed(Procedure, "", {k: v for k, v in parameters.items() if k in Procedure.model_fields}, problems)
    read = [_data_set(name, spec, parameters, problems) for name, spec in parameters["data_sets"].items()]
    data_sets = [data_set for data_set in read if data_set]
    models = {name: _model(name, spec, problems) for name, spec in parameters["models"].items()}
    vision_only = without_text(models)
    adaptations = list(_adaptations(parameters, vision_only, problems))
    metrics = _metrics(procedure, problems)
    problems += finding_problems(data_sets, adaptations)
    mce_on = chosen_mce(procedure, metrics, data_sets, problems)
    problems += unknown("baseline", [parameters["baseline"]], parameters["models"])
    refuse(problems)
    assert procedure is not None
    data_sets = with_shifts(data_sets, procedure.shift, problems)
    refuse(problems)
    if procedure.held_out != "none":
        scored = scored_families(data_sets)
        adaptations = list(holding_out(adaptations, scored, procedure.held_out, problems))
        refuse(problems)
    plan = Plan(
        data_sets=tuple(data_sets),
        models={
            name: {**m.source, **({"origin": o} if (o := m.origin.facts()) else {})} for name, m in models.items() if m
        },
        adaptations=tuple(adaptations),
        seeds=procedure.seeds,
        baseline=procedure.baseline,
        tolerated_points=procedure.tolerated_points,
        held_out=procedure.held_out,
        protocol=procedure.protocol,
        switches=_switches(procedure, models),
        pool=procedure.pool,
        read_together=procedure.read_together,
        metrics=metrics,
        mce_on=mce_on,
        vision_only=vision_only,
        compares_precisions=parameters.get("evaluation", {}).get("precision") == "auto",
    )
    refuse([*collisions(plan), *vision_only_problems(plan)])
    return plan


def refuse_shapes(parameters: Mapping[str, Any], missing: Sequence[str], problems: list[str]) -> None:
    """Refuse, with the problems so far, parameters of which no entry can be looked at."""
    mappings = [key for key in ("data_sets", "models", "adaptations") if parameters.get(key) is not None]
    if wrong := [key for key in mappings if not isinstance(parameters[key], Mapping)]:
        problems.append(f"{', '.join(wrong)} must map names to settings")
    named = {(key, name): spec for key in mappings if key not in wrong for name, spec in parameters[key].items()}
    for (key, name), spec in named.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "all":
            problems.append(
                f"{key}.{name}: a name starts with a lower-case letter, goes on with such letters, digits and "
                "underscores, has at most 64, and is not 'all'"
            )
        if not isinstance(spec, Mapping):
            problems.append(f"{key}.{name}: expected settings, found {shown(spec)}")
    if missing or wrong or not all(isinstance(spec, Mapping) for spec in named.values()):
        refuse(problems)


def _data_set(name: Any, spec: Mapping[str, Any], parameters: Mapping[str, Any], problems: list[str]) -> DataSet | None:
    place = f"data_sets.{name}"
    entry = parsed(DataSetEntry, place, spec, problems)
    where, chosen = (
        (f"{place}.corruptions", spec["corruptions"])
        if "corruptions" in spec
        else ("corruptions", parameters["corruptions"])
    )
    corruptions = parsed(CorruptionEntry, where, chosen, problems)
    dataset = None
    if corruptions is not None:
        dataset = _list_of(corruptions, str(name))
        problems += _corruption_problems(where, corruptions, str(name), entry)
    if entry is None or corruptions is None:
        return None
    problems += source_problems(f"{place}.source", entry.source)
    problems += _synonym_problems(f"{place}.synonyms", entry)
    if problems:
        return None
    fitting = suite(corruptions.suite).fitting(entry.modality, dataset)
    chosen_names = fitting if corruptions.names == "all" else corruptions.names
    conditions = (CLEAN, *(Condition(name, severity) for name in chosen_names for severity in range(1, 6)))
    shards = entry.shards or parameters.get("shards", 1)
    if shards > len(conditions):
        problems.append(f"{place}: {shards} shards are more than its {len(conditions)} conditions can be split into")
        return None
    return DataSet(
        name=name,
        modality=entry.modality,
        source=entry.source,
        templates=entry.templates or tuple(parameters["templates"]),
        suite=corruptions.suite,
        suite_dataset=dataset,
        grey=corruptions.grey,
        storage=corruptions.storage,
        conditions=conditions,
        released=corruptions.released.replace("{data_set}", name) if corruptions.released else None,
        label_map=corruptions.label_map,
        class_names=entry.classes,
        collection=entry.collection,
        origin=entry.origin.facts(),
        synonyms={class_name: tuple(others) for class_name, others in entry.synonyms.items()},
        shards=shards,
        subgroup=entry.subgroup,
        scoring=(entry.scoring or "pair") if entry.task == "findings" else None,
    )


def _list_of(corruptions: CorruptionEntry, data_set: str) -> str | None:
    """The data set whose list of corruptions is used; None where the suite has one for all."""
    return (corruptions.dataset or data_set) if suite(corruptions.suite).datasets else None


def _corruption_problems(
    place: str, corruptions: CorruptionEntry, data_set: str, entry: DataSetEntry | None
) -> Iterator[str]:
    """What is wrong with the corruptions of a data set, once their form is right."""
    chosen = suite(corruptions.suite)
    dataset = _list_of(corruptions, data_set)
    if corruptions.dataset is not None and not chosen.datasets:
        yield f"{place}.dataset: {corruptions.suite} has one list of corruptions for all data sets: leave it out"
    if corruptions.dataset is not None and chosen.datasets and dataset not in chosen.datasets:
        yield from unknown(f"{place}.dataset", [dataset], chosen.datasets)
    elif dataset is not None and dataset not in chosen.datasets:
        known = ", ".join(chosen.datasets)
        missing = f"{corruptions.suite} has no list for '{data_set}'"
        yield f"{place}: {missing}: set 'dataset' to the one to use, among {known}"
    else:
        if corruptions.names != "all":
            yield from unknown(f"{place}.names", corruptions.names, chosen.corruptions(dataset))
        if entry is not None:
            yield from _unfitting(f"{place}.names", corruptions, dataset, data_set, entry.modality)
    if corruptions.label_map is not None and corruptions.released is None:
        yield f"{place}.label_map: it numbers the classes of released files, and 'released' is missing"
    if entry is not None and entry.classes is not None and corruptions.label_map is not None:
        yield from unknown(f"{place}.label_map", corruptions.label_map.values(), entry.classes)


def _unfitting(
    place: str, corruptions: CorruptionEntry, dataset: str | None, data_set: str, modality: str
) -> Iterator[str]:
    """A line on those of the corruptions that make no sense for a modality; of all, those that do are taken."""
    chosen = suite(corruptions.suite)
    known, fitting = chosen.corruptions(dataset), chosen.fitting(modality, dataset)
    names = corruptions.names if corruptions.names != "all" else () if fitting else known
    if wrong := [name for name in names if name in known and name not in fitting]:
        those = f"those that do are {', '.join(fitting)}" if fitting else f"none of {corruptions.suite} does"
        yield f"{place}: {', '.join(wrong)} make no sense for {modality!r}, the modality of '{data_set}': {those}"


def _synonym_problems(place: str, entry: DataSetEntry) -> Iterator[str]:
    for class_name, others in entry.synonyms.items():
        are_names = isinstance(others, list | tuple) and len(others) > 0 and all(isinstance(o, str) for o in others)
        if not are_names or len(set(others)) < len(others) or not all(map(str.strip, others)):
            yield f"{place}.{class_name}: expected a list of different names, found {shown(others)}"
    if entry.classes is not None:
        yield from unknown(place, entry.synonyms, [*entry.classes, *_absences(entry)])


def _absences(entry: DataSetEntry) -> Iterator[str]:
    """What prompts call the absence of each finding."""
    if entry.task == "findings":
        for finding in entry.classes or ():
            yield prompted_pair(finding, entry.scoring or "pair", {})[0][0]


def _model(name: Any, spec: Mapping[str, Any], problems: list[str]) -> ModelEntry | None:
    if entry := parsed(ModelEntry, f"models.{name}", spec, problems):
        problems += format_problems(f"models.{name}.source", entry.source)
        problems += unknown(f"models.{name}.authors", entry.authors, STUDY_SWITCHES)
    return entry


def _switches(procedure: Procedure, models: Mapping[str, ModelEntry | None]) -> dict[str, tuple[str, ...]]:
    if procedure.protocol != "authors":
        return {}
    return {name: tuple(entry.authors) for name, entry in models.items() if entry and entry.authors}


def _adaptations(
    parameters: Mapping[str, Any], vision_only: Sequence[str], problems: list[str]
) -> Iterator[Adaptation]:
    """The adaptations; all methods are looked at, those too that no adaptation names."""
    methods = parameters.get("methods", {})
    if not isinstance(methods, Mapping):
        problems.append(f"methods: expected names mapped to settings, found {shown(methods)}")
        methods = None
    valid = {name for name, values in (methods or {}).items() if _is_valid(f"methods.{name}", values, problems)}
    adaptations = [
        _adaptation(f"adaptations.{name}", name, spec, parameters, methods, valid, vision_only, problems)
        for name, spec in (parameters.get("adaptations") or {}).items()
    ]
    return (adaptation for adaptation in adaptations if adaptation)


def _is_valid(place: str, values: Any, problems: list[str]) -> bool:
    """Whether the settings of a method are valid under both protocols; else the problems are added."""
    if isinstance(values, Mapping) and not isinstance(values.get("authors", {}), Mapping):
        problems.append(f"{place}.authors: expected settings, found {shown(values['authors'])}")
        return False
    protocols = ("fixed", "authors") if isinstance(values, Mapping) else ("fixed",)
    settings = [under_protocol(values, protocol) if isinstance(values, Mapping) else values for protocol in protocols]
    return all([method_of(place, entry, problems) is not None for entry in settings])


def _adaptation(
    place: str,
    name: Any,
    spec: Mapping[str, Any],
    parameters: Mapping[str, Any],
    methods: Mapping[str, Any] | None,
    valid: set[str],
    vision_only: Sequence[str],
    problems: list[str],
) -> Adaptation | None:
    entry = parsed(AdaptationEntry, place, spec, problems)
    if entry is None or methods is None:
        return None
    if entry.models != "all":
        problems += unknown(f"{place}.models", entry.models, parameters["models"])
    if entry.method not in valid:
        problems += unknown(f"{place}.method", [entry.method], methods)
        return None
    protocol = parameters.get("protocol", "fixed")
    settings = {
        **under_protocol(methods[entry.method], "fixed"),
        **under_protocol(methods[entry.method], protocol if protocol in ("fixed", "authors") else "fixed"),
        **(entry.model_extra or {}),
    }
    method = method_of(place, settings, problems)
    if method is None:
        return None
    fractions = tuple(sorted(entry.fractions or ()))
    amounts = {"fractions": entry.fractions, "shots": entry.shots}
    if method.needs_labels and not any(amounts.values()):
        problems.append(f"{place}: missing fractions, or shots")
    problems += [
        f"{place}.{key}: '{entry.method}' sees no labelled image; leave '{key}' out"
        for key, values in amounts.items()
        if values is not None and not method.needs_labels
    ]
    if method.needs_validation and 1 in fractions:
        problems.append(
            f"{place}.fractions: 1 leaves no image of the training pool for validation, which '{entry.method}' chooses "
            "by: choose at most 0.5, so that there are as many for validation as to learn from"
        )
    models = adapted_models(
        place, entry.models, entry.method, method.needs_text, tuple(parameters["models"]), vision_only, problems
    )
    return Adaptation(
        name=name,
        method_name=entry.method,
        models=models,
        fractions=fractions,
        method=method,
        shots=tuple(sorted(entry.shots or ())),
    )


def _metrics(procedure: Procedure | None, problems: list[str]) -> tuple[Metric, ...]:
    try:
        return metrics_named(METRICS if procedure is None or procedure.metrics is None else procedure.metrics)
    except InputError as error:
        problems.append(f"metrics: {error.message}")
        return ()
