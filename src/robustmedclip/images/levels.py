"""What the levels of images say against them, seen while the images pass."""

import logging
from dataclasses import dataclass, field, replace

import numpy as np

from robustmedclip.errors import first_ten
from robustmedclip.images.pixels import LazyImages
from robustmedclip.images.sets import ImageSet

logger = logging.getLogger(__name__)

#: Sets whose levels span fewer of the 256 are warned of: they look black, or grey.
SMALLEST_SPAN = 100
_EVERY = 61


@dataclass
class LevelSummary:
    """Range of the levels of some images, and the images that are constant or of two levels.

    Attributes
    ----------
    low, high : int
        Lowest and highest level, 0 to 255.
    constant, two_valued : dict
        Sample id of each image of one level, to that level; of each image of two levels, to the two.
    """

    low: int = 255
    high: int = 0
    constant: dict[str, int] = field(default_factory=dict)
    two_valued: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, images: np.ndarray, sample_ids: np.ndarray) -> None:
        """Take some more images into account: uint8 ``(n, H, W, C)``, and their names."""
        flat = images.reshape(len(images), -1)
        lows, highs = flat.min(axis=1), flat.max(axis=1)
        self.low, self.high = min(self.low, int(lows.min())), max(self.high, int(highs.max()))
        for image, low, high, sample_id in zip(flat, lows.tolist(), highs.tolist(), sample_ids.tolist(), strict=True):
            if low == high:
                self.constant[sample_id] = low
            elif all(((part == low) | (part == high)).all() for part in (image[::_EVERY], image)):
                self.two_valued[sample_id] = (low, high)

    def warnings(self) -> list[str]:
        """What a user should look at, a sentence each."""
        sentences = []
        if self.high - self.low < SMALLEST_SPAN:
            sentences.append(
                f"the levels lie between {self.low} and {self.high}, and those of images from 0 to 255: scale them, or "
                "they are seen as black or grey"
            )
        if self.constant:
            named = [f"{sample_id} ({level})" for sample_id, level in self.constant.items()]
            sentences.append(f"{len(named)} images have one level throughout, and show nothing: {first_ten(named)}")
        if self.two_valued:
            named = [f"{sample_id} ({low} and {high})" for sample_id, (low, high) in self.two_valued.items()]
            sentences.append(
                f"{len(named)} images have two levels alone, as masks do: {first_ten(named)}. "
                "Leave masks out (of a folder: 'exclude')"
            )
        return sentences


def checked_levels(image_set: ImageSet) -> ImageSet:
    """The set, whose levels are looked at as its images are read; when all have been, the log warns of what is odd."""
    images, summary = image_set.images, LevelSummary()
    unseen = np.ones(len(images), bool)

    def read(rows: np.ndarray) -> np.ndarray:
        pixels = images[rows]
        new = unseen[rows]
        if new.any():
            summary.add(pixels[new], image_set.sample_ids[rows[new]])
            unseen[rows] = False
            if not unseen.any():
                for sentence in summary.warnings():
                    logger.warning("Data set '%s', %s images: %s", image_set.name, image_set.split, sentence)
        return pixels

    return replace(image_set, images=LazyImages(images.shape, read))
