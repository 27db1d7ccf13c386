"""Synthetic phantoms: procedural images of five modalities, drawn from anatomy, with labels.

They are drawings. They make the benchmark runnable without any download and say nothing about patients.
"""

import hashlib
from collections.abc import Iterable
from types import ModuleType

import numpy as np

from robustmedclip.phantoms import blood, breast, chest, fundus, oct
from robustmedclip.phantoms.acquisition import DOMAINS, Domain, acquire

__all__ = ["ANATOMIES", "DOMAINS", "Domain", "draw_phantoms"]

ANATOMIES: dict[str, ModuleType] = {
    "blood": blood,
    "breast": breast,
    "chest": chest,
    "fundus": fundus,
    "oct": oct,
}

#: Mean of each channel of a well exposed image of the modality.
NOMINAL_MEAN = {
    "blood": (0.74, 0.62, 0.68),
    "breast": (0.36,),
    "chest": (0.46,),
    "fundus": (0.46, 0.25, 0.13),
    "oct": (0.27,),
}


def draw_phantoms(
    anatomy: str, sample_ids: Iterable[str], labels: np.ndarray, *, size: int, seed: int, domain: Domain
) -> np.ndarray:
    """Draw and acquire phantoms; each depends on its own id, label and the seed alone.

    Parameters
    ----------
    anatomy : str
        A key of ``ANATOMIES``.
    sample_ids : iterable of str
        One per image.
    labels : ndarray
        int ``(N,)``, index into the anatomy's classes.
    size : int
        Side of the image in pixels.
    seed : int
        Seed of the collection.
    domain : Domain
        The acquiring site.

    Returns
    -------
    ndarray
        uint8 ``(N, size, size, C)``.
    """
    module = ANATOMIES[anatomy]
    images = np.empty((len(labels), size, size, module.CHANNELS), np.uint8)
    for image, sample_id, label in zip(images, sample_ids, labels, strict=True):
        key = hashlib.blake2b(f"{seed}|{anatomy}|{sample_id}".encode(), digest_size=16).digest()
        rng = np.random.Generator(np.random.Philox(key=np.frombuffer(key, np.uint64)))
        image[:] = acquire(module.draw(rng, int(label), size), rng, domain, NOMINAL_MEAN[anatomy])
    return images
