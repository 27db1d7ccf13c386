"""Zero-shot evaluation of every model and adapter under every condition."""

from robustmedclip.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
