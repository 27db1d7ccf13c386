"""Tuning of the visual encoder, or of a head on its features, on the few-shot images."""

from robustmedclip.pipelines.tuning.pipeline import create_pipeline

__all__ = ["create_pipeline"]
