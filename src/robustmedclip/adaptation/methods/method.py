"""What every method is: its settings, what it needs, how it fits and how its result is scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from robustmedclip.adaptation.artefacts import Adapter, Classifier, Head
from robustmedclip.adaptation.checkpoint import Checkpoint
from robustmedclip.adaptation.task import Task

if TYPE_CHECKING:
    import torch

    from robustmedclip.adaptation.shot_features import ShotFeatures, ShotView
    from robustmedclip.models.interface import VisionLanguageModel


class Method(BaseModel):
    """A way to adapt a model. Its fields are its settings, which all have defaults.

    As it stands it changes nothing: the model is scored zero-shot. A method of one's own derives from it, from
    :class:`~robustmedclip.adaptation.methods.head.HeadMethod` if it fits a classifier to image features, or from
    :class:`~robustmedclip.adaptation.methods.encoder.EncoderMethod` if it trains the visual encoder. Its module imports
    torch inside functions alone, for plans are read without it.

    Attributes
    ----------
    needs_labels : bool
        Whether it sees labelled images, so that an adaptation that names it has ``fractions``.
    needs_text : bool
        Whether it compares images with prompts, so that models without a text encoder are left out.
    artefact_kind : str or None
        What it leaves behind: an ``adapter``, which makes a model another one; a ``head``, a classifier on image
        features; or nothing.
    uses_validation : bool
        Whether it chooses by labelled images that it doesn't learn from, where it needs labels.
    has_training_curves : bool
        Whether it trains in epochs, and the history that it gives has a row for each.
    handles_findings : bool
        Whether it can adapt to data sets whose images may have several of the classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs_labels: ClassVar[bool] = False
    needs_text: ClassVar[bool] = True
    artefact_kind: ClassVar[Literal["adapter", "head"] | None] = None
    uses_validation: ClassVar[bool] = True
    has_training_curves: ClassVar[bool] = False
    handles_findings: ClassVar[bool] = False

    @property
    def title(self) -> str:
        """What it is, in a sentence: the first of its class's documentation."""
        return " ".join((type(self).__doc__ or "").strip().split("\n\n")[0].split())

    @property
    def changed_settings(self) -> dict[str, Any]:
        """Its settings that differ from the defaults, in the order of the class."""
        fields = type(self).model_fields
        return {name: value for name, value in self if value != fields[name].default}

    @property
    def scores_features(self) -> bool:
        """Whether it scores the image features of the model as it is, or images that it encodes itself."""
        return True

    @property
    def view(self) -> ShotView | None:
        """How it looks at few-shot images, if it is fitted to features of them by its method :meth:`fit_to`."""
        return None

    @property
    def can_be_served(self) -> bool:
        """Whether :func:`robustmedclip.adaptation.tuning.merge_adapter` makes a model of its adapter, to be served."""
        return False

    @property
    def needs_validation(self) -> bool:
        """Whether labelled images are drawn that it chooses by, and doesn't learn from."""
        return self.needs_labels and self.uses_validation and not self.needs_test_images

    @property
    def learnt_roles(self) -> tuple[str, ...]:
        """Few-shot images that it learns from: those for ``training``, and perhaps those for ``validation``, too."""
        return ("training",)

    @property
    def labelled_roles(self) -> Mapping[str, tuple[str, ...]]:
        """Few-shot images that it learns from, and other ones that it chooses by, as tables count them."""
        return {
            "training_images": self.learnt_roles,
            "validation_images": ("validation",) if self.needs_validation else (),
        }

    @property
    def needs_test_images(self) -> bool:
        """Whether it chooses by the test images, as the study's code does."""
        return False

    @property
    def training_corruptions(self) -> tuple[str, ...]:
        """Corruptions that it sees in training."""
        return ()

    @property
    def training_families(self) -> frozenset[str]:
        """Families of :attr:`training_corruptions`: what is scored of these has relatives in training."""
        return frozenset()

    def without(self, corruptions: Set[str], families: Set[str]) -> Self:
        """The method where some corruptions, and whole families, are held out: it knows none of them.

        Raises
        ------
        InputError
            If it needs corruptions to train on, and none is left.
        """
        return self

    def check(self, model: VisionLanguageModel) -> list[str]:
        """Problems of adapting this very model, a line for each, which are found before the run."""
        return []

    def fit(
        self,
        model: VisionLanguageModel,
        tasks: Sequence[Task],
        *,
        seed: int,
        precision: torch.dtype,
        checkpoint: Checkpoint,
    ) -> tuple[Adapter | Head, list[dict[str, Any]]]:
        """Adapt a model to few-shot images; a method with a :attr:`view` encodes them and calls :meth:`fit_to`.

        Parameters
        ----------
        model : VisionLanguageModel
            Is left as it was.
        tasks : sequence of Task
            One per data set.
        seed : int
            Of everything random.
        precision : dtype
            That images are encoded in.
        checkpoint : Checkpoint
            Is told of every epoch, and keeps the state of a training that is interrupted until its adapter is stored.

        Returns
        -------
        artefact : Adapter or Head
            As :attr:`artefact_kind` says.
        history : list of dict
            Training curves, a row per epoch; or what a search compared. At least one row.

        Raises
        ------
        InputError
            If the images, the model or the settings don't allow it.
        """
        from robustmedclip.adaptation.shot_features import shot_features

        if self.view is None:
            raise NotImplementedError(f"{type(self).__name__} fits nothing")
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
    ) -> tuple[Adapter | Head, list[dict[str, Any]]]:
        """What :meth:`fit` gives, of features of the model that are encoded already, as :attr:`view` says."""
        raise NotImplementedError(f"{type(self).__name__} is fitted to images")

    def prompts(self, templates: Sequence[str]) -> Sequence[str]:
        """The prompt templates that class vectors are made of, `templates` being those of the data set."""
        return templates

    def at_test_time(self, logits: np.ndarray, features: np.ndarray, class_vectors: np.ndarray) -> np.ndarray:
        """Zero-shot logits of all images of one condition, adapted to these images; of methods that see no label.

        Parameters
        ----------
        logits : ndarray
            float32 ``(N, C)``, of the prompts.
        features, class_vectors : ndarray
            Unit features, float32 ``(N, D)``, and unit class vectors, float32 ``(C, D)``.
        """
        return logits

    def logits(self, classifier: Classifier, features: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Logits of unit features of a data set, with its classifier; of methods that leave a head."""
        raise NotImplementedError(f"{type(self).__name__} has no classifier")

    def adapted(self, model: VisionLanguageModel, artefact: Adapter | Head, data_set: str) -> VisionLanguageModel:
        """The model that encodes the images of a data set; of methods that don't score stored features."""
        raise NotImplementedError(f"{type(self).__name__} has no encoder of its own")
