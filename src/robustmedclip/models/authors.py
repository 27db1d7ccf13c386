"""What the study's code does to models that its description does not say, as named switches.

The code is BioMedIA-MBZUAI/RobustMedCLIP at 5676e60 (arXiv:2505.15425). To compare with its published numbers, a model is
given the switches that the code applied to it.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD


def _normalised_twice(model: VisionLanguageModel) -> VisionLanguageModel:
    """CLIP's images: the loader normalises them, then the model does (dataset.py:503, models.py:46)."""
    channels = list(zip(model.preprocess.mean, model.preprocess.std, strict=True))
    mean, std = tuple(m + s * m for m, s in channels), tuple(s * s for _, s in channels)
    return replace(model, preprocess=replace(model.preprocess, mean=mean, std=std))


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


_SWITCHES: dict[str, Callable[[VisionLanguageModel], VisionLanguageModel]] = {
    "normalised_twice": _normalised_twice,
    "clip_normalisation": _clip_normalisation,
    "text_not_normalised": _text_not_normalised,
    "no_logit_scale": _no_logit_scale,
}


def as_the_authors(model: VisionLanguageModel, switches: Iterable[str]) -> VisionLanguageModel:
    """The model as the study's code treats it.

    Parameters
    ----------
    model : VisionLanguageModel
        The model.
    switches : iterable of str
        ``normalised_twice``, ``clip_normalisation``, ``text_not_normalised``, ``no_logit_scale``; applied in this order.
    """
    chosen = set(switches)
    for name, switch in _SWITCHES.items():
        if name in chosen:
            model = switch(model)
    return model
