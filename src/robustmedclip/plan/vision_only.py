"""Models without a text encoder, in the plan: what they have no part in, and what would be left of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from robustmedclip.errors import InputError
from robustmedclip.models.formats import format_class
from robustmedclip.plan.plan import Plan
from robustmedclip.plan.schema import ModelEntry


def without_text(models: Mapping[str, ModelEntry | None]) -> tuple[str, ...]:
    """The models whose format has no text encoder, of those whose format is known."""
    return tuple(name for name, entry in models.items() if entry and not _has_text(entry.source["type"]))


def _has_text(format_name: str) -> bool:
    try:
        return getattr(format_class(format_name), "has_text", True)
    except InputError:
        return True


def adapted_models(
    place: str,
    chosen: Sequence[str] | Literal["all"],
    method: str,
    needs_text: bool,
    models: Sequence[str],
    vision_only: Sequence[str],
    problems: list[str],
) -> tuple[str, ...]:
    """The models of an adaptation: of ``all`` those that its method can adapt, else those that are named.

    Problems are added where a named one has no text encoder and the method needs it, or none is left of all.
    """
    if chosen != "all":
        if named := [name for name in chosen if name in vision_only and needs_text]:
            problems.append(
                f"{place}.models: {', '.join(named)} without a text encoder can't be adapted by '{method}', which "
                "compares images with prompts: leave them out, or choose a linear probe, prototypes or tuning"
            )
        return tuple(chosen)
    fitting = tuple(name for name in models if not (needs_text and name in vision_only))
    if models and not fitting:
        problems.append(
            f"{place}.models: no model has the text encoder that '{method}' needs: leave the adaptation out"
        )
    return fitting


def vision_only_problems(plan: Plan) -> Iterator[str]:
    """A baseline that has no zero-shot errors, and models of which nothing is scored."""
    if plan.baseline in plan.vision_only:
        text = [name for name in plan.models if name not in plan.vision_only]
        instead = f"choose {' or '.join(text)}" if text else "add a model with a text encoder, such as phantom_vit"
        yield f"baseline: {plan.baseline} has no text encoder, and so no zero-shot errors that count as 100: {instead}"
    scored = {model.base for model in plan.evaluated_models}
    for name in plan.vision_only:
        if name not in scored:
            yield (
                f"models.{name}: it has no text encoder, and so no zero-shot row, and no adaptation fits a head to it: "
                "name it in one by a linear probe, prototypes or tuning, or leave it out"
            )
