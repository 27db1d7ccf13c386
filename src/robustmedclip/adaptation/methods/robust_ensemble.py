"""Two probes that start from the prompts, on the untuned encoder and on one that is tuned half way, as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from scipy.special import log_softmax

from robustmedclip.adaptation.artefacts import Adapter, Classifier, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.heads import few_shot_features, joined, views
from robustmedclip.adaptation.methods.lora import Dropout, Lora
from robustmedclip.adaptation.methods.robust_probe import RobustProbe, fit_robust_probe
from robustmedclip.adaptation.methods.settings import Count, Expression, Flag, Fractions, NotNegative, PositiveGrid
from robustmedclip.adaptation.task import Task, class_vectors

if TYPE_CHECKING:
    import torch

    from robustmedclip.models.interface import VisionLanguageModel

_PROBE = RobustProbe()


class RobustEnsemble(Lora):
    """The mean of the probabilities of two robust probes: on the untuned encoder, and on one with half an update.

    Both are :class:`~robustmedclip.adaptation.methods.robust_probe.RobustProbe`, learnt from the images and their
    corrupted copies, behind the same input guard. The low-rank update is trained as the settings of
    :class:`~robustmedclip.adaptation.methods.lora.Lora` say, and scaled. No validation image is needed. Where the probe
    on the untuned encoder finds nothing better than zero-shot on images that were left out, it is zero-shot, which the
    other one is averaged with.

    Attributes
    ----------
    copies : int
        Corrupted copies of each training image that the probes learn from beside it, where there are corruptions.
    strengths, parts
        Of :class:`~robustmedclip.adaptation.methods.robust_probe.RobustProbe`.
    """

    dropout: Dropout = 0.1
    targets: Expression = "all"
    batch_norm: Literal["frozen", "adapted", "batch"] = "adapted"
    learning_rate: NotNegative = 3e-3
    schedule: Literal["constant", "cosine"] = "cosine"
    epochs: Count = 10
    batch_size: Count = 32
    flip: Flag = False
    label_space: Literal["joint", "data_set"] = "data_set"
    keep: Literal["best_epoch", "scaled_update"] = "scaled_update"
    scales: Fractions = (0.5,)
    copies: Count = _PROBE.copies
    strengths: PositiveGrid = _PROBE.strengths
    parts: Count = _PROBE.parts

    needs_text: ClassVar[bool] = True

    @property
    def can_be_served(self) -> bool:
        return False

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
        from robustmedclip.adaptation.tuning import guarded, merge_adapter

        adapter, history = super().fit(model, tasks, seed=seed, precision=precision, checkpoint=checkpoint)
        merged = merge_adapter(model, adapter)
        classifiers = {}
        for task in tasks:
            encoders = [guarded(encoder, adapter, task.name) for encoder in (model, merged)]
            classifiers[task.name] = self._classifier(encoders, task, seed, precision)
        names = {task.name: list(task.class_names) for task in tasks}
        head = Head(classifiers, {"base_model_hash": adapter.metadata["base_model_hash"], "class_names": names})
        return replace(adapter, head=head), history

    def _classifier(
        self, encoders: Sequence[VisionLanguageModel], task: Task, seed: int, precision: torch.dtype
    ) -> Classifier:
        """``weight`` and ``bias``, and of the tuned encoder ``tuned_weight`` and ``tuned_bias``."""
        corruptions = replace(self.corruptions, probability=1.0) if self.corruptions else None
        images = views(task.training, corruptions, self.copies, seed)
        prior = (encoders[0].logit_scale * class_vectors(encoders[0], task)).cpu().numpy()
        classifier: dict[str, np.ndarray] = {}
        for prefix, encoder in zip(("", "tuned_"), encoders, strict=True):
            training = joined(few_shot_features(encoder, view, precision) for view in images)
            probe, _ = fit_robust_probe(training, len(task.training), prior, self.strengths, self.parts)
            classifier |= {prefix + name: np.asarray(array, np.float32) for name, array in probe.items()}
        return classifier

    def adapted(self, model: VisionLanguageModel, artefact: Adapter | Head, data_set: str) -> VisionLanguageModel:
        """Both encoders side by side."""
        from robustmedclip.adaptation.side_by_side import side_by_side

        return side_by_side(model, super().adapted(model, artefact, data_set))

    def logits(self, classifier: Classifier, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Logarithms of the mean probabilities, in parts float32 ``(n, C)``."""
        from robustmedclip.models.inference import in_full_batches

        arrays = {name: array.astype(np.float64) for name, array in classifier.items()}

        def of_both(batch: np.ndarray) -> np.ndarray:
            halves = np.split(np.sqrt(2) * batch.astype(np.float64), 2, axis=1)
            logarithms = [
                log_softmax(half @ arrays[f"{prefix}weight"].T + arrays[f"{prefix}bias"], axis=1)
                for prefix, half in zip(("", "tuned_"), halves, strict=True)
            ]
            return np.asarray(np.logaddexp(*logarithms) - np.log(2), np.float32)

        return in_full_batches(features, of_both)
