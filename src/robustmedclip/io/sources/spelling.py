"""Names that look the same and are not."""

import unicodedata
from collections.abc import Iterable


def lookalikes(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Those of the names that look like another one, to ``looks like 'é', spelled in another Unicode form``."""
    looks = {name: appearance(name).casefold() for name in names}
    wanted = set(looks.values())
    seen = {look: other for other in known if (look := appearance(other).casefold()) in wanted}
    return {
        name: f"looks like {seen[look]!r}, {difference(name, seen[look])}"
        for name, look in looks.items()
        if seen.get(look, name) != name
    }


def same_looking(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ and can't be told apart by eye; upper and lower case can."""
    first: dict[str, str] = {}
    return [(seen, name) for name in names if (seen := first.setdefault(appearance(name), name)) != name]


def difference(name: str, other: str) -> str:
    """How two names that look alike differ, as the end of a sentence."""
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other):
        return "spelled in another Unicode form"
    if hidden := sorted({f"U+{ord(mark):04X}" for mark in set(name) ^ set(other) if _is_invisible(mark)}):
        return f"but for characters that don't show ({', '.join(hidden)})"
    if "\\" in name + other:
        return "with / in place of \\"
    if name.casefold() == other.casefold():
        return "but for upper and lower case"
    return "but for spaces or a variant of a character"


def appearance(name: str) -> str:
    """A name as it looks: canonical and compatible forms, without what does not show, spaces alike."""
    if name.isascii() and name.isprintable():
        return " ".join(name.replace("\\", "/").split())
    shown = "".join(mark for mark in unicodedata.normalize("NFKC", name) if not _is_invisible(mark) or mark.isspace())
    return " ".join(shown.replace("\\", "/").split())


def _is_invisible(mark: str) -> bool:
    kind = unicodedata.category(mark)
    return kind in ("Cf", "Cc") or (kind == "Zs" and mark != " ") or 0xFE00 <= ord(mark) <= 0xFE0F
