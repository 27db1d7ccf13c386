"""timm's format: image encoders without text, in a folder, on the hub or by timm's names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robustmedclip.models.formats.model_format import HUB
from robustmedclip.models.formats.named_model import NamedModel

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


@dataclass(frozen=True, kw_only=True)
class Timm(NamedModel):
    """An image encoder of timm, without text: DINOv2, RETFound, a ResNet of ImageNet.

    Attributes
    ----------
    model : str
        Folder with ``config.json`` and weights as timm saves them; ``hf-hub:<repository>`` with the same; or a name of
        timm, with the tag whose mean, standard deviation and size the images are to have: ``resnet18.tv_in1k``.
    weights : str, optional
        Weights file, for a name of timm.
    """

    needs: ClassVar[tuple[str, ...]] = ("timm",)
    has_text: ClassVar[bool] = False

    @classmethod
    def is_described_by(cls, config: Mapping[str, Any]) -> bool:
        """Whether it is timm's."""
        return isinstance(config.get("architecture"), str)

    def problems(self) -> list[str]:
        """A name without weights, or a folder with others."""
        problems, model = super().problems(), self.located_or_name(self.model)
        is_name = not model.startswith(HUB) and not Path(model).is_dir()
        if is_name and self.weights is None:
            problems.append(f"{self.model} is no folder; a name of timm needs its 'weights', a file")
        if not is_name and self.weights is not None:
            problems.append(f"{self.model} brings its own weights: leave 'weights' out")
        return problems

    def load(self) -> "VisionLanguageModel":
        """Load it, after a download of what is not local."""
        from robustmedclip.errors import InputError
        from robustmedclip.models.timm_encoder import load_timm

        if problems := self.problems():
            raise InputError("; ".join(problems))
        return load_timm(*self.sources())

    @classmethod
    def save(cls, folder: Path, model: "VisionLanguageModel") -> None:
        """Write configuration and weights as timm does."""
        from robustmedclip.models.timm_encoder import save_timm

        save_timm(folder, model)
