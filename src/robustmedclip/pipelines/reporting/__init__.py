"""Report aggregation: from logits to metrics, leaderboard, figures and report."""

from robustmedclip.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
