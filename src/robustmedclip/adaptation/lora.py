"""Low-rank adaptation (LoRA; Hu et al. 2021, arXiv:2106.09685) of the visual encoder, with peft."""

import copy
import json
import logging
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from safetensors.numpy import load_file
from torch.nn import functional as F

from robustmedclip.adaptation.augmentation import augmented
from robustmedclip.adaptation.batch_norm import adapted_statistics
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.adaptation.settings import LoraSettings
from robustmedclip.errors import InputError
from robustmedclip.models import BATCH_SIZE, VisionLanguageModel
from robustmedclip.types import Adapter

logger = logging.getLogger(__name__)

#: Scales of the tuned update that ``selection: scale`` compares.
_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Share of the steps over which the learning rate rises under ``schedule: cosine``.
_WARM_UP = 0.1


def tune_lora(
    model: VisionLanguageModel,
    training: Samples,
    validation: Samples,
    classifier: torch.Tensor,
    settings: LoraSettings,
    *,
    seed: int,
    metadata: dict[str, Any],
) -> tuple[Adapter, list[dict[str, float]]]:
    """Tune the visual encoder on labelled images of several data sets jointly.

    Minimises the cross-entropy of ``logit scale * cosine(image, class text)`` over the classes of
    `settings.label_space`, against frozen text features. Statistics of batch normalisation are frozen, after they
    have been adapted to the training images if `settings.batch_norm` says so. The epoch, or the scale of the update,
    with the lowest validation loss, averaged over data sets, is kept. A scale of 0 may keep the adapted statistics:
    of a few images they are better known than an update. Where neither helps, the model is the untuned one, its
    statistics included.

    Parameters
    ----------
    model : VisionLanguageModel
        Is left as it was.
    training, validation : Samples
        Few-shot images, and images for the choice of the epoch or the scale.
    classifier : Tensor
        Unit class vectors in the joint label space, float32 ``(classes, D)``.
    settings : LoraSettings
        Settings of the tuning.
    seed : int
        Seeds the initial weights, the order of the images, augmentation and dropout.
    metadata : dict
        Added to the adapter's metadata.

    Returns
    -------
    adapter : Adapter
        In peft's format.
    history : list of dict
        One per epoch: ``epoch``, ``training_loss``, ``validation_loss``, ``validation_accuracy``; where the scale is
        chosen, the last two of the first and the last epoch alone.

    Raises
    ------
    InputError
        If the loss is not finite.
    ValueError
        If the targets match no layer.
    """
    base_hash, statistics = model.content_hash(), {}
    if settings.batch_norm == "adapted":
        rng = np.random.default_rng(derived_seed(seed, "batch normalisation"))
        statistics = adapted_statistics(model, training, rng)
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.rank if settings.alpha is None else settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=_targets(model, settings.targets),
        modules_to_save=sorted({name.rpartition(".")[0] for name in statistics}) or None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(seed, "init"))
        tuned = _with_lora(model, config)
        history, kept = _train(tuned, statistics, training, validation, classifier, settings, seed)
    with tempfile.TemporaryDirectory() as folder:
        tuned.network.save_pretrained(folder)
        adapter = Adapter(
            config=json.loads((Path(folder) / "adapter_config.json").read_text()),
            weights=load_file(Path(folder) / "adapter_model.safetensors"),
            metadata={
                **metadata,
                "base_model_hash": base_hash,
                "seed": seed,
                "training_corruptions": list(settings.corruptions.names) if settings.corruptions else [],
                **kept,
            },
        )
    return adapter, history


