"""Methods that may train on corrupted images, and bring images back into the range of those that they trained on."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import fields
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, InstanceOf

from robustmedclip.adaptation.methods.method import Method
from robustmedclip.adaptation.methods.settings import expected, is_number
from robustmedclip.corruptions import RandomCorruption
from robustmedclip.errors import InputError

#: Families of corruptions that the input guard was designed for.
GUARDED_FAMILIES = frozenset({"noise", "tone"})

Coverage = Annotated[
    float | None,
    expected(
        "a number above 0 and below 1, or null",
        lambda value: value is None or (is_number(value) and 0 < value < 1),
    ),
]


def _corruptions(values: Any) -> Any:
    if values is None or isinstance(values, RandomCorruption):
        return values
    required, known = {"suite", "names", "probability"}, {field.name for field in fields(RandomCorruption)}
    if not isinstance(values, Mapping) or not required <= set(values) <= known:
        raise ValueError("expected suite, names and probability, and perhaps dataset and severities; or null")
    if values["probability"] == 0:
        raise ValueError("probability must be above 0: without corruptions, set null")
    return RandomCorruption(**values)


Corruptions = Annotated[InstanceOf[RandomCorruption] | None, BeforeValidator(_corruptions)]


class AugmentedMethod(Method):
    """A method that may train on corrupted images, and behind an input guard.

    Attributes
    ----------
    guard : float or None
        Probability, in (0, 1), with which a clean image is within the range that the input guard brings images back to
        (:mod:`robustmedclip.adaptation.guard`), in training as in evaluation; None means no guard.
    corruptions : RandomCorruption or mapping of its fields, or None
        Corruptions of the training images; None means clean images only. What is scored should not be among them.
    """

    guard: Coverage = None
    corruptions: Corruptions = None

    @property
    def training_corruptions(self) -> tuple[str, ...]:
        return tuple(self.corruptions.names or ()) if self.corruptions else ()

    @property
    def training_families(self) -> frozenset[str]:
        return self.corruptions.families if self.corruptions else frozenset()

    def without(self, corruptions: Set[str], families: Set[str]) -> Self:
        changes: dict[str, Any] = {}
        if self.guard is not None and GUARDED_FAMILIES & families:
            changes["guard"] = None
        if self.corruptions is not None:
            changes["corruptions"] = self.corruptions.without(corruptions, families)
            if changes["corruptions"] is None:
                raise InputError(
                    f"of its training corruptions ({', '.join(self.training_corruptions)}) none is left where the "
                    "scored ones are held out: name others in 'corruptions', or set 'corruptions: null'"
                )
        return self.model_copy(update=changes)
