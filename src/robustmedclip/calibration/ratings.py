"""Answers of a rating sheet, and what they say of levels."""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from robustmedclip.corruptions.suites.definition import Band
from robustmedclip.errors import InputError
from robustmedclip.images.conditions import CLEAN, Condition

#: A level is realistic if at least this fraction of the answers accepts its images.
MAJORITY = 0.5


class Pair(NamedTuple):
    """An original and what it is shown beside; clean pairs are controls."""

    data_set: str
    condition: Condition
    sample_id: str

    def token(self) -> str:
        """As the page has it: nothing that is read by the way."""
        return base64.urlsafe_b64encode(
            json.dumps([self.data_set, str(self.condition), self.sample_id]).encode()
        ).decode()

    @classmethod
    def of_token(cls, token: str) -> "Pair":
        """Inverse of :meth:`token`.

        Raises
        ------
        ValueError
            If it is no token.
        """
        data_set, condition, sample_id = json.loads(base64.urlsafe_b64decode(token))
        return cls(data_set, Condition.parse(condition), sample_id)


@dataclass(frozen=True)
class Sheet:
    """The answers of one rater: of each pair, whether the image could come from their scanner."""

    rater: str
    answers: Mapping[Pair, bool]

    @property
    def is_reliable(self) -> bool:
        """Whether the rater takes most originals for originals."""
        controls = [accepted for pair, accepted in self.answers.items() if pair.condition == CLEAN]
        return not controls or sum(controls) > len(controls) / 2


class Verdict(NamedTuple):
    """How many answers there are on a level, and how many accept it."""

    accepted: int
    answers: int

    @property
    def band(self) -> Band:
        """What most answers say."""
        return "realistic" if self.accepted >= MAJORITY * self.answers else "extreme"


def sheet_of(content: Any) -> Sheet:
    """The sheet that the content of a downloaded file is.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        rater, answers = str(content["rater"]), content["answers"]
        if not all(isinstance(accepted, bool) for accepted in answers.values()):
            raise ValueError("an answer is neither true nor false")
        return Sheet(rater, {Pair.of_token(token): accepted for token, accepted in answers.items()})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"expected 'rater' and 'answers': {error}") from error


def verdicts(sheets: Iterable[Sheet]) -> dict[tuple[str, Condition], Verdict]:
    """What the reliable raters say of each level of each data set that they saw."""
    answers: dict[tuple[str, Condition], list[bool]] = defaultdict(list)
    for sheet in sheets:
        for pair, accepted in sheet.answers.items() if sheet.is_reliable else ():
            if pair.condition != CLEAN:
                answers[pair.data_set, pair.condition].append(accepted)
    return {level: Verdict(sum(of_level), len(of_level)) for level, of_level in answers.items()}
