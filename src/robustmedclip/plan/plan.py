"""The benchmark plan: ``benchmark.yml`` as a frozen, validated object.

The plan alone decides the fan-out: which data sets, corruptions, models, adaptations and seeds.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

from robustmedclip.adaptation.methods import Method
from robustmedclip.corruptions import GREY_MODES, SUITES, corruptions, suite
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.metrics import Metric, metrics_named
from robustmedclip.phantoms import ANATOMIES, DOMAINS
from robustmedclip.plan import names
from robustmedclip.plan.checks import (
    COUNT,
    FLAG,
    RATE,
    SEED,
    TEXT,
    Rule,
    is_list_of,
    is_number,
    is_set_of,
    is_text,
    key_problems,
    one_of,
    unknown,
    value_problems,
)
from robustmedclip.plan.methods import method_of, method_problems
from robustmedclip.plan.prompts import template_problems

ORIGIN = ("url", "size", "licence", "citation")
#: The method of a model that is scored as it is.
ZERO_SHOT = "zero-shot"
STORAGES = ("materialised", "on_the_fly")
PROTOCOLS = ("fixed", "authors")
#: Splits that may make up the training pool.
POOL_SPLITS = ("train", "val")
#: What the study's code does to a model: see :mod:`robustmedclip.models.study_quirks`.
AUTHORS_SWITCHES = (
    "normalised_twice",
    "clip_normalisation",
    "text_not_normalised",
    "no_logit_scale",
    "batch_statistics",
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class PlanError(InputError):
    """The plan is wrong; the message lists every problem found in it."""


@dataclass(frozen=True)
class DataSet:
    """One data set: where it comes from, how it is prompted and corrupted.

    ``synonyms`` maps a class to the names that prompts have in its place. ``collection`` is the group of data sets that it is averaged with, if any. ``suite_dataset`` is the MedMNIST data
    set whose list of corruptions is used, where the suite has one for each. ``released`` is the folder of released
    files that are used instead of generated ones, and ``label_map`` says which label in them is which class, where
    that is not the order of the classes. ``origin`` says where the images come from: some of :data:`ORIGIN`.
    """

    name: str
    modality: str
    source: Mapping[str, Any]
    templates: tuple[str, ...]
    suite: str
    suite_dataset: str | None
    grey: str
    storage: str
    conditions: tuple[Condition, ...]
    released: str | None = None
    label_map: Mapping[int, str] | None = None
    class_names: tuple[str, ...] | None = None
    collection: str | None = None
    origin: Mapping[str, str] | None = None
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether the images are phantoms."""
        return self.source["type"].rpartition(".")[-1] == "PhantomDataset"


@dataclass(frozen=True)
class Adaptation:
    """One adaptation of some models, few-shot at some fractions of the training pool.

    ``method_name`` is that of YAML, and ``method`` has its settings with those that the adaptation changes.
    ``fractions`` is empty where the method sees no labelled image.
    """

    name: str
    method_name: str
    models: tuple[str, ...]
    fractions: tuple[float, ...]
    method: Method


