"""LoRA tuning of the visual encoder on the few-shot images."""

from robustmedclip.pipelines.tuning.pipeline import create_pipeline

__all__ = ["create_pipeline"]
