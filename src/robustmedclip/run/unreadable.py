"""Images that can't be read, of all data sets, before a run spends work on any."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline.node import Node

from robustmedclip.errors import InputError
from robustmedclip.images.sets import ImageSet
from robustmedclip.io.sources.source import is_source
from robustmedclip.plan import names
from robustmedclip.progress import duration, track

logger = logging.getLogger(__name__)

_BATCH = 64
#: Of a data set whose images take longer to read, the headers alone are looked at.
MOST_SECONDS = 300


def unreadable_images(nodes: Sequence[Node], catalog: DataCatalog) -> list[str]:
    """A line for each data set of which some image can't be read, with their names and reasons.

    Every image of the local data sets that the nodes ingest is decoded once, if that takes less than
    :data:`MOST_SECONDS`; phantoms are not, for they are drawn.

    Parameters
    ----------
    nodes : sequence of Node
        Nodes that will run.
    catalog : DataCatalog
        Where the sources are.
    """
    problems = []
    raw = {entry for node in nodes for entry in node.inputs if entry == names.raw(names.parts(entry)[1])}
    for name in sorted(raw):
        source: Any = catalog.get(name)
        if not is_source(source) or source.synthetic or not _is_local(source.paths()):
            continue
        try:
            with _without_remarks():
                for image_set in source.load().values():
                    _read(image_set)
        except (InputError, OSError) as error:
            message = str(getattr(error, "message", error)).removeprefix(f"Data set '{names.parts(name)[1]}': ")
            problems.append(f"{names.spoken(name)}: {message}")
    return problems


def _is_local(paths: Sequence[str]) -> bool:
    """Whether there are files on this machine, none of which has to be fetched."""
    return bool(paths) and all(map(os.path.exists, paths))


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep what sources say of their files for when they are ingested."""
    sources = logging.getLogger("robustmedclip.io")
    level = sources.level
    sources.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        sources.setLevel(level)


def _read(image_set: ImageSet) -> None:
    """Decode all images of a set, or as many as say that it would take too long."""
    images, started = image_set.images, time.monotonic()
    starts = range(0, len(images), _BATCH)
    images[:_BATCH]
    expected = (time.monotonic() - started) * (len(starts) - 1)
    if expected > MOST_SECONDS:
        logger.info(
            "Data set '%s', %s images: to read all %d would take about %s, so that their headers alone were looked at; "
            "kedro check reads all",
            image_set.name,
            image_set.split,
            len(images),
            duration(expected),
        )
        return
    for start in track(starts[1:], f"Reading {image_set.name}, {image_set.split} images, batches"):
        images[start : start + _BATCH]
