"""Linear layers on a CPU, multiplied by oneDNN.

Torch multiplies matrices of float32 with MKL, which takes no 512-bit instructions on processors that are not Intel's:
oneDNN, which torch brings for convolutions, takes 0.45 of its time there, and 0.2 for the gradient of an input.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_HAS_BOTH = (
    torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # of torch's own compiler: it promises nothing
)


class OneDNNLinear(TorchFunctionMode):
    """Inside, linear layers of float32 on a CPU are multiplied by oneDNN, and so are their gradients.

    The outputs are those of torch but for rounding, and the same with any number of threads.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if function is F.linear and not kwargs and _is_for_onednn(*args):
            is_trained = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in args)
            return _Linear.apply(*args) if is_trained else _linear(*args)  # type: ignore[no-untyped-call]
        return function(*args, **(kwargs or {}))


class _Linear(torch.autograd.Function):
    """A linear layer with gradients; its input is kept for them only where the weight is trained."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        return _linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (gradient,), wanted = gradients, ctx.needs_input_grad
        rows = gradient.reshape(-1, len(weight)).contiguous()  # with gaps between them oneDNN takes 100 times as long
        return (
            _linear(gradient, weight.T) if wanted[0] else None,
            _transposed_product(rows, x.reshape(-1, weight.shape[1]).contiguous()) if wanted[1] else None,
            *(rows.sum(0) if needed else None for needed in wanted[2:]),
        )


def _is_for_onednn(*tensors: torch.Tensor | None) -> bool:
    of_floats = all(t is None or (t.device.type == "cpu" and t.dtype == torch.float32) for t in tensors)
    return _HAS_BOTH and of_floats and not torch.is_autocast_enabled("cpu")


def _transposed_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a.T @ b``: oneDNN copies what it multiplies from the left, so the narrower of the two stands there."""
    return _linear(a.T, b.T) if a.shape[1] <= b.shape[1] else _linear(b.T, a.T).T


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
