"""Names of what the study's code does to models, known without torch; see :mod:`robustmedclip.models.study_quirks`."""

from collections.abc import Collection

#: In the order in which they are applied.
STUDY_SWITCHES = (
    "normalised_twice",
    "clip_normalisation",
    "text_not_normalised",
    "no_logit_scale",
    "batch_statistics",
)


def reads_images_twice(switches: Collection[str]) -> bool:
    """Whether a model with these switches reads the test images twice: for their statistics, then to encode them."""
    return "batch_statistics" in switches
