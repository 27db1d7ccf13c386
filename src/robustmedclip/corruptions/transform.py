"""Corruptions drawn at random, for training augmentation."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from robustmedclip.corruptions.corrupt import corrupt
from robustmedclip.corruptions.suites import SEVERITIES, Suite, corruptions, suite


@dataclass(frozen=True)
class RandomCorruption:
    """Corrupts images, each by one of several corruptions at one of several severities, drawn uniformly.

    A single image is corrupted by calling it, as ``torchvision.transforms.Compose`` does, with random numbers that come
    from torch's global generator, which a ``DataLoader`` seeds in every worker; a batch by :meth:`corrupted`, with a
    generator for each image.

    Training on corrupted images carries over to corruptions that were not among them (Rusak et al. 2020,
    arXiv:2001.06057; for medical images Di Salvo et al. 2024, arXiv:2406.17536). To test on something new, leave what
    is scored out of `names`.

    Attributes
    ----------
    suite : str or Suite
        As in :func:`robustmedclip.corruptions.corrupt`.
    dataset : str or None
        As there; its list is drawn from, where the suite has one for each of some data sets.
    names : sequence of str or None
        Corruptions to draw from; None means all of the suite.
    severities : sequence of int
        Severities to draw from.
    probability : float
        Of each image to be corrupted, in [0, 1].

    Raises
    ------
    ValueError
        If there is no such suite, or a name, a severity or the probability is not valid.
    """

    suite: str | Suite = "medimeta-c"
    _: KW_ONLY
    dataset: str | None = None
    names: Sequence[str] | None = None
    severities: Sequence[int] = SEVERITIES
    probability: float = 1.0

    def __post_init__(self) -> None:
        known = corruptions(self.suite, self.dataset)
        if self.names is not None and (isinstance(self.names, str) or not self.names):
            raise ValueError(f"names must be a list of corruptions, not {self.names!r}")
        if unknown := sorted(set(self.names or ()) - set(known)):
            raise ValueError(f"unknown corruptions {unknown} of suite {self.suite!r}; known are {', '.join(known)}")
        if not self.severities or not set(self.severities) <= set(SEVERITIES):
            raise ValueError(f"severities must be some of 1, 2, 3, 4 and 5, not {self.severities!r}")
        is_number = isinstance(self.probability, int | float) and not isinstance(self.probability, bool)
        if not is_number or not 0 <= self.probability <= 1:
            raise ValueError(f"probability must lie between 0 and 1, not {self.probability!r}")
        object.__setattr__(self, "names", known if self.names is None else tuple(self.names))
        object.__setattr__(self, "severities", tuple(self.severities))

    @property
    def families(self) -> frozenset[str]:
        """Families of the corruptions that are drawn from."""
        known = suite(self.suite).corruptions(self.dataset)
        return frozenset(known[name].family for name in self.names or ())

    def without(self, names: Collection[str], families: Collection[str]) -> "RandomCorruption | None":
        """The same without some corruptions and families; None if nothing is left to draw from."""
        known = suite(self.suite).corruptions(self.dataset)
        left = [name for name in self.names or () if name not in names and known[name].family not in families]
        return replace(self, names=left) if left else None

    def __call__(self, image: Any) -> Any:
        """Corrupt one image, or leave it as it is.

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

        if isinstance(image, Image.Image) and image.mode not in ("L", "RGB"):
            raise ValueError(f"the image must be in mode L or RGB, not {image.mode}: convert it first")
        if isinstance(image, torch.Tensor) and image.ndim != 3:
            raise ValueError(f"a tensor must be uint8 (C, H, W), not {image.dtype} {tuple(image.shape)}")
        pixels = image.permute(1, 2, 0).numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
        channels = pixels[..., None] if pixels.ndim == 2 else pixels
        corrupted = self.corrupted(channels[None], [np.random.default_rng(int(torch.randint(2**62, ())))])[0]
        if isinstance(image, torch.Tensor):
            return torch.from_numpy(corrupted).permute(2, 0, 1).contiguous()
        corrupted = corrupted.reshape(pixels.shape)
        return Image.fromarray(corrupted) if isinstance(image, Image.Image) else corrupted

    def corrupted(self, images: np.ndarray, generators: Iterable[np.random.Generator]) -> np.ndarray:
        """Corrupt some of the images of a batch.

        Parameters
        ----------
        images : ndarray
            uint8 ``(N, H, W, C)``; not modified.
        generators : iterable of numpy.random.Generator
            One per image: what is drawn for an image depends on its generator alone.

        Returns
        -------
        ndarray
            uint8 ``(N, H, W, C)``.
        """
        corrupted, names = images.copy(), self.names or ()
        for row, rng in enumerate(generators):
            if rng.random() < self.probability:
                name = names[int(rng.integers(len(names)))]
                severity = self.severities[int(rng.integers(len(self.severities)))]
                seed = int(rng.integers(2**31))
                image = images[row : row + 1]
                corrupted[row] = corrupt(image, name, severity, suite=self.suite, dataset=self.dataset, seed=seed)[0]
        return corrupted
