"""Raw ingestion: from any source to validated image sets."""

from robustmedclip.pipelines.ingestion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
