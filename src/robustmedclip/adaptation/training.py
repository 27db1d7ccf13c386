"""The training loop: the joint training of an encoder on few-shot images of several data sets."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from robustmedclip.adaptation.augmentation import augmented
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.adaptation.settings import TrainingSettings
from robustmedclip.errors import InputError
from robustmedclip.models import BATCH_SIZE, VisionLanguageModel

logger = logging.getLogger(__name__)

#: Scales of the tuned update that ``selection: scale`` compares.
_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Share of the steps over which the learning rate rises under ``schedule: cosine``.
_WARM_UP = 0.1


@dataclass(frozen=True)
class Trainable:
    """What a training changes of a network.

    Attributes
    ----------
    parameters : sequence of Parameter
        Learnt by gradient descent.
    scaled : sequence of Parameter
        Those of them that scale the update: half way back to their untuned values is half of the update.
    statistics : sequence of (buffer, value)
        Statistics of batch normalisation, and the values that they have from the first epoch on.
    """

    parameters: Sequence[torch.nn.Parameter]
    scaled: Sequence[torch.nn.Parameter]
    statistics: Sequence[tuple[torch.Tensor, torch.Tensor]] = field(default=())


def train(
    model: VisionLanguageModel,
    trainable: Trainable,
    training: Samples,
    validation: Samples,
    classifier: torch.Tensor,
    settings: TrainingSettings,
    seed: int,
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Train in place; the curves, and the epoch and scale that the model is left at.

    Parameters and what is minimised are those of :func:`robustmedclip.adaptation.tune`.
    """
    buffers = [buffer for buffer, _ in trainable.statistics]
    state = [*trainable.parameters, *buffers]
    untuned, start = _copies(state), _copies(trainable.scaled)
    optimiser = torch.optim.AdamW(trainable.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * math.ceil(len(training) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, settings.schedule))
    history = [{"epoch": 0, "training_loss": math.nan, **_validate(model, validation, classifier, settings)}]
    lowest, best, kept = _criterion(history[0], settings), untuned, 0
    _assign(buffers, (value for _, value in trainable.statistics))
    for epoch in range(1, settings.epochs + 1):
        loss = _epoch(model, training, classifier, settings, optimiser, schedule, seed, epoch)
        row = {"epoch": epoch, "training_loss": loss, "validation_loss": math.nan, "validation_accuracy": math.nan}
        if settings.selection != "scale" or epoch == settings.epochs:
            row |= _validate(model, validation, classifier, settings)
        history.append(row)
        logger.debug("epoch %(epoch)d: training %(training_loss).3f, validation %(validation_loss).3f", row)
        if settings.selection != "scale" and _criterion(row, settings) < lowest:
            lowest, best, kept = _criterion(row, settings), _copies(state), epoch
    if settings.selection == "scale":
        scale, loss = _choose_scale(
            model, trainable.scaled, start, history[-1]["validation_loss"], validation, classifier, settings
        )
        if loss < lowest:
            return history, {"epoch": settings.epochs, "scale": scale, "statistics_adapted": bool(buffers)}
        _assign(state, untuned)
        return history, {"epoch": 0, "scale": 0.0, "statistics_adapted": False}
    _assign(state, best)
    return history, {"epoch": kept, "scale": 1.0, "statistics_adapted": kept > 0 and bool(buffers)}


def _criterion(row: dict[str, float], settings: TrainingSettings) -> float:
    """What the epoch to keep has the lowest of."""
    return -row["validation_accuracy"] if settings.selection == "test" else row["validation_loss"]


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
    settings: TrainingSettings,
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
    with _training_mode(model.network, batch_norm=settings.batch_norm == "batch"):
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            features = _features(model, training.pixels(batch, augment), settings)
            labels = torch.from_numpy(training.labels[batch])
            loss = F.cross_entropy(_logits(features, classifier, training, batch, settings), labels)
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


def _features(model: VisionLanguageModel, pixels: torch.Tensor, settings: TrainingSettings) -> torch.Tensor:
    if settings.features == "raw":
        return model.network.encode_image(pixels).float()
    return model.logit_scale * model.encode_image(pixels)


def _logits(
    features: torch.Tensor, classifier: torch.Tensor, samples: Samples, indices: np.ndarray, settings: TrainingSettings
) -> torch.Tensor:
    """Logits of the joint classes; -inf for those that the loss does not compare."""
    logits = features @ classifier.T
    if settings.label_space == "data_set":
        first, last = torch.tensor(samples.label_ranges)[torch.from_numpy(samples.data_set[indices])].T[..., None]
        classes = torch.arange(logits.shape[1])
        logits = logits.masked_fill((classes < first) | (classes >= last), -math.inf)
    return logits


def _choose_scale(
    model: VisionLanguageModel,
    scaled: Sequence[torch.nn.Parameter],
    start: Sequence[torch.Tensor],
    full: float,
    validation: Samples,
    classifier: torch.Tensor,
    settings: TrainingSettings,
) -> tuple[float, float]:
    """Scale the update by the scale of the lowest validation loss, the smallest of equals; the scale and the loss.

    `full` is the loss of the whole update. The statistics stay as they are.
    """
    end, losses = _copies(scaled), {1.0: full}

    def scale_to(scale: float) -> None:
        _assign(scaled, (torch.lerp(first, last, scale) for first, last in zip(start, end, strict=True)))

    for scale in _SCALES[:-1]:
        scale_to(scale)
        losses[scale] = _validate(model, validation, classifier, settings)["validation_loss"]
    chosen = min(_SCALES, key=losses.__getitem__)
    scale_to(chosen)
    return chosen, losses[chosen]


@torch.inference_mode()
def _validate(
    model: VisionLanguageModel, samples: Samples, classifier: torch.Tensor, settings: TrainingSettings
) -> dict[str, float]:
    """Loss over the classes of the label space, and accuracy within each data set's, averaged over data sets.

    For ``selection: test`` the accuracy is that over the label space, of all images together.
    """
    indices = np.arange(len(samples))
    features = torch.cat(
        [
            _features(model, samples.pixels(indices[start : start + BATCH_SIZE]), settings)
            for start in range(0, len(samples), BATCH_SIZE)
        ]
    )
    logits, labels = _logits(features, classifier, samples, indices, settings), torch.from_numpy(samples.labels)
    losses = F.cross_entropy(logits, labels, reduction="none")
    members = [torch.from_numpy(inside) for inside in samples.members()]
    accuracies = [
        (logits[inside, first:last].argmax(1) + first == labels[inside]).float().mean()
        for inside, (first, last) in zip(members, samples.label_ranges, strict=True)
    ]
    pooled = (logits.argmax(1) == labels).float().mean()
    return {
        "validation_loss": float(torch.stack([losses[inside].mean() for inside in members]).nanmean()),
        "validation_accuracy": float(pooled if settings.selection == "test" else torch.stack(accuracies).nanmean()),
    }


@contextmanager
def _training_mode(network: torch.nn.Module, *, batch_norm: bool) -> Iterator[None]:
    """Activate the dropout of the adapters, and batch normalisation if wanted, alone."""
    layers = [
        layer
        for name, layer in network.named_modules()
        if "lora_dropout" in name or (batch_norm and isinstance(layer, torch.nn.modules.batchnorm._BatchNorm))
    ]
    for layer in layers:
        layer.train()
    yield
    for layer in layers:
        layer.eval()
