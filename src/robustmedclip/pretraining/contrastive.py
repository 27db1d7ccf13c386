"""Contrastive training of an image and a text encoder from scratch."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

logger = logging.getLogger(__name__)


def contrastive_loss(
    image_features: torch.Tensor,
    text_features: torch.Tensor,
    image_groups: torch.Tensor,
    text_groups: torch.Tensor,
    logit_scale: torch.Tensor,
) -> torch.Tensor:
    """Symmetric contrastive loss in which an image and a text of one group are a positive pair.

    Captions of one class are interchangeable, so an image is not pushed away from the caption of
    another image of its class (Yang et al. 2022, UniCL, arXiv:2204.03610, eq. 2-4).

    Parameters
    ----------
    image_features, text_features : Tensor
        Unit vectors, float ``(N, D)`` and ``(M, D)``.
    image_groups, text_groups : Tensor
        int ``(N,)`` and ``(M,)``; every image has a text of its group. Texts of a group without an image
        are negatives only.
    logit_scale : Tensor
        Inverse temperature, scalar.

    Returns
    -------
    Tensor
        Scalar.
    """
    logits = logit_scale * image_features @ text_features.T
    positives = (image_groups[:, None] == text_groups[None, :]).float()
    shown = positives.any(0)
    of_images = F.cross_entropy(logits, positives / positives.sum(1, keepdim=True))
    of_texts = F.cross_entropy(logits.T[shown], (positives / positives.sum(0)).T[shown])
    return (of_images + of_texts) / 2


def pretrain(
    network: Any,
    pixels: Callable[[np.ndarray], torch.Tensor],
    texts: Callable[[], tuple[torch.Tensor, torch.Tensor]],
    groups: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
) -> list[float]:
    """Train in place with AdamW and a one-cycle learning rate.

    The loss is the contrastive one plus the cross-entropy of a cosine classifier of the groups, which is
    thrown away afterwards. Without it the texts of hard classes stay alike, and as long as they are
    alike the image encoder gets no reason to tell those classes apart.

    Parameters
    ----------
    network : nn.Module
        An open_clip ``CLIP``.
    pixels : callable
        Sample indices, int ``(B,)``, to model input, float32 ``(B, 3, H, W)``.
    texts : callable
        Captions for one step: token ids, int64 ``(M, context)``, and their groups, int64 ``(M,)``.
    groups : ndarray
        int64 ``(N,)``: images and captions of a group are positives of each other.
    epochs, batch_size, learning_rate, weight_decay, seed
        Of the optimisation; `learning_rate` is the peak.

    Returns
    -------
    list of float
        Mean loss of each epoch.
    """
    rng = np.random.default_rng(seed)
    steps = len(groups) // batch_size
    width, classes = network.text_projection.shape[1], int(groups.max()) + 1
    head = nn.Parameter(torch.randn(classes, width) / width**0.5)
    optimiser = _optimiser(network, head, learning_rate, weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * steps, pct_start=0.1)
    network.train()
    losses: list[float] = []
    for epoch in range(epochs):
        order, total = rng.permutation(len(groups)), 0.0
        for step in range(steps):
            batch = order[step * batch_size : (step + 1) * batch_size]
            tokens, text_groups = texts()
            loss = _loss(network, head, pixels(batch), torch.from_numpy(groups[batch]), tokens, text_groups)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        losses.append(total / steps)
        logger.info("epoch %d of %d: loss %.3f", epoch + 1, epochs, losses[-1])
    network.eval()
    return losses


def _optimiser(network: Any, head: nn.Parameter, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW that decays matrices alone."""
    decayed = [head, *(p for p in network.parameters() if p.ndim > 1)]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=learning_rate,
    )


def _loss(
    network: Any,
    head: nn.Parameter,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    tokens: torch.Tensor,
    text_groups: torch.Tensor,
) -> torch.Tensor:
    """Contrastive loss of a batch, and the cross-entropy of the classifier of groups."""
    scale = network.logit_scale.exp().clamp(max=100)
    features = F.normalize(network.encode_image(pixels), dim=-1)
    text_features = F.normalize(network.encode_text(tokens), dim=-1)
    contrastive = contrastive_loss(features, text_features, labels, text_groups, scale)
    return contrastive + F.cross_entropy(scale * features @ F.normalize(head, dim=-1).T, labels)
