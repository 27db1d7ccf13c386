"""Fine-tuning of the last visual projection alone, held to where it starts: ProLIP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from robustmedclip.adaptation.methods.encoder import PartialUpdate
from robustmedclip.adaptation.methods.settings import Count, Expression, Fractions, NotNegative, expected, is_number
from robustmedclip.errors import InputError

if TYPE_CHECKING:
    import torch

    from robustmedclip.adaptation.training_state import Trainable
    from robustmedclip.models.interface import VisionLanguageModel

Strength = Annotated[
    float | None,
    expected("a number of 0 or more, or null", lambda value: value is None or (is_number(value) and value >= 0)),
]


class ProLIP(PartialUpdate):
    """ProLIP (Fahes et al. 2024, arXiv:2410.05270): the last projection W is trained, held to the pretrained one.

    The loss is the cross-entropy plus ``lambda ||W - W_0||_F^2``, as the authors' code has it (methods/ProLIP.py at
    18facf5). They train on one data set at a time, on features that are kept; here all data sets share the projection,
    as everything else that trains the encoder.

    Attributes
    ----------
    strength : float or None
        lambda; None means 1 / N, N being the mean number of training images of a class, which needs no validation.
    projection : str
        Regular expression of the parameter, within the visual encoder.
    """

    strength: Strength = None
    projection: Expression = r"proj|attnpool\.c_proj\.weight|head\.proj\.weight"
    learning_rate: NotNegative = 1e-3
    weight_decay: NotNegative = 0.0
    batch_norm: Literal["frozen", "adapted", "batch"] = "frozen"
    epochs: Count = 20
    scales: Fractions = (1.0,)

    needs_text: ClassVar[bool] = True

    def check(self, model: VisionLanguageModel) -> list[str]:
        return [] if self._names(model) else [self._problem(model)]

    def pull(self, images_of_a_class: float) -> float:
        return 1 / images_of_a_class if self.strength is None else self.strength

    def prepared(
        self, model: VisionLanguageModel, statistics: Mapping[str, torch.Tensor]
    ) -> tuple[VisionLanguageModel, Trainable]:
        from robustmedclip.adaptation.tuning import with_all_weights

        if not (names := self._names(model)):
            raise InputError(self._problem(model))
        return with_all_weights(model, statistics, names)

    def state(self, network: torch.nn.Module) -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]]:
        from robustmedclip.adaptation.tuning import encoder_state

        return {}, encoder_state(network)

    def _names(self, model: VisionLanguageModel) -> list[str]:
        names = [name for name, _ in model.network.get_submodule("visual").named_parameters()]
        return [name for name in names if re.fullmatch(self.projection or "", name)]

    def _problem(self, model: VisionLanguageModel) -> str:
        return (
            f"The projection {self.projection!r} matches no parameter of the visual encoder of {model.name}: name its "
            "last projection by 'projection'"
        )
