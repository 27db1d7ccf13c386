"""Few-shot adaptation of the visual encoder."""

import robustmedclip.models  # noqa: F401, I001 - lets peft be imported
from robustmedclip.adaptation.lora import LoraSettings, merge_adapter, tune_lora
from robustmedclip.adaptation.robustmedclip import import_robustmedclip
from robustmedclip.adaptation.samples import Samples

__all__ = ["LoraSettings", "Samples", "import_robustmedclip", "merge_adapter", "tune_lora"]
