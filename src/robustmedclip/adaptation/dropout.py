"""Dropout whose masks are quick to draw on a CPU."""

from typing import Any

import numpy as np
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
        if not self.training or not dropped or input.device.type != "cpu" or input.dtype != torch.float32:
            return F.dropout(input, self.p, self.training)
        words = torch.empty(-(-input.numel() // _IN_A_WORD), dtype=torch.int64).random_(_SMALLEST, None)
        numbers = words.view(torch.int16).as_strided(input.shape, torch.empty_like(input).stride())
        kept = np.greater_equal(numbers.numpy(), np.int16(dropped - _VALUES // 2))
        output: torch.Tensor = _Kept.apply(input, kept, _VALUES / (_VALUES - dropped))  # type: ignore[no-untyped-call]
        return output


class _Kept(torch.autograd.Function):
    """Numbers times a scale where they are kept, else times 0.

    The mask is NumPy's, a byte for each number: torch multiplies by one of float32 as quickly, and by one of booleans
    in three times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kept: np.ndarray, scale: float) -> torch.Tensor:
        ctx.kept, ctx.scale = kept, scale
        return _masked(x, kept, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _masked(gradients[0], ctx.kept, ctx.scale), None, None


def _masked(x: torch.Tensor, kept: np.ndarray, scale: float) -> torch.Tensor:
    output = torch.empty_like(x)
    np.multiply(x.detach().numpy(), kept, out=output.numpy())
    return output.mul_(scale)


def with_quick_dropout(network: nn.Module) -> nn.Module:
    """The network, every dropout of whose adapters is a :class:`Dropout`; changed in place."""
    for name, layer in list(network.named_modules()):
        if type(layer) is nn.Dropout and "lora_dropout" in name:
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, Dropout(layer.p))
    return network
