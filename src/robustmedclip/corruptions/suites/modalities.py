"""Modalities: families of the names that people give them."""

import re

#: Family to the words by one of which a modality's name shows that it belongs to it, the first that does.
FAMILIES = {
    "OCT": ("optical coherence tomography", "oct"),
    "CT": ("computed tomography", "computerised tomography", "computerized tomography", "ct"),
    "MR": ("magnetic resonance", "mr", "mri"),
    "ultrasound": ("ultrasound", "ultrasonography", "sonography", "echocardiography", "us"),
    "X-ray": ("x-ray", "x ray", "xray", "radiograph", "radiography", "mammography", "mammogram"),
    "fundus photography": ("fundus", "fundoscopy", "retinal photography"),
    "microscopy": ("microscopy", "histopathology", "histology", "pathology", "cytology", "blood smear"),
}


def family_of(modality: str) -> str | None:
    """The family that a modality belongs to: ``blood cell microscopy`` to ``microscopy``; None where that isn't known.

    >>> family_of("mammography"), family_of("retinal optical coherence tomography"), family_of("dermoscopy")
    ('X-ray', 'OCT', None)
    """
    name = modality.lower()
    for family, words in FAMILIES.items():
        if any(re.search(rf"(?<![a-z]){re.escape(word)}(s|ic)?(?![a-z])", name) for word in words):
            return family
    return None
