"""Low-rank adaptation (LoRA; Hu et al. 2021, arXiv:2106.09685) of the visual encoder, with peft."""

import copy
import hashlib
import json
import logging
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from safetensors.numpy import load_file
from torch.nn import functional as F

from robustmedclip.adaptation.augmentation import augmented
from robustmedclip.adaptation.samples import Samples
from robustmedclip.errors import InputError
from robustmedclip.models import BATCH_SIZE, VisionLanguageModel
from robustmedclip.types import Adapter

logger = logging.getLogger(__name__)


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
        Regular expression of the layers to adapt; None means the model's own ``lora_targets``.
    learning_rate, weight_decay : float
        Of AdamW; the learning rate is constant.
    epochs, batch_size : int
        Passes over the few-shot images, and images per step.
    min_crop_area : float
        Smallest share of the area that the random crop keeps, in (0, 1].
    flip : bool
        Whether to mirror half of the images.
    """

    rank: int
    alpha: float | None
    dropout: float
    targets: str | None
    learning_rate: float
    weight_decay: float
    epochs: int
    batch_size: int
    min_crop_area: float
    flip: bool


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

    Minimises the cross-entropy of ``logit scale * cosine(image, class text)`` over the joint label space
    of all data sets, against frozen text features. Statistics of batch normalisation stay frozen. The
    epoch with the lowest validation loss, averaged over data sets, is kept; epoch 0 is the
    untuned model, so tuning that does not help is not used.

    Parameters
    ----------
    model : VisionLanguageModel
        Is left as it was.
    training, validation : Samples
        Few-shot images and images for the choice of the epoch.
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
        target_modules=settings.targets or model.lora_targets,
    )
    with torch.random.fork_rng():
        torch.manual_seed(_seed(seed, "init"))
        tuned = _with_lora(model, config)
        history = _train(tuned, training, validation, classifier, settings, seed)
    best = min(history, key=lambda row: row["validation_loss"])["epoch"]
    with tempfile.TemporaryDirectory() as folder:
        tuned.network.save_pretrained(folder)
        adapter = Adapter(
            config=json.loads((Path(folder) / "adapter_config.json").read_text()),
            weights=load_file(Path(folder) / "adapter_model.safetensors"),
            metadata={**metadata, "base_model_hash": base_hash, "seed": seed, "epoch": best},
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
) -> list[dict[str, float]]:
    """Train the adapter in place and leave it at its best epoch."""
    parameters = [p for p in model.network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    labels = torch.from_numpy(training.labels)
    history = [{"epoch": 0, "training_loss": math.nan, **_validate(model, validation, classifier)}]
    lowest, best = history[0]["validation_loss"], [p.detach().clone() for p in parameters]
    for epoch in range(1, settings.epochs + 1):
        rng = np.random.default_rng(_seed(seed, "epoch", epoch))
        torch.manual_seed(_seed(seed, "dropout", epoch))
        augment = partial(augmented, rng=rng, min_area=settings.min_crop_area, flip=settings.flip)
        order, total = rng.permutation(len(training)), 0.0
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            with _active_dropout(model.network):
                features = model.encode_image(training.pixels(batch, augment))
            loss = F.cross_entropy(model.logit_scale * features @ classifier.T, labels[batch])
            if not torch.isfinite(loss):
                raise InputError(f"The training loss is {loss.item()} in epoch {epoch}: lower the learning rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(batch)
        row = {"epoch": epoch, "training_loss": total / len(order), **_validate(model, validation, classifier)}
        history.append(row)
        logger.debug("epoch %(epoch)d: training %(training_loss).3f, validation %(validation_loss).3f", row)
        if row["validation_loss"] < lowest:
            lowest, best = row["validation_loss"], [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for parameter, value in zip(parameters, best, strict=True):
            parameter.copy_(value)
    return history


@torch.inference_mode()
def _validate(model: VisionLanguageModel, samples: Samples, classifier: torch.Tensor) -> dict[str, float]:
    """Loss over the joint label space, and accuracy within each data set's classes, averaged over data sets."""
    indices = np.arange(len(samples))
    features = torch.cat(
        [
            model.encode_image(samples.pixels(indices[start : start + BATCH_SIZE]))
            for start in range(0, len(samples), BATCH_SIZE)
        ]
    )
    logits, labels = model.logit_scale * features @ classifier.T, torch.from_numpy(samples.labels)
    losses = F.cross_entropy(logits, labels, reduction="none")
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


def _seed(*key: int | str) -> int:
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")
