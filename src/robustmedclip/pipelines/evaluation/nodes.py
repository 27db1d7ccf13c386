"""Nodes of the evaluation."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from robustmedclip.adaptation.artefacts import Adapter, Head
from robustmedclip.errors import InputError
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.images.pixels import batches
from robustmedclip.metrics.logits import Logits
from robustmedclip.models.features import Features
from robustmedclip.progress import track, volume

VERSION = 4

_ROWS = 4096


def encode(model: Any, corrupted: CorruptedSet, parameters: Mapping[str, Any], *, name: str) -> Features:
    """Image features of one model on one data set under every condition, computed while they are stored."""
    from robustmedclip.models.inference import image_features

    precision = on_device(model, parameters)
    if model.batch_statistics:
        features = _features_by_condition(model, corrupted, precision, name)
    else:
        features = image_features(model, _images(corrupted, name), precision)
    first = next(features)
    return _features(model, corrupted, first.shape[1], lambda: itertools.chain([first], features))


def encode_together(
    corrupted: CorruptedSet, parameters: Mapping[str, Any], *models: Any, names: Sequence[str]
) -> list[Features]:
    """What :func:`encode` makes of each model, of images that are read once for all of them.

    The features are stored one model after the other, and lie in temporary files until then.

    Raises
    ------
    InputError
        If the folder of temporary files has no space for them.
    """
    from robustmedclip.models.inference import image_features_of_each

    *_, precision = [on_device(model, parameters) for model in models]
    features = image_features_of_each(models, _images(corrupted, ", ".join(names)), precision)
    rows = len(corrupted.conditions) * len(corrupted.clean)
    return [
        _features(model, corrupted, spooled.shape[1], partial(batches, spooled, _ROWS))
        for model, spooled in zip(models, _spooled(features, rows, corrupted.clean.name), strict=True)
    ]


def _features_by_condition(model: Any, corrupted: CorruptedSet, precision: Any, name: str) -> Iterator[np.ndarray]:
    """Features under one condition, then the next, each with the statistics of its own images."""
    from robustmedclip.models.batch_norm import statistics_rows, with_statistics_of
    from robustmedclip.models.inference import BATCH_SIZE, image_features

    rows = statistics_rows(len(corrupted.clean))
    for condition in track(corrupted.conditions, f"{name} on {corrupted.clean.name}"):
        adapted = with_statistics_of(model, _rows(corrupted.read(condition, BATCH_SIZE), rows))
        yield from image_features(adapted, corrupted.read(condition, BATCH_SIZE), precision)


def _rows(parts: Iterable[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The images at `rows`, ascending, of a stream."""
    taken, start = [], 0
    for part in parts:
        taken.append(part[rows[(rows >= start) & (rows < start + len(part))] - start])
        start += len(part)
    return np.concatenate(taken)


def _images(corrupted: CorruptedSet, name: str) -> Iterator[np.ndarray]:
    """All images of one condition, then of the next, with the progress of the model `name` in the log."""
    from robustmedclip.models.inference import BATCH_SIZE

    for condition in track(corrupted.conditions, f"{name} on {corrupted.clean.name}"):
        yield from corrupted.read(condition, BATCH_SIZE)


def _features(model: Any, corrupted: CorruptedSet, width: int, read: Callable[[], Iterator[np.ndarray]]) -> Features:
    clean = corrupted.clean
    return Features(
        data_set=clean.name,
        modality=clean.modality,
        class_names=clean.class_names,
        conditions=corrupted.conditions,
        labels=clean.labels,
        sample_ids=clean.sample_ids,
        width=width,
        weights=model.content_hash(),
        read=read,
    )


def _spooled(parts: Iterator[Sequence[np.ndarray]], rows: int, data_set: str) -> list[np.memmap]:
    """Several streams of so many rows, read in step, as maps of files that are gone when the maps are."""
    first = next(parts)
    folder, needed = tempfile.gettempdir(), rows * sum(part[0].nbytes for part in first)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise InputError(
            f"The features of '{data_set}' take {volume(needed)} under {folder} until they are stored, and "
            f"{volume(free)} are free: set TMPDIR to another folder, or 'read_together: false'"
        )
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in first]
        for arrays in itertools.chain([first], parts):
            for file, array in zip(files, arrays, strict=True):
                file.write(array.tobytes())
        for file in files:
            file.flush()
        return [
            np.memmap(file, array.dtype, "r").reshape(-1, array.shape[1])
            for file, array in zip(files, first, strict=True)
        ]


