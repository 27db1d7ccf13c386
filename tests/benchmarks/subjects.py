"""What is measured: the shipped models and a full-size one of random weights, and images of noise."""

from pathlib import Path

import numpy as np
import open_clip
import torch

import robustmedclip.models
from robustmedclip.images.sets import ImageSet
from robustmedclip.models.attention import unfuse_attention
from robustmedclip.models.formats.open_clip import OpenCLIP
from robustmedclip.models.interface import VisionLanguageModel
from robustmedclip.models.open_clip import load_open_clip
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing

#: Models, and the side of their images in pixels.
NAMES = {"phantom_vit": 64, "phantom_resnet": 64, "ViT-B-16": 224}


def load(name: str) -> VisionLanguageModel:
    """A model of :data:`NAMES`."""
    if name != "ViT-B-16":
        return load_open_clip(f"local-dir:{Path(robustmedclip.models.__file__).with_name(name)}")
    torch.manual_seed(0)
    network = open_clip.CLIP(**open_clip.get_model_config(name)).requires_grad_(False).eval()
    network.visual = unfuse_attention(network.visual).to(memory_format=torch.channels_last)
    preprocessing = Preprocessing(size=(224, 224), mean=CLIP_MEAN, std=CLIP_STD)
    targets = r"visual\..+\.attn\.(q|k|v)_proj"
    return VisionLanguageModel(name, network, open_clip.get_tokenizer(name), preprocessing, 100.0, targets, OpenCLIP)


def noise(side: int, count: int, classes: int) -> ImageSet:
    """Colour images of noise, of classes in turn."""
    return ImageSet.validated(
        name="noise",
        split="test",
        modality="x-ray",
        class_names=tuple("abcd"[:classes]),
        images=np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8),
        labels=np.arange(count, dtype=np.int64) % classes,
        sample_ids=np.arange(count).astype(str),
    )
