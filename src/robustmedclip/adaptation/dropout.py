"""Dropout whose masks are quick to draw on a CPU."""

import torch
from torch import nn
from torch.nn import functional as F

#: Values that 16 random bits may have.
_VALUES = 1 << 16
_SMALLEST, _IN_A_WORD = -(1 << 63), 4


class Dropout(nn.Dropout):
    """Drop-in for ``nn.Dropout``, which on a CPU compares 16 random bits per number with the probability.

    The probability is that of the layer to the nearest 65536th, by which what is left is scaled. torch draws a number
    of double precision for each, and takes four times as long.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Numbers, some of them zero while training, the others scaled so that the mean stays."""
        dropped = min(round(self.p * _VALUES), _VALUES - 1)
        if not self.training or not dropped or input.device.type != "cpu":
            return F.dropout(input, self.p, self.training)
        words = torch.empty(-(-input.numel() // _IN_A_WORD), dtype=torch.int64).random_(_SMALLEST, None)
        mask = torch.empty_like(input, requires_grad=False)  # with its memory format
        torch.ge(words.view(torch.int16).as_strided(mask.shape, mask.stride()), dropped - _VALUES // 2, out=mask)
        return input * mask.mul_(_VALUES / (_VALUES - dropped))


def with_quick_dropout(network: nn.Module) -> nn.Module:
    """The network, every dropout of whose adapters is a :class:`Dropout`; changed in place."""
    for name, layer in list(network.named_modules()):
        if type(layer) is nn.Dropout and "lora_dropout" in name:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, Dropout(layer.p))
    return network