def speed(model: Any, parameters: Mapping[str, Any]) -> float:
    """Images per second that :func:`encode` encodes with a model."""
    from robustmedclip.models.inference import encoding_speed

    return encoding_speed(model, on_device(model, parameters))


def on_device(model: Any, parameters: Mapping[str, Any]) -> Any:
    """Move a model to where it runs; the precision that it runs in."""
    import torch

    from robustmedclip.models.inference import best_device, fast_precision

    model.network.to(device := best_device())
    return torch.float32 if parameters["precision"] == "float32" else fast_precision(device)


def score(
    model: Any,
    features: Features,
    *,
    name: str,
    attributes: Mapping[str, Any],
    templates: Sequence[str],
    synonyms: Mapping[str, Sequence[str]],
) -> Logits:
    """Logits of features, with the class vectors that the model makes of the prompts.

    Raises
    ------
    InputError
        If a logit is not finite.
    """
    from robustmedclip.models.inference import best_device, class_logits
    from robustmedclip.models.interface import zero_shot_classifier

    model.network.to(best_device())
    classifier = zero_shot_classifier(
        model,
        features.class_names,
        templates,
        features.modality,
        data_set=features.data_set,
        synonyms=synonyms,
    )
    logits = class_logits(features.read(), classifier, model.logit_scale)
    return _scored(features, logits, name, {**attributes, "weights": model.content_hash()})


def score_head(features: Features, head: Head, *, name: str, attributes: Mapping[str, Any]) -> Logits:
    """Logits of features, with the head's classifier of their data set.

    Raises
    ------
    InputError
        If the head was fitted to features of other weights or to other classes, or a logit is not finite.
    """
    from robustmedclip.adaptation.heads import head_logits

    if head.metadata["base_model_hash"] != features.weights:
        raise InputError(
            f"The head of '{name}' was fitted to features of other weights than those of '{features.data_set}': fit it "
            "and encode the images again, by the pipelines 'tuning' and 'evaluation'"
        )
    if (known := head.metadata["class_names"].get(features.data_set)) != list(features.class_names):
        raise InputError(
            f"The head of '{name}' knows the classes {known} of '{features.data_set}', and its images have "
            f"{list(features.class_names)}: fit it again, by the pipeline 'tuning'"
        )
    logits = head_logits(head.classifiers[features.data_set], features.read())
    return _scored(features, logits, name, {**attributes, "weights": head.content_hash()})


def _scored(features: Features, logits: Iterable[np.ndarray], name: str, attributes: Mapping[str, Any]) -> Logits:
    cube = np.concatenate(list(logits)).reshape(len(features.conditions), len(features.labels), -1)
    _check_finite(cube, features, name)
    return Logits(
        model=name,
        attributes=attributes,
        data_set=features.data_set,
        modality=features.modality,
        class_names=features.class_names,
        conditions=features.conditions,
        logits=cube,
        labels=features.labels,
        sample_ids=features.sample_ids,
    )


def _check_finite(logits: np.ndarray, features: Features, name: str) -> None:
    for condition, row in zip(features.conditions, logits, strict=True):
        if len(bad := features.sample_ids[~np.isfinite(row).all(1)]):
            raise InputError(
                f"The logits of '{name}' on '{features.data_set}' under {condition} are not finite for {len(bad)} of "
                f"{len(row)} images, the first of them {bad[0]}: the weights or the preprocessing of the model are "
                "broken, or its numbers overflow. Nothing of this cell was kept."
            )


def evaluate(
    model: Any, corrupted: CorruptedSet, adapter: Adapter, parameters: Mapping[str, Any], **settings: Any
) -> Logits:
    """Logits of one model with its adapter on one data set under every condition.

    Its features are not kept: other prompts would have led to another adapter.
    """
    from robustmedclip.adaptation.tuning import guarded, merge_adapter

    tuned = replace(guarded(merge_adapter(model, adapter), adapter, corrupted.clean.name), unit_text=True)
    return score(tuned, encode(tuned, corrupted, parameters, name=settings["name"]), **settings)
