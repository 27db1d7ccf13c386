"""Which few-shot sample tells how sure a model may be."""

from robustmedclip.plan import names
from robustmedclip.plan.amounts import fraction_label, shots_label
from robustmedclip.plan.plan import EvaluatedModel, Plan


def validation_shots(plan: Plan, model: EvaluatedModel) -> str | None:
    """Catalog entry of the few-shot sample whose validation images a model's temperatures are fitted to.

    Of a tuned model it is its own; of others the largest one, by fraction if there are fractions, of which half of a
    pool at most; None without any, and of a model that has learnt from its own.
    """
    if model.amount:
        return None if model.method and "validation" in model.method.learnt_roles else model.few_shots
    fractions = [fraction for fraction in plan.fractions if fraction <= 0.5]
    amounts = [*map(shots_label, plan.shots), *map(fraction_label, fractions)]
    return names.few_shots(f"{amounts[-1]}_s{plan.seeds[0]}") if amounts else None
