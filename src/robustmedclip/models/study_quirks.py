"""What the study's code does to models that its description does not say, as named switches.

The code is BioMedIA-MBZUAI/RobustMedCLIP at 5676e60 (arXiv:2505.15425). To compare with its published numbers, a model
is given the switches that the code applied to it.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from robustmedclip.errors import InputError
from robustmedclip.models.batch_norm import batch_norm_layers
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, channel_values
from robustmedclip.models.study_switches import STUDY_SWITCHES


def _normalised_twice(model: VisionLanguageModel) -> VisionLanguageModel:
    """CLIP's images: the loader normalises them, then the model does (dataset.py:503, models.py:46)."""
    channels = list(zip(model.preprocess.mean, model.preprocess.std, strict=True))
    mean, std = [m + s * m for m, s in channels], [s * s for _, s in channels]
    twice = replace(model.preprocess, mean=channel_values(mean, "mean"), std=channel_values(std, "std"))
    return replace(model, preprocess=twice)


def _clip_normalisation(model: VisionLanguageModel) -> VisionLanguageModel:
    """Every model's images: in colour, cropped and normalised as CLIP's (dataset.py:554-560)."""
    preprocess = replace(
        model.preprocess, mean=CLIP_MEAN, std=CLIP_STD, interpolation="bicubic", resize_mode="shortest", mode="RGB"
    )
    return replace(model, preprocess=preprocess)


def _text_not_normalised(model: VisionLanguageModel) -> VisionLanguageModel:
    """BiomedCLIP's and UniMedCLIP's class vectors: as long as they come (models.py:104,128)."""
    return replace(model, unit_text=False)


def _no_logit_scale(model: VisionLanguageModel) -> VisionLanguageModel:
    """Every model's scores: the softmax of the product of the features itself (evaluate.py)."""
    return replace(model, logit_scale=1.0)


def _batch_statistics(model: VisionLanguageModel) -> VisionLanguageModel:
    """A ResNet's batch normalisation: with the statistics of the images in the batch, up to 2048 of one condition in
    random order, for ``eval()`` is never called (models.py:69, evaluate.py:78)."""
    if not batch_norm_layers(model.network):
        raise InputError(
            f"{model.name} has no batch normalisation: take 'batch_statistics' out of the model's 'authors' in "
            "benchmark.yml"
        )
    return replace(model, batch_statistics=True)


_SWITCHES: dict[str, Callable[[VisionLanguageModel], VisionLanguageModel]] = dict(
    zip(
        STUDY_SWITCHES,
        (_normalised_twice, _clip_normalisation, _text_not_normalised, _no_logit_scale, _batch_statistics),
        strict=True,
    )
)


def apply_study_quirks(model: VisionLanguageModel, switches: Iterable[str]) -> VisionLanguageModel:
    """The model as the study's code treats it.

    Parameters
    ----------
    model : VisionLanguageModel
        The model.
    switches : iterable of str
        Some of :data:`~robustmedclip.models.study_switches.STUDY_SWITCHES`; applied in their order.

    Raises
    ------
    InputError
        If ``batch_statistics`` is asked of a model without batch normalisation.
    """
    chosen = set(switches)
    for name, switch in _SWITCHES.items():
        if name in chosen:
            model = switch(model)
    return model
