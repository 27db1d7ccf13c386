"""Two probes that start from the prompts, on the untuned encoder and on one that is tuned part of the way, as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.special import log_expit, log_softmax

from robustmedclip.adaptation.artefacts import Adapter, Classifier, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.methods.encoder import PartialUpdate
from robustmedclip.adaptation.methods.lora import Dropout, Lora
from robustmedclip.adaptation.methods.robust_probe import (
    LearnsFromAllLabels,
    RobustProbe,
    stays_zero_shot,
    without_guards,
)
from robustmedclip.adaptation.methods.settings import Count, Expression, Fractions, NotNegative, PositiveGrid
from robustmedclip.adaptation.shot_features import ShotFeatures, ShotView, shot_features
from robustmedclip.adaptation.task import Task

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel

_PROBE = RobustProbe()
#: Images of a data set that keep a whole update; chosen with 470 labels and the validation images of PneumoniaMNIST.
_ENOUGH = 200
#: Fraction of an update that the untuned encoder counts as, in the mean of both.
_UNTUNED = 0.5
#: In a classifier, that its logits are log-odds of findings.
_LOG_ODDS = "log_odds"


class RobustEnsemble(LearnsFromAllLabels, PartialUpdate, Lora):
    """The mean of the probabilities of two robust probes: on the untuned encoder, and on one with part of an update.

    Both are :class:`~robustmedclip.adaptation.methods.robust_probe.RobustProbe`, learnt from the images and their
    corrupted copies, behind the same input guard. The low-rank update is trained as the settings of
    :class:`~robustmedclip.adaptation.methods.lora.Lora` say, and scaled by :func:`kept_fraction`. In the mean, the
    untuned encoder counts as half an update, and the tuned one as what is kept of its. No validation image is needed;
    where there are some, they are learnt, too. Where the probe on the untuned encoder finds nothing better than
    zero-shot on images that were left out, it is zero-shot, which the other one is averaged with; if a class has a
    single image, it is zero-shot alone, without a guard (see
    :func:`~robustmedclip.adaptation.methods.robust_probe.stays_zero_shot`).

    Attributes
    ----------
    scales : tuple of float
        The least and the greatest fraction of the update that is kept.
    copies : int
        Corrupted copies of each training image that the probes learn from beside it, where there are corruptions.
    strengths, parts
        Of :class:`~robustmedclip.adaptation.methods.robust_probe.RobustProbe`.
    """

    dropout: Dropout = 0.1
    targets: Expression = "all"
    learning_rate: NotNegative = 3e-3
    scales: Fractions = (0.5, 1.0)
    copies: Count = _PROBE.copies
    strengths: PositiveGrid = _PROBE.strengths
    parts: Count = _PROBE.parts

    needs_text: ClassVar[bool] = True

    @property
    def can_be_served(self) -> bool:
        return False

    @property
    def view(self) -> ShotView:
        """How the probes look at few-shot images: with as many corrupted copies, all of which are corrupted."""
        corruptions = replace(self.corruptions, probability=1.0) if self.corruptions else None
        return ShotView(
            self.guard, corruptions, self.copies if corruptions else 0, validated=False, roles=self.learnt_roles
        )

    def fit(
        self,
        model: VisionLanguageModel,
        tasks: Sequence[Task],
        *,
        seed: int,
        precision: torch.dtype,
        checkpoint: Checkpoint,
    ) -> tuple[Adapter, list[dict[str, Any]]]:
        """The update with both probes of each data set, and its training curves; see :meth:`Method.fit`."""
        features = shot_features(model, tasks, self.view, seed, precision)
        return self.fit_to(features, model, tasks, seed=seed, precision=precision, checkpoint=checkpoint)

    def fit_to(
        self,
        features: Mapping[str, ShotFeatures],
        model: VisionLanguageModel,
        tasks: Sequence[Task],
        *,
        seed: int,
        precision: torch.dtype,
        checkpoint: Checkpoint,
    ) -> tuple[Adapter, list[dict[str, Any]]]:
        """What :meth:`fit` gives, of features of the untuned encoder that are there already."""
        from robustmedclip.adaptation.tuning import merge_adapter

        kept = kept_fraction(float(np.mean([len(task.training) for task in tasks])), self.scales)
        scaled = self.model_copy(update={"scales": (kept,)})
        adapter, history = Lora.fit(scaled, model, tasks, seed=seed, precision=precision, checkpoint=checkpoint)
        tuned = shot_features(merge_adapter(model, adapter), tasks, self.view, seed, precision)
        probe, classifiers, untouched = RobustProbe(strengths=self.strengths, parts=self.parts), {}, set()
        for task in tasks:
            classifiers[task.name] = {
                prefix + name: np.asarray(array, np.float32)
                for prefix, shots in (("", features[task.name]), ("tuned_", tuned[task.name]))
                for name, array in probe.classifier_of(model, task, shots.training, shots.validation)[0].items()
            }
            if stays_zero_shot(task, classifiers[task.name]):
                untouched.add(task.name)
            fraction = 0 if task.name in untouched else kept / (_UNTUNED + kept)
            classifiers[task.name]["tuned_fraction"] = np.asarray(fraction, np.float32)
            if task.scoring:
                classifiers[task.name][_LOG_ODDS] = np.ones((), np.float32)
        names = {task.name: list(task.class_names) for task in tasks}
        head = Head(classifiers, {"base_model_hash": adapter.metadata["base_model_hash"], "class_names": names})
        return replace(adapter, head=head, metadata=without_guards(adapter.metadata, untouched)), history

    def adapted(self, model: VisionLanguageModel, artefact: Adapter | Head, data_set: str) -> VisionLanguageModel:
        """Both encoders side by side."""
        from robustmedclip.adaptation.side_by_side import side_by_side

        return side_by_side(model, super().adapted(model, artefact, data_set))

    def logits(self, classifier: Classifier, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Logarithms, of findings log-odds, of the weighted mean of the probabilities, in parts float32 ``(n, C)``."""
        from robustmedclip.models.inference import in_full_batches

        arrays = {name: array.astype(np.float64) for name, array in classifier.items()}
        fraction = arrays["tuned_fraction"]
        with np.errstate(divide="ignore"):  # of zero-shot alone, the other's weight is none
            weights = np.log([1 - fraction, fraction])[:, None, None]

        def of_both(batch: np.ndarray) -> np.ndarray:
            halves = np.split(np.sqrt(2) * batch.astype(np.float64), 2, axis=1)
            of_each = np.stack(
                [
                    half @ arrays[f"{prefix}weight"].T + arrays[f"{prefix}bias"]
                    for prefix, half in zip(("", "tuned_"), halves, strict=True)
                ]
            )
            if _LOG_ODDS in arrays:
                present, absent = (np.logaddexp(*(weights + log_expit(sign * of_each))) for sign in (1, -1))
                return np.asarray(present - absent, np.float32)
            return np.asarray(np.logaddexp(*(weights + log_softmax(of_each, axis=2))), np.float32)

        return in_full_batches(features, of_both)


def kept_fraction(images: float, scales: Sequence[float]) -> float:
    """Fraction of an update that is kept: the more, the more labelled images a data set has.

    It is ``images / 200``, between the lowest and the highest of `scales`.

    Parameters
    ----------
    images : float
        Mean number of labelled images of a data set.
    scales : sequence of float
        Fractions in [0, 1].
    """
    return float(np.clip(images / _ENOUGH, min(scales), max(scales)))
