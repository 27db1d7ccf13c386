"""What may be wrong with keys and values of the configuration, as lines for people."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

#: Whether a value is valid, and what is expected.
Rule = tuple[Callable[[Any], bool], str]


def unknown(place: str, names: Iterable[Any], known: Iterable[str]) -> Iterator[str]:
    """A line for each of the `names` that is not among the `known`, with the one that was probably meant."""
    known = list(known)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(str(name), map(str, known), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(map(str, known))}"
            yield f"{place}{': ' if place else ''}unknown {name!r}; {hint}"


def key_problems(
    place: str, spec: Mapping[str, Any], required: Iterable[str], optional: Iterable[str] = ()
) -> Iterator[str]:
    """Lines for the keys that are missing or unknown."""
    if missing := [key for key in required if key not in spec]:
        yield f"{place}: missing {', '.join(missing)}"
    yield from unknown(place, spec, (*required, *optional))


def value_problems(place: str, values: Mapping[str, Any], rules: Mapping[str, Rule]) -> Iterator[str]:
    """A line for each value that breaks the rule of its name."""
    for name, value in values.items():
        if name in rules and not rules[name][0](value):
            yield f"{place}{'.' if place else ''}{name}: expected {rules[name][1]}, found {value!r}"


def is_number(value: Any, kinds: type | tuple[type, ...] = (int, float)) -> bool:
    """Whether it is a number, which true and false are not."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def is_list_of(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """Whether it is a list that is not empty, of values of some types, true and false apart."""
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(item, kinds) and not isinstance(item, bool) for item in value)
    )


def is_set_of(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """Whether it is such a list, of different values."""
    return is_list_of(value, kinds) and len(set(value)) == len(value)


def is_text(value: Any) -> bool:
    """Whether it is a text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def one_of(*choices: str) -> Rule:
    """The rule of a value that is one of some."""
    return lambda value: value in choices, f"{', '.join(choices[:-1])} or {choices[-1]}"


COUNT: Rule = (lambda value: is_number(value, int) and value >= 1, "an integer of 1 or more")
SEED: Rule = (lambda value: is_number(value, int) and value >= 0, "an integer of 0 or more")
RATE: Rule = (lambda value: is_number(value) and 0 <= value < float("inf"), "a number of 0 or more")
FLAG: Rule = (lambda value: isinstance(value, bool), "true or false")
TEXT: Rule = (is_text, "a text")
