"""The benchmark plan: what is scored, under which corruptions, after which adaptations.

The plan alone decides the fan-out. :func:`robustmedclip.plan.reading.read_plan` makes it, once a session.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, starmap
from typing import Any

from robustmedclip.adaptation.methods import Method
from robustmedclip.corruptions.suites import suite
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.sets import POOL_SPLITS
from robustmedclip.metrics import Metric, metrics_named
from robustmedclip.metrics.classification import ERROR
from robustmedclip.metrics.logits import ZERO_SHOT
from robustmedclip.models.study_switches import reads_images_twice
from robustmedclip.plan import names
from robustmedclip.plan.amounts import fraction_label, shots_label


@dataclass(frozen=True)
class DataSet:
    """One data set: where it comes from, how it is prompted and corrupted.

    ``synonyms`` maps a class to the names that prompts have in its place. ``collection`` is the group of data sets that
    it is averaged with, if any. ``suite`` is the short name or the dotted path of a corruption suite, and
    ``suite_dataset`` the data set whose list of corruptions is used, where the suite has one for each. ``released`` is
    the folder of released files that are used instead of generated ones, and ``label_map`` says which label in them is
    which class, where that is not the order of the classes. ``origin`` says where the images come from, as far as it is
    known: ``url``, ``size``, ``licence``, ``citation``. ``shards`` is how many parts its conditions are evaluated in.
    ``tuned_on`` is the data set that models are tuned on in its place, where it comes from another site. ``subgroup``
    are columns of the source by whose values the test images are told apart. ``scoring`` is that of
    :data:`robustmedclip.images.findings.SCORINGS` where the classes are findings, of which an image may have several.
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
    origin: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shards: int = 1
    tuned_on: str | None = None
    subgroup: tuple[str, ...] = ()
    scoring: str | None = None

    @property
    def slices(self) -> tuple[slice, ...]:
        """The conditions of each shard, a slice of all of them; their lengths differ by one at most."""
        ends = [len(self.conditions) * shard // self.shards for shard in range(self.shards + 1)]
        return tuple(starmap(slice, pairwise(ends)))


@dataclass(frozen=True)
class Adaptation:
    """One adaptation of some models, few-shot at some fractions of the training pool.

    ``method_name`` is that of YAML, and ``method`` has its settings with those that the adaptation changes.
    ``shots`` are numbers of images of each class, beside the ``fractions``; both are empty where the method sees no
    labelled image.
    """

    name: str
    method_name: str
    models: tuple[str, ...]
    fractions: tuple[float, ...]
    method: Method
    shots: tuple[int, ...] = ()


@dataclass(frozen=True)
class EvaluatedModel:
    """One model to score: a base model as it is (zero-shot), or after an adaptation."""

    base: str
    adaptation: Adaptation | None = None
    fraction: float | None = None
    seed: int | None = None
    shots: int | None = None

    @property
    def name(self) -> str:
        """Name shared by all seeds, e.g. ``phantom_vit_lora_k10``."""
        if self.adaptation is None:
            return self.base
        name = f"{self.base}_{self.adaptation.name}"
        return f"{name}_{self.amount}" if self.amount else name

    @property
    def amount(self) -> str | None:
        """How many labelled images it sees: ``k10`` for 10 %, ``4shot`` for 4 of each class; None for none."""
        if self.shots is not None:
            return shots_label(self.shots)
        return None if self.fraction is None else fraction_label(self.fraction)

    @property
    def few_shots(self) -> str:
        """Catalog entry of the labelled images that it sees."""
        return names.few_shots(f"{self.amount}_s{self.seed}")

    @property
    def cell(self) -> str:
        """Name of this very seed, e.g. ``phantom_vit_lora_k10_s0``."""
        return self.name if self.seed is None else f"{self.name}_s{self.seed}"

    @property
    def namespace(self) -> str:
        """Where its nodes are within a stage: ``phantom_vit.lora_k10_s0``, or ``phantom_vit.zero-shot``."""
        return f"{self.base}.{self.cell.removeprefix(f'{self.base}_') if self.adaptation else ZERO_SHOT}"

    @property
    def method(self) -> Method | None:
        """How the base model is adapted; None for zero-shot."""
        return self.adaptation.method if self.adaptation else None

    @property
    def artefact(self) -> str | None:
        """Catalog entry of what the tuning leaves behind; None without tuning."""
        if self.method is None or self.method.artefact_kind is None:
            return None
        return names.artefact(self.method.artefact_kind, self.cell)

    @property
    def attributes(self) -> dict[str, Any]:
        """What the tables and MLflow say of the model; None where it does not apply."""
        return {
            "base": self.base,
            "adaptation": self.adaptation.name if self.adaptation else ZERO_SHOT,
            "method": self.adaptation.method_name if self.adaptation else ZERO_SHOT,
            "rank": getattr(self.method, "rank", None),
            "fraction": self.fraction,
            "shots": self.shots,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Plan:
    """The whole benchmark.

    Attributes
    ----------
    data_sets : tuple of DataSet
        The data sets to corrupt and to score on; adaptations train jointly on all that are not of another site.
    models : mapping
        Model name to its ``source``, a catalog entry; with its ``origin``, if that is given.
    adaptations : tuple of Adaptation
        Few-shot adaptations.
    seeds : tuple of int
        One tuning per seed; a seed draws the few-shot images and the initial weights.
    baseline : str
        The model whose errors are 100 in every relative metric.
    held_out : str
        What of the scored corruptions no adaptation knows: ``none``, of nothing; ``name``, none of them is trained on;
        ``family``, nor is any other of their families, and no guard that was designed for one of those is used.
    protocol : str
        ``fixed``, the right way; or ``authors``: as the study's code does it, to compare with its published numbers.
    switches : mapping
        Model name to what the study's code does to it, under the protocol ``authors``.
    pool : tuple of str
        Splits that make up the training pool, which the few-shot images are drawn from.
    read_together : bool
        Whether the zero-shot models encode the test images side by side, each of which is then read once for all; but
        those whose batch normalisation has the statistics of the images, for they read them twice.
    metrics : tuple of Metric
        What models are scored by.
    mce_on : Metric
        Of these, the one that ratios to the baseline, and so mCE, are made of.
    vision_only : tuple of str
        Models without a text encoder: they have no zero-shot row, and no part in methods that need text.
    tolerated_points : float
        By how many percentage points the error may rise before a model no longer holds, in the report's table of the
        severities up to which models hold.
    compares_precisions : bool
        Whether models are compared with themselves in float32: the device chooses the precision that they run in.
    """

    data_sets: tuple[DataSet, ...]
    models: Mapping[str, Mapping[str, Any]]
    adaptations: tuple[Adaptation, ...]
    seeds: tuple[int, ...]
    baseline: str
    held_out: str = "none"
    protocol: str = "fixed"
    switches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pool: tuple[str, ...] = POOL_SPLITS
    read_together: bool = False
    metrics: tuple[Metric, ...] = field(default_factory=metrics_named)
    mce_on: Metric = ERROR
    vision_only: tuple[str, ...] = ()
    tolerated_points: float = 5.0
    compares_precisions: bool = False

    @property
    def training_sets(self) -> tuple[DataSet, ...]:
        """The data sets that adaptations train on."""
        return tuple(data_set for data_set in self.data_sets if data_set.tuned_on is None)

    @property
    def shifts(self) -> Mapping[str, str]:
        """Data set of another site to the one that models are tuned on."""
        return {data_set.name: data_set.tuned_on for data_set in self.data_sets if data_set.tuned_on}

    def reads_with_others(self, model: str) -> bool:
        """Whether a zero-shot model encodes the test images beside others."""
        return self.read_together and not reads_images_twice(self.switches.get(model, ()))

    @property
    def has_bands(self) -> bool:
        """Whether some suite says which of its levels are realistic."""
        return any(suite(data_set.suite).has_bands for data_set in self.data_sets)

    @property
    def divided(self) -> tuple[str, ...]:
        """Data sets whose test images are told apart by subgroup."""
        return tuple(data_set.name for data_set in self.data_sets if data_set.subgroup)

    @property
    def with_findings(self) -> tuple[str, ...]:
        """Data sets whose images may have several findings."""
        return tuple(data_set.name for data_set in self.data_sets if data_set.scoring)

    @cached_property
    def seen_corruptions(self) -> tuple[str, ...]:
        """Scored corruptions that adaptations see in training, of whatever suite: there, nothing new is tested."""
        scored = {condition.corruption for data_set in self.data_sets for condition in data_set.conditions}
        seen = [name for adaptation in self.adaptations for name in adaptation.method.training_corruptions]
        return tuple(name for name in dict.fromkeys(seen) if name in scored)

    @cached_property
    def related_corruptions(self) -> Mapping[str, tuple[str, ...]]:
        """Scored corruption to the adaptations that see a corruption of its family in training, if there are any."""
        seeing = {
            name: tuple(a.name for a in self.adaptations if family in a.method.training_families)
            for name, family in scored_families(self.data_sets).items()
        }
        return {name: adaptations for name, adaptations in seeing.items() if adaptations}

    @property
    def protocol_summary(self) -> str:
        """The protocol in a line: the study's switches in use, what test images choose, and the pool, if not whole."""
        summary = self.protocol
        if self.protocol == "authors":
            used = [f"{name}: {', '.join(switches)}" for name, switches in self.switches.items()]
            summary += f" ({'; '.join(used) or 'no switch of a model'})"
        if self.held_out != "none":
            what = {"name": "the scored corruptions", "family": "the families of the scored corruptions"}
            summary += f", {what[self.held_out]} held out of the training of every adaptation"
        if chosen := [a.name for a in self.adaptations if a.method.needs_test_images]:
            summary += f", the test images choose the epoch of {', '.join(chosen)}"
        if set(self.pool) != set(POOL_SPLITS):
            summary += f", few-shot images of the {self.pool[0]} split alone"
        return summary

    @cached_property
    def tuned_models(self) -> tuple[EvaluatedModel, ...]:
        """Every (model, adaptation, fraction or shots, seed)."""
        return tuple(
            EvaluatedModel(model, adaptation, fraction, seed, shots)
            for adaptation in self.adaptations
            for model in adaptation.models
            for fraction, shots in (
                *((fraction, None) for fraction in adaptation.fractions),
                *((None, shots) for shots in adaptation.shots),
            )
            for seed in self.seeds
        )

    @cached_property
    def evaluated_models(self) -> tuple[EvaluatedModel, ...]:
        """The zero-shot models, the baseline first, then those with other prompts, then the tuned ones."""
        ordered = sorted((m for m in self.models if m not in self.vision_only), key=lambda name: name != self.baseline)
        prompted = [
            EvaluatedModel(model, a) for a in self.adaptations if not a.fractions + a.shots for model in a.models
        ]
        return (*map(EvaluatedModel, ordered), *prompted, *self.tuned_models)

    @property
    def licences(self) -> Mapping[str, str]:
        """Licence of each model's weights, as far as the plan states it."""
        origins = {name: source.get("origin", {}) for name, source in self.models.items()}
        return {name: origin["licence"] for name, origin in origins.items() if "licence" in origin}

    @cached_property
    def text_adaptations(self) -> tuple[str, ...]:
        """Adaptations that models without a text encoder have no part in."""
        return tuple(a.name for a in self.adaptations if a.method.needs_text)

    @cached_property
    def fractions(self) -> tuple[float, ...]:
        """Every few-shot fraction that some adaptation needs, ascending."""
        return tuple(sorted({fraction for a in self.adaptations for fraction in a.fractions}))

    @cached_property
    def shots(self) -> tuple[int, ...]:
        """Every number of labelled images of each class that some adaptation needs, ascending."""
        return tuple(sorted({shots for a in self.adaptations for shots in a.shots}))

    def validates(self, amount: float) -> bool:
        """Whether an adaptation at a few-shot fraction, or at so many shots, chooses by validation images."""
        return any(a.method.needs_validation for a in self.adaptations if amount in (*a.fractions, *a.shots))


def scored_families(data_sets: Iterable[DataSet]) -> dict[str, str]:
    """Scored corruption to its family."""
    return {
        condition.corruption: suite(data_set.suite).corruption(condition.corruption, data_set.suite_dataset).family
        for data_set in data_sets
        for condition in data_set.conditions
        if condition != CLEAN
    }
