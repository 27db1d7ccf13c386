"""Fonts that have the characters of names in every script."""

import logging
import unicodedata
from collections.abc import Iterable
from functools import cache

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

logger = logging.getLogger(__name__)


def font_families(texts: Iterable[str]) -> list[str]:
    """Font families that together have the characters of some texts, for ``rcParams["font.family"]``.

    Matplotlib takes each character from the first family that has it. The families in use come first; others that are
    installed follow where those lack a character. Characters that no installed font has are named in a warning: they
    are drawn as boxes.

    Parameters
    ----------
    texts : iterable of str
        Names of models, data sets and classes.
    """
    families = list(matplotlib.rcParams["font.family"])
    present = {font_manager.findfont(font_manager.FontProperties([family])) for family in families}
    missing = {letter for letter in set("".join(texts)) if _is_drawn(letter) and not _has(present, letter)}
    for name, path in sorted(_installed().items()) if missing else ():
        covered = {letter for letter in missing if ord(letter) in _characters(path)}
        if covered:
            families.append(name)
            missing -= covered
    if missing:
        logger.warning(
            "No installed font has the characters %s: they are boxes in the figures. Install a font that has them, "
            "such as Noto Sans, or write the names in other letters",
            " ".join(f"{letter} (U+{ord(letter):04X})" for letter in sorted(missing)),
        )
    return families


def _is_drawn(letter: str) -> bool:
    return unicodedata.category(letter)[0] not in "CZ"


def _has(paths: Iterable[str], letter: str) -> bool:
    return any(ord(letter) in _characters(path) for path in paths)


@cache
def _characters(path: str) -> frozenset[int]:
    """Code points that a font file has."""
    return frozenset(FT2Font(path).get_charmap())


@cache
def _installed() -> dict[str, str]:
    """Names of the installed families to one upright file of each."""
    return {
        entry.name: entry.fname
        for entry in reversed(font_manager.fontManager.ttflist)
        if entry.style == "normal" and "Last Resort" not in entry.name
    }
