"""Conditions: clean, or a corruption at a severity."""

from typing import NamedTuple


class Condition(NamedTuple):
    """How a test set was degraded: ``clean``, or a corruption at a severity of 1 to 5."""

    corruption: str = "clean"
    severity: int = 0

    def __str__(self) -> str:
        return self.corruption if self == CLEAN else f"{self.corruption}_severity_{self.severity}"

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Inverse of ``str``.

        Raises
        ------
        ValueError
            If `text` is neither ``clean`` nor ``<corruption>_severity_<1..5>``.
        """
        corruption, separator, severity = text.rpartition("_severity_")
        if text == "clean":
            return CLEAN
        if not separator or severity not in ("1", "2", "3", "4", "5"):
            raise ValueError(f"{text!r} is not a condition: expected 'clean' or '<corruption>_severity_<1..5>'")
        return cls(corruption, int(severity))


CLEAN = Condition()
