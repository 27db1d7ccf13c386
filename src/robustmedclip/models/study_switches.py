"""Names of what the study's code does to models, known without torch; see :mod:`robustmedclip.models.study_quirks`."""

#: In the order in which they are applied.
STUDY_SWITCHES = (
    "normalised_twice",
    "clip_normalisation",
    "text_not_normalised",
    "no_logit_scale",
    "batch_statistics",
)
