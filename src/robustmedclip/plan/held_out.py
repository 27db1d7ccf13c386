"""What adaptations may not know of what is scored."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from robustmedclip.errors import InputError
from robustmedclip.plan.plan import Adaptation


def holding_out(
    adaptations: Iterable[Adaptation], scored: Mapping[str, str], held_out: str, problems: list[str]
) -> Iterator[Adaptation]:
    """Adaptations that know nothing of what is scored, every method alike; lines are added to the problems.

    Parameters
    ----------
    adaptations : iterable of Adaptation
        As the plan has them.
    scored : mapping
        Scored corruption to its family.
    held_out : str
        ``name``: the scored corruptions; or ``family``: all of their families.
    problems : list of str
        Lines are added for adaptations of whose training corruptions none is left; those are left out.
    """
    families = frozenset(scored.values()) if held_out == "family" else frozenset()
    for adaptation in adaptations:
        try:
            yield replace(adaptation, method=adaptation.method.without(scored.keys(), families))
        except InputError as error:
            problems.append(f"adaptations.{adaptation.name}, under 'held_out: {held_out}': {error.message}")
