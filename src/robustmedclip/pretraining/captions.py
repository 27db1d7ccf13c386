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


def captions(anatomy: str, label: int, rng: np.random.Generator, count: int) -> list[str]:
    """Captions of one class of an anatomy, phrase and sentence chosen by `rng`."""
    module = ANATOMIES[anatomy]
    phrases = list(module.CLASSES.values())[label]
    return [
        TEMPLATES[rng.integers(len(TEMPLATES))].format(
            modality=module.MODALITY, phrase=phrases[rng.integers(len(phrases))]
        )
        for _ in range(count)
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
