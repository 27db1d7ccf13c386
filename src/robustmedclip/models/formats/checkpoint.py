"""Checkpoints that were published in layouts of their own, such as those of UniMed-CLIP, MedCLIP and Mammo-CLIP."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from robustmedclip.models.formats.model_format import ModelFormat, local

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel


@dataclass(frozen=True, kw_only=True)
class Checkpoint(ModelFormat):
    """A published checkpoint; it is written in open_clip's format.

    Attributes
    ----------
    layout : str
        ``unimedclip`` (MMKD-CLIP, too), ``medclip``, ``pmcclip``, ``flair``, ``cxrclip`` or ``mammoclip``.
    weights : str
        The file, or the folder that holds the files; or ``hf-hub:`` with a repository, with or without a file.
    text : str, optional
        Folder, or name on the hub, of the tokenizer of the text tower; by default the folder of the weights, if it has
        a tokenizer, else the hub.
    """

    needs: ClassVar[tuple[str, ...]] = ("open_clip", "transformers")

    layout: str
    weights: str
    text: str | None = None

    def paths(self) -> list[str]:
        """The weights and the tokenizer, where they are local."""
        return local(self.located(self.weights), self._text())

    def load(self) -> "VisionLanguageModel":
        """Load it as a model of open_clip."""
        from robustmedclip.models.published_checkpoint import load_checkpoint

        return load_checkpoint(self.layout, self.located(self.weights), self._text())

    def _text(self) -> str | None:
        return None if self.text is None else self.located_or_name(self.text)
