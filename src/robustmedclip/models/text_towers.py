"""BERT text towers: their configuration without a network, and the pooling that MedCLIP needs."""

import json
from pathlib import Path
from typing import Any

import torch
from open_clip.hf_model import register_pooler
from torch import nn
from transformers import BertConfig

_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}

BIOMEDBERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
BIOMEDBERT_LARGE = "microsoft/BiomedNLP-BiomedBERT-large-uncased-abstract"
CLINICALBERT = "emilyalsentzer/Bio_ClinicalBERT"

#: What the text towers of the medical models differ in from BERT base (Devlin et al. 2019, arXiv:1810.04805,
#: section 3; transformers' BertConfig), by their name on the hub. The first two are older names of the third.
_DIFFERENCES: dict[str, dict[str, Any]] = {
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract": {},
    "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract-fulltext": {},
    BIOMEDBERT: {},
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext": {},
    BIOMEDBERT_LARGE: _LARGE,
    CLINICALBERT: {"vocab_size": 28996},
}


#: What is needed of a model on the hub beside its weights.
SMALL_FILES = ("*.json", "text/*.json", "*.txt", "*.model")


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has the files of a tokenizer."""
    return any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"))


def text_tower_config(name: str, folder: Path | None) -> dict[str, Any] | None:
    """transformers' configuration of a text tower, if it is known without a network.

    Parameters
    ----------
    name : str
        The tower's name on the hub.
    folder : Path, optional
        Where ``text/config.json`` or the tower's own ``config.json`` may lie; it wins over what is known by name.

    Returns
    -------
    dict or None
        Content of ``config.json``; None if only the hub knows it.
    """
    for file in (folder / "text" / "config.json", folder / "config.json") if folder else ():
        if file.is_file():
            config: dict[str, Any] = json.loads(file.read_text())
            if "hidden_size" in config:
                return config
    if name in _DIFFERENCES:
        return BertConfig.from_dict(_DIFFERENCES[name]).to_dict()
    return None


@register_pooler
class MedclipPooler(nn.Module):
    """Mean of the tokens, padding left out, of the first, second and last layer's output, averaged over the three.

    MedCLIP averages over the padding of the batch as well, so that an embedding depends on the texts beside it. Here
    it is what MedCLIP gives for a text alone.
    """

    def forward(self, x: Any, attention_mask: torch.Tensor) -> torch.Tensor:
        """Pooled text, float ``(N, width)``, of the tower's output and its mask ``(N, tokens)``."""
        layers = torch.stack([x.hidden_states[index] for index in (1, 2, -1)])
        mask = attention_mask.unsqueeze(-1).to(layers.dtype)
        return ((layers * mask).sum(2) / mask.sum(1)).mean(0)


@register_pooler
class LastTokenPooler(nn.Module):
    """The last hidden state of the last token that is not padding."""

    def forward(self, x: Any, attention_mask: torch.Tensor) -> torch.Tensor:
        """Pooled text, float ``(N, width)``, of the tower's output and its mask ``(N, tokens)``."""
        last = attention_mask.sum(1) - 1
        pooled: torch.Tensor = x.last_hidden_state[torch.arange(len(last)), last]
        return pooled
