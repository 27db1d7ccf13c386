"""What may stand in ``benchmark.yml`` and in the parameters: one model per kind of entry."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator, model_validator

from robustmedclip.adaptation.methods.settings import Count, Flag, NotNegative, expected, is_number
from robustmedclip.corruptions.suites import suite
from robustmedclip.images.findings import SCORINGS
from robustmedclip.images.sets import POOL_SPLITS
from robustmedclip.phantoms import ANATOMIES, DOMAINS
from robustmedclip.plan.prompts import template_problems

#: Of a pool of a million images it is one; names of smaller fractions would need exponents.
SMALLEST_FRACTION = 1e-6
_CLASSES = "at least two different class names, without space around them"
ORIGIN = ("url", "size", "licence", "citation")


def is_text(value: Any) -> bool:
    """Whether it is a text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def is_set_of(value: Any, is_valid: Callable[[Any], bool]) -> bool:
    """Whether it is a list of different values, at least one, that are all valid."""
    return (
        isinstance(value, list | tuple) and len(value) > 0 and all(map(is_valid, value)) and len({*value}) == len(value)
    )


def is_mapping_to(value: Any, is_valid: Callable[[Any], bool]) -> bool:
    """Whether it maps something to values that are all valid."""
    return isinstance(value, Mapping) and len(value) > 0 and all(map(is_valid, value.values()))


def _checked_templates(values: Any) -> Any:
    if values is None:
        return None
    if problems := [problem.removeprefix(": ") for problem in template_problems("", values)]:
        raise ValueError("; ".join(problems))
    return values


def _is_fraction(value: Any) -> bool:
    return is_number(value) and SMALLEST_FRACTION <= value <= 1


def _is_count(value: Any) -> bool:
    return is_number(value, int) and value >= 1


def _are_class_names(value: Any) -> bool:
    return is_set_of(value, is_text) and all(name == name.strip() for name in value)


def _is_label(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_label_map(value: Any) -> bool:
    return is_mapping_to(value, lambda name: isinstance(name, str)) and all(map(_is_label, value))


def _is_catalog_entry(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("type"), str)


Text = Annotated[str, expected("a text", is_text)]
Seed = Annotated[int, expected("an integer of 0 or more", lambda value: is_number(value, int) and value >= 0)]
CatalogEntry = Annotated[Mapping[str, Any], expected("a catalog entry with a 'type'", _is_catalog_entry)]


def _names_or_all(what: str) -> BeforeValidator:
    return expected(f"'all' or a list of different {what}", lambda value: value == "all" or is_set_of(value, is_text))


def _or_none(what: str, is_valid: Callable[[Any], bool]) -> BeforeValidator:
    return expected(what, lambda value: value is None or is_valid(value))


class Entry(BaseModel):
    """Settings in which other keys than those of the class are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Origin(Entry):
    """Where images or weights come from, as far as it is known."""

    url: Text | None = None
    size: Text | None = None
    licence: Text | None = None
    citation: Text | None = None

    def facts(self) -> dict[str, str]:
        """The fields that are given, by name."""
        return self.model_dump(exclude_none=True)


class CorruptionEntry(Entry):
    """``corruptions``: those of a suite, of all data sets or of one.

    ``suite`` is a short name or the dotted path of a suite. ``dataset`` is the data set whose list is used, where the
    suite has one for each. ``released`` is the folder of released files that are used instead of generated ones, with
    ``{data_set}`` for the name of a data set, and ``label_map`` says which label in them is which class.
    """

    suite: str
    names: Annotated[tuple[str, ...] | Literal["all"], _names_or_all("corruptions")]
    dataset: str | None = None
    grey: Literal["native", "reference"] = "native"
    storage: Literal["materialised", "on_the_fly"] = "materialised"
    released: Annotated[str | None, _or_none("the folder of released files", is_text)] = None
    label_map: Annotated[
        Mapping[int, str] | None, _or_none("labels in the files mapped to class names", _is_label_map)
    ] = None

    @field_validator("suite")
    @classmethod
    def _is_known(cls, name: str) -> str:
        suite(name)
        return name


class DataSetEntry(Entry):
    """One of ``data_sets``.

    With ``task: findings`` an image may have several of its classes, and ``scoring`` says what each is compared with.
    """

    modality: Annotated[str, expected("a text other than 'all'", lambda value: is_text(value) and value != "all")]
    source: CatalogEntry
    collection: Annotated[
        str | None, _or_none("a name other than 'all'", lambda value: is_text(value) and value != "all")
    ] = None
    classes: Annotated[
        tuple[str, ...] | None,
        _or_none(_CLASSES, _are_class_names),
    ] = None
    task: Literal["classes", "findings"] = "classes"
    scoring: Annotated[
        str | None,
        _or_none(f"one of {', '.join(SCORINGS)}", lambda value: isinstance(value, str) and value in SCORINGS),
    ] = None
    synonyms: Annotated[
        Mapping[str, Any], expected("class names mapped to lists of names", lambda value: isinstance(value, Mapping))
    ] = {}
    templates: Annotated[tuple[str, ...] | None, BeforeValidator(_checked_templates)] = None
    corruptions: Any = None
    subgroup: Annotated[
        tuple[str, ...], expected("a list of different columns", lambda value: is_set_of(value, is_text))
    ] = ()
    shards: Annotated[Count | None, _or_none("an integer of 1 or more", _is_count)] = None
    origin: Origin = Origin()

    @model_validator(mode="after")
    def _task_fits(self) -> Self:
        if self.task == "classes" and self.classes is not None and len(self.classes) < 2:
            raise ValueError(f"classes: expected {_CLASSES}, found {list(self.classes)!r}")
        if self.task == "classes" and self.scoring is not None:
            raise ValueError("scoring: it says how findings are scored: set 'task: findings', or leave it out")
        if self.task == "findings" and self.subgroup:
            raise ValueError("subgroup: findings are not compared by subgroup: leave it out")
        return self


class ModelEntry(Entry):
    """One of ``models``; ``authors`` are switches that the study's code applies to it."""

    source: CatalogEntry
    origin: Origin = Origin()
    authors: Annotated[list[str], expected("a list of switches", lambda value: isinstance(value, list))] = []


class AdaptationEntry(BaseModel):
    """One of ``adaptations``; other keys are settings of its method."""

    model_config = ConfigDict(frozen=True, extra="allow")

    method: str
    models: Annotated[tuple[str, ...] | Literal["all"], _names_or_all("model names")]
    fractions: Annotated[
        tuple[float, ...] | None,
        _or_none("different numbers from 0.000001 to 1 (0.1 is 10 %)", lambda value: is_set_of(value, _is_fraction)),
    ] = None
    shots: Annotated[
        tuple[int, ...] | None,
        _or_none(
            "different integers of 1 or more",
            lambda value: is_set_of(value, lambda count: is_number(count, int) and count >= 1),
        ),
    ] = None


class ShiftEntry(Entry):
    """One of ``shift``: what is tuned on the data set ``of`` is scored on ``to``, from another site, too."""

    of: Text
    to: Text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, Mapping) else value


