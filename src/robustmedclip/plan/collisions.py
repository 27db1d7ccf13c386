"""Names of a plan that would stand for several things."""

from collections.abc import Iterator
from itertools import pairwise

from robustmedclip.plan.amounts import fraction_label
from robustmedclip.plan.plan import Plan


def collisions(plan: Plan) -> Iterator[str]:
    """Names that would stand for several things in the tables or in the catalog, a line each."""
    owners: dict[str, set[str]] = {}
    for model in plan.evaluated_models:
        place = f"adaptations.{model.adaptation.name} of {model.base}" if model.adaptation else f"models.{model.base}"
        for name in (model.name, model.cell):
            owners.setdefault(name, set()).add(place if model.fraction is None else f"{place} at {model.fraction}")
    for name, places in owners.items():
        if len(places) > 1:
            yield f"{' and '.join(sorted(places))} would both be called '{name}': rename one of them"
    for first, second in pairwise(plan.fractions):
        if (label := fraction_label(first)) == fraction_label(second):
            yield f"adaptations: the fractions {first} and {second} would both be called '{label}': keep one"
