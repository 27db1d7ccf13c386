"""CLIP and SigLIP in the format of transformers: PubMedCLIP, MedSigLIP, SigLIP 2 of a fixed resolution."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robustmedclip.models.formats.model_format import ModelFormat, local

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel

#: Model types of transformers with ``get_image_features`` and ``get_text_features`` over plain pixels.
MODEL_TYPES = ("clip", "siglip")
#: Those without text, whose output has features of the whole image.
VISION_TYPES = ("dinov2", "dinov2_with_registers")


@dataclass(frozen=True, kw_only=True)
class Transformers(ModelFormat):
    """A CLIP or SigLIP of transformers.

    Attributes
    ----------
    model : str
        Folder, or name on the hub, with configuration, tokenizer, preprocessing and weights.
    weights : str, optional
        Weights file, if not the model's own.
    """

    needs: ClassVar[tuple[str, ...]] = ("transformers",)
    model_types: ClassVar[tuple[str, ...]] = MODEL_TYPES

    model: str
    weights: str | None = None

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether it has the ``config.json`` of one of the `model_types`."""
        try:
            config = json.loads((folder / "config.json").read_text())
        except (OSError, ValueError):
            return False
        return isinstance(config, dict) and config.get("model_type") in cls.model_types

    @classmethod
    def saved_as(cls, folder: str) -> dict[str, Any]:
        """The settings that load what :meth:`save` wrote."""
        return {"model": folder}

    def paths(self) -> list[str]:
        """The folder and the weights, where they are local."""
        return local(self.located_or_name(self.model), self._weights())

    def load(self) -> "VisionLanguageModel":
        """Load it in float32."""
        from robustmedclip.models.transformers_clip import load_transformers

        return load_transformers(self.located_or_name(self.model), self._weights())

    @classmethod
    def save(cls, folder: Path, model: "VisionLanguageModel") -> None:
        """Write configuration, weights, tokenizer and preprocessing."""
        from robustmedclip.models.transformers_clip import save_transformers

        save_transformers(folder, model)

    def _weights(self) -> str | None:
        return None if self.weights is None else self.located(self.weights)


class TransformersVision(Transformers):
    """A DINOv2 of transformers, such as Rad-DINO: an image encoder without text. Its settings are those of CLIP's."""

    has_text: ClassVar[bool] = False
    model_types: ClassVar[tuple[str, ...]] = VISION_TYPES

    def load(self) -> "VisionLanguageModel":
        """Load it in float32."""
        from robustmedclip.models.transformers_vision import load_transformers_vision

        return load_transformers_vision(self.located_or_name(self.model), self._weights())

    @classmethod
    def save(cls, folder: Path, model: "VisionLanguageModel") -> None:
        """Write configuration, weights and preprocessing."""
        from robustmedclip.models.transformers_vision import save_transformers_vision

        save_transformers_vision(folder, model)
