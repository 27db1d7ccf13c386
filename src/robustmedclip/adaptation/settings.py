"""Settings of the methods, and what may be wrong with them; imports no torch, so that a plan can be checked quickly."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from robustmedclip.adaptation.augmentation import CorruptionAugmentation, corruption_problems
from robustmedclip.errors import InputError
from robustmedclip.plan.checks import COUNT, FLAG, RATE, Rule, is_number, key_problems, one_of, value_problems
from robustmedclip.plan.prompts import template_problems


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """Settings of a method, as its ``kind`` has them; values that are not valid raise an ``InputError`` that lists all."""

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if problems := list(_value_problems("settings", values)):
            raise InputError("\n".join(problems))
        for name, value in values.items():
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(MethodSettings):
    """Settings of ``kind: full``: all weights of the visual encoder are tuned.

    Attributes
    ----------
    batch_norm : str
        Statistics of the visual encoder's batch normalisation, which models without it ignore: ``frozen``;
        ``adapted`` to the training images before the training (:mod:`robustmedclip.adaptation.batch_norm`); or
        ``batch``: each batch's own while training, of which the running ones follow.
    features : str
        Image features that the loss compares with the class vectors: ``unit`` features, times the logit scale, as in
        scoring; or ``raw`` ones.
    learning_rate, weight_decay : float
        Of AdamW; the highest learning rate.
    schedule : str
        Learning rate over the steps: ``constant``, or ``cosine``: a linear rise over the first tenth, then half
        a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts).
    epochs, batch_size : int
        Passes over the few-shot images, and images per step.
    sampling : str
        Images of an epoch: ``natural``, every image once; or ``balanced``, as many, but every data set, and every class
        within it, equally often.
    min_crop_area : float
        Smallest share of the area that the random crop keeps, in (0, 1].
    flip : bool
        Whether to mirror half of the images.
    guard : float or None
        Probability, in (0, 1), with which a clean image is within the range that the input guard brings images back to
        (:mod:`robustmedclip.adaptation.guard`), in training as in evaluation; None means no guard.
    corruptions : CorruptionAugmentation or mapping of its fields, or None
        Corruptions of the training images; None means clean images only.
    consistency : float
        Weight in the loss of the Jensen-Shannon divergence between what is predicted for a clean image and for its
        corrupted view, which then is not compared with the label (AugMix; Hendrycks et al. 2020, arXiv:1912.02781, eq. 3,
        of two views); 0 means no second view: corrupted images take the place of clean ones.
    label_space : str
        Classes that the loss compares: ``joint``, of all data sets, or ``data_set``, of the image's own data set, which
        is what zero-shot scoring does.
    selection : str
        What validation chooses: the ``epoch`` to keep, or the ``scale`` in [0, 1] of the last epoch's update, that
        is, a point between the untuned and the tuned weights, adapted statistics apart (WiSE-FT; Wortsman et al. 2022, arXiv:2109.01903).
        ``test`` keeps the epoch of the highest accuracy on all test images together, as the study's code does.

    Raises
    ------
    InputError
        If a value is not valid; the message lists all that are not.
    """

    batch_norm: str
    features: str
    learning_rate: float
    weight_decay: float
    schedule: str
    epochs: int
    batch_size: int
    sampling: str
    min_crop_area: float
    flip: bool
    guard: float | None
    corruptions: CorruptionAugmentation | None
    consistency: float
    label_space: str
    selection: str

    kind: ClassVar[str] = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.corruptions, Mapping):
            object.__setattr__(self, "corruptions", CorruptionAugmentation(**self.corruptions))

    @property
    def views(self) -> int:
        """Views of each training image in a step."""
        return 2 if self.consistency else 1


@dataclass(frozen=True, kw_only=True)
class LoraSettings(TrainingSettings):
    """Settings of ``kind: lora``: :class:`TrainingSettings`, and those of the low-rank updates.

    Attributes
    ----------
    rank : int
        Rank r of the update B A of each adapted layer.
    alpha : float or None
        The update is scaled by alpha / r; None means alpha = r, a scale of 1.
    dropout : float
        Share of the layer's inputs that the update does not see, in [0, 1).
    targets : str or None
        Regular expression of the layers to adapt; None means the model's own ``lora_targets``, ``all`` every linear and
        convolutional layer of the visual encoder, its first layers included. A shift of the input, such as other
        devices, is best met in the first layers (Lee et al. 2023, arXiv:2210.11466).

    Raises
    ------
    InputError
        If a value is not valid; the message lists all that are not.
    """

    rank: int
    alpha: float | None
    dropout: float
    targets: str | None

    kind: ClassVar[str] = "lora"


@dataclass(frozen=True, kw_only=True)
class HeadSettings(MethodSettings):
    """Settings of a classifier on the image features of the untuned model, of which each data set has its own."""


@dataclass(frozen=True, kw_only=True)
class LinearProbeSettings(HeadSettings):
    """Settings of ``kind: linear_probe``: multinomial logistic regression.

    Attributes
    ----------
    l2_strengths : tuple of float
        Strengths of the L2 penalty that validation chooses from, above 0.

    Raises
    ------
    InputError
        If a value is not valid; the message lists all that are not.
    """

    l2_strengths: tuple[float, ...]

    kind: ClassVar[str] = "linear_probe"


@dataclass(frozen=True, kw_only=True)
class CacheSettings(HeadSettings):
    """Settings of ``kind: cache``: zero-shot logits, and the similarity to the labelled images of each class.

    Attributes
    ----------
    alphas, betas : tuple of float
        Weights of the similarity, and its sharpnesses, that validation chooses from, of 0 or more.

    Raises
    ------
    InputError
        If a value is not valid; the message lists all that are not.
    """

    alphas: tuple[float, ...]
    betas: tuple[float, ...]

    kind: ClassVar[str] = "cache"


@dataclass(frozen=True, kw_only=True)
class PromptSettings(MethodSettings):
    """Settings of ``kind: prompts``: zero-shot with other prompts, without labelled images.

    Attributes
    ----------
    templates : tuple of str
        Prompt templates, in place of those of every data set, whose synonyms stay.

    Raises
    ------
    InputError
        If a value is not valid; the message lists all that are not.
    """

    templates: tuple[str, ...]

    kind: ClassVar[str] = "prompts"


#: Settings by their ``kind``.
KINDS = {
    settings.kind: settings
    for settings in (LoraSettings, TrainingSettings, LinearProbeSettings, CacheSettings, PromptSettings)
}


def method_settings(values: Mapping[str, Any]) -> MethodSettings:
    """The settings of a method: its ``kind``, and the values of that kind.

    Raises
    ------
    InputError
        If a value is not valid; the message lists all that are not.
    """
    return KINDS[values["kind"]](**{name: value for name, value in values.items() if name != "kind"})


def method_problems(place: str, values: Any) -> Iterator[str]:
    """What is wrong with the settings of a method, a line per problem; `place` says where they are."""
    if not isinstance(values, Mapping):
        yield f"{place}: expected settings, found {values!r}"
        return
    if not isinstance(values.get("kind"), str) or values["kind"] not in KINDS:
        yield f"{place}.kind: expected one of {', '.join(KINDS)}, found {values.get('kind')!r}"
        return
    known = [field.name for field in fields(KINDS[values["kind"]])]
    yield from key_problems(place, values, known, optional=("kind",))
    yield from _value_problems(place, {name: values[name] for name in known if name in values})


def _expression(value: Any) -> bool:
    try:
        return value is None or (isinstance(value, str) and bool(re.compile(value)))
    except re.error:
        return False


def _grid(lowest: Callable[[float], bool]) -> Callable[[Any], bool]:
    """Whether a value is a list of different finite numbers that are all high enough."""
    return lambda value: (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(is_number(one) and lowest(one) and one < float("inf") for one in value)
        and len(set(value)) == len(value)
    )


_RULES: dict[str, Rule] = {
    "rank": COUNT,
    "alpha": (lambda value: value is None or (is_number(value) and value > 0), "a number above 0, or null"),
    "dropout": (lambda value: is_number(value) and 0 <= value < 1, "a number of 0 or more and below 1"),
    "targets": (_expression, "all, null or a regular expression"),
    "batch_norm": one_of("frozen", "adapted", "batch"),
    "features": one_of("unit", "raw"),
    "learning_rate": RATE,
    "weight_decay": RATE,
    "schedule": one_of("constant", "cosine"),
    "epochs": COUNT,
    "batch_size": COUNT,
    "sampling": one_of("natural", "balanced"),
    "min_crop_area": (lambda value: is_number(value) and 0 < value <= 1, "a number above 0 and up to 1"),
    "flip": FLAG,
    "guard": (
        lambda value: value is None or (is_number(value) and 0 < value < 1),
        "a number above 0 and below 1, or null",
    ),
    "consistency": RATE,
    "label_space": one_of("joint", "data_set"),
    "selection": one_of("epoch", "scale", "test"),
    "l2_strengths": (_grid(lambda one: one > 0), "a list of different numbers above 0"),
    "alphas": (_grid(lambda one: one >= 0), "a list of different numbers of 0 or more"),
    "betas": (_grid(lambda one: one >= 0), "a list of different numbers of 0 or more"),
}


def _value_problems(place: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield from value_problems(place, values, _RULES)
    if "templates" in values:
        yield from template_problems(f"{place}.templates", values["templates"])
    corruptions, consistency = values.get("corruptions"), values.get("consistency")
    if corruptions is None and is_number(consistency) and consistency > 0:
        yield f"{place}.consistency: {consistency} compares clean with corrupted views: set 'corruptions', too, or 0"
    if corruptions is None or isinstance(corruptions, CorruptionAugmentation):
        return
    expected = [field.name for field in fields(CorruptionAugmentation)]
    if not isinstance(corruptions, Mapping) or corruptions.keys() != set(expected):
        yield f"{place}.corruptions: expected {', '.join(expected)}, or null, found {corruptions!r}"
        return
    yield from corruption_problems(f"{place}.corruptions", **corruptions)
