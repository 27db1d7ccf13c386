"""Images of each modality: phantoms, and for slices the head of Shepp and Logan with some texture."""

from functools import lru_cache

import cv2
import numpy as np
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

from robustmedclip.corruptions import Corruption
from robustmedclip.phantoms import DOMAINS, draw_phantoms

#: Family of modalities to the phantom's anatomy and its labels. There is no phantom of an ultrasound image: that of
#: the breast has its textures.
PHANTOMS = {
    "X-ray": [("chest", (0, 1)), ("breast", (0, 1))],
    "ultrasound": [("breast", (0, 1))],
    "OCT": [("oct", (0, 2))],
    "fundus photography": [("fundus", (0, 2))],
    "microscopy": [("blood", (0, 2))],
}


@lru_cache
def acquired(family: str, side: int) -> np.ndarray:
    """Two images of a modality or four, uint8 ``(N, side, side, 1 or 3)``."""
    if family in ("CT", "MR"):
        return head(side)[None]
    drawn = [
        draw_phantoms(
            anatomy,
            [f"{anatomy}{label}" for label in labels],
            np.array(labels),
            size=side,
            seed=0,
            domain=DOMAINS["hospital"],
        )
        for anatomy, labels in PHANTOMS[family]
    ]
    return np.concatenate(drawn)


def head(side: int) -> np.ndarray:
    """The head of Shepp and Logan with a texture, uint8 ``(side, side, 1)``."""
    grains = cv2.GaussianBlur(np.random.default_rng(0).standard_normal((400, 400)).astype(np.float32), (0, 0), 4)
    texture = cv2.resize(grains / grains.std(), (side, side), interpolation=cv2.INTER_AREA)
    slice_ = resize(shepp_logan_phantom() ** 0.7, (side, side), anti_aliasing=True) * (1 + 0.08 * texture)
    return (np.clip(slice_, 0, 1) * 255).astype(np.uint8)[..., None]


def images_for(corruption: Corruption, side: int) -> np.ndarray:
    """Images of the modalities of a corruption; of one for any modality, radiographs."""
    return np.concatenate([acquired(family, side) for family in sorted(corruption.modalities or {"X-ray"})])
