"""Which images an epoch sees, and in which order."""

import numpy as np

from robustmedclip.adaptation.samples import Samples


def epoch_order(samples: Samples, sampling: str, rng: np.random.Generator) -> np.ndarray:
    """Indices of the images of an epoch.

    Parameters
    ----------
    samples : Samples
        The training images.
    sampling : str
        ``natural``: every image once. ``balanced``: every data set equally often, and within it every class that has
        images, the images of a class as evenly as can be; what cannot be divided is given out at random. Images of
        findings count to the rarest that they have.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray
        int64 ``(len(samples),)``.
    """
    if sampling == "natural":
        return rng.permutation(len(samples))
    drawn, data_sets = [], [inside for inside in samples.members() if len(inside)]
    for inside, of_data_set in zip(data_sets, _parts(len(samples), len(data_sets), rng), strict=True):
        labels = samples.strata[inside]
        classes = [inside[labels == label] for label in np.unique(labels)]
        for images, of_class in zip(classes, _parts(of_data_set, len(classes), rng), strict=True):
            for left in range(of_class, 0, -len(images)):
                drawn.append(rng.permutation(images)[:left])
    return rng.permutation(np.concatenate(drawn))


def occurrences(order: np.ndarray) -> np.ndarray:
    """How often each element of `order` came before, int64 ``(n,)``."""
    _, inverse, counts = np.unique(order, return_inverse=True, return_counts=True)
    ranks = np.empty(len(order), np.int64)
    ranks[np.argsort(inverse, kind="stable")] = np.concatenate([np.arange(count) for count in counts])
    return ranks


def _parts(total: int, parts: int, rng: np.random.Generator) -> np.ndarray:
    """`total` divided into `parts` equal parts, the remainder one each to parts at random, int64 ``(parts,)``."""
    sizes = np.full(parts, total // parts)
    sizes[rng.permutation(parts)[: total % parts]] += 1
    return sizes
