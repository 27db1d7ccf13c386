"""What a training minimises, and what it validates by."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from robustmedclip.adaptation.methods.encoder import EncoderMethod
from robustmedclip.adaptation.samples import Samples
from robustmedclip.devices import to_device, to_host
from robustmedclip.models.batch_size import BATCH_SIZE
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.parallel import cores, map_ahead

#: Most batches that are prepared at a time, each by a core. Each holds its images on the GPU; and from five on, threads
#: wait for the interpreter, which a preparation at 224 px holds for a fifth of its time.
_MOST_AHEAD = 5


class Objective:
    """Cross-entropy of images against class vectors: frozen ones of prompts, or those of a head that is trained.

    Images of findings have the mean binary cross-entropy over those that are known of them.

    Parameters
    ----------
    model : VisionLanguageModel
        Its network is the one that is trained; everything happens on its device.
    classifier : Tensor
        Class vectors in the joint label space, float32 ``(classes, D)``: unit ones, or the weight of a head.
    label_ranges : sequence of (int, int)
        First and last joint label (exclusive) of each data set.
    method : EncoderMethod
        Which features and classes are compared, and what the validation is for.
    precision : dtype
        Of the matrix products of the encoder; what is between them, and the loss, stays float32.
    bias : Tensor, optional
        Of the head, float32 ``(classes,)``, whose logits are not scaled.
    findings : sequence of int
        Places of the data sets of findings, whose class vectors give log-odds: no other classes are compared with them.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        classifier: torch.Tensor,
        label_ranges: Sequence[tuple[int, int]],
        method: EncoderMethod,
        precision: torch.dtype = torch.float32,
        bias: torch.Tensor | None = None,
        findings: Sequence[int] = (),
    ):
        self.model, self.device, self._method, self._precision = model, model.device, method, precision
        self._network: Any = model.network
        self._classes, self._bias = classifier.to(self.device), bias
        self._scale = model.logit_scale if bias is None else 1.0
        #: The first class with the vector of each: those with the same, as of two data sets, are not to be told apart.
        (vectors,) = to_host([classifier.detach()])()
        _, first, position = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
        self._first = torch.from_numpy(first[position])
        first, last = torch.tensor(label_ranges, device=self.device).T[..., None]
        labels = torch.arange(len(classifier), device=self.device)
        outside = (labels < first) | (labels >= last)
        self._of_findings = torch.isin(
            torch.arange(len(first), device=self.device), torch.tensor(findings, dtype=torch.int64, device=self.device)
        )
        if method.label_space == "joint":  # findings are compared with nothing else even so
            outside &= self._of_findings[:, None] | (~outside & self._of_findings[:, None]).any(0)
        self._outside = outside if method.label_space == "data_set" or findings else None

    def logits(self, pixels: torch.Tensor, samples: Samples, indices: np.ndarray) -> torch.Tensor:
        """Logits of the joint classes, float32 ``(n, classes)``; -inf for those that are not compared."""
        with torch.autocast(self.device.type, self._precision, enabled=self._precision != torch.float32):
            if self._method.features == "raw":
                features = self._network.encode_image(pixels)
            else:
                features = self._scale * self.model.encode_image(pixels)
        logits: torch.Tensor = features.float() @ self._classes.T
        if self._bias is not None:
            logits = logits + self._bias
        if self._outside is None:
            return logits
        data_sets = to_device(samples.data_set[indices], self.device)
        return logits.masked_fill(self._outside[data_sets], -math.inf)

    def losses(self, logits: torch.Tensor, samples: Samples, indices: np.ndarray) -> torch.Tensor:
        """Loss of each image, float32 ``(n,)``."""
        labels = to_device(samples.labels[indices], self.device)
        losses = F.cross_entropy(logits, labels, reduction="none")
        if samples.targets is None:
            return losses
        targets, data_sets = (to_device(of[indices], self.device) for of in (samples.targets, samples.data_set))
        binary = F.binary_cross_entropy_with_logits(
            logits.masked_fill(targets < 0, 0), targets.clamp(min=0).float(), reduction="none"
        )
        return torch.where(self._of_findings[data_sets], _mean_of_known(binary, targets), losses)

    def training_loss(self, pixels: torch.Tensor, samples: Samples, batch: np.ndarray) -> torch.Tensor:
        """Mean loss of a batch, a scalar."""
        return self.losses(self.logits(pixels, samples, batch), samples, batch).mean()

    @torch.inference_mode()
    def validate(self, samples: Samples) -> dict[str, float]:
        """Loss over the classes of the label space, and accuracy within each data set's, averaged over data sets.

        For ``select_on: test`` the accuracy is that over the label space, of all images together; classes with the same
        vector count as one. Without images, both are not a number.
        """
        if not len(samples):
            return {"validation_loss": math.nan, "validation_accuracy": math.nan}
        indices = np.arange(len(samples))
        batches = [indices[start : start + BATCH_SIZE] for start in range(0, len(indices), BATCH_SIZE)]
        prepared = prepared_batches(partial(samples.pixels, device=self.device), batches, self.device)
        logits = torch.cat(
            [self.logits(pixels, samples, batch) for pixels, batch in zip(prepared, batches, strict=True)]
        )
        losses = self.losses(logits, samples, indices).cpu()
        logits, labels = logits.cpu(), torch.from_numpy(samples.labels)
        members = [torch.from_numpy(inside) for inside in samples.members()]
        right = (self._first[logits.argmax(1)] == self._first[labels]).float()
        accuracies = [
            (logits[inside, first:last].argmax(1) + first == labels[inside]).float().mean()
            for inside, (first, last) in zip(members, samples.label_ranges, strict=True)
        ]
        if samples.targets is not None:
            targets = torch.from_numpy(samples.targets)
            of_known = _mean_of_known(((logits > 0) == (targets > 0)).float(), targets)
            for place in samples.findings:
                right[members[place]] = of_known[members[place]]
                accuracies[place] = right[members[place]].mean()
        return {
            "validation_loss": float(torch.stack([losses[inside].mean() for inside in members]).nanmean()),
            "validation_accuracy": float(
                right.mean() if self._method.needs_test_images else torch.stack(accuracies).nanmean()
            ),
        }

    def criterion(self, row: Mapping[str, float]) -> float:
        """What the epoch to keep has the lowest of."""
        return -row["validation_accuracy"] if self._method.needs_test_images else row["validation_loss"]


def _mean_of_known(values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean of each row, float32 ``(n,)``, over the findings that are known, whose targets are not negative; else 0."""
    known = targets >= 0
    mean: torch.Tensor = values.masked_fill(~known, 0).sum(1) / known.sum(1).clamp(min=1)
    return mean


def prepared_batches(
    prepare: Callable[[Any], torch.Tensor], batches: Iterable[Any], device: torch.device
) -> Iterator[torch.Tensor]:
    """Model input of batches; prepared by several cores ahead of a GPU, but not on a CPU, whose cores train."""
    return map(prepare, batches) if device.type == "cpu" else map_ahead(prepare, batches, min(cores(), _MOST_AHEAD))
