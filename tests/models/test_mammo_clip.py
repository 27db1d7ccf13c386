"""Mammo-CLIP on random weights of its published names and shapes, beside its towers put together as its code does."""

import math

import numpy as np
import pytest
import timm
import torch
import transformers
from model_sources import model_dataset
from omegaconf import OmegaConf
from published import randomised, small_bert, write_text_tower
from torch import nn
from torch.nn import functional as F

from robustmedclip.commands.import_model import import_model
from robustmedclip.errors import InputError
from robustmedclip.models.layouts import mammoclip
from robustmedclip.models.preprocessing import Preprocessing

pytestmark = pytest.mark.slow

TEXTS = ["malignancy", "no malignancy, dense breasts"]
#: Of EfficientNet-B0 (Tan & Le 2019, arXiv:1905.11946, table 1): repeats, kernel, stride, expansion, channels.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


class Conv(nn.Conv2d):
    """A convolution of efficientnet_pytorch: padded as an image of one size needs it, by TensorFlow's rule."""

    def __init__(self, channels: int, out: int, kernel: int, size: int, **settings):
        super().__init__(channels, out, kernel, **settings)
        stride = self.stride[0]
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        self.sides = [total // 2, total - total // 2] * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(F.pad(x, self.sides))


class Block(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int, size: int):
        super().__init__()
        wide, self.skips = channels * expansion, stride == 1 and channels == out
        if expansion != 1:
            self._expand_conv, self._bn0 = Conv(channels, wide, 1, size, bias=False), norm(wide)
        self._depthwise_conv = Conv(wide, wide, kernel, size, stride=stride, groups=wide, bias=False)
        self._bn1, squeezed = norm(wide), max(1, channels // 4)
        self._se_reduce, self._se_expand = Conv(wide, squeezed, 1, 1), Conv(squeezed, wide, 1, 1)
        self._project_conv, self._bn2 = Conv(wide, out, 1, size, bias=False), norm(out)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = F.silu(self._bn0(self._expand_conv(inputs))) if hasattr(self, "_expand_conv") else inputs
        x = F.silu(self._bn1(self._depthwise_conv(x)))
        x = torch.sigmoid(self._se_expand(F.silu(self._se_reduce(x.mean((2, 3), keepdim=True))))) * x
        x = self._bn2(self._project_conv(x))
        return x + inputs if self.skips else x


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=None)


class EfficientNet(nn.Module):
    def __init__(self, width: float, depth: float, size: int):
        super().__init__()
        channels = rounded(32 * width)
        self._conv_stem, self._bn0 = Conv(3, channels, 3, size, stride=2, bias=False), norm(channels)
        self._blocks, size = nn.ModuleList(), math.ceil(size / 2)
        for repeats, kernel, first_stride, expansion, base in STAGES:
            for repeat in range(math.ceil(depth * repeats)):
                stride, out = 1 if repeat else first_stride, rounded(base * width)
                self._blocks.append(Block(channels, out, kernel, stride, expansion, size))
                channels, size = out, math.ceil(size / stride)
        out = rounded(1280 * width)
        self._conv_head, self._bn1 = Conv(channels, out, 1, size, bias=False), norm(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.silu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.silu(self._bn1(self._conv_head(x))).mean((2, 3))


def rounded(channels: float) -> int:
    """To the next multiple of 8, but by no more than a tenth down."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class Reference(nn.Module):
    def __init__(self, width: float = 1.1, depth: float = 1.2, size: int = 260):
        super().__init__()
        self.image_encoder = EfficientNet(width, depth, size)
        self.text_encoder, self.image_projection, self.text_projection = nn.Module(), nn.Module(), nn.Module()
        self.text_encoder.text_encoder = small_bert()
        self.image_projection.projection = nn.Linear(rounded(1280 * width), 16)
        self.text_projection.projection = nn.Linear(32, 16)
        self.logit_scale = nn.Parameter(torch.tensor(0.0))


@pytest.fixture(scope="module", autouse=True)
def no_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="module")
def reference() -> Reference:
    """With statistics of normalisation that keep random features apart."""
    network = randomised(Reference()).train()
    with torch.no_grad():
        network.image_encoder(torch.randn(4, 3, 96, 64, generator=torch.Generator().manual_seed(1)))
    return network.eval()


@pytest.fixture(scope="module")
def published(tmp_path_factory, reference) -> dict[str, str]:
    """A catalog entry of a file as the training writes it, with its settings as Hydra has them."""
    folder = tmp_path_factory.mktemp("mammo_clip")
    settings = OmegaConf.create({"base": {"mean": 0.3, "amp": True, "fold": None}, "prompts": ["malignancy", {"n": 1}]})
    content = {"model": reference.state_dict(), "config": settings, "epoch": 10, "train_loss": 1.5}
    torch.save(content, folder / "b2-model-best-epoch-10.tar")
    tower = write_text_tower(folder / "bert")
    weights = str(folder / "b2-model-best-epoch-10.tar")
    return {"type": "checkpoint", "layout": "mammoclip", "weights": weights, "text": str(tower)}


@torch.inference_mode()
def test_features_are_those_of_its_towers_and_it_is_written(tmp_path, reference, published):
    model = model_dataset(published).load()
    pixels = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(3))
    features = reference.image_encoder(pixels)
    expected = F.normalize(reference.image_projection.projection(features), dim=-1)
    assert expected.std(0).max() > 1e-3
    torch.testing.assert_close(model.encode_image(pixels), expected, atol=1e-4, rtol=0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(published["text"])
    texts = []
    for text in TEXTS:
        encoded = tokenizer(text, return_tensors="pt")
        last = reference.text_encoder.text_encoder(**encoded).last_hidden_state[:, -1]
        texts.append(F.normalize(reference.text_projection.projection(last), dim=-1))
    torch.testing.assert_close(model.encode_text(TEXTS), torch.cat(texts), atol=1e-4, rtol=0)
    again = model_dataset(import_model(published, tmp_path / "copy")).load()
    assert again.content_hash() == model.content_hash() and again.preprocess == model.preprocess
    torch.testing.assert_close(again.encode_image(pixels), model.encode_image(pixels))


@torch.inference_mode()
def test_timms_own_efficientnet_would_shift_features_on_images_of_another_size(reference, published):
    trunk = model_dataset(published).load().network.visual.trunk
    dynamic = timm.create_model("tf_efficientnet_b2", num_classes=0).eval()
    dynamic.load_state_dict(trunk.state_dict())
    for size, alike in (((260, 260), True), ((96, 64), False)):
        pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
        difference = (dynamic(pixels) - reference.image_encoder(pixels)).abs().max()
        assert (difference < 1e-4) == alike


def test_the_b5_is_known_by_its_blocks_and_others_are_refused():
    with torch.device("meta"):
        weights = Reference(1.6, 2.2, 456).image_encoder.state_dict()
        trunk = timm.create_model("tf_efficientnet_b5_padded_for_456", num_classes=0)
    others = {
        "image_projection.projection.weight": torch.zeros(16, 2048),
        "image_projection.projection.bias": torch.zeros(16),
        "text_encoder.text_encoder.encoder.layer.0.output.LayerNorm.bias": torch.zeros(32),
        "text_projection.projection.weight": torch.eye(16, 32),
        "text_projection.projection.bias": torch.zeros(16),
        "logit_scale": torch.tensor(0.0),
    }
    converted = mammoclip([{f"image_encoder.{name}": tensor for name, tensor in weights.items()} | others])
    assert converted.config["vision_cfg"]["timm_model_name"] == "tf_efficientnet_b5_padded_for_456"
    shapes = {name: tensor.shape for name, tensor in trunk.state_dict().items()}
    named = {name.removeprefix("visual.trunk."): tensor.shape for name, tensor in converted.weights.items()}
    assert {name: named[name] for name in shapes} == shapes
    with pytest.raises(InputError, match="An image encoder of 0 blocks is none of Mammo-CLIP's"):
        mammoclip([others])


def test_grey_levels_of_each_image_are_stretched():
    preprocess = Preprocessing((1, 3), 0.5, 0.25, stretch=True)
    images = np.array([[50, 60, 70], [0, 255, 51], [9, 9, 9]], np.uint8).reshape(3, 1, 3, 1)
    levels = preprocess(images)[:, 0, 0] * 0.25 + 0.5
    np.testing.assert_allclose(levels, [[0, 0.5, 1], [0, 1, 0.2], [0, 0, 0]], atol=1e-6)
