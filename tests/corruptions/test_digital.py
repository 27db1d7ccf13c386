"""Resolution and compression against Pillow, the elastic deformation against its published law."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from robustmedclip.corruptions import corrupt
from robustmedclip.corruptions.registry import kernel_and_value


def pixelate(picture: Image.Image, share: float) -> Image.Image:
    small = [int(side * share) for side in picture.size]
    return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.BOX)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


ORACLES = {"pixelate": pixelate, "jpeg_compression": jpeg}


def test_same_bytes_as_pillow(case, pictures, small_picture):
    suite, dataset, name, severity = case
    kernel, value = kernel_and_value(name, severity, suite, dataset)
    for image in (*pictures, small_picture):
        made = corrupt(image[None], name, severity, suite=suite, dataset=dataset, seed=0)[0]
        reference = ORACLES[kernel.__name__](Image.fromarray(image.squeeze()), value)
        np.testing.assert_array_equal(made, np.asarray(reference).reshape(image.shape))


@pytest.mark.parametrize("name", ["pixelate", "jpeg_compression"])
def test_reference_grey_is_the_luminance_of_the_corrupted_colour_image(name):
    grey = np.random.default_rng(0).integers(0, 256, (224, 224, 1), np.uint8)
    made = corrupt(grey[None], name, 3, suite="imagenet-c", seed=0, grey="reference")[0, ..., 0]
    kernel, value = kernel_and_value(name, 3, "imagenet-c", None)
    colour = Image.fromarray(np.repeat(grey, 3, -1))
    np.testing.assert_array_equal(made, np.asarray(ORACLES[kernel.__name__](colour, value).convert("L")))
