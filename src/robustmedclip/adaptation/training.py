"""The training loop: the joint training of an encoder on few-shot images of several data sets."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from robustmedclip.adaptation.augmentation import View, corrupted, random_view, viewed
from robustmedclip.adaptation.checkpoint import Checkpoint, TrainingState
from robustmedclip.adaptation.methods.encoder import EncoderMethod
from robustmedclip.adaptation.objective import Objective, prepared_batches
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.sampling import epoch_order, occurrences
from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.adaptation.training_state import Trainable, TrainedTensors, assign, copies
from robustmedclip.devices import memory_explained, to_host
from robustmedclip.errors import InputError
from robustmedclip.progress import duration, track

logger = logging.getLogger(__name__)

#: Fraction of the steps over which the learning rate rises under ``schedule: cosine``.
_WARM_UP = 0.1
#: Epochs that take so many seconds are shown one by one.
_LONG_EPOCH = 5
_ADVICE = "lower 'batch_size' of the method, end what else runs on it, or take one with more memory"


def train(
    objective: Objective,
    trainable: Trainable,
    training: Samples,
    validation: Samples,
    method: EncoderMethod,
    seed: int,
    checkpoint: Checkpoint,
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Train in place; the curves, and the epoch and scale that the model is left at.

    Parameters and what is minimised are those of :func:`robustmedclip.adaptation.tuning.tune`. Everything random is a
    function of the seed and the epoch, so that a training that goes on from its checkpoint ends in the same bytes.
    """
    name, scales_update = objective.model.name, method.keep == "scaled_update"
    optimiser = torch.optim.AdamW(trainable.parameters, lr=method.learning_rate, weight_decay=method.weight_decay)
    tensors, start = TrainedTensors(trainable, optimiser), copies(trainable.scaled)
    pull = _pull(trainable, method.pull(len(training) / training.label_ranges[-1][1]))
    if last := checkpoint.last():
        history = [dict(row) for row in last.history]
        tensors.restore(last.arrays, last.kept)
        logger.info("Tuning %s goes on after epoch %d of %d", name, history[-1]["epoch"], method.epochs)
    else:
        history = [{"epoch": 0, "training_loss": math.nan, **objective.validate(validation)}]
        checkpoint.record(history[0])
        trainable.set_statistics()
    for epoch in range(len(history), method.epochs + 1):
        started = time.monotonic()
        loss = _epoch(objective, training, method, optimiser, seed, epoch, pull)
        row = {"epoch": epoch, "training_loss": loss, "validation_loss": math.nan, "validation_accuracy": math.nan}
        if not scales_update or epoch == method.epochs:
            row |= objective.validate(validation)
        if not scales_update and objective.criterion(row) < objective.criterion(history[tensors.kept]):
            tensors.keep(epoch)
        history.append(row)
        _log(name, row, method.epochs, time.monotonic() - started)
        checkpoint.record(row, lambda: TrainingState(history, tensors.kept, tensors.arrays()))
    if scales_update:
        return history, _scaled_update(objective, trainable, tensors, start, history, validation, method.scales)
    tensors.set_best()
    adapted = tensors.kept > 0 and bool(trainable.statistics)
    return history, {"epoch": tensors.kept, "scale": 1.0, "statistics_adapted": adapted}


def _scaled_update(
    objective: Objective,
    trainable: Trainable,
    tensors: TrainedTensors,
    start: Sequence[torch.Tensor],
    history: Sequence[Mapping[str, float]],
    validation: Samples,
    scales: Sequence[float],
) -> dict[str, float]:
    """Scale the update by what validation chooses; the epoch and scale that the model is left at."""
    untuned_loss, tuned_loss = (history[epoch]["validation_loss"] for epoch in (0, -1))
    known = {1.0: tuned_loss} | ({} if trainable.statistics else {0.0: untuned_loss})
    scale, loss = _choose_scale(objective, trainable.scaled, start, known, validation, scales)
    if loss < untuned_loss or 0 not in scales:
        return {"epoch": len(history) - 1, "scale": scale, "statistics_adapted": bool(trainable.statistics)}
    tensors.set_untuned()
    return {"epoch": 0, "scale": 0.0, "statistics_adapted": False}


def _choose_scale(
    objective: Objective,
    scaled: Sequence[torch.Tensor],
    start: Sequence[torch.Tensor],
    known: Mapping[float, float],
    validation: Samples,
    scales: Sequence[float],
) -> tuple[float, float]:
    """Scale the update by the scale of the lowest validation loss, the smallest of equals; the scale and the loss.

    `known` are losses of scales that need not be computed. The statistics stay as they are.
    """
    end, losses = copies(scaled), dict(known)

    def scale_to(scale: float) -> None:
        assign(scaled, (torch.lerp(first, last, scale) for first, last in zip(start, end, strict=True)))

    for scale in sorted(scales):
        if scale not in losses:
            scale_to(scale)
            losses[scale] = objective.validate(validation)["validation_loss"]
    chosen = min(sorted(scales), key=losses.__getitem__)
    scale_to(chosen)
    return chosen, losses[chosen]


