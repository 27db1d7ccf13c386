"""Few-shot adaptation of the visual encoder, or of a classifier on its features."""

from importlib import import_module
from typing import Any

from robustmedclip.adaptation.settings import (
    CacheSettings,
    LinearProbeSettings,
    LoraSettings,
    TrainingSettings,
)

__all__ = [
    "CacheSettings",
    "LinearProbeSettings",
    "LoraSettings",
    "Samples",
    "TrainingSettings",
    "check_targets",
    "fit_cache",
    "fit_linear_probe",
    "guarded",
    "head_logits",
    "import_robustmedclip",
    "merge_adapter",
    "tune",
]

#: What needs torch, and is imported when it is asked for: module of each name.
_LATER = {
    "Samples": "samples",
    "check_targets": "lora",
    "fit_cache": "heads",
    "fit_linear_probe": "heads",
    "guarded": "tuning",
    "head_logits": "heads",
    "import_robustmedclip": "robustmedclip",
    "merge_adapter": "tuning",
    "tune": "tuning",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module("robustmedclip.models")  # lets peft be imported
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
