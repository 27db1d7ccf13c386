"""Let torchvision be imported beside a torch build that its compiled ops don't fit.

A CPU build of torch beside the registry's CUDA build of torchvision is such a pair: torchvision then
fails on import, because it registers fake kernels for ops that were never defined. Nothing here uses
those ops (non-maximum suppression), so declaring them is enough.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_MISSING_OPS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class MissingOps(MetaPathFinder):
    """Declares the missing ops when torchvision is first imported, whoever imports it; finds no module itself."""

    #: The declarations, which last as long as this object does; None where nothing had to be declared.
    declarations: Any = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, after the ops were declared if `fullname` is torchvision and its compiled library can't be loaded."""
        if fullname == "torchvision" and self.declarations is None:
            spec = PathFinder.find_spec(fullname)
            if spec is not None and spec.origin is not None:
                self.declarations = declare_missing_ops(Path(spec.origin).parent)
        return None


def declare_missing_ops(folder: Path) -> Any:
    """Declare torchvision's detection ops if the compiled library in its folder can't be loaded.

    Returns
    -------
    torch.library.Library or None
        The declarations, to be kept alive; None where torchvision is whole, or there is no torch.
    """
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    ops: Any = torch.ops
    for library in folder.glob("_C*"):
        try:
            ops.load_library(str(library))
            return None
        except OSError:
            continue
    library_of_ops: Any = torch.library.Library
    declarations = library_of_ops("torchvision", "FRAGMENT")
    for op in _MISSING_OPS:
        declarations.define(op)
    return declarations


def mend_imports() -> None:
    """Let later imports of torchvision succeed; imports nothing now."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, MissingOps) for finder in sys.meta_path):
        sys.meta_path.insert(0, MissingOps())
