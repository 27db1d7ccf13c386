"""Corrupting more images than fit into memory, while they are used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from robustmedclip.corruptions.corrupt import corrupt
from robustmedclip.corruptions.kernels import devices
from robustmedclip.devices import use_own_stream
from robustmedclip.images.conditions import Condition
from robustmedclip.images.pixels import Images, batches, rebatched
from robustmedclip.images.sets import ImageSet
from robustmedclip.parallel import cores, map_ahead

#: Fewest images that a thread is given: with fewer, handing them over would count.
_LEAST_IMAGES = 10

#: Side in pixels from which images are corrupted in several threads. Those of smaller ones wait for the interpreter's
#: lock most of the time: two take longer than one, up to twice as long at 64 px.
_LEAST_SIDE = 192


@dataclass(frozen=True)
class CorruptedOnTheFly:
    """The corrupted images of a test set, made while somebody iterates over them: a stream.

    Attributes
    ----------
    clean : ImageSet
        The uncorrupted test set.
    suite, dataset, grey, seed, device
        As in :func:`robustmedclip.corruptions.corrupt`.
    """

    clean: ImageSet
    suite: str
    dataset: str | None
    grey: str
    seed: int
    device: str = "cpu"

    def batches(self, condition: Condition, batch_size: int) -> Iterator[np.ndarray]:
        """The images under a condition, uint8 ``(<=batch_size, H, W, C)`` each; raises as ``corrupt``."""
        names = ("suite", "dataset", "grey", "seed", "device")
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        return corrupted_batches(self.clean.images, self.clean.sample_ids, batch_size, *condition, **settings)

    def on(self, device: str) -> "CorruptedOnTheFly":
        """The same, corrupted on a device of torch."""
        return replace(self, device=device)


def corrupted_batches(
    images: Images, sample_ids: Sequence[str] | np.ndarray, batch_size: int, name: str, severity: int, **settings: Any
) -> Iterator[np.ndarray]:
    """Corrupt a set of images batch by batch, a few batches ahead of the consumer.

    Parameters
    ----------
    images : ndarray or LazyImages
        uint8 ``(N, H, W, C)``; may be a memory map.
    sample_ids : sequence of str
        One per image.
    batch_size : int
        Images per batch.
    name, severity, **settings
        As in :func:`robustmedclip.corruptions.corrupt`.

    Yields
    ------
    ndarray
        uint8 ``(<=batch_size, H, W, C)``, in the order of `images`.
    """

    def corrupted(part: tuple[np.ndarray, Sequence[str]]) -> np.ndarray:
        return corrupt(part[0], name, severity, sample_ids=part[1], **settings)

    workers, size, device = cores(), batch_size, settings.get("device", "cpu")
    if device == "cpu":
        workers = workers if min(images.shape[1:3]) >= _LEAST_SIDE else 1
        # A batch is shared out: else most of many cores would have nothing to do towards the end of the images.
        size = min(size, max(_LEAST_IMAGES, -(-size // workers)))
    else:
        devices.check_device(device)
    ids = list(map(str, sample_ids))
    parts = (
        (np.array(part), ids[start : start + size])
        for start, part in zip(range(0, len(images), size), batches(images, size))
    )
    yield from rebatched(map_ahead(corrupted, parts, workers, partial(use_own_stream, device)), batch_size)
