"""Few-shot sampling: a small labelled part of every training pool."""

from robustmedclip.pipelines.few_shot.pipeline import create_pipeline

__all__ = ["create_pipeline"]
