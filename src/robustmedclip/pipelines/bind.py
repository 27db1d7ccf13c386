"""Node functions with their settings filled in."""

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any


def bind(function: Callable, **settings: Any) -> partial:
    """``partial(function, **settings)`` with the name of `function`, for the names that Kedro shows."""
    bound: Any = partial(function, **settings)
    update_wrapper(bound, function)
    del bound.__wrapped__  # else inspection would ask for the settings again
    result: partial = bound
    return result
