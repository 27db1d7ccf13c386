"""Paragraphs of the report."""

from typing import NamedTuple


class Note(NamedTuple):
    """A paragraph: `lead` stands out, and a `warning` as a whole."""

    lead: str
    text: str
    warning: bool = False
