"""Low-rank adaptation (LoRA; Hu et al. 2021, arXiv:2106.09685) of the visual encoder, with peft."""

import copy
import json
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from safetensors.numpy import load_file
from torch.nn import functional as F

from robustmedclip.adaptation.augmentation import CorruptionAugmentation, augmented
from robustmedclip.adaptation.samples import Samples
from robustmedclip.adaptation.seeds import derived_seed
from robustmedclip.errors import InputError
from robustmedclip.models import BATCH_SIZE, VisionLanguageModel
from robustmedclip.types import Adapter

logger = logging.getLogger(__name__)

_CHOICES = {"label_space": ("joint", "data_set"), "schedule": ("constant", "cosine"), "selection": ("epoch", "scale")}
#: Scales of the tuned update that ``selection: scale`` compares; 0 is the untuned model.
_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Share of the steps over which the learning rate rises under ``schedule: cosine``.
_WARM_UP = 0.1


@dataclass(frozen=True)
class LoraSettings:
    """Settings of the tuning.

    Attributes
    ----------
    rank : int
        Rank r of the update B A of each adapted layer.
    alpha : float or None
        The update is scaled by alpha / r; None means alpha = r, a scale of 1.
    dropout : float
        Share of the layer's inputs that the update does not see, in [0, 1).
    targets : str or None
        Regular expression of the layers to adapt; None means the model's own ``lora_targets``, ``all`` every linear and
        convolutional layer of the visual encoder, its first layers included. A shift of the input, such as other
        devices, is best met in the first layers (Lee et al. 2023, arXiv:2210.11466).
    learning_rate, weight_decay : float
        Of AdamW; the highest learning rate.
    schedule : str
        Learning rate over the steps: ``constant``, or ``cosine``: a linear rise over the first tenth, then half
        a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts).
    epochs, batch_size : int
        Passes over the few-shot images, and images per step.
    min_crop_area : float
        Smallest share of the area that the random crop keeps, in (0, 1].
    flip : bool
        Whether to mirror half of the images.
    corruptions : CorruptionAugmentation or mapping of its fields, or None
        Corruptions of the training images; None means clean images only.
    label_space : str
        Classes that the loss compares: ``joint``, of all data sets, or ``data_set``, of the image's own data set, which
        is what zero-shot scoring does.
    selection : str
        What validation chooses: the ``epoch`` to keep, or the ``scale`` in [0, 1] of the last epoch's update, that
        is, a point between the untuned and the tuned weights (WiSE-FT; Wortsman et al. 2022, arXiv:2109.01903).

    Raises
    ------
    InputError
        If a choice is not among the known ones, or the corruptions are not valid.
    """

    rank: int
    alpha: float | None
    dropout: float
    targets: str | None
    learning_rate: float
    weight_decay: float
    schedule: str
    epochs: int
    batch_size: int
    min_crop_area: float
    flip: bool
    corruptions: CorruptionAugmentation | None
    label_space: str
    selection: str

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"tuning.{name}: expected {' or '.join(known)}, found {getattr(self, name)!r}")
        if isinstance(self.corruptions, Mapping):
            if self.corruptions.keys() != CorruptionAugmentation.__dataclass_fields__.keys():
                raise InputError(
                    f"tuning.corruptions: expected {', '.join(CorruptionAugmentation.__dataclass_fields__)}, "
                    f"found {', '.join(self.corruptions)}"
                )
            object.__setattr__(self, "corruptions", CorruptionAugmentation(**self.corruptions))


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
    `settings.label_space`, against frozen text features. Statistics of batch normalisation stay frozen. The
    epoch, or the scale of the update, with the lowest validation loss, averaged over data sets, is kept; epoch 0 and
    scale 0 are the untuned model, so tuning that does not help is not used.

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
        One per epoch: ``epoch``, ``training_loss``, ``validation_loss``, ``validation_accuracy``.

    Raises
    ------
    InputError
        If the loss is not finite.
    ValueError
        If the targets match no layer.
    """
    base_hash = model.content_hash()
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.rank if settings.alpha is None else settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=_targets(model, settings.targets),
    )
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(seed, "init"))
        tuned = _with_lora(model, config)
        history, kept = _train(tuned, training, validation, classifier, settings, seed)
    with tempfile.TemporaryDirectory() as folder:
        tuned.network.save_pretrained(folder)
        adapter = Adapter(
            config=json.loads((Path(folder) / "adapter_config.json").read_text()),
            weights=load_file(Path(folder) / "adapter_model.safetensors"),
            metadata={**metadata, "base_model_hash": base_hash, "seed": seed, **kept},
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
    return _replaced(model, network.eval())


def _replaced(model: VisionLanguageModel, network: torch.nn.Module) -> VisionLanguageModel:
    replaced = copy.copy(model)
    replaced.network = network
    return replaced


def _train(
    model: VisionLanguageModel,
    training: Samples,
    validation: Samples,
    classifier: torch.Tensor,
    settings: LoraSettings,
    seed: int,
) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Train the adapter in place; the curves, and the epoch and scale that it is left at."""
    parameters = [p for p in model.network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * math.ceil(len(training) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps, settings.schedule))
    history = [{"epoch": 0, "training_loss": math.nan, **_validate(model, validation, classifier, settings)}]
    lowest, best, kept = history[0]["validation_loss"], [p.detach().clone() for p in parameters], 0
    for epoch in range(1, settings.epochs + 1):
        loss = _epoch(model, training, classifier, settings, optimiser, schedule, seed, epoch)
        row = {"epoch": epoch, "training_loss": loss, **_validate(model, validation, classifier, settings)}
        history.append(row)
        logger.debug("epoch %(epoch)d: training %(training_loss).3f, validation %(validation_loss).3f", row)
        if row["validation_loss"] < lowest:
            lowest, best, kept = row["validation_loss"], [p.detach().clone() for p in parameters], epoch
    if settings.selection == "scale":
        return history, {"epoch": settings.epochs, "scale": _choose_scale(model, validation, classifier, settings)}
    with torch.no_grad():
        for parameter, value in zip(parameters, best, strict=True):
            parameter.copy_(value)
    return history, {"epoch": kept, "scale": 1.0}


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
    for start in range(0, len(order), settings.batch_size):
        batch = order[start : start + settings.batch_size]
        with _active_dropout(model.network):
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


@torch.no_grad()
def _choose_scale(
    model: VisionLanguageModel, validation: Samples, classifier: torch.Tensor, settings: LoraSettings
) -> float:
    """Scale the update by the scale of the lowest validation loss, the smallest of equals, and return it."""
    factors = [p for name, p in model.network.named_parameters() if "lora_B" in name]
    full = [factor.clone() for factor in factors]

    def scale_to(scale: float) -> None:
        for factor, value in zip(factors, full, strict=True):
            factor.copy_(scale * value)

    def loss_at(scale: float) -> float:
        scale_to(scale)
        return _validate(model, validation, classifier, settings)["validation_loss"]

    chosen = min(_SCALES, key=loss_at)
    scale_to(chosen)
    return chosen


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
    members = [torch.from_numpy(samples.data_set == i) for i in range(len(samples.label_ranges))]
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
