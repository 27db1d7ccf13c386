"""The training loop: the joint training of an encoder on few-shot images of several data sets."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from robustmedclip.adaptation.augmentation import augmented
from robustmedclip.adaptation.checkpoint import Journal, TrainingState
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.sampling import epoch_order, occurrences
from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.adaptation.settings import TrainingSettings
from robustmedclip.errors import InputError
from robustmedclip.models.inference import BATCH_SIZE
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.parallel import map_ahead
from robustmedclip.progress import duration, track

logger = logging.getLogger(__name__)

#: Scales of the tuned update that ``selection: scale`` compares.
_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Share of the steps over which the learning rate rises under ``schedule: cosine``.
_WARM_UP = 0.1
#: Logarithm of a probability that counts as none; where it is -inf, the divergence would have no gradient.
_LEAST_LOG = -80.0
#: Epochs that take so many seconds are shown one by one.
_LONG_EPOCH = 5


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


class Objective:
    """Cross-entropy of images against frozen class vectors.

    Parameters
    ----------
    model : VisionLanguageModel
        Its network is the one that is trained; everything happens on its device.
    classifier : Tensor
        Unit class vectors in the joint label space, float32 ``(classes, D)``.
    label_ranges : sequence of (int, int)
        First and last joint label (exclusive) of each data set.
    settings : TrainingSettings
        Which features and classes are compared, and what the validation is for.
    precision : dtype
        Of the matrix products of the encoder; what is between them, and the loss, stays float32.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        classifier: torch.Tensor,
        label_ranges: Sequence[tuple[int, int]],
        settings: TrainingSettings,
        precision: torch.dtype = torch.float32,
    ):
        self.model, self.device, self._settings, self._precision = model, model.device, settings, precision
        self._classes = classifier.to(self.device).T
        #: The first class with the vector of each: of classes with the same, as of two data sets, none is to be told apart.
        _, first, position = np.unique(classifier.cpu().numpy(), axis=0, return_index=True, return_inverse=True)
        self._first = torch.from_numpy(first[position])
        first, last = torch.tensor(label_ranges, device=self.device).T[..., None]
        labels = torch.arange(len(classifier), device=self.device)
        self._outside = (labels < first) | (labels >= last) if settings.label_space == "data_set" else None

    def logits(self, pixels: torch.Tensor, samples: Samples, indices: np.ndarray) -> torch.Tensor:
        """Logits of the joint classes, float32 ``(n, classes)``; -inf for those that are not compared."""
        with torch.autocast(self.device.type, self._precision, enabled=self._precision != torch.float32):
            if self._settings.features == "raw":
                features = self.model.network.encode_image(pixels)
            else:
                features = self.model.logit_scale * self.model.encode_image(pixels)
        logits = features.float() @ self._classes
        if self._outside is None:
            return logits
        data_sets = torch.from_numpy(samples.data_set[indices]).to(self.device)
        return logits.masked_fill(self._outside[data_sets], -math.inf)

    def losses(self, logits: torch.Tensor, samples: Samples, indices: np.ndarray) -> torch.Tensor:
        """Loss of each image, float32 ``(n,)``."""
        labels = torch.from_numpy(samples.labels[indices]).to(self.device)
        return F.cross_entropy(logits, labels, reduction="none")

    def training_loss(self, pixels: torch.Tensor, samples: Samples, batch: np.ndarray) -> torch.Tensor:
        """Loss of a batch, a scalar; `pixels` has all views of its images, view after view, the labelled one first."""
        logits = self.logits(pixels, samples, np.tile(batch, self._settings.views))
        loss = self.losses(logits[: len(batch)], samples, batch).mean()
        if self._settings.views == 1:
            return loss
        return loss + self._settings.consistency * divergence(*logits.chunk(2)).mean()

    @torch.inference_mode()
    def validate(self, samples: Samples) -> dict[str, float]:
        """Loss over the classes of the label space, and accuracy within each data set's, averaged over data sets.

        For ``selection: test`` the accuracy is that over the label space, of all images together; classes with the same
        vector count as one.
        """
        indices = np.arange(len(samples))
        batches = [indices[start : start + BATCH_SIZE] for start in range(0, len(indices), BATCH_SIZE)]
        prepared = _prepared(partial(samples.pixels, device=self.device), batches, self.device)
        logits = torch.cat(
            [self.logits(pixels, samples, batch) for pixels, batch in zip(prepared, batches, strict=True)]
        )
        losses = self.losses(logits, samples, indices).cpu()
        logits, labels = logits.cpu(), torch.from_numpy(samples.labels)
        members = [torch.from_numpy(inside) for inside in samples.members()]
        accuracies = [
            (logits[inside, first:last].argmax(1) + first == labels[inside]).float().mean()
            for inside, (first, last) in zip(members, samples.label_ranges, strict=True)
        ]
        pooled = (self._first[logits.argmax(1)] == self._first[labels]).float().mean()
        return {
            "validation_loss": float(torch.stack([losses[inside].mean() for inside in members]).nanmean()),
            "validation_accuracy": float(
                pooled if self._settings.selection == "test" else torch.stack(accuracies).nanmean()
            ),
        }

    def criterion(self, row: Mapping[str, float]) -> float:
        """What the epoch to keep has the lowest of."""
        return -row["validation_accuracy"] if self._settings.selection == "test" else row["validation_loss"]


