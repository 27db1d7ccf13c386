"""Nodes of the tuning."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from robustmedclip.adaptation.settings import TrainingSettings
from robustmedclip.pipelines.few_shot.nodes import chosen
from robustmedclip.types import Adapter, ImageSet

VERSION = 4


def tune(
    model: Any,
    few_shots: pd.DataFrame,
    *pools: ImageSet,
    settings: TrainingSettings,
    seed: int,
    templates: Mapping[str, Sequence[str]],
    synonyms: Mapping[str, Mapping[str, Sequence[str]]],
) -> tuple[Adapter, pd.DataFrame]:
    """Tune one model on the few-shot images of all data sets jointly; the adapter and its training curves."""
    import torch

    from robustmedclip.adaptation import Samples
    from robustmedclip.adaptation import tune as tune_encoder
    from robustmedclip.models import zero_shot_classifier

    training, validation = (
        Samples([chosen(pool, few_shots, role) for pool in pools], model.preprocess)
        for role in ("training", "validation")
    )
    classifier = torch.cat(
        [
            zero_shot_classifier(
                model,
                pool.class_names,
                templates[pool.name],
                pool.modality,
                data_set=pool.name,
                synonyms=synonyms[pool.name],
            )
            for pool in pools
        ]
    )
    adapter, history = tune_encoder(
        model,
        training,
        validation,
        classifier,
        settings,
        seed=seed,
        metadata={"data_sets": [pool.name for pool in pools], "training_images": len(training)},
    )
    return adapter, pd.DataFrame(history)
