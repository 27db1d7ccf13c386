"""Contrastive pretraining of the small models that ship with the project."""

import robustmedclip.models  # noqa: F401, I001 - lets transformers be imported
from robustmedclip.pretraining.captions import captions
from robustmedclip.pretraining.contrastive import contrastive_loss, pretrain
from robustmedclip.pretraining.tokenizer import train_tokenizer

__all__ = ["captions", "contrastive_loss", "pretrain", "train_tokenizer"]
