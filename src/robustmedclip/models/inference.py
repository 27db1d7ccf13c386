"""Scoring streams of images."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from robustmedclip.models.interface import VisionLanguageModel

#: Images per forward pass. Fixed, and every pass is filled up to it, so that an image's logits don't
#: depend on how many images are scored.
BATCH_SIZE = 50


@torch.inference_mode()
def image_logits(
    model: VisionLanguageModel, classifier: torch.Tensor, batches: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """Logits of a stream of images.

    Parameters
    ----------
    model : VisionLanguageModel
        In evaluation mode.
    classifier : Tensor
        Unit class vectors, float32 ``(classes, D)``.
    batches : iterable of ndarray
        uint8 ``(<=BATCH_SIZE, H, W, C)``.

    Yields
    ------
    ndarray
        float32 ``(N, classes)`` of each batch: logit scale times cosine similarity.
    """
    for images in batches:
        missing = BATCH_SIZE - len(images)
        padded = (
            np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)]) if missing else images
        )
        features = model.encode_image(model.preprocess(padded, model.device))
        yield (model.logit_scale * features @ classifier.to(model.device).T)[: len(images)].cpu().numpy()
