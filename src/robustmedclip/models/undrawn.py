"""Networks that are built to be given weights, without drawing any first."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

#: What is put in place of random numbers: a value that could be drawn, as some are drawn anew until they are in bounds.
_INSTEAD: dict[Callable[..., Any], Callable[..., torch.Tensor]] = {
    torch.Tensor.normal_: lambda tensor, mean=0.0, *_, **__: tensor.fill_(mean),
    torch.Tensor.uniform_: lambda tensor, low=0.0, *_, **settings: tensor.fill_(settings.get("from", low)),
    torch.Tensor.erfinv_: lambda tensor: tensor,
    init.normal_: lambda tensor, mean=0.0, *_, **__: tensor.fill_(mean),
    init.uniform_: lambda tensor, a=0.0, *_, **__: tensor.fill_(a),
    init.kaiming_uniform_: lambda tensor, *_, **__: tensor.zero_(),
    torch.randn: torch.zeros,
    torch.rand: torch.zeros,
}


class WithoutDraws(TorchFunctionMode):
    """Inside, weights are filled with one value in place of random ones, which takes a fraction of the time.

    All that is built inside has to be given values. Torch's own random numbers go on where they were.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if (instead := _INSTEAD.get(function)) is None:
            return function(*args, **kwargs)
        with torch.no_grad():
            return instead(*args, **{key: value for key, value in kwargs.items() if key != "generator"})
