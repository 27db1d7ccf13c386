"""The dry run: is everything there that the plan needs, and is it whole?"""

from collections.abc import Callable, Iterable
from typing import Any

from tabulate import tabulate

from robustmedclip.errors import InputError
from robustmedclip.images.corrupted import ReleasedSet
from robustmedclip.images.pixels import batches
from robustmedclip.images.sets import ImageSet
from robustmedclip.io.sources.source import SourceDataset
from robustmedclip.pipelines.ingestion.nodes import ingest
from robustmedclip.progress import track

_BATCH = 64


def check_entries(names: Iterable[str], entry: Callable[[str], Any]) -> list[tuple[str, str, str]]:
    """Read everything in some entries of the catalog once, pixels and checksums included; nothing is written.

    Parameters
    ----------
    names : iterable of str
        Sources of images, released corrupted sets and models; of models only what they say of themselves is asked.
    entry : callable
        Name to dataset.

    Returns
    -------
    list of (str, str, str)
        Name, status (``present``, ``missing`` or ``damaged``) and what was found, an entry each.
    """
    return [(name, *_checked(entry(name), pixels=not name.startswith("model-"))) for name in names]


def as_text(checked: Iterable[tuple[str, str, str]]) -> str:
    """The result of :func:`check_entries` for people: a line per entry."""
    rows = [(name.replace("-", " ", 1), *rest) for name, *rest in checked]
    return tabulate(rows, ["entry", "status", "found"], tablefmt="plain")


def _checked(dataset: Any, pixels: bool) -> tuple[str, str]:
    if isinstance(dataset, SourceDataset) and (absent := dataset.missing()):
        return "missing", absent
    try:
        if problems := dataset.problems() if hasattr(dataset, "problems") else []:
            return ("missing" if problems[0].startswith("there is no ") else "damaged"), "; ".join(problems)
        if not pixels:
            return "present", ""
        loaded = dataset.verified() if hasattr(dataset, "verified") else dataset.load()
        if isinstance(loaded, ReleasedSet):
            return "present", f"{len(loaded.shapes)} conditions"
        return "present", _read_splits(loaded)
    except (InputError, OSError) as error:
        return "damaged", getattr(error, "message", str(error))


def _read_splits(splits: dict[str, ImageSet]) -> str:
    for image_set in ingest(splits):
        count = -(-len(image_set) // _BATCH)
        for _ in zip(
            track(range(count), f"Reading {image_set.name}, batches"), batches(image_set.images, _BATCH), strict=True
        ):
            pass
    counts = ", ".join(f"{split} {len(part)}" for split, part in splits.items())
    height, width, channels = splits["test"].images.shape[1:]
    return f"{counts}; {height} x {width} x {channels}; {len(splits['test'].class_names)} classes"
