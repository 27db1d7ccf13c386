"""How sure a model may be: a temperature for each data set, of clean images that it does not learn from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.adaptation.artefacts import Adapter, Head
from robustmedclip.adaptation.methods import Method
from robustmedclip.images.corrupted import clean_alone
from robustmedclip.images.findings import UNKNOWN
from robustmedclip.images.sets import ImageSet
from robustmedclip.metrics import fit_temperature
from robustmedclip.metrics.logits import Logits
from robustmedclip.metrics.metric import two_classes
from robustmedclip.pipelines.evaluation.nodes import encode, encode_and_score, score
from robustmedclip.pipelines.few_shot.nodes import chosen


def fit_temperatures(
    *,
    model: Any,
    few_shots: pd.DataFrame,
    parameters: Mapping[str, Any],
    artefact: Adapter | Head | None = None,
    method: Method,
    name: str,
    templates: Mapping[str, Sequence[str]],
    synonyms: Mapping[str, Mapping[str, Sequence[str]]],
    scorings: Mapping[str, str] | None = None,
    **pools: ImageSet,
) -> dict[str, dict[str, float]]:
    """The temperature of a model on each data set, fitted to the validation images of a few-shot sample.

    Parameters
    ----------
    model : VisionLanguageModel
        The base model.
    few_shots : DataFrame
        Which images of the training `pools` validate.
    parameters : mapping
        The ``precision`` that images are encoded in.
    artefact : Adapter or Head, optional
        What the method left behind.
    method, name
        How the model was adapted, and what it is called.
    templates, synonyms, scorings : mapping
        Name of each data set to its prompts; and of findings, what each is compared with.

    Returns
    -------
    dict
        Data set to its ``temperature`` and the number of ``images`` that it is of. Data sets of which no image
        validates are left out. All findings of a data set have one, fitted to all that are known.
    """
    temperatures: dict[str, dict[str, float]] = {}
    for pool in pools.values():
        images = chosen(pool, few_shots, "validation")
        if len(images):
            prompts: dict[str, Any] = {"templates": templates[pool.name], "synonyms": synonyms[pool.name]}
            prompts["scoring"] = (scorings or {}).get(pool.name)
            logits, labels = _decisions(_clean_logits(model, images, artefact, parameters, method, name, prompts))
            temperatures[pool.name] = {"temperature": fit_temperature(logits, labels), "images": len(images)}
    return temperatures


def _clean_logits(
    model: Any,
    images: ImageSet,
    artefact: Adapter | Head | None,
    parameters: Mapping[str, Any],
    method: Method,
    name: str,
    prompts: Mapping[str, Any],
) -> Logits:
    """Logits of images as they are, as those of the test images are made."""
    facts = {"method": method, "name": name, "attributes": {}, **prompts}
    if artefact is not None and not method.scores_features:
        return encode_and_score(model, clean_alone(images), artefact, parameters, **facts)
    features = encode(model, clean_alone(images), parameters, name=name)
    return score(features, model, artefact if isinstance(artefact, Head) else None, **facts)


def _decisions(run: Logits) -> tuple[np.ndarray, np.ndarray]:
    """Logits of each image under no corruption, and its class; or of each finding that is known, absent and present."""
    logits, labels = run.logits[0], run.labels
    if labels.ndim == 1:
        return logits, labels
    known = labels != UNKNOWN
    return two_classes(logits[known]), labels[known]
