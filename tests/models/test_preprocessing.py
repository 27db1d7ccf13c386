"""Preprocessing is the published one: open_clip's, transformers' and MedCLIP's, on images of any shape."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from robustmedclip.models.preprocessing import Preprocessing, _scaled, _scaled_in_float

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)

#: Two levels of 255, from the rounding of Pillow's own resampling.
TOLERANCE = 2.5 / 255 / min(STD)

SIDES = st.integers(20, 70)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@settings(max_examples=25)
@given(height=SIDES, width=SIDES)
@example(height=33, width=50)
@example(height=51, width=32)
def test_equal_to_open_clips(resize_mode, interpolation, height, width):
    image = smooth(height, width)
    chosen = {"interpolation": interpolation, "resize_mode": resize_mode}
    transform = image_transform_v2(PreprocessCfg(size=32, mean=MEAN, std=STD, **chosen), is_train=False)
    pixels = Preprocessing((32, 32), MEAN, STD, **chosen)(image[None])[0]
    assert (pixels - transform(Image.fromarray(image))).abs().max() <= TOLERANCE


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@settings(max_examples=25)
@given(height=SIDES, width=SIDES, rows=SIDES, columns=SIDES, seed=st.integers(0, 9))
def test_devices_without_uint8_scale_to_the_same_levels(interpolation, height, width, rows, columns, seed):
    batch = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (2, 3, height, width), np.uint8))
    expected, found = (scale(batch, (rows, columns), interpolation) for scale in (_scaled, _scaled_in_float))
    assert found.dtype == torch.uint8
    difference = (found.int() - expected.int()).abs()
    assert difference.max() <= 2 and (difference > 1).float().mean() < 0.01


@settings(max_examples=25)
@given(height=SIDES, width=SIDES, colour=st.booleans())
@example(height=20, width=31, colour=True)
@example(height=60, width=70, colour=True)
def test_medclip_pads_a_grey_square(height, width, colour):
    """As MedCLIP's ``pad_img`` and the resizing that follows it."""
    image = smooth(height, width) if colour else smooth(height, width)[..., :1]
    picture = Image.fromarray(image if colour else image[..., 0])
    side = max(48, height, width)
    canvas = Image.new("L", (side, side), 0)
    canvas.paste(picture, (int((side - width) / 2), int((side - height) / 2)))
    expected = np.asarray(canvas.resize((48, 48), Image.Resampling.BICUBIC)) / 255
    mean, std = (0.586,) * 3, (0.28,) * 3
    pixels = Preprocessing((48, 48), mean, std, resize_mode="pad", mode="L")(image[None])[0].numpy()
    assert np.abs(pixels * 0.28 + 0.586 - expected).max() <= 2.5 / 255
    np.testing.assert_array_equal(pixels[0], pixels[2])


def test_luminance_is_pillows():
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    pixels = Preprocessing((48, 48), (0.0,) * 3, (1.0,) * 3, mode="L")(image[None])[0, 0]
    np.testing.assert_array_equal((pixels * 255).round().numpy(), np.asarray(Image.fromarray(image).convert("L")))


def test_a_batch_equals_its_images_and_is_not_modified():
    images = np.stack([smooth(40, 30, seed) for seed in range(3)])
    images.setflags(write=False)
    preprocess = Preprocessing((32, 32), MEAN, STD)
    torch.testing.assert_close(preprocess(images), torch.cat([preprocess(image[None]) for image in images]))


@pytest.mark.parametrize("field, value", [("interpolation", "lanczos"), ("resize_mode", "crop"), ("mode", "CMYK")])
def test_an_unknown_setting_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} is '{value}'; known are"):
        Preprocessing((32, 32), MEAN, STD, **{field: value})


@pytest.mark.parametrize(
    ("mean", "std"), [((123.7, 116.3, 103.5), (58.4, 57.1, 57.4)), (MEAN, (1e-30,) * 3), ((116.3,) * 3, STD)]
)
def test_means_and_deviations_on_another_scale_are_refused(mean, std):
    with pytest.raises(ValueError, match="they are of levels from 0 to 1: divide those of levels from 0 to 255 by 255"):
        Preprocessing((32, 32), mean, std)
