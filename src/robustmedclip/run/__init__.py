"""What surrounds a run: configuration, catalog, fingerprints, preflight, progress, tracking, and two runners."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustmedclip.run.distributed.runner import DaskRunner

__all__ = ["DaskRunner"]


def __getattr__(name: str) -> Any:
    """Import the runner when it is asked for: it needs Dask, which is an extra."""
    if name == "DaskRunner":
        from robustmedclip.run.distributed.runner import DaskRunner

        return DaskRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
