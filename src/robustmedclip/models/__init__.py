"""Vision-language models behind one interface: preprocess, encode_image, encode_text."""

from robustmedclip.models import torchvision_ops  # noqa: F401, I001 - before anything imports torchvision
from robustmedclip.models.attention import (
    UnfusedAttention,
    UnfusedProjection,
    fuse_attention,
    unfuse_attention,
)
from robustmedclip.models.authors import as_the_authors
from robustmedclip.models.batch_norm import batch_norm_layers, own_statistics, statistics_rows, with_statistics_of
from robustmedclip.models.checkpoints import read_weights
from robustmedclip.models.export import save_model
from robustmedclip.models.inference import (
    BATCH_SIZE,
    best_device,
    class_logits,
    cores_divided,
    encoding_speed,
    fast_precision,
    image_features,
    image_features_of_each,
    image_logits,
    in_full_batches,
)
from robustmedclip.models.interface import VisionLanguageModel, zero_shot_classifier
from robustmedclip.models.layouts import LAYOUTS
from robustmedclip.models.open_clip import load_checkpoint, load_open_clip, new_open_clip, save_open_clip
from robustmedclip.models.preprocessing import Preprocessing
from robustmedclip.models.transformers_clip import load_transformers

__all__ = [
    "BATCH_SIZE",
    "LAYOUTS",
    "Preprocessing",
    "UnfusedAttention",
    "UnfusedProjection",
    "VisionLanguageModel",
    "as_the_authors",
    "batch_norm_layers",
    "best_device",
    "class_logits",
    "cores_divided",
    "encoding_speed",
    "fast_precision",
    "fuse_attention",
    "image_features",
    "image_features_of_each",
    "image_logits",
    "in_full_batches",
    "load_checkpoint",
    "load_open_clip",
    "load_transformers",
    "new_open_clip",
    "own_statistics",
    "read_weights",
    "save_model",
    "save_open_clip",
    "statistics_rows",
    "unfuse_attention",
    "with_statistics_of",
    "zero_shot_classifier",
]
