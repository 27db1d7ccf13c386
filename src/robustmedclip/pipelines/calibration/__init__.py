"""Calibration: what the severities do to the images at hand, and which of them clinicians call realistic."""

from robustmedclip.pipelines.calibration.pipeline import create_pipeline

__all__ = ["create_pipeline"]
