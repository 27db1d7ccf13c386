"""Corruptions as a transform, for training augmentation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from robustmedclip.corruptions.corrupt import corrupt
from robustmedclip.corruptions.suites import SEVERITIES, corruptions


class RandomCorruption:
    """Corrupts an image by one of several corruptions at one of several severities, drawn uniformly.

    Works in a ``torchvision.transforms.Compose``. Random numbers come from torch's global generator, which
    a ``DataLoader`` seeds in every worker.

    Parameters
    ----------
    suite, dataset : str
        As in :func:`robustmedclip.corruptions.corrupt`.
    names : sequence of str, optional
        Corruptions to draw from; by default all of the suite.
    severities : sequence of int
        Severities to draw from.
    probability : float
        Share of the images that are corrupted, in [0, 1].

    Raises
    ------
    ValueError
        If a name, a severity or the probability is not valid.
    """

    def __init__(
        self,
        suite: str = "medimeta-c",
        *,
        dataset: str | None = None,
        names: Sequence[str] | None = None,
        severities: Sequence[int] = (1, 2, 3, 4, 5),
        probability: float = 1.0,
    ):
        known = corruptions(suite, dataset)
        if unknown := sorted(set(names or ()) - set(known)):
            raise ValueError(f"unknown corruptions {unknown} of suite {suite!r}; known are {', '.join(known)}")
        if not severities or not set(severities) <= set(SEVERITIES):
            raise ValueError(f"severities must be some of 1, 2, 3, 4 and 5, not {severities!r}")
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must lie between 0 and 1, not {probability!r}")
        self.suite, self.dataset = suite, dataset
        self.names, self.severities, self.probability = tuple(names or known), tuple(severities), probability

    def __call__(self, image: Any) -> Any:
        """Corrupt one image.

        Parameters
        ----------
        image : PIL image, ndarray or Tensor
            PIL image in mode ``L`` or ``RGB``, uint8 array ``(H, W)`` or ``(H, W, C)``, or uint8 tensor ``(C, H, W)``.

        Returns
        -------
        PIL image, ndarray or Tensor
            Of the same type, mode and shape.

        Raises
        ------
        ValueError
            If the image is none of these.
        """
        import torch

        if torch.rand(()) >= self.probability:
            return image
        name = self.names[torch.randint(len(self.names), ())]
        severity = self.severities[torch.randint(len(self.severities), ())]
        seed = int(torch.randint(2**62, ()))
        if isinstance(image, Image.Image) and image.mode not in ("L", "RGB"):
            raise ValueError(f"the image must be in mode L or RGB, not {image.mode}: convert it first")
        if isinstance(image, torch.Tensor) and image.ndim != 3:
            raise ValueError(f"a tensor must be uint8 (C, H, W), not {image.dtype} {tuple(image.shape)}")
        pixels = image.permute(1, 2, 0).numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
        channels = pixels[..., None] if pixels.ndim == 2 else pixels
        corrupted = corrupt(channels[None], name, severity, suite=self.suite, dataset=self.dataset, seed=seed)[0]
        if isinstance(image, torch.Tensor):
            return torch.from_numpy(corrupted).permute(2, 0, 1).contiguous()
        corrupted = corrupted.reshape(pixels.shape)
        return Image.fromarray(corrupted) if isinstance(image, Image.Image) else corrupted

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.suite!r}, dataset={self.dataset!r}, names={self.names!r}, "
            f"severities={self.severities!r}, probability={self.probability!r})"
        )
