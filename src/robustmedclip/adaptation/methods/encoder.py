"""Training of the visual encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from robustmedclip.adaptation.artefacts import Adapter, Classifier, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.heads import head_logits
from robustmedclip.adaptation.methods.augmented import AugmentedMethod
from robustmedclip.adaptation.methods.settings import Count, Flag, Fraction, Fractions, NotNegative, PositiveOrNone
from robustmedclip.adaptation.task import Task

if TYPE_CHECKING:
    import torch

    from robustmedclip.adaptation.training_state import Trainable
    from robustmedclip.models.interface import VisionLanguageModel


class EncoderMethod(AugmentedMethod):
    """Joint training of the visual encoder on the few-shot images of all data sets, against frozen class vectors.

    A model without text is trained with a head, which starts from a linear probe of each data set; others, if asked.

    The defaults are the recipe of the study (arXiv:2505.15425). A method of one's own says in :meth:`prepared` what is
    trained, and in :meth:`state` what is kept of it.

    Attributes
    ----------
    batch_norm : str
        Statistics of the visual encoder's batch normalisation, which models without it ignore: ``frozen``;
        ``adapted`` to the training images before the training (:mod:`robustmedclip.adaptation.batch_norm`); or
        ``batch``: each batch's own while training, of which the running ones follow.
    classifier : str
        What features are compared with: ``prompts``, whose class vectors are frozen; or a ``probe``: a head that starts
        from a linear probe of each data set and is trained beside the encoder (LP-FT; Kumar et al. 2022,
        arXiv:2202.10054).
    features : str
        Image features that the loss compares with the class vectors: ``unit`` features, times the logit scale, as in
        scoring; or ``raw`` ones.
    learning_rate, weight_decay : float
        Of AdamW; the highest learning rate.
    max_gradient_norm : float or None
        Euclidean norm to which the gradient of all that is trained is shortened in each step, where it is longer
        (Pascanu et al. 2013, arXiv:1211.5063, algorithm 1); None leaves it as it is.
    schedule : str
        Learning rate over the steps: ``constant``, or ``cosine``: a linear rise over the first tenth, then half
        a cosine to zero (Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5, without restarts).
    epochs, batch_size : int
        Passes over the few-shot images, and images per step.
    sampling : str
        Images of an epoch: ``natural``, every image once; or ``balanced``, as many, but every data set, and every class
        within it, equally often.
    min_crop_area : float
        Smallest fraction of the area that the random crop keeps, in (0, 1].
    flip : bool
        Whether to mirror half of the images.
    label_space : str
        Classes that the loss compares: ``joint``, of all data sets, as the study's recipe does; or ``data_set``, of the
        image's own data set, which is what zero-shot scoring does.
    keep : str
        The ``best_epoch``; or the last epoch's update, scaled by a number in [0, 1] (``scaled_update``): a point
        ``(1 - alpha) theta_0 + alpha theta_1`` between the untuned and the tuned weights, adapted statistics apart
        (WiSE-FT; Wortsman et al. 2022, arXiv:2109.01903, as in the authors' code, `_merge` of src/wise_ft.py).
    scales : tuple of float
        The alphas that validation chooses from, each in [0, 1]. With one, there is no choice and no need of validation.
        With 0 among them, an update that validation doesn't call better than none is left out, statistics included.
    select_on : str
        Images that choose the epoch or the scale: ``validation`` images, by the lowest loss; or, of epochs, all
        ``test`` images together, by the highest accuracy, as the study's code does.
    """

    batch_norm: Literal["frozen", "adapted", "batch"] = "frozen"
    classifier: Literal["prompts", "probe"] = "prompts"
    features: Literal["unit", "raw"] = "unit"
    learning_rate: NotNegative = 1e-4
    weight_decay: NotNegative = 1e-4
    max_gradient_norm: PositiveOrNone = None
    schedule: Literal["constant", "cosine"] = "constant"
    epochs: Count = 20
    batch_size: Count = 256
    sampling: Literal["natural", "balanced"] = "natural"
    min_crop_area: Fraction = 0.8
    flip: Flag = True
    label_space: Literal["joint", "data_set"] = "joint"
    keep: Literal["best_epoch", "scaled_update"] = "best_epoch"
    scales: Fractions = (0.0, 0.25, 0.5, 0.75, 1.0)
    select_on: Literal["validation", "test"] = "validation"

    needs_labels: ClassVar[bool] = True
    needs_text: ClassVar[bool] = False
    artefact_kind: ClassVar[Literal["adapter", "head"] | None] = "adapter"
    has_training_curves: ClassVar[bool] = True
    handles_findings: ClassVar[bool] = True

    @model_validator(mode="after")
    def _choices_fit_together(self) -> Self:
        if self.select_on == "test" and self.keep != "best_epoch":
            raise ValueError(
                "select_on: test images choose an epoch: set 'keep: best_epoch', or 'select_on: validation'"
            )
        if self.features == "raw" and self.classifier == "probe":
            raise ValueError("features: raw are compared with prompts: set 'classifier: prompts', or 'features: unit'")
        return self

    @property
    def scores_features(self) -> bool:
        return False

    @property
    def can_be_served(self) -> bool:
        """What is served scores prompts."""
        return self.classifier == "prompts"

    @property
    def needs_validation(self) -> bool:
        return super().needs_validation and (self.keep == "best_epoch" or len(self.scales) > 1)

    @property
    def needs_test_images(self) -> bool:
        return self.select_on == "test"

    def check(self, model: VisionLanguageModel) -> list[str]:
        if self.features == "raw" and not model.has_text:
            return [f"features: raw are compared with prompts, and {model.name} has no text encoder: set unit"]
        return []

    @abstractmethod
    def prepared(
        self, model: VisionLanguageModel, statistics: Mapping[str, torch.Tensor]
    ) -> tuple[VisionLanguageModel, Trainable]:
        """A copy of the model as it is before the training, and what is to be trained of it.

        Parameters
        ----------
        model : VisionLanguageModel
            Is left as it was.
        statistics : mapping
            Name in the network's state to value: statistics of batch normalisation that the adapter holds.
        """

    def pull(self, images_of_a_class: float) -> float:
        """Strength of the penalty on the squared distance of what is trained from where it starts; 0 leaves it out.

        `images_of_a_class` is the mean number of training images of a class.
        """
        return 0.0

    @abstractmethod
    def state(self, network: torch.nn.Module) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]]:
        """``config`` and ``weights`` of the adapter of a trained network."""

    def fit(
        self,
        model: VisionLanguageModel,
        tasks: Sequence[Task],
        *,
        seed: int,
        precision: torch.dtype,
        checkpoint: Checkpoint,
    ) -> tuple[Adapter, list[dict[str, Any]]]:
        """The tuned encoder and its training curves; see :meth:`Method.fit`. On a CPU it is trained in float32."""
        from robustmedclip.adaptation.tuning import tune_on_tasks

        return tune_on_tasks(model, tasks, self, seed=seed, precision=precision, checkpoint=checkpoint)

    def logits(self, classifier: Classifier, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Logits of the head that the encoder was trained with, in parts float32 ``(n, C)``."""
        return head_logits(classifier, features)

    def adapted(self, model: VisionLanguageModel, artefact: Adapter | Head, data_set: str) -> VisionLanguageModel:
        from robustmedclip.adaptation.tuning import guarded, merge_adapter

        assert isinstance(artefact, Adapter)
        tuned = guarded(merge_adapter(model, artefact), artefact, data_set)
        return replace(tuned, unit_text=True)  # as the class vectors that it was tuned against


class PartialUpdate(EncoderMethod):
    """Training with small batches, whose last update is scaled: the settings that several methods share."""

    batch_norm: Literal["frozen", "adapted", "batch"] = "adapted"
    schedule: Literal["constant", "cosine"] = "cosine"
    epochs: Count = 10
    batch_size: Count = 32
    flip: Flag = False
    label_space: Literal["joint", "data_set"] = "data_set"
    keep: Literal["best_epoch", "scaled_update"] = "scaled_update"
