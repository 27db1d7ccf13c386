"""open_clip's format: CLIP and its medical descendants, in a folder or by open_clip's names."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robustmedclip.models.formats.model_format import HUB, ModelFormat, local

if TYPE_CHECKING:
    from robustmedclip.models.interface import VisionLanguageModel

CONFIG = "open_clip_config.json"
_QUICK_GELU = "-quickgelu"
#: Keys of open_clip's ``preprocess_cfg``.
PREPROCESSING_KEYS = ("size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color", "stretch")


@dataclass(frozen=True, kw_only=True)
class OpenCLIP(ModelFormat):
    """A model of open_clip.

    Attributes
    ----------
    path : str, optional
        Folder with ``open_clip_config.json``, weights and the tokenizer's files.
    model, pretrained : str, optional
        open_clip's model name and weights tag or file, e.g. ``ViT-B-16-quickgelu`` and ``openai``; or a model
        ``hf-hub:<repository>`` alone, which has weights of its own. What is not local is downloaded on first use.
    config : str, optional
        JSON file with open_clip's ``model_cfg``, or all of an ``open_clip_config.json``, for a file of weights in
        `pretrained`: of a model that open_clip doesn't know, such as FetalCLIP.
    preprocess : mapping, optional
        Keys of open_clip's ``preprocess_cfg``, for a file of weights: how the model wants its images, where that is not
        as open_clip has it; mean and standard deviation on the scale [0, 1].
    quick_gelu : bool, optional
        Whether a weights file was trained with the activation QuickGELU, as OpenAI's CLIP was and what is tuned from
        it: a file doesn't say. Needed where open_clip has the model with and without it.
    """

    needs: ClassVar[tuple[str, ...]] = ("open_clip",)

    path: str | None = None
    model: str | None = None
    pretrained: str | None = None
    config: str | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    quick_gelu: bool | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.path, self.model, self.config)) != 1:
            raise ValueError(
                "A model needs one of 'path' (a local folder), 'model' (a name of open_clip) and 'config' (a JSON file)"
            )
        if self.config is not None and not self._weights:
            raise ValueError(f"'config: {self.config}' describes a model whose weights are a file: give 'pretrained'")
        if self.preprocess and not self._weights:
            raise ValueError("'preprocess' goes with a file of weights in 'pretrained': the others say it themselves")
        if unknown := sorted(set(self.preprocess) - set(PREPROCESSING_KEYS)):
            raise ValueError(f"preprocess: {', '.join(unknown)} are not known; {', '.join(PREPROCESSING_KEYS)} are")
        if self.pretrained is not None and (self.path is not None or (self.model or "").startswith(HUB)):
            raise ValueError(
                f"{self.path or self.model} brings its own weights, and 'pretrained: {self.pretrained}' names others: "
                "leave 'pretrained' out, or give it beside one of open_clip's model names"
            )
        if self.quick_gelu is not None and (not self._weights or self.config is not None):
            raise ValueError(
                f"'quick_gelu' goes with a file of weights in 'pretrained'; the activation of "
                f"{self.path or self.model or self.config} is known without it: leave it out"
            )
        if self.quick_gelu not in (None, True, False):
            raise ValueError(f"'quick_gelu' must be true or false, not {self.quick_gelu!r}")

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether it has ``open_clip_config.json``."""
        return (folder / CONFIG).is_file()

    def paths(self) -> list[str]:
        """The folder, or the files of weights and configuration."""
        return local(self._folder, self._config, self._pretrained)

    def problems(self) -> list[str]:
        """A folder without its configuration; an activation that is not known."""
        problems = super().problems()
        if self._folder is not None and not self.recognises(Path(self._folder)):
            problems.append(f"{self._folder} has no {CONFIG}")
        if self.quick_gelu is None and self.model and self._weights and _has_two_activations(self.model):
            problems.append(
                f"{self._weights} doesn't say whether it was trained with the activation QuickGELU, and {self.model} "
                "is known with and without: write 'quick_gelu: true' (OpenAI's CLIP, and what is tuned from it) or "
                "'quick_gelu: false' beside 'pretrained' (--quick-gelu or --no-quick-gelu to import it)"
            )
        return problems

    def load(self) -> "VisionLanguageModel":
        """Load it, after a download of what is not local."""
        from robustmedclip.errors import InputError
        from robustmedclip.models.open_clip import load_configured, load_open_clip

        if self._folder is not None:
            return load_open_clip(f"local-dir:{self._folder}")
        if problems := self.problems():
            raise InputError("; ".join(problems))
        if self._config is not None:
            return load_configured(Path(self._config), Path(self._pretrained or ""), self.preprocess)
        return load_open_clip(
            self.model or "", self._pretrained, quick_gelu=self.quick_gelu, preprocess=self.preprocess
        )

    @classmethod
    def save(cls, folder: Path, model: "VisionLanguageModel") -> None:
        """Write configuration, weights and tokenizer, and in ``text`` the configuration of a tower of transformers."""
        from robustmedclip.models.open_clip_network import save_model_of_open_clip

        save_model_of_open_clip(folder, model)

    @cached_property
    def _folder(self) -> str | None:
        return None if self.path is None else self.located(self.path)

    @cached_property
    def _config(self) -> str | None:
        return None if self.config is None else self.located(self.config)

    @cached_property
    def _pretrained(self) -> str | None:
        return None if self.pretrained is None else self.located_or_name(self.pretrained)

    @property
    def _weights(self) -> str | None:
        """The file of weights that `pretrained` names, if it does."""
        return next(iter(local(self._pretrained)), None)


def _has_two_activations(model: str) -> bool:
    """Whether open_clip has a model, named without a suffix, with QuickGELU too; asked without importing it."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        return False
    name = model.replace("/", "-")  # as open_clip takes it
    return Path(spec.origin).with_name("model_configs").joinpath(f"{name}{_QUICK_GELU}.json").is_file()