@dataclass(frozen=True)
class EvaluatedModel:
    """One model to score: a base model as it is (zero-shot), or after an adaptation."""

    base: str
    adaptation: Adaptation | None = None
    fraction: float | None = None
    seed: int | None = None

    @property
    def name(self) -> str:
        """Name shared by all seeds, e.g. ``phantom_vit_lora_k10``."""
        if self.adaptation is None:
            return self.base
        name = f"{self.base}_{self.adaptation.name}"
        return name if self.fraction is None else f"{name}_{fraction_label(self.fraction)}"

    @property
    def cell(self) -> str:
        """Name of this very seed, e.g. ``phantom_vit_lora_k10_s0``."""
        return self.name if self.seed is None else f"{self.name}_s{self.seed}"

    @property
    def method(self) -> Method | None:
        """How the base model is adapted; None for zero-shot."""
        return self.adaptation.method if self.adaptation else None

    @property
    def artefact(self) -> str | None:
        """Catalog entry of what the tuning leaves behind; None without tuning."""
        return names.artefact(self.method.artefact_kind, self.cell) if self.seed is not None else None

    @property
    def attributes(self) -> dict[str, Any]:
        """What the tables and MLflow say of the model; None where it does not apply."""
        return {
            "base": self.base,
            "adaptation": self.adaptation.name if self.adaptation else ZERO_SHOT,
            "method": self.adaptation.method_name if self.adaptation else ZERO_SHOT,
            "rank": getattr(self.method, "rank", None),
            "fraction": self.fraction,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Plan:
    """The whole benchmark.

    Attributes
    ----------
    data_sets : tuple of DataSet
        The data sets to corrupt and to score on; adaptations train on all of them jointly.
    models : mapping
        Model name to its ``source``, a catalog entry; with its ``origin``, some of :data:`ORIGIN`, if that is given.
    adaptations : tuple of Adaptation
        Few-shot adaptations.
    seeds : tuple of int
        One tuning per seed; a seed draws the few-shot images and the initial weights.
    baseline : str
        The model whose errors are 100 in every relative metric.
    protocol : str
        ``fixed``, the right way; or ``authors``: as the study's code does it, to compare with its published numbers.
    switches : mapping
        Model name to what the study's code does to it, under the protocol ``authors``.
    pool : tuple of str
        Splits that make up the training pool, which the few-shot images are drawn from.
    read_together : bool
        Whether the zero-shot models encode the test images side by side, each of which is then read once for all; but those
        whose batch normalisation has the statistics of the images, for they read them twice.
    """

    data_sets: tuple[DataSet, ...]
    models: Mapping[str, Mapping[str, Any]]
    adaptations: tuple[Adaptation, ...]
    seeds: tuple[int, ...]
    baseline: str
    protocol: str = PROTOCOLS[0]
    switches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pool: tuple[str, ...] = POOL_SPLITS
    read_together: bool = False

    def reads_with_others(self, model: str) -> bool:
        """Whether a zero-shot model encodes the test images beside others."""
        return self.read_together and "batch_statistics" not in self.switches.get(model, ())

    @cached_property
    def seen_corruptions(self) -> tuple[str, ...]:
        """Scored corruptions that adaptations see in training, of whatever suite: on them, tuned models are not
        tested on something new."""
        scored = {condition.corruption for data_set in self.data_sets for condition in data_set.conditions}
        seen = [name for adaptation in self.adaptations for name in adaptation.method.training_corruptions]
        return tuple(name for name in dict.fromkeys(seen) if name in scored)

    @property
    def protocol_summary(self) -> str:
        """The protocol: under ``authors`` what of their code is in use; what the test images choose; the pool, if not all of it."""
        summary = self.protocol
        if self.protocol == "authors":
            used = [f"{name}: {', '.join(switches)}" for name, switches in self.switches.items()]
            summary += f" ({'; '.join(used) or 'no switch of a model'})"
        if chosen := [a.name for a in self.adaptations if a.method.needs_test_images]:
            summary += f", the test images choose the epoch of {', '.join(chosen)}"
        if set(self.pool) != set(POOL_SPLITS):
            summary += f", few-shot images of the {self.pool[0]} split alone"
        return summary

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that models are scored by."""
        return metrics_named()

    @cached_property
    def tuned_models(self) -> tuple[EvaluatedModel, ...]:
        """Every (model, adaptation, fraction, seed)."""
        return tuple(
            EvaluatedModel(model, adaptation, fraction, seed)
            for adaptation in self.adaptations
            for model in adaptation.models
            for fraction in adaptation.fractions
            for seed in self.seeds
        )

    @cached_property
    def evaluated_models(self) -> tuple[EvaluatedModel, ...]:
        """The zero-shot models, the baseline first, then those with other prompts, then the tuned ones."""
        ordered = sorted(self.models, key=lambda name: name != self.baseline)
        prompted = [EvaluatedModel(model, a) for a in self.adaptations if not a.fractions for model in a.models]
        return (*map(EvaluatedModel, ordered), *prompted, *self.tuned_models)

    @cached_property
    def fractions(self) -> tuple[float, ...]:
        """Every few-shot fraction that some adaptation needs, ascending."""
        return tuple(sorted({fraction for a in self.adaptations for fraction in a.fractions}))

    def validates(self, fraction: float) -> bool:
        """Whether an adaptation at a few-shot fraction chooses by validation images, rather than by test images."""
        return any(
            adaptation.method.needs_validation for adaptation in self.adaptations if fraction in adaptation.fractions
        )

    def sources(self) -> dict[str, dict[str, Any]]:
        """Catalog entries of the raw data (``raw-<data set>``), released corrupted sets (``released-<data set>``)
        and the models (``model-<model>``)."""
        entries: dict[str, dict[str, Any]] = {}
        for data_set in self.data_sets:
            entry = {**data_set.source, "name": data_set.name, "modality": data_set.modality}
            if data_set.class_names is not None:
                entry["class_names"] = list(data_set.class_names)
            if data_set.origin is not None:
                entry["origin"] = dict(data_set.origin)
            entries[f"raw-{data_set.name}"] = _in_layer(entry, "raw")
            if data_set.released:
                release = {
                    "type": "robustmedclip.io.ReleasedSetDataset",
                    "filepath": data_set.released,
                    "suite": data_set.suite,
                    "conditions": list(map(str, data_set.conditions)),
                }
                entries[f"released-{data_set.name}"] = _in_layer(release, "raw")
        for name, source in self.models.items():
            entry = dict(source)
            if switches := self.switches.get(name):
                entry = {"type": "robustmedclip.io.AuthorsModelDataset", "model": entry, "switches": list(switches)}
            entries[f"model-{name}"] = _in_layer(entry, "models")
        return entries

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "Plan":
        """Build the plan from the parameters of an environment.

        Raises
        ------
        PlanError
            Listing every problem: missing or unknown keys, names and values.
        """
        _refuse(_problems(parameters))
        models = {
            name: {**spec["source"], **({"origin": dict(spec["origin"])} if "origin" in spec else {})}
            for name, spec in parameters["models"].items()
        }
        protocol = parameters.get("protocol", PROTOCOLS[0])
        plan = cls(
            data_sets=tuple(
                DataSet(
                    name=name,
                    modality=spec["modality"],
                    source=spec["source"],
                    templates=tuple(spec.get("templates", parameters["templates"])),
                    **_corruption_fields(name, spec.get("corruptions", parameters["corruptions"])),
                    class_names=tuple(spec["classes"]) if "classes" in spec else None,
                    collection=spec.get("collection"),
                    origin=spec.get("origin"),
                    synonyms={name: tuple(names) for name, names in spec.get("synonyms", {}).items()},
                )
                for name, spec in parameters["data_sets"].items()
            ),
            models=models,
            adaptations=tuple(
                Adaptation(
                    name=name,
                    method_name=spec["method"],
                    models=tuple(models if spec["models"] == "all" else spec["models"]),
                    fractions=tuple(sorted(spec.get("fractions", ()))),
                    method=method_of(_settings(spec, parameters["methods"], protocol)),
                )
                for name, spec in (parameters.get("adaptations") or {}).items()
            ),
            seeds=tuple(parameters["seeds"]),
            baseline=parameters["baseline"],
            protocol=protocol,
            switches={
                name: tuple(spec["authors"])
                for name, spec in parameters["models"].items()
                if protocol == "authors" and spec.get("authors")
            },
            pool=tuple(parameters.get("pool", POOL_SPLITS)),
            read_together=parameters.get("read_together", False),
        )
        _refuse(_collisions(plan))
        return plan


def fraction_label(fraction: float) -> str:
    """Name of a few-shot fraction that is safe in namespaces: 0.1 is ``k10``, 0.005 is ``k0p5``."""
    return f"k{100 * fraction:.6g}".replace(".", "p")


def _refuse(problems: Iterator[str]) -> None:
    if found := dict.fromkeys(problems):
        raise PlanError("benchmark.yml and the parameters:\n" + "\n".join(f"  - {problem}" for problem in found))


def _collisions(plan: Plan) -> Iterator[str]:
    """Names that would stand for several things in the tables or in the catalog."""
    owners: dict[str, set[str]] = {}
    for one in plan.evaluated_models:
        place = f"adaptations.{one.adaptation.name} of {one.base}" if one.adaptation else f"models.{one.base}"
        for name in (one.name, one.cell):
            owners.setdefault(name, set()).add(place if one.fraction is None else f"{place} at {one.fraction}")
    for name, places in owners.items():
        if len(places) > 1:
            yield f"{' and '.join(sorted(places))} would both be called '{name}': rename one of them"
    for first, second in pairwise(plan.fractions):
        if fraction_label(first) == fraction_label(second):
            yield f"adaptations: the fractions {first} and {second} would both be called '{fraction_label(first)}': keep one"


def _in_layer(entry: dict[str, Any], layer: str) -> dict[str, Any]:
    return {**entry, "metadata": {"kedro-viz": {"layer": layer}}}


def _corruption_fields(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """How the data set `name` is corrupted, as fields of :class:`DataSet`."""
    dataset = _suite_dataset(name, spec)
    names = corruptions(spec["suite"], dataset) if spec["names"] == "all" else spec["names"]
    return {
        "suite": spec["suite"],
        "suite_dataset": dataset,
        "grey": spec.get("grey", GREY_MODES[0]),
        "storage": spec.get("storage", STORAGES[0]),
        "conditions": (CLEAN, *(Condition(name, severity) for name in names for severity in range(1, 6))),
        "released": spec["released"].replace("{data_set}", name) if "released" in spec else None,
        "label_map": spec.get("label_map"),
    }


def _suite_dataset(name: str, spec: Mapping[str, Any]) -> str | None:
    return spec.get("dataset", name) if spec["suite"] == "medmnist-c" else None


_KEYS = ("data_sets", "corruptions", "templates", "models", "seeds", "baseline")
_OPTIONAL_KEYS = ("adaptations", "protocol", "pool", "read_together", "methods", "check_only")


def _is_mapping(value: Any, valid: Callable[[Any], bool]) -> bool:
    """Whether it maps something to values that are all valid."""
    return isinstance(value, Mapping) and len(value) > 0 and all(map(valid, value.values()))


#: Settings that lie beside the plan, by the parameter that holds them.
_SETTINGS: dict[str, dict[str, Rule]] = {
    "corruption": {"seed": SEED},
    "evaluation": {"precision": one_of("auto", "float32")},
    "tracking": {"log_best_adapter": FLAG},
    "published": {
        "source": TEXT,
        "baseline": TEXT,
        "models": (
            lambda value: _is_mapping(value, lambda figures: _is_mapping(figures, is_number)),
            "names mapped to figures",
        ),
    },
    "pretraining": {
        "seed": SEED,
        "images": (
            lambda value: _is_mapping(value, COUNT[0]) and value.keys() == ANATOMIES.keys(),
            f"counts of {', '.join(ANATOMIES)}",
        ),
        "domains": (
            lambda value: is_set_of(value, str) and DOMAINS.keys() >= set(value),
            f"a list of some of {', '.join(DOMAINS)}",
        ),
        **dict.fromkeys(("size", "vocabulary", "context_length", "epochs", "batch_size"), COUNT),
        **dict.fromkeys(("learning_rate", "weight_decay"), RATE),
        "models": (
            lambda value: _is_mapping(
                value,
                lambda model: _is_mapping(model, bool) and model.keys() >= {"embed_dim", "vision_cfg", "text_cfg"},
            ),
            "names mapped to embed_dim, vision_cfg and text_cfg",
        ),
    },
}


def _problems(parameters: Mapping[str, Any]) -> Iterator[str]:
    # A key that starts with "_" is a user's own: an anchor, or a parameter of their pipelines.
    given = [key for key in parameters if not str(key).startswith("_")]
    yield from unknown("", given, (*_KEYS, *_OPTIONAL_KEYS, *_SETTINGS))
    yield from _setting_problems(parameters)
    missing = [key for key in _KEYS if parameters.get(key) in (None, {})]
    if missing:
        yield f"missing: {', '.join(missing)}"
        return
    mappings = [key for key in ("data_sets", "models", "adaptations") if parameters.get(key) is not None]
    if wrong := [key for key in mappings if not isinstance(parameters[key], Mapping)]:
        yield f"{', '.join(wrong)} must map names to settings"
        return
    for key in mappings:
        for name, spec in parameters[key].items():
            if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "all":
                yield (
                    f"{key}.{name}: a name starts with a lower-case letter, goes on with such letters, digits and "
                    "underscores, and is not 'all'"
                )
            if not isinstance(spec, Mapping):
                yield f"{key}.{name}: expected settings, found {spec!r}"
                return
    yield from template_problems("templates", parameters["templates"])
    yield from _corruption_problems("corruptions", parameters["corruptions"])
    for name, spec in parameters["data_sets"].items():
        yield from _data_set_problems(f"data_sets.{name}", spec)
        if "corruptions" in spec:
            yield from _list_problems(f"data_sets.{name}.corruptions", name, spec["corruptions"])
        else:
            yield from _list_problems("corruptions", name, parameters["corruptions"])
    for name, spec in parameters["models"].items():
        yield from _model_problems(f"models.{name}", spec)
    yield from _method_list_problems(parameters.get("methods", {}))
    for name, spec in (parameters.get("adaptations") or {}).items():
        yield from _adaptation_problems(f"adaptations.{name}", spec, parameters)
    yield from _procedure_problems(parameters)
    yield from unknown("baseline", [parameters["baseline"]], parameters["models"])


def _procedure_problems(parameters: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with how everything is done."""
    pool = parameters.get("pool", POOL_SPLITS)
    if not is_set_of(pool, str) or set(pool) - set(POOL_SPLITS):
        yield f"pool: expected {' and '.join(POOL_SPLITS)}, or one of them in a list, found {pool!r}"
    yield from unknown("protocol", [parameters.get("protocol", PROTOCOLS[0])], PROTOCOLS)
    yield from value_problems("", parameters, {"read_together": FLAG, "check_only": FLAG})
    seeds = parameters["seeds"]
    if not is_set_of(seeds, int) or min(seeds) < 0:
        yield f"seeds: expected different integers of 0 or more, found {seeds!r}"


def _setting_problems(parameters: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the settings beside the plan."""
    for key, rules in _SETTINGS.items():
        values = parameters.get(key, {})
        if not isinstance(values, Mapping):
            yield f"{key}: expected {', '.join(rules)}, found {values!r}"
        elif key in parameters:
            yield from key_problems(key, values, rules)
            yield from value_problems(key, values, rules)


def _method_list_problems(methods: Any) -> Iterator[str]:
    if not isinstance(methods, Mapping):
        yield f"methods: expected names mapped to settings, found {methods!r}"
        return
    for name, method in methods.items():
        yield from _method_problems(f"methods.{name}", method)


def _data_set_problems(place: str, spec: Mapping[str, Any]) -> Iterator[str]:
    yield from key_problems(
        place,
        spec,
        required=("modality", "source"),
        optional=("collection", "classes", "synonyms", "templates", "corruptions", "origin"),
    )
    yield from _origin_problems(f"{place}.origin", spec.get("origin", {}))
    if "modality" in spec and (not is_text(spec["modality"]) or spec["modality"] == "all"):
        yield f"{place}.modality: expected a text other than 'all', found {spec['modality']!r}"
    if "collection" in spec and (not isinstance(spec["collection"], str) or spec["collection"] in ("", "all")):
        yield f"{place}.collection: expected a name other than 'all', found {spec['collection']!r}"
    yield from _source_problems(place, spec)
    if "templates" in spec:
        yield from template_problems(f"{place}.templates", spec["templates"])
    if "classes" in spec:
        classes = spec["classes"]
        if not is_set_of(classes, str) or len(classes) < 2:
            yield f"{place}.classes: expected at least two different class names, found {classes!r}"
    if "synonyms" in spec:
        yield from _synonym_problems(place, spec)
    own = spec.get("corruptions")
    label_map = own.get("label_map") if isinstance(own, Mapping) else None
    if isinstance(label_map, Mapping) and is_list_of(spec.get("classes"), str):
        yield from unknown(f"{place}.corruptions.label_map", label_map.values(), spec["classes"])


def _synonym_problems(place: str, spec: Mapping[str, Any]) -> Iterator[str]:
    synonyms, place = spec["synonyms"], f"{place}.synonyms"
    if not isinstance(synonyms, Mapping):
        yield f"{place}: expected class names mapped to lists of names, found {synonyms!r}"
        return
    for class_name, spoken in synonyms.items():
        if not is_set_of(spoken, str) or not all(map(str.strip, spoken)):
            yield f"{place}.{class_name}: expected a list of different names, found {spoken!r}"
    if is_list_of(spec.get("classes"), str):
        yield from unknown(place, synonyms, spec["classes"])


def _origin_problems(place: str, origin: Any) -> Iterator[str]:
    if not isinstance(origin, Mapping) or not all(isinstance(value, str) for value in origin.values()):
        yield f"{place}: expected texts for some of {', '.join(ORIGIN)}, found {origin!r}"
    else:
        yield from unknown(place, origin, ORIGIN)


def _model_problems(place: str, spec: Mapping[str, Any]) -> Iterator[str]:
    yield from key_problems(place, spec, required=("source",), optional=("origin", "authors"))
    yield from _origin_problems(f"{place}.origin", spec.get("origin", {}))
    yield from _source_problems(place, spec)
    switches = spec.get("authors", [])
    if isinstance(switches, list):
        yield from unknown(f"{place}.authors", switches, AUTHORS_SWITCHES)
    else:
        yield f"{place}.authors: expected a list of switches, found {switches!r}"


def _source_problems(place: str, spec: Mapping[str, Any]) -> Iterator[str]:
    source = spec.get("source")
    if source is not None and not (isinstance(source, Mapping) and isinstance(source.get("type"), str)):
        yield f"{place}.source: expected a catalog entry with a 'type', found {source!r}"


def _settings(spec: Mapping[str, Any], methods: Mapping[str, Mapping[str, Any]], protocol: str) -> dict[str, Any]:
    """Settings of an adaptation: those of its method under the protocol, with those that it changes."""
    method, changed = (
        methods[spec["method"]],
        {key: value for key, value in spec.items() if key not in _ADAPTATION_KEYS},
    )
    return {**_under(method, "fixed"), **_under(method, protocol), **changed}


def _under(method: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """Settings of a method under a protocol."""
    settings = {key: value for key, value in method.items() if key != "authors"}
    return settings | method.get("authors", {}) if protocol == "authors" else settings


def _method_problems(place: str, method: Any) -> Iterator[str]:
    if isinstance(method, Mapping) and not isinstance(method.get("authors", {}), Mapping):
        yield f"{place}.authors: expected settings, found {method['authors']!r}"
    elif isinstance(method, Mapping):
        for protocol in PROTOCOLS:
            yield from method_problems(place, _under(method, protocol))
    else:
        yield from method_problems(place, method)


_ADAPTATION_KEYS = ("method", "models", "fractions")


def _adaptation_problems(place: str, spec: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[str]:
    methods, needs_labels = parameters.get("methods"), True
    if isinstance(methods, Mapping) and "method" in spec:
        if problems := list(unknown(f"{place}.method", [spec["method"]], methods)):
            yield from problems
        elif not any(_method_problems("", methods[spec["method"]])):
            yield from method_problems(place, _settings(spec, methods, "fixed"))
            needs_labels = method_of(_under(methods[spec["method"]], "fixed")).needs_labels
    expected = _ADAPTATION_KEYS if needs_labels else ("method", "models")
    if missing := [key for key in expected if key not in spec]:
        yield f"{place}: missing {', '.join(missing)}"
    if "fractions" in spec and "fractions" not in expected:
        yield f"{place}.fractions: '{spec['method']}' sees no labelled image; leave 'fractions' out"
    chosen = spec.get("models", "all")
    if chosen != "all":
        if not is_set_of(chosen, str):
            yield f"{place}.models: expected 'all' or a list of different model names, found {chosen!r}"
        else:
            yield from unknown(f"{place}.models", chosen, parameters["models"])
    fractions = spec.get("fractions", [1.0])
    if not is_set_of(fractions, (int, float)) or not all(0 < fraction <= 1 for fraction in fractions):
        yield f"{place}.fractions: expected different numbers above 0 and up to 1 (0.1 is 10 %), found {fractions!r}"


_OPTIONAL = ("dataset", "grey", "storage", "released", "label_map")


def _corruption_problems(place: str, spec: Any) -> Iterator[str]:
    """What is wrong with a ``corruptions`` entry, whatever the data set."""
    if not isinstance(spec, Mapping):
        yield f"{place}: expected 'suite' and 'names', found {spec!r}"
        return
    yield from key_problems(place, spec, required=("suite", "names"), optional=_OPTIONAL)
    yield from unknown(f"{place}.suite", [spec.get("suite", "medimeta-c")], SUITES)
    yield from unknown(f"{place}.grey", [spec.get("grey", GREY_MODES[0])], GREY_MODES)
    yield from unknown(f"{place}.storage", [spec.get("storage", STORAGES[0])], STORAGES)
    names = spec.get("names", "all")
    if names != "all" and not is_set_of(names, str):
        yield f"{place}.names: expected 'all' or a list of different corruptions, found {names!r}"
    if "dataset" in spec:
        if spec.get("suite") == "medmnist-c":
            yield from unknown(f"{place}.dataset", [spec["dataset"]], suite("medmnist-c").datasets)
        else:
            yield f"{place}.dataset: only medmnist-c has a list of corruptions for each data set"
    yield from _release_problems(place, spec)


def _release_problems(place: str, spec: Mapping[str, Any]) -> Iterator[str]:
    released, label_map = spec.get("released", ""), spec.get("label_map", {0: ""})
    if not isinstance(released, str):
        yield f"{place}.released: expected the folder of released files, found {released!r}"
    if "label_map" in spec and "released" not in spec:
        yield f"{place}.label_map: it numbers the classes of released files, and 'released' is missing"
    if not (isinstance(label_map, Mapping) and label_map) or not all(
        type(label) is int and label >= 0 and isinstance(name, str) for label, name in label_map.items()
    ):
        yield f"{place}.label_map: expected labels in the files mapped to class names, found {label_map!r}"


def _list_problems(place: str, name: str, spec: Any) -> Iterator[str]:
    """What is wrong with a ``corruptions`` entry for the data set `name`."""
    if problems := list(_corruption_problems(place, spec)):
        yield from problems
        return
    dataset = _suite_dataset(name, spec)
    if dataset is not None and dataset not in suite("medmnist-c").datasets:
        known = ", ".join(suite("medmnist-c").datasets)
        yield f"{place}: medmnist-c has no list for '{name}': set 'dataset' to the one to use, among {known}"
    elif spec["names"] != "all":
        yield from unknown(f"{place}.names", spec["names"], corruptions(spec["suite"], dataset))
