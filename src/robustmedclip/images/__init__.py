"""Images with labels: sets, pixels that are read when they are used, and the conditions that degrade them."""

from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.images.corrupted import CorruptedSet, ReleasedSet
from robustmedclip.images.pixels import Images, LazyImages, batches, chosen_rows, concatenated, rebatched
from robustmedclip.images.sets import SPLITS, ImageSet

__all__ = [
    "CLEAN",
    "SPLITS",
    "Condition",
    "CorruptedSet",
    "ImageSet",
    "Images",
    "LazyImages",
    "ReleasedSet",
    "batches",
    "chosen_rows",
    "concatenated",
    "rebatched",
]
