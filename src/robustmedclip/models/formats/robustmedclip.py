"""The models of the study: a base model with the adapter that its authors published."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from robustmedclip.models.formats.model_format import ModelFormat, local

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


@dataclass(frozen=True, kw_only=True)
class RobustMedCLIP(ModelFormat):
    """A model that the authors of the study tuned; it is written in the format of its base.

    Attributes
    ----------
    base : mapping
        Source of the base: BiomedCLIP for their ViT, MedCLIP-ResNet for their ResNet.
    adapter : str
        ``model.pth``, ``lora_weights.safetensors``, or the folder that holds them, from which the first is taken; or
        ``hf-hub:`` and a file of a repository.
    """

    base: Mapping[str, Any]
    adapter: str

    def __post_init__(self) -> None:
        if not isinstance(self.base, Mapping) or not isinstance(self.base.get("type"), str):
            raise ValueError(f"'base' must be the source of a model, with a 'type', not {self.base!r}")
        _ = self._base  # so that what is wrong with it is said now

    def paths(self) -> list[str]:
        """Those of the base, and the adapter."""
        return [*self._base.paths(), *local(self.located(self.adapter))]

    def problems(self) -> list[str]:
        """Those of the base."""
        return self._base.problems()

    def load(self) -> "VisionLanguageModel":
        """Load the base and add the adapter to its weights."""
        from robustmedclip.adaptation.study_adapters import import_robustmedclip
        from robustmedclip.adaptation.tuning import merge_adapter

        base = self._base.load()
        return merge_adapter(base, import_robustmedclip(base, self.located(self.adapter)))

    @cached_property
    def _base(self) -> ModelFormat:
        from robustmedclip.models.formats import model_format

        return model_format(self.base, self.root)
