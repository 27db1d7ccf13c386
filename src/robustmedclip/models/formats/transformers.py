"""CLIP and SigLIP in the format of transformers: PubMedCLIP, MedSigLIP, SigLIP 2 of a fixed resolution."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robustmedclip.models.formats.named_model import NamedModel

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel

#: Model types of transformers with ``get_image_features`` and ``get_text_features`` over plain pixels.
MODEL_TYPES = ("clip", "siglip")
#: Those without text, whose output has features of the whole image.
VISION_TYPES = ("dinov2", "dinov2_with_registers")


@dataclass(frozen=True, kw_only=True)
class Transformers(NamedModel):
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

    @classmethod
    def is_described_by(cls, config: Mapping[str, Any]) -> bool:
        """Whether it is of one of the `model_types`."""
        return config.get("model_type") in cls.model_types

    def load(self) -> "VisionLanguageModel":
        """Load it in float32."""
        from robustmedclip.models.transformers_clip import load_transformers

        return load_transformers(*self.sources())

    @classmethod
    def save(cls, folder: Path, model: "VisionLanguageModel") -> None:
        """Write configuration, weights, tokenizer and preprocessing."""
        from robustmedclip.models.transformers_clip import save_transformers

        save_transformers(folder, model)


class TransformersVision(Transformers):
    """A DINOv2 of transformers, such as Rad-DINO: an image encoder without text. Its settings are those of CLIP's."""

    has_text: ClassVar[bool] = False
    model_types: ClassVar[tuple[str, ...]] = VISION_TYPES

    def load(self) -> "VisionLanguageModel":
        """Load it in float32."""
        from robustmedclip.models.transformers_vision import load_transformers_vision

        return load_transformers_vision(*self.sources())

    @classmethod
    def save(cls, folder: Path, model: "VisionLanguageModel") -> None:
        """Write configuration, weights and preprocessing."""
        from robustmedclip.models.transformers_vision import save_transformers_vision

        save_transformers_vision(folder, model)
