"""Contrastive pretraining of the small models that ship with the project."""

from robustmedclip.pretraining.captions import captions
from robustmedclip.pretraining.contrastive import contrastive_loss, pretrain
from robustmedclip.pretraining.tokenizer import train_tokenizer

__all__ = ["captions", "contrastive_loss", "pretrain", "train_tokenizer"]
