"""Captions of phantoms: a phrase of the class in a varied sentence."""

import numpy as np

from robustmedclip.phantoms import ANATOMIES

TEMPLATES = (
    "{phrase}",
    "{modality} of {phrase}",
    "{phrase}, {modality}",
    "a {modality} image showing {phrase}",
    "this {modality} shows {phrase}",
    "{modality} demonstrating {phrase}",
    "findings: {phrase}",
    "synthetic {modality} with {phrase}",
)


def captions(anatomy: str, labels: np.ndarray, rng: np.random.Generator) -> list[str]:
    """One caption per phantom.

    Parameters
    ----------
    anatomy : str
        A key of ``ANATOMIES``.
    labels : ndarray
        int ``(N,)``, index into the anatomy's classes.
    rng : numpy.random.Generator
        Chooses phrase and sentence.

    Returns
    -------
    list of str
        Length N.
    """
    module = ANATOMIES[anatomy]
    phrases = list(module.CLASSES.values())
    return [
        TEMPLATES[rng.integers(len(TEMPLATES))].format(
            modality=module.MODALITY, phrase=phrases[label][rng.integers(len(phrases[label]))]
        )
        for label in labels
    ]


def all_captions() -> list[str]:
    """Every caption there can be."""
    return [
        template.format(modality=module.MODALITY, phrase=phrase)
        for module in ANATOMIES.values()
        for phrases in module.CLASSES.values()
        for phrase in phrases
        for template in TEMPLATES
    ]
