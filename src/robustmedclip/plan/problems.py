"""What is wrong with the configuration, as lines for people: every problem at once, with its place."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from robustmedclip.errors import InputError, suggestion

M = TypeVar("M", bound=BaseModel)

_LONGEST = 200
_QUOTE = "; put a text that YAML takes for something else, such as yes, no, 1:20 or 010, into quotes"


class PlanError(InputError):
    """The plan is wrong; the message lists every problem found in it."""


def refuse(problems: Iterable[str]) -> None:
    """Raise a :class:`PlanError` that lists the problems, each once, if there are any."""
    if lines := dict.fromkeys(problems):
        raise PlanError("benchmark.yml and the parameters:\n" + "\n".join(f"  - {line}" for line in lines))


def unknown(place: str, names: Iterable[Any], known: Iterable[str]) -> Iterator[str]:
    """A line for each of the `names` that is not among the `known`, with the one that was probably meant."""
    known = list(known)
    for name in names:
        if name not in known:
            yield f"{place}{': ' if place else ''}unknown {shown(name)}; {suggestion(name, known)}"


def shown(value: Any) -> str:
    """A value as messages show it: not longer than a line."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def parsed(model: type[M], place: str, values: Any, problems: list[str]) -> M | None:
    """Settings as `model` has them; None, after the problems were added, if they are not valid.

    Parameters
    ----------
    model : type
        A pydantic model that forbids other keys.
    place : str
        Where the settings stand: ``data_sets.oct``.
    values : object
        What stands there.
    problems : list of str
        Lines are added to it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems += lines(model, place, error.errors())
        return None


def lines(model: type[BaseModel], place: str, errors: Iterable[ErrorDetails]) -> Iterator[str]:
    """Problems that pydantic found, as lines: missing and unknown keys of one place together."""
    missing: dict[tuple[str, ...], list[str]] = {}
    rest: list[str] = []
    for error in errors:
        *outside, last = (place, *map(str, error["loc"])) if error["loc"] else (place, "")
        inside = tuple(filter(None, outside))
        if error["type"] == "missing":
            missing.setdefault(inside, []).append(last)
        elif error["type"] == "extra_forbidden":
            known = _model_at(model, error["loc"][:-1]).model_fields
            rest += unknown(".".join(inside), [last], known)
        else:
            rest.append(f"{'.'.join(filter(None, (*inside, last)))}: {_reason(model, error)}")
    yield from (f"{'.'.join(inside)}: missing {', '.join(names)}" for inside, names in missing.items())
    yield from rest


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    """The model of nested settings; `path` leads to them from settings that `model` is of."""
    for step in path:
        annotation = model.model_fields[str(step)].annotation
        options = getattr(annotation, "__args__", (annotation,))
        model = next(option for option in options if isinstance(option, type) and issubclass(option, BaseModel))
    return model


def _reason(model: type[BaseModel], error: ErrorDetails) -> str:
    value, message = error["input"], error["msg"].removeprefix("Value error, ")
    if error["type"] == "literal_error":
        message = f"expected {error['ctx']['expected'].replace(chr(39), '')}"
    elif error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = f"expected {', '.join(_model_at(model, error['loc']).model_fields)}"
    elif error["type"] != "value_error":
        message = f"expected {message.removeprefix('Input should be ')}"
    if not message.startswith("expected"):
        return message
    quote = _QUOTE if "text" in message or "name" in message else ""
    return f"{message}, found {shown(value)}{quote if _is_taken_for_something_else(value) else ''}"


def _is_taken_for_something_else(value: Any) -> bool:
    """Whether a value, or a part of it, is what YAML makes of a text without quotes."""
    if isinstance(value, Mapping):
        return any(map(_is_taken_for_something_else, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return any(map(_is_taken_for_something_else, value))
    return value is not None and not isinstance(value, str)