def merge_adapter(model: VisionLanguageModel, adapter: Adapter) -> VisionLanguageModel:
    """The model with the adapter's update added to its weights: as fast as the plain model.

    Raises
    ------
    InputError
        If the adapter was tuned on another model, or its weights don't fit.
    """
    if adapter.metadata["base_model_hash"] != model.content_hash():
        raise InputError(
            "The adapter was tuned on other weights than those of the model it is applied to: tune it again"
        )
    config = {key: value for key, value in adapter.config.items() if value is not None}
    tuned = _with_lora(model, peft.LoraConfig(**config))
    weights = {name: torch.from_numpy(np.array(array)) for name, array in adapter.weights.items()}
    expected = set(peft.get_peft_model_state_dict(tuned.network))
    if expected != set(weights):
        raise InputError(f"The adapter's weights don't fit the model: {sorted(expected ^ set(weights))[:5]}")
    peft.set_peft_model_state_dict(tuned.network, weights)
    return _replaced(model, tuned.network.merge_and_unload().eval())


def _targets(model: VisionLanguageModel, targets: str | None) -> str | list[str]:
    if targets != "all":
        return targets or model.lora_targets
    # An attention pool reads the weights of its projections without calling them: they can't be adapted.
    return [
        f"visual.{name}"
        for name, layer in model.network.visual.named_modules()
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) and not name.startswith("attnpool.")
    ]


def _with_lora(model: VisionLanguageModel, config: peft.LoraConfig) -> VisionLanguageModel:
    network = peft.get_peft_model(copy.deepcopy(model.network), config)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name)  # of a layer that is saved whole, the statistics alone move
    return _replaced(model, network.eval())


def _replaced(model: VisionLanguageModel, network: torch.nn.Module) -> VisionLanguageModel:
    replaced = copy.copy(model)
    replaced.network = network
    return replaced


