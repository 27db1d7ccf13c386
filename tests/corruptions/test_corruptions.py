"""What holds for every corruption, whatever the images."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.transform import resize

from robustmedclip.corruptions import SEVERITIES, SUITES, VERSION, corrupt, corruptions

NAMES = corruptions()
RANDOM = ("gaussian_noise", "impulse_noise", "motion_blur")
PROPERTY = settings(max_examples=30, deadline=None, derandomize=True)


@st.composite
def batches(draw, smallest: int = 0) -> np.ndarray:
    count = draw(st.integers(smallest, 3))
    height, width = draw(st.integers(28, 64)), draw(st.integers(28, 64))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.integers(0, 256, (count, height, width, draw(st.sampled_from([1, 3]))), dtype=np.uint8)


def images(count: int = 1, height: int = 96, width: int = 80, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def natural(name: str) -> np.ndarray:
    picture = getattr(data, name)()
    picture = picture[..., None] if picture.ndim == 2 else picture
    return np.round(resize(picture, (224, 224), anti_aliasing=True) * 255).astype(np.uint8)


def test_the_suite_is_the_seven_of_medimeta_c():
    assert SUITES == ("medimeta-c",)
    assert set(NAMES) == {
        "gaussian_noise", "impulse_noise", "motion_blur", "zoom_blur", "pixelate", "brightness", "contrast",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@PROPERTY
@given(batch=batches(), severity=st.sampled_from(SEVERITIES))
def test_shape_and_dtype_are_kept_and_the_input_is_untouched(name, batch, severity):
    before = batch.copy()
    corrupted = corrupt(batch, name, severity)
    assert (corrupted.shape, corrupted.dtype) == (batch.shape, np.uint8)
    assert not np.shares_memory(corrupted, batch)
    np.testing.assert_array_equal(batch, before)


@pytest.mark.parametrize("name", NAMES)
@PROPERTY
@given(batch=batches(smallest=1), severity=st.sampled_from(SEVERITIES), order=st.permutations(range(3)))
def test_an_image_does_not_depend_on_its_batch(name, batch, severity, order):
    order = [index for index in order if index < len(batch)]
    ids = [f"image {index}" for index in range(len(batch))]
    together = corrupt(batch, name, severity, sample_ids=ids)
    shuffled = corrupt(batch[order], name, severity, sample_ids=[ids[index] for index in order])
    alone = [corrupt(batch[i : i + 1], name, severity, sample_ids=ids[i : i + 1])[0] for i in range(len(ids))]
    np.testing.assert_array_equal(shuffled, together[order])
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("name", NAMES)
def test_neighbours_leave_an_image_alone(name):
    batch = images(3)
    other = batch.copy()
    other[1:] = 255 - other[1:]
    np.testing.assert_array_equal(corrupt(batch, name, 3)[0], corrupt(other, name, 3)[0])


@pytest.mark.parametrize("name", NAMES)
def test_default_ids_are_positions_and_may_be_numpy_strings(name):
    batch, ids = images(2), np.array(["0", "1"])
    np.testing.assert_array_equal(corrupt(batch, name, 4), corrupt(batch, name, 4, sample_ids=ids))


@pytest.mark.parametrize("name", NAMES)
def test_equal_keys_give_equal_bytes(name):
    key = {"dataset": "bloodmnist", "seed": 3, "sample_ids": ["a", "b"]}
    assert corrupt(images(2), name, 2, **key).tobytes() == corrupt(images(2), name, 2, **key).tobytes()


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("change", [{"seed": 1}, {"dataset": "other"}, {"sample_ids": ["b"]}, {"severity": 5}], ids=str)
def test_another_key_gives_other_bytes(name, change):
    key = {"severity": 4, "dataset": "one", "seed": 0, "sample_ids": ["a"]}
    batch = images(height=224, width=224)
    assert not np.array_equal(corrupt(batch, name, **key), corrupt(batch, name, **(key | change)))


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(RANDOM)))
def test_the_others_ignore_seed_data_set_and_id(name):
    one = corrupt(images(), name, 3, seed=0, dataset="one", sample_ids=["a"])
    np.testing.assert_array_equal(one, corrupt(images(), name, 3, seed=1, dataset="other", sample_ids=["b"]))


@pytest.mark.parametrize("name", RANDOM)
def test_equal_images_of_one_batch_are_corrupted_differently(name):
    first, second = corrupt(np.repeat(images(height=224, width=224), 2, axis=0), name, 4)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("picture", ["astronaut", "camera", "cell", "chelsea"])
def test_every_severity_is_worse_than_the_one_before(name, picture):
    batch = np.repeat(natural(picture)[None], 4, axis=0)
    squares = [np.square(corrupt(batch, name, s).astype(float) - batch).mean((1, 2, 3)) for s in SEVERITIES]
    psnr = [np.mean(10 * np.log10(255**2 / square)) for square in squares]
    assert np.all(np.diff(psnr) < 0), psnr


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_does_not_matter(name):
    batch = images(2)
    channels_first = np.moveaxis(np.ascontiguousarray(np.moveaxis(batch, -1, 1)), 1, -1)
    channels_first.flags.writeable = False
    np.testing.assert_array_equal(corrupt(channels_first, name, 3), corrupt(batch, name, 3))


@pytest.mark.parametrize("name", ["motion_blur", "zoom_blur", "pixelate", "brightness", "contrast"])
def test_grey_is_corrupted_like_the_same_picture_in_colour(name):
    grey = natural("camera")[None]
    colour = corrupt(np.repeat(grey, 3, axis=-1), name, 3).astype(int)
    assert np.abs(colour - corrupt(grey, name, 3)).max() <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_smallest_images_work(name, severity):
    assert corrupt(images(2, 8, 9), name, severity).shape == (2, 8, 9, 3)


@pytest.mark.parametrize(
    ("name", "digest"), [("impulse_noise", "2cbae83b2506"), ("pixelate", "f59de457cbb1"), ("contrast", "7a4dba3bbc90")]
)
def test_the_version_is_raised_when_bytes_change(name, digest):
    batch = (np.arange(2 * 32 * 40 * 3) * 7 % 256).astype(np.uint8).reshape(2, 32, 40, 3)
    corrupted = corrupt(batch, name, 3, dataset="golden", seed=5)
    assert (VERSION, hashlib.blake2b(corrupted.tobytes(), digest_size=6).hexdigest()) == (1, digest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"suite": "imagenet-c"}, "unknown corruption suite 'imagenet-c'; known are medimeta-c"),
        ({"name": "fog"}, "unknown corruption 'fog' of suite 'medimeta-c'; known are .*pixelate"),
        ({"severity": 0}, "severity must be 1, 2, 3, 4 or 5, not 0"),
        ({"severity": 6}, "not 6"),
        ({"images": images().astype(np.float32)}, r"must be uint8 \(N, H, W, 1 or 3\), not float32 \(1, 96, 80, 3\)"),
        ({"images": images()[0]}, r"not uint8 \(96, 80, 3\)"),
        ({"images": images(channels=4)}, r"not uint8 \(1, 96, 80, 4\)"),
        ({"images": images(height=7)}, "at least 8 px high and wide, not 7 x 80"),
        ({"sample_ids": ["a", "b"]}, "2 sample ids for 1 images"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"images": images(), "name": "contrast", "severity": 1} | change
    with pytest.raises(ValueError, match=message):
        corrupt(**arguments)


def test_corruptions_of_an_unknown_suite():
    with pytest.raises(ValueError, match="unknown corruption suite 'x'; known are medimeta-c"):
        corruptions("x")


@pytest.mark.parametrize("severity", [True, 1.0])
def test_a_severity_is_a_whole_number(severity):
    with pytest.raises(ValueError, match="severity must be 1, 2, 3, 4 or 5"):
        corrupt(images(), "impulse_noise", severity)
