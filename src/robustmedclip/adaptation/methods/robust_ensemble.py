"""A probe that starts from the prompts, and the encoder tuned together with it, as one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator
from scipy.special import log_expit, log_softmax

from robustmedclip.adaptation.artefacts import Adapter, Classifier, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.methods.encoder import PartialUpdate
from robustmedclip.adaptation.methods.lora import Lora
from robustmedclip.adaptation.methods.robust_probe import LearnsFromAllLabels, RobustProbe
from robustmedclip.adaptation.methods.settings import (
    Count,
    Expression,
    Fractions,
    NotNegative,
    PositiveGrid,
    PositiveOrNone,
)
from robustmedclip.adaptation.shot_features import ShotFeatures, ShotView, shot_features
from robustmedclip.adaptation.task import Task

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel

_PROBE = RobustProbe()
#: Weight of the tuned encoder in the mean. This and the next two were chosen on development data, see docs/methods.md.
_TUNED = 2 / 3
#: The same where labels are few, and speak for zero-shot.
_TUNED_BESIDE_ZERO_SHOT = 1 / 3
#: Labels are few if a class has fewer images.
_FEW = 8
#: In a classifier, that its logits are log-odds of findings.
_LOG_ODDS = "log_odds"


class RobustEnsemble(LearnsFromAllLabels, PartialUpdate, Lora):
    """The mean of the probabilities of a robust probe, and of what it becomes when the encoder is tuned along with it.

    The probe on the untuned encoder is :class:`~robustmedclip.adaptation.methods.robust_probe.RobustProbe`. A head that
    starts from it is trained beside a low-rank update of the encoder, as the settings of
    :class:`~robustmedclip.adaptation.methods.lora.Lora` say (as LP-FT, Kumar et al. 2022, arXiv:2202.10054, starts the
    tuning of all weights from a linear probe); in the mean it counts twice as much as the probe. Both are behind the
    same input guard. No validation image is needed; where there are some, they are learnt, too. Where the probe finds
    nothing better than zero-shot on images that were left out, it is zero-shot, and the training starts from that. If a
    class has fewer than eight images then, and zero-shot loses less on them than any probe and than chance, the tuned
    one counts half as much as zero-shot.

    Attributes
    ----------
    copies : int
        Corrupted copies of each training image that the probe learns from beside it, where there are corruptions.
    strengths, parts
        Of :class:`~robustmedclip.adaptation.methods.robust_probe.RobustProbe`.
    """

    rank: Count = 32
    targets: Expression = "all"
    learning_rate: NotNegative = 3e-3
    max_gradient_norm: PositiveOrNone = 0.3
    epochs: Count = 20
    classifier: Literal["prompts", "probe"] = "probe"
    scales: Fractions = (1.0,)
    copies: Count = _PROBE.copies
    strengths: PositiveGrid = _PROBE.strengths
    parts: Count = _PROBE.parts

    needs_text: ClassVar[bool] = True

    @model_validator(mode="after")
    def _nothing_is_chosen(self) -> Self:
        if self.classifier != "probe" or self.keep != "scaled_update" or len(self.scales) > 1:
            raise ValueError(
                "classifier, keep, scales: it is trained with its probe, and no image is left to choose an epoch or a "
                "scale by: set 'classifier: probe', 'keep: scaled_update' and one of 'scales', or leave them out"
            )
        return self

    @property
    def view(self) -> ShotView:
        """How the probe looks at few-shot images: with as many corrupted copies, all of which are corrupted."""
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
        """The update with the classifiers of each data set, and its training curves; see :meth:`Method.fit`."""
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
        from robustmedclip.adaptation.tuning import tune_on_tasks

        probe = RobustProbe(strengths=self.strengths, parts=self.parts)
        probes, searches = zip(
            *(
                probe.classifier_of(model, task, features[task.name].training, features[task.name].validation)
                for task in tasks
            ),
            strict=True,
        )
        adapter, history = tune_on_tasks(
            model, tasks, self, seed=seed, precision=precision, checkpoint=checkpoint, probes=probes
        )
        assert adapter.head is not None
        classifiers = {
            task.name: _both(task, start, search, adapter.head.classifiers[task.name])
            for task, start, search in zip(tasks, probes, searches, strict=True)
        }
        return replace(adapter, head=Head(classifiers, adapter.head.metadata)), history

    def adapted(self, model: VisionLanguageModel, artefact: Adapter | Head, data_set: str) -> VisionLanguageModel:
        """Both encoders side by side."""
        from robustmedclip.adaptation.side_by_side import side_by_side

        return side_by_side(model, super().adapted(model, artefact, data_set))

    def logits(self, classifier: Classifier, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Logarithms, of findings log-odds, of the weighted mean of the probabilities, in parts float32 ``(n, C)``."""
        from robustmedclip.models.inference import in_full_batches

        arrays = {name: array.astype(np.float64) for name, array in classifier.items()}
        weights = np.log([1 - arrays["tuned_fraction"], arrays["tuned_fraction"]]).reshape(2, 1, -1)

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


def _both(
    task: Task, probe: Classifier, search: Sequence[Mapping[str, Any]], tuned: Classifier
) -> dict[str, np.ndarray]:
    """The classifier of a task: the probe's, the tuned one's, and the weight of the latter in the mean."""
    alone = [task] if task.scoring is None else list(task.of_findings())
    rows = len(search) // len(alone)
    fractions = [_tuned_fraction(each, search[rows * place :][:rows]) for place, each in enumerate(alone)]
    arrays = {
        **probe,
        **{f"tuned_{name}": array for name, array in tuned.items()},
        "tuned_fraction": fractions,
        **({_LOG_ODDS: np.ones(())} if task.scoring else {}),
    }
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def _tuned_fraction(task: Task, search: Sequence[Mapping[str, Any]]) -> float:
    """Weight of the tuned encoder, in (0, 1).

    The first row of `search` says what zero-shot loses on images that were left out, the others what probes lose.
    """
    zero_shot, *others = (row["validation_loss"] for row in search)
    trusted = zero_shot <= min(others) and zero_shot < math.log(len(task.class_names))
    few = task.training.class_counts().min() < _FEW
    return _TUNED_BESIDE_ZERO_SHOT if few and trusted else _TUNED
