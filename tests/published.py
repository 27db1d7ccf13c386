"""Random checkpoints in the layouts of the published models: real names, files and depth of nesting, small widths."""

import json
import string
from pathlib import Path

import open_clip
import torch
import transformers
from safetensors.torch import load_file
from torch import nn

from robustmedclip.pretraining import train_tokenizer

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every weight and statistic drawn, so that none is at a value that hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("logit_scale"):
                tensor.fill_(3.0)
            elif tensor.is_floating_point():
                fan = tensor[0].numel() if tensor.ndim > 1 else 25
                noise = torch.randn(tensor.shape, generator=generator) * min(0.2, fan**-0.5)
                tensor.copy_(noise + (name.endswith("weight") and tensor.ndim == 1))
    return module.eval()


def write_text_tower(folder: Path) -> Path:
    """Tokenizer and configuration of a small BERT, as a folder of the hub has them."""
    folder.mkdir()
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *string.ascii_lowercase,
        *(f"##{c}" for c in string.ascii_lowercase),
        "-",
    ]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    small_bert().config.save_pretrained(folder)
    return folder


def small_bert(**settings) -> transformers.BertModel:
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=48,
        **settings,
    )
    return randomised(transformers.BertModel(config), seed=1)


CLIP_CONFIGS = {
    "vit": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
    },
    "resnet": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 16, "patch_size": None},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
    },
}


def write_clip(folder: Path, kind: str) -> nn.Module:
    """CLIP of OpenAI's architecture as a folder; the network whose weights it holds."""
    folder.mkdir()
    network = randomised(open_clip.CLIP(**CLIP_CONFIGS[kind]))
    config = {"model_cfg": CLIP_CONFIGS[kind], "preprocess_cfg": {"mean": CLIP_MEAN, "std": CLIP_STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    return network


def write_biomedclip(folder: Path, text_tower: Path) -> nn.Module:
    """BiomedCLIP's folder: the text tower is named by its name on the hub; its configuration lies in ``text``."""
    folder.mkdir()
    text = {
        "hf_model_name": str(text_tower),
        "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
        "hf_model_pretrained": False,
    }
    vision = {
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 160,
    }
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    network = randomised(open_clip.CustomTextCLIP(**config))
    published = {**text, "hf_model_name": text["hf_tokenizer_name"]}
    del published["hf_model_pretrained"]
    content = {
        "model_cfg": {**config, "text_cfg": published},
        "preprocess_cfg": {"mean": CLIP_MEAN, "std": CLIP_STD},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    for file in text_tower.glob("*token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "text").mkdir()
    (folder / "text" / "config.json").write_bytes((text_tower / "config.json").read_bytes())
    # Old transformers wrote the positions as if they were weights.
    positions = {"text.transformer.embeddings.position_ids": torch.arange(512)[None]}
    torch.save(network.state_dict() | positions, folder / "open_clip_pytorch_model.bin")
    return network


UNIMED_VISION = {
    "unimed_clip_vit_b16": {"image_size": 224, "layers": 2, "width": 128, "patch_size": 16},
    "unimed_clip_vit_l14_base_text_encoder": {"image_size": 336, "layers": 3, "width": 64, "patch_size": 14},
}


def write_unimedclip(file: Path, text_tower: Path) -> nn.Module:
    """UniMed-CLIP's file: a training checkpoint, its text tower under another name, a prefix before all names."""
    text = {
        "hf_model_name": str(text_tower),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "hf_model_pretrained": False,
    }
    config = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": UNIMED_VISION[file.stem], "text_cfg": text}
    network = randomised(open_clip.CustomTextCLIP(**config))
    weights = {
        "module." + name.replace("text.", "text_encoder.", 1) if name.startswith("text.") else "module." + name: tensor
        for name, tensor in network.state_dict().items()
    }
    torch.save({"epoch": 32, "name": "ViT", "state_dict": weights, "optimizer": {"state": {}}}, file)
    return network


class MedCLIPReference(nn.Module):
    """MedCLIP of the modules of torchvision and transformers, put together as its code does."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.vision_model, self.text_model = kind, nn.Module(), nn.Module()
        if kind == "resnet":
            import torchvision

            self.vision_model.model = torchvision.models.resnet50(weights=None)
            self.vision_model.model.fc = nn.Linear(2048, 16, bias=False)
        else:
            self.vision_model.model = transformers.SwinModel(transformers.SwinConfig())
            self.vision_model.projection_head = nn.Linear(768, 16, bias=False)
        self.text_model.model = small_bert(output_hidden_states=True)
        self.text_model.projection_head = nn.Linear(32, 16, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(0.0))
        randomised(self)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.kind == "resnet":
            return self.vision_model.model(pixels)
        return self.vision_model.projection_head(self.vision_model.model(pixels).pooler_output)

    def encode_text(self, encoded: transformers.BatchEncoding) -> torch.Tensor:
        hidden = self.text_model.model(**encoded).hidden_states
        return self.text_model.projection_head(torch.stack([hidden[1], hidden[2], hidden[-1]]).mean(2).mean(0))


def write_medclip(folder: Path, kind: str, logit_scale: float = 3.0) -> MedCLIPReference:
    """MedCLIP's folder, and the reference whose weights it holds."""
    folder.mkdir()
    reference = MedCLIPReference(kind)
    reference.logit_scale.data.fill_(logit_scale)
    weights = reference.state_dict()
    if kind == "vit":
        # The names that the first versions of transformers gave to Swin's weights, and still gives on disk.
        reference.vision_model.model.save_pretrained(folder / "swin")
        weights = {k: v for k, v in weights.items() if not k.startswith("vision_model.model.")}
        weights |= {f"vision_model.model.{k}": v for k, v in load_file(folder / "swin" / "model.safetensors").items()}
        weights["vision_model.model.encoder.layers.0.blocks.0.attention.self.relative_position_index"] = torch.zeros(
            49, 49
        )
    weights["text_model.model.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save(dict(weights), folder / "pytorch_model.bin")
    return reference


def write_pmcclip(folder: Path) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """PMC-CLIP's three files; the towers and the projection that they hold."""
    folder.mkdir()
    image = randomised(open_clip.modified_resnet.ModifiedResNet([1, 2, 1, 1], 24, heads=8, image_size=64, width=16))
    text, projection = small_bert(), torch.randn(32, 24, generator=torch.Generator().manual_seed(2))
    torch.save(image.state_dict(), folder / "image_encoder(resnet50).pth")
    torch.save(text.state_dict(), folder / "text_encoder.pth")
    torch.save(projection, folder / "text_projection_layer.pth")
    return image, text, projection


TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**TOWER, "image_size": 32, "patch_size": 8}
TEXT = {
    **TOWER,
    "vocab_size": 300,
    "max_position_embeddings": 24,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
}


def write_transformers(folder: Path, kind: str) -> None:
    """A folder as on the hub: PubMedCLIP's of type clip; MedSigLIP's and SigLIP 2's of type siglip."""
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)
        model, processor = (
            transformers.CLIPModel(config),
            transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        )
    else:
        config = transformers.SiglipConfig(text_config=TEXT, vision_config=VISION)
        model, processor = (
            transformers.SiglipModel(config),
            transformers.SiglipImageProcessor(
                size={"height": 32, "width": 32}, resample=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
            ),
        )
    randomised(model).save_pretrained(folder)
    processor.save_pretrained(folder)
    train_tokenizer(["a chest x-ray of pneumonia", "normal"], 300, 24).save_pretrained(folder)
