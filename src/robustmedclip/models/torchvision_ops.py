"""Let torchvision be imported beside a torch build that its compiled ops don't fit.

A CPU build of torch beside the registry's CUDA build of torchvision is such a pair: torchvision then
fails on import, because it registers fake kernels for ops that were never defined. Nothing here uses
those ops (non-maximum suppression), so declaring them is enough.
"""

import importlib.util
from pathlib import Path

import torch

_MISSING_OPS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def declare_missing_ops() -> torch.library.Library | None:
    """Declare torchvision's detection ops if its compiled library can't be loaded.

    Returns
    -------
    torch.library.Library or None
        The declarations, to be kept alive; None where torchvision is whole or absent.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for library in Path(spec.origin).parent.glob("_C*"):
        try:
            torch.ops.load_library(str(library))
            return None
        except OSError:
            continue
    declarations = torch.library.Library("torchvision", "FRAGMENT")
    for op in _MISSING_OPS:
        declarations.define(op)
    return declarations


_DECLARATIONS = declare_missing_ops()
