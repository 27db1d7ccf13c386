"""Corruptions as a transform of training images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, ToTensor

from robustmedclip.corruptions import RandomCorruption, corrupt, corruptions

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)
NOISE = RandomCorruption(names=["gaussian_noise"], severities=[5])


class Repeated(Dataset):
    """One image, many times."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.fromarray(PIXELS))


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(PIXELS),
        Image.fromarray(PIXELS).convert("L"),
        PIXELS,
        PIXELS[..., :1],
        PIXELS[..., 0],
        PIXELS.transpose(1, 0, 2),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1)[:1].contiguous(),
    ],
    ids=["RGB", "L", "HWC", "HW1", "HW", "transposed", "CHW", "1HW"],
)
@pytest.mark.parametrize(
    ("suite", "dataset"), [("medimeta-c", None), ("imagenet-c", None), ("medmnist-c", "dermamnist")]
)
def test_type_mode_and_shape_are_kept(image, suite, dataset):
    for name in corruptions(suite, dataset):
        corrupted = RandomCorruption(suite, dataset=dataset, names=[name])(image)
        assert type(corrupted) is type(image)
        assert not isinstance(image, Image.Image) or corrupted.mode == image.mode
        assert getattr(corrupted, "dtype", None) == getattr(image, "dtype", None)
        assert np.asarray(corrupted).shape == np.asarray(image).shape


def test_the_image_is_not_changed_in_place():
    array, tensor = PIXELS.copy(), torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)
    NOISE(array)
    NOISE(tensor)
    np.testing.assert_array_equal(array, PIXELS)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), PIXELS)


def test_all_types_are_corrupted_alike():
    made = []
    for image in (Image.fromarray(PIXELS), PIXELS, torch.from_numpy(PIXELS).permute(2, 0, 1)):
        torch.manual_seed(7)
        made.append(NOISE(image))
    np.testing.assert_array_equal(np.asarray(made[0]), made[1])
    np.testing.assert_array_equal(made[2].permute(1, 2, 0).numpy(), made[1])


def test_the_bytes_are_those_of_a_corruption():
    expected = [corrupt(PIXELS[None], "contrast", severity, seed=0)[0] for severity in (2, 4)]
    made = {RandomCorruption(names=["contrast"], severities=[2, 4])(PIXELS).tobytes() for _ in range(40)}
    assert made == {image.tobytes() for image in expected}


def test_the_seed_of_torch_decides():
    def series(seed: int) -> list[bytes]:
        torch.manual_seed(seed)
        return [RandomCorruption("imagenet-c")(PIXELS).tobytes() for _ in range(6)]

    assert series(1) == series(1)
    assert len({*series(1), *series(2)}) > 6


def test_every_corruption_is_drawn():
    deterministic = {corrupt(PIXELS[None], name, 3, seed=0).tobytes(): name for name in ("pixelate", "contrast")}
    transform = RandomCorruption(names=["pixelate", "contrast"], severities=[3])
    torch.manual_seed(0)
    drawn = [deterministic[transform(PIXELS).tobytes()] for _ in range(200)]
    assert 70 < drawn.count("pixelate") < 130


@pytest.mark.parametrize(("probability", "lowest", "highest"), [(0, 0, 0), (0.25, 30, 70), (1, 200, 200)])
def test_probability_is_the_fraction_of_corrupted_images(probability, lowest, highest):
    torch.manual_seed(0)
    transform = RandomCorruption(names=["contrast"], probability=probability)
    corrupted = sum(not np.array_equal(transform(PIXELS), PIXELS) for _ in range(200))
    assert lowest <= corrupted <= highest


def test_it_composes():
    made = Compose([NOISE, ToTensor()])(Image.fromarray(PIXELS))
    assert (made.dtype, made.shape) == (torch.float32, (3, 40, 32))


@pytest.mark.slow
def test_the_workers_of_a_loader_draw_different_numbers_from_one_seed():
    def epoch(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        dataset = Repeated(Compose([NOISE, ToTensor()]))
        return torch.cat(list(DataLoader(dataset, batch_size=3, num_workers=2, generator=generator)))

    first = epoch(0)
    assert len(torch.unique(first, dim=0)) == 12
    assert torch.equal(epoch(0), first)
    assert not torch.equal(epoch(1), first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"suite": "x"}, "unknown corruption suite 'x'"),
        ({"suite": "medmnist-c"}, "choose dataset among"),
        ({"names": ["contrast", "fog"]}, r"unknown corruptions \['fog'\] of suite 'medimeta-c'; known are"),
        ({"names": []}, r"names must be a list of corruptions, not \[\]"),
        ({"names": "contrast"}, "names must be a list of corruptions, not 'contrast'"),
        ({"severities": []}, "severities must be some of 1, 2, 3, 4 and 5"),
        ({"severities": [0, 1]}, "severities must be some of 1, 2, 3, 4 and 5"),
        ({"severities": [2.5]}, "severities must be some of 1, 2, 3, 4 and 5"),
        ({"probability": -0.1}, "probability must lie between 0 and 1, not -0.1"),
        ({"probability": 1.5}, "probability must lie between 0 and 1, not 1.5"),
        ({"probability": float("nan")}, "probability must lie between 0 and 1, not nan"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomCorruption(**arguments)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(PIXELS).convert("RGBA"), "must be in mode L or RGB, not RGBA: convert it first"),
        (Image.fromarray(PIXELS).convert("P"), "not P"),
        (PIXELS / 255, "must be uint8"),
        (torch.zeros(3, 40, 32), "must be uint8"),
        (
            torch.zeros(40, 32, dtype=torch.uint8),
            r"a tensor must be uint8 \(C, H, W\), not torch.uint8 \(40, 32\)",
        ),
        (torch.zeros(2, 3, 40, 32, dtype=torch.uint8), r"a tensor must be uint8 \(C, H, W\)"),
        (PIXELS[None], "must be uint8"),
        (PIXELS[:20], "at least 28 px"),
        ("picture.png", "must be uint8"),
    ],
    ids=[
        "RGBA",
        "P",
        "float array",
        "float tensor",
        "HW tensor",
        "batch of tensors",
        "batch",
        "small",
        "text",
    ],
)
def test_what_is_not_an_image_is_named(image, message):
    with pytest.raises(ValueError, match=message):
        RandomCorruption()(image)


def test_it_says_what_it_does():
    assert repr(NOISE) == (
        "RandomCorruption(suite='medimeta-c', dataset=None, names=('gaussian_noise',), severities=(5,), "
        "probability=1.0)"
    )
