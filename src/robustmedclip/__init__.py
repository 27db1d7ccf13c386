"""Robustness of medical vision-language models under image corruption, and what few-shot LoRA wins back."""

__version__ = "0.1.0"