def divergence(logits: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Jensen-Shannon divergence of two predictions of each image, in nats, float32 ``(n,)``, between 0 and log 2.

    Mean Kullback-Leibler divergence of the two from their mean (AugMix; Hendrycks et al. 2020, arXiv:1912.02781, eq. 3).

    Parameters
    ----------
    logits, others : Tensor
        float32 ``(n, classes)``; -inf for classes that are not compared, the same in both.
    """
    views = torch.stack([logits, others]).log_softmax(-1).clamp(min=_LEAST_LOG)
    mixture = torch.logaddexp(*views) - math.log(2)
    return (views.exp() * (views - mixture)).sum(-1).mean(0)


def train(
    objective: Objective,
    trainable: Trainable,
    training: Samples,
    validation: Samples,
    settings: TrainingSettings,
    seed: int,
    journal: Journal,
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Train in place; the curves, and the epoch and scale that the model is left at.

    Parameters and what is minimised are those of :func:`robustmedclip.adaptation.tune`. Everything random is a
    function of the seed and the epoch, so that a training that goes on from what the journal has ends in the same bytes.
    """
    name, buffers = objective.model.name, [buffer for buffer, _ in trainable.statistics]
    state = [*trainable.parameters, *buffers]
    untuned, start = _copies(state), _copies(trainable.scaled)
    optimiser = torch.optim.AdamW(trainable.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    best, kept = untuned, 0
    if last := journal.last():
        history, kept = [dict(row) for row in last.history], last.kept
        best = _restored(last.arrays, trainable.parameters, buffers, optimiser, untuned)
        logger.info("Tuning %s goes on after epoch %d of %d", name, history[-1]["epoch"], settings.epochs)
    else:
        history = [{"epoch": 0, "training_loss": math.nan, **objective.validate(validation)}]
        journal.note(history[0])
        _assign(buffers, (value for _, value in trainable.statistics))
    for epoch in range(len(history), settings.epochs + 1):
        started = time.monotonic()
        loss = _epoch(objective, training, settings, optimiser, seed, epoch)
        row = {"epoch": epoch, "training_loss": loss, "validation_loss": math.nan, "validation_accuracy": math.nan}
        if settings.selection != "scale" or epoch == settings.epochs:
            row |= objective.validate(validation)
        if settings.selection != "scale" and objective.criterion(row) < objective.criterion(history[kept]):
            best, kept = _copies(state), epoch
        history.append(row)
        _log(name, row, settings.epochs, time.monotonic() - started)
        journal.note(row, lambda: _state(history, kept, trainable.parameters, buffers, optimiser, best))
    if settings.selection == "scale":
        lowest = history[0]["validation_loss"]
        known = {1.0: history[-1]["validation_loss"]} | ({} if buffers else {0.0: lowest})
        scale, loss = _choose_scale(objective, trainable.scaled, start, known, validation)
        if loss < lowest:
            return history, {"epoch": settings.epochs, "scale": scale, "statistics_adapted": bool(buffers)}
        _assign(state, untuned)
        return history, {"epoch": 0, "scale": 0.0, "statistics_adapted": False}
    _assign(state, best)
    return history, {"epoch": kept, "scale": 1.0, "statistics_adapted": kept > 0 and bool(buffers)}


def _copies(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _assign(tensors: Iterable[torch.Tensor], values: Iterable[torch.Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _state(
    history: Sequence[Mapping[str, float]],
    kept: int,
    parameters: Sequence[torch.nn.Parameter],
    buffers: Sequence[torch.Tensor],
    optimiser: torch.optim.Optimizer,
    best: Sequence[torch.Tensor],
) -> TrainingState:
    """What :func:`_restored` goes on from."""
    tensors = {f"parameter.{position}": parameter for position, parameter in enumerate(parameters)}
    tensors |= {f"buffer.{position}": buffer for position, buffer in enumerate(buffers)}
    for position, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{position}.{name}": value for name, value in moments.items()}
    if kept:
        tensors |= {f"best.{position}": value for position, value in enumerate(best)}
    return TrainingState(history, kept, {name: np.array(t.detach().cpu(), order="C") for name, t in tensors.items()})


def _restored(
    arrays: Mapping[str, np.ndarray],
    parameters: Sequence[torch.nn.Parameter],
    buffers: Sequence[torch.Tensor],
    optimiser: torch.optim.Optimizer,
    untuned: Sequence[torch.Tensor],
) -> list[torch.Tensor]:
    """Put the parameters, the statistics and the optimiser into a stored state; the best parameters and statistics so far."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    _assign(parameters, (tensors[f"parameter.{position}"] for position in range(len(parameters))))
    _assign(buffers, (tensors[f"buffer.{position}"] for position in range(len(buffers))))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, position, moment = name.split(".")
            like = parameters[int(position)]
            in_format = torch.empty_like(like, requires_grad=False).copy_(value) if value.shape == like.shape else value
            moments.setdefault(int(position), {})[moment] = in_format
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    return [tensors.get(f"best.{position}", value) for position, value in enumerate(untuned)]


def _log(name: str, row: Mapping[str, float], epochs: int, seconds: float) -> None:
    """A line for an epoch, for people if it took long."""
    left = (epochs - row["epoch"]) * seconds
    logger.log(
        logging.INFO if seconds >= _LONG_EPOCH else logging.DEBUG,
        "Tuning %s, epoch %d of %d: training loss %.3f%s, %s%s",
        name,
        row["epoch"],
        epochs,
        row["training_loss"],
        "" if math.isnan(row["validation_loss"]) else f", validation loss {row['validation_loss']:.3f}",
        duration(seconds),
        f", about {duration(left)} left" if left else "",
    )


def _epoch(
    objective: Objective,
    training: Samples,
    settings: TrainingSettings,
    optimiser: torch.optim.Optimizer,
    seed: int,
    epoch: int,
) -> float:
    """As many images as there are for training; the mean loss."""
    rng = np.random.default_rng(derived_seed(seed, "epoch", epoch))
    torch.manual_seed(derived_seed(seed, "dropout", epoch))

    order, total = epoch_order(training, settings.sampling, rng), 0.0
    seen_before = occurrences(order)
    starts = range(0, len(order), settings.batch_size)
    batches = [order[start : start + settings.batch_size] for start in starts]

    def prepare(part: tuple[int, np.ndarray]) -> torch.Tensor:
        start, batch = part

        def augment(images: np.ndarray, places: np.ndarray) -> np.ndarray:
            count = len(images) // settings.views
            images, places = augmented(images[:count], rng, settings.min_crop_area, settings.flip), places[:count]
            if settings.corruptions is None:
                return images
            # An image that comes again in an epoch is corrupted anew.
            again = [f"\0{times}" if times else "" for times in seen_before[start + places]]
            keys = [training.key(index) + suffix for index, suffix in zip(batch[places], again, strict=True)]
            corrupted = settings.corruptions(images, keys, seed, epoch)
            return corrupted if settings.views == 1 else np.concatenate([images, corrupted])

        return training.pixels(np.tile(batch, settings.views), augment, objective.device)

    prepared = _prepared(prepare, zip(starts, batches, strict=True), objective.device)
    steps, name = settings.epochs * len(batches), f"Tuning {objective.model.name}, epoch {epoch} of {settings.epochs}"
    with _training_mode(objective.model.network, batch_norm=settings.batch_norm == "batch"):
        for position, batch in enumerate(track(batches, name)):
            rate = _rate((epoch - 1) * len(batches) + position, steps, settings.schedule)
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * rate
            mean = objective.training_loss(next(prepared), training, batch)
            loss = mean.item()
            if not math.isfinite(loss):
                raise InputError(
                    f"The training loss of {objective.model.name} is {loss} in epoch {epoch}: lower the learning rate of "
                    f"the method, now {settings.learning_rate:g}"
                )
            optimiser.zero_grad(set_to_none=True)
            mean.backward()
            optimiser.step()
            total += loss * len(batch)
    return total / len(order)


def _prepared(
    prepare: Callable[[Any], torch.Tensor], batches: Iterable[Any], device: torch.device
) -> Iterator[torch.Tensor]:
    """Model input of batches; one ahead of a GPU, but not on a CPU, whose cores the training uses."""
    return map(prepare, batches) if device.type == "cpu" else map_ahead(prepare, batches, 1)


def _rate(step: int, steps: int, schedule: str) -> float:
    """Learning rate of a step relative to the highest."""
    if schedule == "constant":
        return 1.0
    rise = max(1, int(_WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def _choose_scale(
    objective: Objective,
    scaled: Sequence[torch.nn.Parameter],
    start: Sequence[torch.Tensor],
    known: Mapping[float, float],
    validation: Samples,
) -> tuple[float, float]:
    """Scale the update by the scale of the lowest validation loss, the smallest of equals; the scale and the loss.

    `known` are losses of scales that need not be computed. The statistics stay as they are.
    """
    end, losses = _copies(scaled), dict(known)

    def scale_to(scale: float) -> None:
        _assign(scaled, (torch.lerp(first, last, scale) for first, last in zip(start, end, strict=True)))

    for scale in _SCALES:
        if scale not in losses:
            scale_to(scale)
            losses[scale] = objective.validate(validation)["validation_loss"]
    chosen = min(_SCALES, key=losses.__getitem__)
    scale_to(chosen)
    return chosen, losses[chosen]


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
