"""Data sets that nothing is tuned on: models are tuned on another one of the same classes, from another site."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from robustmedclip.plan.plan import DataSet
from robustmedclip.plan.problems import unknown
from robustmedclip.plan.schema import ShiftEntry


def with_shifts(data_sets: Sequence[DataSet], shifts: Sequence[ShiftEntry], problems: list[str]) -> list[DataSet]:
    """The data sets, those of another site with the one that is tuned on in their place; adds what is wrong."""
    known = {data_set.name: data_set for data_set in data_sets}
    problems += _shift_problems(known, shifts)
    homes = {shift.to: shift.of for shift in shifts}
    return [replace(data_set, tuned_on=homes.get(data_set.name)) for data_set in data_sets]


def _shift_problems(data_sets: Mapping[str, DataSet], shifts: Sequence[ShiftEntry]) -> Iterator[str]:
    targets = [shift.to for shift in shifts]
    for shift in shifts:
        yield from unknown("shift", (shift.of, shift.to), data_sets)
        if targets.count(shift.to) > 1:
            yield f"shift: '{shift.to}' is the other site of several data sets: keep one"
        if shift.of in targets:
            yield f"shift: '{shift.of}' is another site itself, which nothing is tuned on: name one that is tuned on"
        classes = [data_sets[name].class_names for name in (shift.of, shift.to) if name in data_sets]
        if None not in classes and len(set(classes)) > 1:
            yield f"shift: '{shift.of}' and '{shift.to}' have other classes, or in another order"
        if len({data_sets[name].scoring for name in (shift.of, shift.to) if name in data_sets}) > 1:
            yield f"shift: '{shift.of}' and '{shift.to}' have another task or scoring"
