"""Robustness of medical vision-language models under image corruption, and what few-shot LoRA wins back."""

from robustmedclip.models.torchvision_ops import mend_imports

__version__ = "0.1.0"

mend_imports()
