"""Pretraining: makes the small models that ship with the project, from phantoms alone."""

from robustmedclip.pipelines.pretraining.pipeline import create_pipeline

__all__ = ["create_pipeline"]
