"""Published checkpoints in layouts of their own, turned into the configuration and the weights of open_clip."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robustmedclip.errors import InputError
from robustmedclip.models.checkpoints import read_weights
from robustmedclip.models.image_towers import FIRST_PATCH_SWIN, FIXED_EFFICIENTNETS
from robustmedclip.models.preprocessing import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from robustmedclip.models.published_names import efficientnet, swin
from robustmedclip.models.text_towers import BIOMEDBERT, BIOMEDBERT_LARGE, CLINICALBERT

Weights = dict[str, torch.Tensor]

#: Mean and standard deviation of MedCLIP's training images (github.com/RyanWangZf/MedCLIP, medclip/constants.py).
_MEDCLIP_MEAN, _MEDCLIP_STD = (0.5862785803043838,) * 3, (0.27950088968644304,) * 3

#: log of the temperature that PMC-CLIP was published with; its files don't hold it (github.com/WeixiongLin/PMC-CLIP).
_PMCCLIP_LOGIT_SCALE = 4.4292

#: Largest logit scale of MedCLIP: exp(4.6052) = 100 (medclip/modeling_medclip.py).
_MEDCLIP_LOGIT_SCALE = 4.6052


@dataclass(frozen=True)
class Converted:
    """A checkpoint as open_clip would have it.

    Attributes
    ----------
    config : dict
        open_clip's ``model_cfg``.
    weights : dict
        Weights of the network that open_clip builds of it.
    preprocessing : Preprocessing
        As published.
    text_tower : dict
        What the text tower's configuration must say beyond what is published of it.
    """

    config: dict[str, Any]
    weights: Weights
    preprocessing: Preprocessing
    text_tower: Mapping[str, Any]


@dataclass(frozen=True)
class Layout:
    """One family of checkpoints: the files that make one up, and how they become an open_clip model."""

    files: tuple[str, ...]
    convert: Callable[[list[Weights]], Converted]

    def read(self, path: Path) -> Converted:
        """Convert the checkpoint in a file, or in a folder.

        Raises
        ------
        InputError
            If files are missing, can't be read, or hold something else.
        """
        files = [path] if path.is_file() else [_only_file(path, pattern) for pattern in self.files]
        if len(files) != len(self.files):
            raise InputError(f"{path} is one file of a model of {len(self.files)}: give the folder that holds them")
        try:
            return self.convert([read_weights(file) for file in files])
        except KeyError as error:
            raise InputError(
                f"The weights in {path} can't be loaded: they lack {error}, as another model would"
            ) from error


def _only_file(folder: Path, pattern: str) -> Path:
    files = sorted(file for suffix in pattern.split("|") for file in folder.glob(suffix))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise InputError(f"Expected one file {pattern.replace('|', ' or ')} in {folder}, found {names}: give the file")
    return files[0]


def unimedclip(parts: list[Weights]) -> Converted:
    """UniMed-CLIP (Khattak et al. 2024, arXiv:2412.10372): ViT-B/16 or ViT-L/14-336, and BiomedBERT base or large."""
    weights = {re.sub(r"^text_encoder\.", "text.", name): tensor for name, tensor in parts[0].items()}
    vision, embed_dim = _native_vit(weights)
    width = weights["text.transformer.embeddings.word_embeddings.weight"].shape[1]
    return Converted(
        config={
            "embed_dim": embed_dim,
            "quick_gelu": True,
            "vision_cfg": vision,
            "text_cfg": _bert(
                BIOMEDBERT_LARGE if width == 1024 else BIOMEDBERT, "cls_last_hidden_state_pooler", "mlp", 256
            ),
        },
        weights=_without_pooler(weights),
        preprocessing=Preprocessing(size=(vision["image_size"],) * 2, mean=CLIP_MEAN, std=CLIP_STD),
        text_tower={},
    )


def medclip(parts: list[Weights]) -> Converted:
    """MedCLIP (Wang et al. 2022, arXiv:2210.10163): ResNet-50 or Swin-T, and Bio_ClinicalBERT."""
    (weights,) = parts
    if "vision_model.model.fc.weight" in weights:
        architecture, visual = "resnet50", _medclip_resnet(weights)
    else:
        architecture, visual = "swin_tiny_patch4_window7_224", swin(weights, "vision_model.model.")
        visual["visual.head.proj.weight"] = weights["vision_model.projection_head.weight"]
    text = {
        name.replace("text_model.model.", "text.transformer.").replace(
            "text_model.projection_head.", "text.proj."
        ): tensor
        for name, tensor in weights.items()
        if name.startswith("text_model.")
    }
    return Converted(
        config={
            "embed_dim": visual["visual.head.proj.weight"].shape[0],
            "vision_cfg": _timm(architecture, 224),
            "text_cfg": _bert(CLINICALBERT, "medclip_pooler", "linear", 77),
        },
        weights=_without_pooler(visual | text | {"logit_scale": weights["logit_scale"].clamp(0, _MEDCLIP_LOGIT_SCALE)}),
        preprocessing=Preprocessing(size=(224, 224), mean=_MEDCLIP_MEAN, std=_MEDCLIP_STD, resize_mode="pad", mode="L"),
        text_tower={"output_hidden_states": True},
    )


def pmcclip(parts: list[Weights]) -> Converted:
    """PMC-CLIP (Lin et al. 2023, arXiv:2303.07240): ResNet-50 as CLIP modifies it, and BiomedBERT.

    As its training has it (github.com/WeixiongLin/PMC-CLIP, src/pmc_clip/model/pmc_clip.py and transform.py): a text is
    the last hidden state of its first token, among 77 of which none is masked, padding neither; images have CLIP's
    mean and standard deviation. BERT's pooling layer had no part in it.
    """
    image, text, projections = parts
    (projection,) = projections.values()
    blocks = [len({name.split(".")[1] for name in image if name.startswith(f"layer{i}.")}) for i in (1, 2, 3, 4)]
    width = image["layer1.0.conv1.weight"].shape[0]
    grid = round((image["attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
    return Converted(
        config={
            "embed_dim": projection.shape[1],
            "vision_cfg": {
                "layers": blocks,
                "width": width,
                # 8 heads, whatever the width: open_clip divides 32 times the width by it.
                "head_width": width * 32 // 8,
                "image_size": 32 * grid,
            },
            "text_cfg": _bert(BIOMEDBERT, "cls_last_hidden_state_pooler", "linear", 77),
        },
        weights=_without_pooler(
            {
                **{f"visual.{name}": tensor for name, tensor in image.items()},
                **{f"text.transformer.{name}": tensor for name, tensor in text.items()},
                "text.proj.weight": projection.T.contiguous(),
                "logit_scale": torch.tensor(_PMCCLIP_LOGIT_SCALE),
            }
        ),
        preprocessing=Preprocessing(size=(32 * grid,) * 2, mean=CLIP_MEAN, std=CLIP_STD),
        text_tower={"pad_token_id": -1},  # no token is one: open_clip masks none
    )


def flair(parts: list[Weights]) -> Converted:
    """FLAIR (Silva-Rodriguez et al. 2023, arXiv:2308.07898): ResNet-50 of torchvision, and Bio_ClinicalBERT.

    As its code has it (github.com/jusiro/FLAIR, flair/modeling/model.py): the text is pooled as MedCLIP's, levels from
    0 to 1 are not normalised, and the longest side is scaled to 512. Features are normalised before their projection,
    too, which has no bias, so that it changes nothing. Its code pads at the right and the bottom, and this around.
    """
    (weights,) = parts
    visual, text = "vision_model.model.", "text_model.model."
    renamed = {
        **{f"visual.trunk.{key}": tensor for key, tensor in _of(weights, visual)},
        **{f"text.transformer.{key}": tensor for key, tensor in _of(weights, text)},
        "visual.head.proj.weight": weights["vision_model.projection_head_vision.projection.weight"],
        "text.proj.weight": weights["text_model.projection_head_text.projection.weight"],
        "logit_scale": weights["logit_scale"].clamp(0, _MEDCLIP_LOGIT_SCALE),
    }
    return Converted(
        config={
            "embed_dim": renamed["visual.head.proj.weight"].shape[0],
            "vision_cfg": _timm("resnet50", 512),
            "text_cfg": _bert(CLINICALBERT, "medclip_pooler", "linear", 77),
        },
        weights=_without_pooler(renamed),
        preprocessing=Preprocessing(
            size=(512, 512), mean=(0, 0, 0), std=(1, 1, 1), interpolation="bilinear", resize_mode="longest"
        ),
        text_tower={"output_hidden_states": True},
    )


def cxrclip(parts: list[Weights]) -> Converted:
    """CXR-CLIP (You et al. 2023, arXiv:2310.13292): ResNet-50 of torchvision or Swin-T, and Bio_ClinicalBERT.

    As its code has it (github.com/kakaobrain/cxr-clip, cxrclip/model/clip.py): a text is the last hidden state of its
    last token, an image that of the first patch of the Swin, and both projections have a bias.
    """
    (weights,) = parts
    if "image_encoder.resnet.conv1.weight" in weights:
        architecture, mean, std = "resnet50", IMAGENET_MEAN, IMAGENET_STD
        trunk = {f"visual.trunk.{key}": tensor for key, tensor in _of(weights, "image_encoder.resnet.")}
    else:
        architecture, mean, std = FIRST_PATCH_SWIN, (0.5,) * 3, (0.5,) * 3
        trunk = swin(weights, "image_encoder.image_encoder.")
    renamed = {**trunk, **_projection(weights), **_clinicalbert(weights), "logit_scale": weights["logit_scale"]}
    return Converted(
        config={
            "embed_dim": renamed["visual.head.proj.weight"].shape[0],
            "vision_cfg": {**_timm(architecture, 224), "timm_proj_bias": True},
            "text_cfg": _bert(CLINICALBERT, "last_token_pooler", "linear", 256),
        },
        weights=_without_pooler(renamed),
        preprocessing=Preprocessing(size=(224, 224), mean=mean, std=std, interpolation="bilinear"),
        text_tower={},
    )


def mammoclip(parts: list[Weights]) -> Converted:
    """Mammo-CLIP (Ghosh et al. 2024, arXiv:2405.12255): EfficientNet-B2 or B5, and Bio_ClinicalBERT.

    As its code has it (github.com/batmanlab/Mammo-CLIP, breastclip/model/clip.py and data/datasets): texts as
    CXR-CLIP's, of which it is made; grey levels of each image are stretched to 0 to 1; the EfficientNet, of the package
    efficientnet_pytorch, pads as for images of 260 or 456 px, whatever their size is.
    """
    (weights,) = parts
    blocks = {name.split(".")[2] for name in weights if name.startswith("image_encoder._blocks.")}
    if len(blocks) not in FIXED_EFFICIENTNETS:
        raise InputError(f"An image encoder of {len(blocks)} blocks is none of Mammo-CLIP's: an EfficientNet-B2 or -B5")
    renamed = {
        **efficientnet(weights, "image_encoder."),
        **_projection(weights),
        **_clinicalbert(weights),
        "logit_scale": weights["logit_scale"],
    }
    return Converted(
        config={
            "embed_dim": renamed["visual.head.proj.weight"].shape[0],
            "vision_cfg": {**_timm(FIXED_EFFICIENTNETS[len(blocks)], (1520, 912)), "timm_proj_bias": True},
            "text_cfg": _bert(CLINICALBERT, "last_token_pooler", "linear", 256),
        },
        weights=_without_pooler(renamed),
        preprocessing=Preprocessing(
            size=(1520, 912),
            mean=(0.3089279,) * 3,
            std=(0.25053555408335154,) * 3,
            interpolation="bilinear",
            resize_mode="squash",
            stretch=True,
        ),
        text_tower={},
    )


#: Layouts by name.
LAYOUTS = {
    "unimedclip": Layout(("*.pt|*.pth|*.safetensors",), unimedclip),
    "medclip": Layout(("pytorch_model.bin|*.safetensors",), medclip),
    "flair": Layout(("*.pth|*.safetensors",), flair),
    "cxrclip": Layout(("*.tar|*.safetensors",), cxrclip),
    "mammoclip": Layout(("*.tar|*.safetensors",), mammoclip),
    "pmcclip": Layout(("image_encoder*.pth", "text_encoder.pth", "text_projection_layer.pth"), pmcclip),
}


def _bert(name: str, pooler: str, projection: str, context_length: int) -> dict[str, Any]:
    return {
        "hf_model_name": name,
        "hf_tokenizer_name": name,
        "hf_pooler_type": pooler,
        "hf_proj_type": projection,
        "context_length": context_length,
    }


def _projection(weights: Weights) -> Weights:
    """The projection of images of CXR-CLIP and Mammo-CLIP, which has a bias."""
    return {f"visual.head.proj.{key}": tensor for key, tensor in _of(weights, "image_projection.projection.")}


def _clinicalbert(weights: Weights) -> Weights:
    """The text tower of CXR-CLIP and Mammo-CLIP, with a projection without bias.

    Its bias goes into the last normalisation of BERT, where it is the same: ``W (h + d) + 0 = W h + b`` of the d with
    ``W d = b``.
    """
    text = {f"text.transformer.{key}": tensor for key, tensor in _of(weights, "text_encoder.text_encoder.")}
    text["text.proj.weight"] = weights["text_projection.projection.weight"]
    last = max(int(key.split(".")[4]) for key in text if key.startswith("text.transformer.encoder.layer."))
    shift = f"text.transformer.encoder.layer.{last}.output.LayerNorm.bias"
    inverse = torch.linalg.pinv(text["text.proj.weight"].double())
    text[shift] = text[shift] + (inverse @ weights["text_projection.projection.bias"].double()).float()
    return text


def _timm(architecture: str, image_size: int | tuple[int, int]) -> dict[str, Any]:
    return {"timm_model_name": architecture, "timm_pool": "avg", "timm_proj": "linear", "image_size": image_size}


def _of(weights: Weights, prefix: str) -> list[tuple[str, torch.Tensor]]:
    """The weights under a prefix, without it."""
    return [(name.removeprefix(prefix), tensor) for name, tensor in weights.items() if name.startswith(prefix)]


def _native_vit(weights: Weights) -> tuple[dict[str, Any], int]:
    """open_clip's ``vision_cfg`` and ``embed_dim`` of a ViT, read off the shapes; heads are 64 wide, as in CLIP."""
    patches, positions = weights["visual.conv1.weight"], weights["visual.positional_embedding"]
    width, _, patch_size, _ = patches.shape
    layers = {name.split(".")[3] for name in weights if name.startswith("visual.transformer.resblocks.")}
    vision = {
        "image_size": round((positions.shape[0] - 1) ** 0.5) * patch_size,
        "layers": len(layers),
        "width": width,
        "head_width": 64,
        "mlp_ratio": weights["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0] / width,
        "patch_size": patch_size,
    }
    return vision, weights["visual.proj"].shape[1]


def _without_pooler(weights: Weights) -> Weights:
    """Without BERT's pooling layer, where the text tower does not use it."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith("text.transformer.pooler.")}


def _medclip_resnet(weights: Weights) -> Weights:
    """torchvision's ResNet, whose names timm shares, with the projection as its last layer."""
    prefix = "vision_model.model."
    visual = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    projection = visual.pop("fc.weight")
    return {f"visual.trunk.{name}": tensor for name, tensor in visual.items()} | {"visual.head.proj.weight": projection}