def _pull(trainable: Trainable, strength: float) -> Callable[[], torch.Tensor] | None:
    """A function that gives the penalty, ``strength ||parameters - start||^2``, if there is one."""
    if not strength:
        return None
    start = copies(trainable.parameters)
    return lambda: (
        strength
        * sum(
            (torch.square(now - then).sum() for now, then in zip(trainable.parameters, start, strict=True)),
            start=torch.zeros((), device=start[0].device),
        )
    )


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
    method: EncoderMethod,
    optimiser: torch.optim.Optimizer,
    seed: int,
    epoch: int,
    pull: Callable[[], torch.Tensor] | None,
) -> float:
    """As many images as there are for training; the mean loss, without the penalty."""
    rng = np.random.default_rng(derived_seed(seed, "epoch", epoch))
    torch.manual_seed(derived_seed(seed, "dropout", epoch))
    order = epoch_order(training, method.sampling, rng)
    starts = range(0, len(order), method.batch_size)
    batches = [order[start : start + method.batch_size] for start in starts]
    prepare = _augmenting(objective, training, method, order, seed, epoch)
    prepared = prepared_batches(prepare, _with_views(training, method, starts, batches, rng), objective.device)
    steps, name = method.epochs * len(batches), f"Tuning {objective.model.name}, epoch {epoch} of {method.epochs}"
    losses: list[torch.Tensor] = []  # looked at when the epoch is over: to look at one waits for the GPU
    statistics = method.batch_norm == "batch"
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    with memory_explained(_ADVICE), _training_mode(objective.model.network, batch_norm=statistics):
        for position, batch in enumerate(track(batches, name)):
            rate = _rate((epoch - 1) * len(batches) + position, steps, method.schedule)
            for group in optimiser.param_groups:
                group["lr"] = method.learning_rate * rate
            mean = objective.training_loss(next(prepared), training, batch)
            losses.append(mean.detach())
            optimiser.zero_grad(set_to_none=True)
            (mean + pull() if pull else mean).backward()  # type: ignore[no-untyped-call]
            if method.max_gradient_norm is not None:
                torch.nn.utils.clip_grad_norm_(trained, method.max_gradient_norm)
            optimiser.step()
    (values,) = to_host([torch.stack(losses)])()
    for loss in values.tolist():
        if not math.isfinite(loss):
            raise InputError(
                f"The training loss of {objective.model.name} is {loss} in epoch {epoch}: lower the learning rate "
                f"of the method, now {method.learning_rate:g}"
            )
    total: float = sum(loss * len(batch) for loss, batch in zip(values.tolist(), batches, strict=True))
    return total / len(order)


def _with_views(
    training: Samples,
    method: EncoderMethod,
    starts: Iterable[int],
    batches: Iterable[np.ndarray],
    rng: np.random.Generator,
) -> Iterator[tuple[int, np.ndarray, Mapping[int, View]]]:
    """Batches with random views by the places in them, drawn one after the other, whoever prepares them."""
    for start, batch in zip(starts, batches, strict=True):
        views = {
            place: random_view(shape, rng, method.min_crop_area, method.flip)
            for shape, places in training.by_size(batch)
            for place in places
        }
        yield start, batch, views


def _augmenting(
    objective: Objective,
    training: Samples,
    method: EncoderMethod,
    order: np.ndarray,
    seed: int,
    epoch: int,
) -> Callable[[tuple[int, np.ndarray, Mapping[int, View]]], torch.Tensor]:
    """A function of a batch's first place in the epoch's `order`, its indices and views: its augmented model input."""
    seen_before = occurrences(order)

    def prepare(part: tuple[int, np.ndarray, Mapping[int, View]]) -> torch.Tensor:
        start, batch, views = part

        def augment(images: np.ndarray, places: np.ndarray) -> np.ndarray:
            images = viewed(images, (views[place] for place in places))
            if method.corruptions is None:
                return images
            # An image that comes again in an epoch is corrupted anew.
            again = [f"\0{times}" if times else "" for times in seen_before[start + places]]
            keys = [training.key(index) + suffix for index, suffix in zip(batch[places], again, strict=True)]
            return corrupted(images, method.corruptions, keys, seed, epoch)

        return training.pixels(batch, augment, objective.device)

    return prepare


def _rate(step: int, steps: int, schedule: str) -> float:
    """Learning rate of a step relative to the highest."""
    if schedule == "constant":
        return 1.0
    rise = max(1, int(_WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


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
