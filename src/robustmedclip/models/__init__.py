"""Vision-language models behind one interface: preprocess, encode_image, encode_text."""

from robustmedclip.models import torchvision_ops  # noqa: F401, I001 - before anything imports torchvision
from robustmedclip.models.attention import UnfusedAttention, UnfusedProjection, fuse_attention, unfuse_attention
from robustmedclip.models.inference import BATCH_SIZE, image_logits
from robustmedclip.models.interface import Preprocessing, VisionLanguageModel, zero_shot_classifier
from robustmedclip.models.open_clip import load_open_clip, new_open_clip, save_open_clip

__all__ = [
    "BATCH_SIZE",
    "Preprocessing",
    "UnfusedAttention",
    "UnfusedProjection",
    "VisionLanguageModel",
    "fuse_attention",
    "image_logits",
    "load_open_clip",
    "new_open_clip",
    "save_open_clip",
    "unfuse_attention",
    "zero_shot_classifier",
]
