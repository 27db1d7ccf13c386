"""Nodes that fit classifiers to image features of the untuned model, for each data set by itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from robustmedclip.adaptation.artefacts import Head
from robustmedclip.adaptation.settings import CacheSettings, LinearProbeSettings
from robustmedclip.errors import InputError
from robustmedclip.images.pixels import batches
from robustmedclip.images.sets import ImageSet
from robustmedclip.pipelines.evaluation.nodes import on_device
from robustmedclip.pipelines.few_shot.nodes import chosen

VERSION = 1


def fit_linear_probe(
    model: Any,
    few_shots: pd.DataFrame,
    parameters: Mapping[str, Any],
    *pools: ImageSet,
    settings: LinearProbeSettings,
    seed: int,
) -> tuple[Head, pd.DataFrame]:
    """A linear probe for each data set, fitted to its few-shot images; the head, and what the search compared."""
    from robustmedclip.adaptation.heads import fit_linear_probe as fit

    return _head(
        model, few_shots, parameters, pools, seed, lambda pool, *images: fit(*images, pool.class_names, settings)
    )


def fit_cache(
    model: Any,
    few_shots: pd.DataFrame,
    parameters: Mapping[str, Any],
    *pools: ImageSet,
    settings: CacheSettings,
    seed: int,
    templates: Mapping[str, Sequence[str]],
    synonyms: Mapping[str, Mapping[str, Sequence[str]]],
) -> tuple[Head, pd.DataFrame]:
    """A cache of the few-shot images of each data set; the head, and what the search compared."""
    from robustmedclip.adaptation.heads import fit_cache as fit
    from robustmedclip.models.interface import zero_shot_classifier

    def fitted(pool: ImageSet, *images: Any) -> Any:
        prompts = {"data_set": pool.name, "synonyms": synonyms[pool.name]}
        classes = zero_shot_classifier(model, pool.class_names, templates[pool.name], pool.modality, **prompts)
        zero_shot = (model.logit_scale * classes).cpu().numpy()
        return fit(*images, pool.class_names, settings, zero_shot=zero_shot)

    return _head(model, few_shots, parameters, pools, seed, fitted)


def _head(
    model: Any,
    few_shots: pd.DataFrame,
    parameters: Mapping[str, Any],
    pools: Sequence[ImageSet],
    seed: int,
    fit: Callable[..., tuple[Mapping[str, np.ndarray], list[dict[str, float]]]],
) -> tuple[Head, pd.DataFrame]:
    """What ``fit(pool, training, validation)`` makes of the features and labels of each pool's few-shot images."""
    from robustmedclip.models.batch_norm import statistics_rows, with_statistics_of
    from robustmedclip.models.inference import BATCH_SIZE, image_features

    precision = on_device(model, parameters)
    classifiers, search, training_images = {}, [], 0
    for pool in pools:
        labelled = []
        for role in ("training", "validation"):
            images = chosen(pool, few_shots, role)
            images = images.subset(np.argsort(images.sample_ids))
            encoder = model
            if model.batch_statistics:
                encoder = with_statistics_of(model, images.images[statistics_rows(len(images))])
            features = list(image_features(encoder, batches(images.images, BATCH_SIZE), precision))
            labelled.append((np.concatenate(features), images.labels))
        try:
            classifiers[pool.name], rows = fit(pool, *labelled)
        except InputError as error:
            raise InputError(f"Data set '{pool.name}': {error.message}") from error
        search += [{"data_set": pool.name, **row} for row in rows]
        training_images += len(labelled[0][1])
    metadata = {
        "base_model_hash": model.content_hash(),
        "class_names": {pool.name: list(pool.class_names) for pool in pools},
        "seed": seed,
        "training_images": training_images,
    }
    return Head(classifiers, metadata), pd.DataFrame(search)
