"""Nodes of the tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from robustmedclip.adaptation.artefacts import Adapter
from robustmedclip.adaptation.settings import TrainingSettings
from robustmedclip.images.sets import ImageSet
from robustmedclip.pipelines.few_shot.nodes import chosen

VERSION = 6


def tune(
    model: Any,
    journal: Any,
    few_shots: pd.DataFrame,
    *image_sets: ImageSet,
    settings: TrainingSettings,
    seed: int,
    templates: Mapping[str, Sequence[str]],
    synonyms: Mapping[str, Mapping[str, Sequence[str]]],
) -> tuple[Adapter, pd.DataFrame]:
    """Tune one model on the few-shot images of all data sets jointly; the adapter and its training curves.

    `image_sets` are the training pools, and after them the test sets, if the test images choose the epoch.
    `journal` keeps the state of a training that is interrupted.
    """
    import torch

    from robustmedclip.adaptation.samples import Samples
    from robustmedclip.adaptation.tuning import tune as tune_encoder
    from robustmedclip.models.inference import best_device, fast_precision
    from robustmedclip.models.interface import zero_shot_classifier

    pools, tests = image_sets[: len(templates)], image_sets[len(templates) :]
    device = best_device()
    model.network.to(device)
    training = Samples([chosen(pool, few_shots, "training") for pool in pools], model.preprocess)
    validation = Samples(tests or [chosen(pool, few_shots, "validation") for pool in pools], model.preprocess)
    text_model = replace(model, unit_text=True)
    classifier = torch.cat(
        [
            zero_shot_classifier(
                text_model,
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
        metadata={
            "data_sets": [pool.name for pool in pools],
            "training_images": len(training),
            "version": VERSION,
        },
        precision=fast_precision(device) if device.type == "cuda" else torch.float32,
        journal=journal,
    )
    return adapter, pd.DataFrame(history)
