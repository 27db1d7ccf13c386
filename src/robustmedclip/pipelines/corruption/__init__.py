"""Corruption generation: one clean and many corrupted test sets."""

from robustmedclip.pipelines.corruption.pipeline import create_pipeline

__all__ = ["create_pipeline"]
