"""Types of settings, whose errors say what is expected."""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator


def expected(what: str, is_valid: Callable[[Any], bool]) -> BeforeValidator:
    """A check of a value before pydantic takes it, whose error is ``expected <what>``."""

    def checked(value: Any) -> Any:
        if not is_valid(value):
            raise ValueError(f"expected {what}")
        return value

    return BeforeValidator(checked)


def is_number(value: Any, kinds: Any = (int, float)) -> bool:
    """Whether it is a finite number of one of some types; true and false are none."""
    return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)


def _are_different(values: Any, is_valid: Callable[[Any], bool]) -> bool:
    is_list = isinstance(values, list | tuple) and len(values) > 0
    return is_list and all(is_number(value) and is_valid(value) for value in values) and len(set(values)) == len(values)


def _is_expression(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False


Count = Annotated[int, expected("an integer of 1 or more", lambda value: is_number(value, int) and value >= 1)]
NotNegative = Annotated[float, expected("a number of 0 or more", lambda value: is_number(value) and value >= 0)]
PositiveOrNone = Annotated[
    float | None,
    expected("a number above 0, or null", lambda value: value is None or (is_number(value) and value > 0)),
]
Flag = Annotated[bool, expected("true or false", lambda value: isinstance(value, bool))]
#: A probability or a fraction that is not 0.
Fraction = Annotated[float, expected("a number above 0 and up to 1", lambda value: is_number(value) and 0 < value <= 1)]
#: The name of layers, or a pattern of them.
Expression = Annotated[
    str | None, expected("all, null or a regular expression", lambda value: value is None or _is_expression(value))
]
Fractions = Annotated[
    tuple[float, ...],
    expected(
        "a list of different numbers from 0 to 1", lambda values: _are_different(values, lambda value: 0 <= value <= 1)
    ),
]
PositiveGrid = Annotated[
    tuple[float, ...],
    expected("a list of different numbers above 0", lambda values: _are_different(values, lambda value: value > 0)),
]
Grid = Annotated[
    tuple[float, ...],
    expected(
        "a list of different numbers of 0 or more", lambda values: _are_different(values, lambda value: value >= 0)
    ),
]