class Procedure(Entry):
    """How everything is done."""

    seeds: Annotated[
        tuple[int, ...],
        expected(
            "different integers of 0 or more",
            lambda value: is_set_of(value, lambda seed: is_number(seed, int) and seed >= 0),
        ),
    ]
    baseline: Text
    protocol: Literal["fixed", "authors"] = "fixed"
    pool: Annotated[
        tuple[str, ...],
        expected(
            f"{' and '.join(POOL_SPLITS)}, or one of them in a list",
            lambda value: is_set_of(value, lambda split: isinstance(split, str) and split in POOL_SPLITS),
        ),
    ] = POOL_SPLITS
    held_out: Literal["none", "name", "family"] = "none"
    shift: Annotated[tuple[ShiftEntry, ...], BeforeValidator(_listed)] = ()
    read_together: Flag = False
    shards: Count = 1
    tolerated_points: NotNegative = 5.0
    metrics: Annotated[
        tuple[str, ...] | None, _or_none("a list of different metrics", lambda value: is_set_of(value, is_text))
    ] = None
    mce_on: Annotated[str | None, _or_none("the name of a metric", is_text)] = None


class CorruptionSettings(Entry):
    """Settings of the corruption stage."""

    seed: Seed


class EvaluationSettings(Entry):
    """Settings of the evaluation."""

    precision: Literal["auto", "float32"]


class CalibrationSettings(Entry):
    """Settings of the calibration."""

    images: Count
    pairs: Count
    seed: Seed


class TrackingSettings(Entry):
    """Settings of the tracking in MLflow."""

    log_best_adapter: Flag


class PublishedFigures(Entry):
    """Figures of others, shown beside those that are measured."""

    source: Text
    baseline: Text
    models: Annotated[
        Mapping[str, Any],
        expected("names mapped to figures", lambda value: is_mapping_to(value, lambda v: is_mapping_to(v, is_number))),
    ]


def _is_architecture(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() >= {"embed_dim", "vision_cfg", "text_cfg"}


class PretrainingSettings(Entry):
    """Settings of the pretraining of the models that ship."""

    seed: Seed
    images: Annotated[
        Mapping[str, int],
        expected(
            f"counts of {', '.join(ANATOMIES)}",
            lambda value: (
                is_mapping_to(value, lambda n: is_number(n, int) and n > 0) and value.keys() == ANATOMIES.keys()
            ),
        ),
    ]
    domains: Annotated[
        tuple[str, ...],
        expected(
            f"a list of some of {', '.join(DOMAINS)}",
            lambda value: is_set_of(value, lambda domain: isinstance(domain, str) and domain in DOMAINS),
        ),
    ]
    size: Count
    vocabulary: Count
    context_length: Count
    epochs: Count
    batch_size: Count
    learning_rate: NotNegative
    weight_decay: NotNegative
    models: Annotated[
        Mapping[str, Any],
        expected(
            "names mapped to embed_dim, vision_cfg and text_cfg", lambda value: is_mapping_to(value, _is_architecture)
        ),
    ]


#: Settings that lie beside the plan, by the parameter that holds them.
SETTINGS: dict[str, type[Entry]] = {
    "corruption": CorruptionSettings,
    "evaluation": EvaluationSettings,
    "calibration": CalibrationSettings,
    "tracking": TrackingSettings,
    "published": PublishedFigures,
    "pretraining": PretrainingSettings,
}
