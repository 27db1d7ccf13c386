"""Progress of long work, as lines in the log."""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

_FIRST_LINE, _LARGEST_GAP = 15, 600


def track(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, with a line now and then: how many are done, and how long the rest will take.

    The first comes after 15 seconds; each after twice as long as the one before, at most after 10 minutes.
    """
    started = reported = time.monotonic()
    gap = _FIRST_LINE
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - reported >= gap:
            rest = (now - started) / done * (len(items) - done)
            logger.info("%s: %d of %d, about %s left", what, done, len(items), duration(rest))
            reported, gap = now, min(2 * gap, _LARGEST_GAP)
        yield item


def volume(count: float) -> str:
    """A number of bytes for people: ``45 MB``, ``3.5 GB``."""
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """A duration for people: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
