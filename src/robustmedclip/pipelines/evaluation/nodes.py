"""Nodes of the evaluation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robustmedclip.adaptation.artefacts import Adapter, Head
from robustmedclip.adaptation.methods import Method
from robustmedclip.errors import InputError
from robustmedclip.images.corrupted import CorruptedSet
from robustmedclip.images.pixels import rows_of
from robustmedclip.metrics.logits import Logits
from robustmedclip.models.features import Features, collected
from robustmedclip.parallel import in_one_thread
from robustmedclip.progress import track

#: All conditions of a test set.
ALL = slice(0, None)


def encode(
    model: Any, corrupted: CorruptedSet, parameters: Mapping[str, Any], *, name: str, shard: slice = ALL
) -> Features:
    """Image features of one model on one data set under every condition, or under those of a shard."""
    from robustmedclip.models.batch_size import batch_size
    from robustmedclip.models.inference import corruption_device, image_features, move_to_device

    precision = move_to_device(model, parameters["precision"])
    place = _place(corrupted, shard, batch_size(model))
    corrupted = _under(corrupted, shard).on(corruption_device(model))
    if model.batch_statistics:
        parts = _features_by_condition(model, corrupted, precision, name)
    else:
        parts = image_features(model, _images(corrupted, name, batch_size(model)), precision, place)
    (rows,) = _collected(((part,) for part in parts), corrupted)
    return _features(model, corrupted, rows, precision)


def encode_with_each(
    corrupted: CorruptedSet, parameters: Mapping[str, Any], *models: Any, names: Sequence[str], shard: slice = ALL
) -> list[Features]:
    """Image features by each model, as :func:`encode` gives them; the images are read once for all models."""
    from robustmedclip.models.batch_size import batch_size
    from robustmedclip.models.inference import corruption_device, image_features_of_each, move_to_device

    *_, precision = [move_to_device(model, parameters["precision"]) for model in models]
    size = max(map(batch_size, models))
    place, corrupted = _place(corrupted, shard, size), _under(corrupted, shard).on(corruption_device(models[0]))
    parts = image_features_of_each(models, _images(corrupted, ", ".join(names), size), precision, place)
    streams = _collected(parts, corrupted)
    return [_features(model, corrupted, rows, precision) for model, rows in zip(models, streams, strict=True)]


def join_features(*shards: Features) -> Features:
    """Features under all conditions, of those of the shards in their order; raises as :func:`join_logits`."""
    _require_one_precision([shard.precision for shard in shards], shards[0].data_set)
    conditions = tuple(condition for shard in shards for condition in shard.conditions)
    parts = ((part,) for shard in shards for part in shard.batches())
    (rows,) = collected(parts, len(conditions) * len(shards[0].labels), shards[0].data_set)
    return replace(shards[0], conditions=conditions, rows=rows)


def join_logits(*shards: Logits) -> Logits:
    """Logits under all conditions, of those of the shards in their order.

    Raises
    ------
    InputError
        If machines of several kinds encoded the images, each in the precision that is fast on it.
    """
    _require_one_precision([shard.attributes["precision"] for shard in shards], shards[0].data_set)
    conditions = tuple(condition for shard in shards for condition in shard.conditions)
    return replace(shards[0], conditions=conditions, logits=np.concatenate([shard.logits for shard in shards]))


def images_per_second(model: Any, parameters: Mapping[str, Any]) -> float:
    """Images that :func:`encode` encodes per second with a model, measured."""
    from robustmedclip.models import inference

    return inference.images_per_second(model, inference.move_to_device(model, parameters["precision"]))


def _under(corrupted: CorruptedSet, shard: slice) -> CorruptedSet:
    """The test set under the conditions of a shard alone."""
    return replace(corrupted, conditions=corrupted.conditions[shard])


def _place(corrupted: CorruptedSet, shard: slice, size: int) -> int:
    """Place of the first image of a shard in its pass of so many images, were all conditions encoded in a row."""
    images_before: int = shard.start * len(corrupted.clean)
    return images_before % size


def _features_by_condition(model: Any, corrupted: CorruptedSet, precision: Any, name: str) -> Iterator[np.ndarray]:
    """Features under one condition, then the next, each with the statistics of its own images."""
    from robustmedclip.models.batch_norm import statistics_rows, with_statistics_of
    from robustmedclip.models.batch_size import batch_size
    from robustmedclip.models.inference import image_features

    rows, size = statistics_rows(len(corrupted.clean)), batch_size(model)
    for condition in track(corrupted.conditions, f"{name} on {corrupted.clean.name}"):
        adapted = with_statistics_of(model, np.concatenate(list(rows_of(corrupted.read(condition, size), rows))))
        yield from image_features(adapted, corrupted.read(condition, size), precision)


def _images(corrupted: CorruptedSet, name: str, size: int) -> Iterator[np.ndarray]:
    """All images of one condition, then of the next, with the progress of the model `name` in the log."""
    for condition in track(corrupted.conditions, f"{name} on {corrupted.clean.name}"):
        yield from corrupted.read(condition, size)


def _collected(parts: Iterator[Sequence[np.ndarray]], corrupted: CorruptedSet) -> list[np.ndarray]:
    return collected(parts, len(corrupted.conditions) * len(corrupted.clean), corrupted.clean.name)


def _features(model: Any, corrupted: CorruptedSet, rows: np.ndarray, precision: Any) -> Features:
    from robustmedclip.models.batch_size import encoding

    clean = corrupted.clean
    return Features(
        data_set=clean.name,
        modality=clean.modality,
        class_names=clean.class_names,
        conditions=corrupted.conditions,
        labels=clean.labels,
        sample_ids=clean.sample_ids,
        weights=model.content_hash(),
        precision=encoding(model, precision),
        rows=rows,
    )


def score(
    features: Features,
    model: Any = None,
    head: Head | None = None,
    *,
    method: Method,
    name: str,
    attributes: Mapping[str, Any],
    templates: Sequence[str],
    synonyms: Mapping[str, Sequence[str]],
    scoring: str | None = None,
    place: int = 0,
    base_weights: str | None = None,
    tuned_on: str | None = None,
) -> Logits:
    """Logits of the image features of one data set under every condition.

    Parameters
    ----------
    features : Features
        Of the model.
    model : VisionLanguageModel, optional
        Makes the class vectors, where there is no head.
    head : Head, optional
        What the method left behind, if that is a head.
    method : Method
        How the model was adapted.
    name, attributes
        Of the adapted model, and what tables say of it.
    templates, synonyms, scoring
        Prompts of the data set; and of findings, what each is compared with.
    place : int
        Without a head: as in :func:`robustmedclip.models.inference.image_features`.
    base_weights, tuned_on : str, optional
        With the head: content hash of the model that the encoder was tuned from; the data set whose classifier is used.

    Raises
    ------
    InputError
        If the head was fitted to features of other weights or to other classes, or a logit is not finite.
    """
    if head is not None:
        classifier = _classifier(head, features, base_weights or features.weights, name, tuned_on)
        cube = _by_condition(method.logits(classifier, features.batches()), features)
    else:
        prompts = {"templates": method.prompts(templates), "synonyms": synonyms, "scoring": scoring}
        cube = _zero_shot_logits(model, features, method, place, prompts)
    _require_finite(cube, features, name)
    weights = features.weights if head is None or base_weights else head.content_hash()
    return Logits(
        model=name,
        attributes={**attributes, "weights": weights, "precision": features.precision},
        data_set=features.data_set,
        modality=features.modality,
        class_names=features.class_names,
        conditions=features.conditions,
        logits=cube,
        labels=features.labels,
        sample_ids=features.sample_ids,
    )


def encode_and_score(
    model: Any,
    corrupted: CorruptedSet,
    artefact: Adapter | Head,
    parameters: Mapping[str, Any],
    *,
    method: Method,
    name: str,
    shard: slice = ALL,
    tuned_on: str | None = None,
    **facts: Any,
) -> Logits:
    """Logits of a model with its adapter, or with a head behind an input guard, as :func:`score`.

    Its features are not kept: other prompts or labels would have led to others.
    """
    from robustmedclip.models.batch_size import BATCH_SIZE

    adapted = method.adapted(model, artefact, tuned_on or corrupted.clean.name)
    features = encode(adapted, corrupted, parameters, name=name, shard=shard)
    facts |= {"method": method, "name": name, "place": _place(corrupted, shard, BATCH_SIZE), "tuned_on": tuned_on}
    return score_adapted(features, model, adapted, artefact, **facts)


def score_adapted(features: Features, model: Any, adapted: Any, artefact: Adapter | Head, **facts: Any) -> Logits:
    """Logits of the features of a model with its adapter or head, as :func:`score`; `model` is without them."""
    if isinstance(artefact, Head):
        return score(features, adapted, artefact, **facts)
    base = model.content_hash() if artefact.head else None
    return score(features, adapted, artefact.head, base_weights=base, **facts)


def _zero_shot_logits(
    model: Any, features: Features, method: Method, place: int, prompts: Mapping[str, Any]
) -> np.ndarray:
    """Logits of features, with the class vectors that the model makes of the prompts."""
    from robustmedclip.models.inference import best_device, class_logits
    from robustmedclip.models.interface import zero_shot_classifier

    model.network.to(best_device())
    classifier = zero_shot_classifier(
        model, features.class_names, modality=features.modality, data_set=features.data_set, **prompts
    )
    vectors, rows = classifier.cpu().numpy(), features.rows.reshape(len(features.conditions), len(features.labels), -1)
    with in_one_thread():
        cube = _by_condition(class_logits(features.batches(), classifier, model.logit_scale, place), features)
        return np.stack([method.at_test_time(*of_condition, vectors) for of_condition in zip(cube, rows, strict=True)])


def _by_condition(logits: Iterable[np.ndarray], features: Features) -> np.ndarray:
    """A stream of logits as ``(conditions, N, C)``; they are computed here, in one thread."""
    with in_one_thread():
        cube = np.concatenate(list(logits))
    return cube.reshape(len(features.conditions), len(features.labels), -1)


def _classifier(
    head: Head, features: Features, weights: str, name: str, tuned_on: str | None
) -> Mapping[str, np.ndarray]:
    """The head's classifier of the data set of features, if it was fitted to those of a model of these weights."""
    data_set = tuned_on or features.data_set
    if head.metadata["base_model_hash"] != weights:
        raise InputError(
            f"The head of '{name}' was fitted to features of other weights than those of '{features.data_set}': fit it "
            "and encode the images again, by the pipelines 'tuning' and 'evaluation'"
        )
    if (known := head.metadata["class_names"].get(data_set)) != list(features.class_names):
        raise InputError(
            f"The head of '{name}' knows the classes {known} of '{data_set}', and '{features.data_set}' has "
            f"{list(features.class_names)}: fit it again, by the pipeline 'tuning'"
        )
    return head.classifiers[data_set]


def _require_one_precision(precisions: Sequence[str], data_set: str) -> None:
    if len(different := sorted(set(precisions))) > 1:
        raise InputError(
            f"The shards of '{data_set}' were encoded in {' and '.join(different)}, by machines of different kinds: "
            "set 'precision: float32' of 'evaluation' in the parameters, or leave machines of one kind in the cluster"
        )


def _require_finite(logits: np.ndarray, features: Features, name: str) -> None:
    for condition, row in zip(features.conditions, logits, strict=True):
        if len(bad := features.sample_ids[~np.isfinite(row).all(1)]):
            raise InputError(
                f"The logits of '{name}' on '{features.data_set}' under {condition} are not finite for {len(bad)} of "
                f"{len(row)} images, the first of them {bad[0]}: the weights or the preprocessing of the model are "
                "broken, or its numbers overflow. Nothing of this cell was kept."
            )