def _train(
    model: VisionLanguageModel,
    statistics: Mapping[str, torch.Tensor],
    training: Samples,
    validation: Samples,
    classifier: torch.Tensor,
    settings: LoraSettings,
    seed: int,
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Train the adapter in place; the curves, and the epoch and scale that it is left at."""
    parameters = [p for p in model.network.parameters() if p.requires_grad]
    buffers = [_saved_buffer(model.network, name) for name in statistics]
    state = [*parameters, *buffers]
    untuned = _copies(state)
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * math.ceil(len(training) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, settings.schedule))
    history = [{"epoch": 0, "training_loss": math.nan, **_validate(model, validation, classifier, settings)}]
    lowest, best, kept = history[0]["validation_loss"], untuned, 0
    _assign(buffers, statistics.values())
    for epoch in range(1, settings.epochs + 1):
        loss = _epoch(model, training, classifier, settings, optimiser, schedule, seed, epoch)
        row = {"epoch": epoch, "training_loss": loss, "validation_loss": math.nan, "validation_accuracy": math.nan}
        if settings.selection == "epoch" or epoch == settings.epochs:
            row |= _validate(model, validation, classifier, settings)
        history.append(row)
        logger.debug("epoch %(epoch)d: training %(training_loss).3f, validation %(validation_loss).3f", row)
        if settings.selection == "epoch" and row["validation_loss"] < lowest:
            lowest, best, kept = row["validation_loss"], _copies(state), epoch
    if settings.selection == "scale":
        scale, loss = _choose_scale(model, history[-1]["validation_loss"], validation, classifier, settings)
        if loss < lowest:
            return history, {"epoch": settings.epochs, "scale": scale, "statistics_adapted": bool(buffers)}
        _assign(state, untuned)
        return history, {"epoch": 0, "scale": 0.0, "statistics_adapted": False}
    _assign(state, best)
    return history, {"epoch": kept, "scale": 1.0, "statistics_adapted": kept > 0 and bool(buffers)}


def _saved_buffer(network: torch.nn.Module, name: str) -> torch.Tensor:
    """The adapter's own copy of a statistic."""
    layer, _, statistic = name.rpartition(".")
    return network.get_buffer(f"base_model.model.{layer}.modules_to_save.default.{statistic}")


def _copies(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _assign(tensors: Iterable[torch.Tensor], values: Iterable[torch.Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _epoch(
    model: VisionLanguageModel,
    training: Samples,
    classifier: torch.Tensor,
    settings: LoraSettings,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    seed: int,
    epoch: int,
) -> float:
    """One pass over the training images; the mean loss."""
    rng = np.random.default_rng(derived_seed(seed, "epoch", epoch))
    torch.manual_seed(derived_seed(seed, "dropout", epoch))

    def augment(images: np.ndarray, sample_ids: list[str]) -> np.ndarray:
        images = augmented(images, rng, settings.min_crop_area, settings.flip)
        return settings.corruptions(images, sample_ids, seed, epoch) if settings.corruptions else images

    order, total = rng.permutation(len(training)), 0.0
    with _active_dropout(model.network):
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            features = model.encode_image(training.pixels(batch, augment))
            loss = _losses(model, features, classifier, training, batch, settings.label_space).mean()
            if not torch.isfinite(loss):
                raise InputError(f"The training loss is {loss.item()} in epoch {epoch}: lower the learning rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(batch)
    return total / len(order)


def _rate(step: int, steps: int, schedule: str) -> float:
    """Learning rate of a step relative to the highest."""
    if schedule == "constant":
        return 1.0
    rise = max(1, int(_WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def _losses(
    model: VisionLanguageModel,
    features: torch.Tensor,
    classifier: torch.Tensor,
    samples: Samples,
    indices: np.ndarray,
    label_space: str,
) -> torch.Tensor:
    """Cross-entropy of each image."""
    logits, labels = model.logit_scale * features @ classifier.T, torch.from_numpy(samples.labels[indices])
    if label_space == "data_set":
        first, last = torch.tensor(samples.label_ranges)[torch.from_numpy(samples.data_set[indices])].T[..., None]
        classes = torch.arange(logits.shape[1])
        logits = logits.masked_fill((classes < first) | (classes >= last), -math.inf)
    return F.cross_entropy(logits, labels, reduction="none")


def _choose_scale(
    model: VisionLanguageModel, full: float, validation: Samples, classifier: torch.Tensor, settings: LoraSettings
) -> tuple[float, float]:
    """Scale the update by the scale of the lowest validation loss, the smallest of equals; the scale and the loss.

    `full` is the loss of the whole update. The statistics stay as they are.
    """
    factors = [p for name, p in model.network.named_parameters() if "lora_B" in name]
    end, losses = _copies(factors), {1.0: full}
    for scale in _SCALES[:-1]:
        _assign(factors, (scale * value for value in end))
        losses[scale] = _validate(model, validation, classifier, settings)["validation_loss"]
    chosen = min(_SCALES, key=losses.__getitem__)
    _assign(factors, (chosen * value for value in end))
    return chosen, losses[chosen]


@torch.inference_mode()
def _validate(
    model: VisionLanguageModel, samples: Samples, classifier: torch.Tensor, settings: LoraSettings
) -> dict[str, float]:
    """Loss over the classes of the label space, and accuracy within each data set's, averaged over data sets."""
    indices = np.arange(len(samples))
    features = torch.cat(
        [
            model.encode_image(samples.pixels(indices[start : start + BATCH_SIZE]))
            for start in range(0, len(samples), BATCH_SIZE)
        ]
    )
    losses = _losses(model, features, classifier, samples, indices, settings.label_space)
    logits, labels = features @ classifier.T, torch.from_numpy(samples.labels)
    members = [torch.from_numpy(inside) for inside in samples.members()]
    accuracies = [
        (logits[inside, first:last].argmax(1) + first == labels[inside]).float().mean()
        for inside, (first, last) in zip(members, samples.label_ranges, strict=True)
    ]
    return {
        "validation_loss": float(torch.stack([losses[inside].mean() for inside in members]).nanmean()),
        "validation_accuracy": float(torch.stack(accuracies).nanmean()),
    }


@contextmanager
def _active_dropout(network: torch.nn.Module) -> Iterator[None]:
    """Activate the dropout of the adapters alone."""
    layers = [m for name, m in network.named_modules() if "lora_dropout" in name]
    for layer in layers:
        layer.train()
    yield
    for layer in layers:
        layer.eval()
