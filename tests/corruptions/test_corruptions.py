"""What holds for every corruption of every suite, whatever the images."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suite_lists import CASES, MEDMNIST_DATASETS

from robustmedclip.corruptions import (
    SEVERITIES,
    SUITES,
    corrupt,
    corruptions,
    severities,
)

#: One list for each corruption of a suite.
KERNELS = list({(suite, name): (suite, dataset, name) for suite, dataset, name in CASES}.values())
RANDOM_NAMES = {
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur", "snow", "frost",
    "fog", "elastic_transform", "spatter", "stain_deposit", "bubble", "characters",
    "quantum_noise", "window_error", "collimation", "acoustic_shadow", "haze", "rayleigh_speckle", "gain_error",
    "reverberation", "lognormal_speckle", "vessel_shadow", "blink", "scan_shift", "uneven_illumination", "dust_spots",
    "flash_overexposure", "stain_shift", "dust", "air_bubbles", "vignetting", "low_dose", "bias_field", "ghosting",
    "motion", "spike", "burnt_in_text", "screen_photo",
}  # fmt: skip
RANDOM = [case for case in KERNELS if case[2] in RANDOM_NAMES]
DETERMINISTIC = [case for case in KERNELS if case[2] not in RANDOM_NAMES]
of_every_list = pytest.mark.parametrize(("suite", "dataset", "name"), CASES)
of_every_kernel = pytest.mark.parametrize(("suite", "dataset", "name"), KERNELS)


def images(count: int = 1, height: int = 40, width: int = 36, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def test_the_suites():
    assert tuple(SUITES) == ("medimeta-c", "imagenet-c", "medmnist-c", "acquisition-c")
    assert set(corruptions()) == {
        "gaussian_noise", "impulse_noise", "motion_blur", "zoom_blur", "pixelate", "brightness", "contrast",
    }  # fmt: skip
    assert len(corruptions("imagenet-c")) == 19
    assert len(MEDMNIST_DATASETS) == 12
    assert sum(len(corruptions("medmnist-c", dataset)) for dataset in MEDMNIST_DATASETS) == 131


@of_every_list
def test_a_corruption_has_five_severities(suite, dataset, name):
    assert len(severities(suite, dataset)[name]) == 5


@of_every_list
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_type_are_kept_and_the_input_is_untouched(suite, dataset, name, channels):
    batch = images(2, channels=channels)
    before = batch.copy()
    for severity in SEVERITIES:
        corrupted = corrupt(batch, name, severity, suite=suite, dataset=dataset, seed=0)
        assert (corrupted.shape, corrupted.dtype) == (batch.shape, np.uint8)
        assert not np.shares_memory(corrupted, batch)
    np.testing.assert_array_equal(batch, before)


@of_every_list
@pytest.mark.parametrize(("height", "width"), [(28, 28), (28, 200), (200, 28), (97, 64)])
def test_sizes_of_every_shape_work(suite, dataset, name, height, width):
    for channels in (1, 3):
        batch = images(1, height, width, channels)
        for severity in (1, 5):
            assert corrupt(batch, name, severity, suite=suite, dataset=dataset, seed=0).shape == batch.shape


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(1024, 1024), (600, 1024)])
@of_every_kernel
def test_large_images_work(suite, dataset, name, height, width):
    batch = np.resize(images(1, 64, 64, 1), (1, height, width, 1))
    corrupted = corrupt(batch, name, 5, suite=suite, dataset=dataset, seed=0)
    assert corrupted.shape == batch.shape
    # The picture is grey, and repeats itself: most lines of its k-space are empty.
    assert name in ("saturate", "ghosting") or not np.array_equal(corrupted, batch)


@of_every_kernel
@pytest.mark.parametrize("level", [0, 128, 255])
def test_pictures_of_one_colour_work(suite, dataset, name, level):
    batch = np.full((1, 32, 48, 3), level, np.uint8)
    for severity in SEVERITIES:
        assert corrupt(batch, name, severity, suite=suite, dataset=dataset, seed=0).shape == batch.shape


@of_every_list
def test_no_images_give_no_images(suite, dataset, name):
    nothing = images(0, channels=1)
    corrupted = corrupt(nothing, name, 3, suite=suite, dataset=dataset, seed=0, sample_ids=[])
    assert (corrupted.shape, corrupted.dtype) == (nothing.shape, np.uint8)


@of_every_kernel
@settings(max_examples=10)
@given(data=st.data())
def test_an_image_depends_on_itself_and_its_id_alone(suite, dataset, name, data):
    """Not on the order, the neighbours or how the images are split into batches."""
    size = data.draw(st.tuples(st.integers(28, 64), st.integers(28, 64), st.sampled_from([1, 3])))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    batch = rng.integers(0, 256, (4, *size), dtype=np.uint8)
    key = {"severity": data.draw(st.sampled_from(SEVERITIES)), "suite": suite, "dataset": dataset, "seed": 1}
    together = corrupt(batch, name, sample_ids=list("abcd"), **key)
    order = data.draw(st.lists(st.sampled_from(range(4)), min_size=1, max_size=5))
    cuts = sorted({0, len(order), *data.draw(st.lists(st.integers(0, len(order)), max_size=2))})
    for start, stop in pairwise(cuts):
        part = order[start:stop]
        ids = ["abcd"[index] for index in part]
        np.testing.assert_array_equal(corrupt(batch[part], name, sample_ids=ids, **key), together[part])


@of_every_kernel
def test_memory_layout_does_not_matter(suite, dataset, name):
    key = {"severity": 3, "suite": suite, "dataset": dataset, "seed": 0}
    for channels in (1, 3):
        batch = images(2, channels=channels)
        expected = corrupt(batch, name, **key)
        channels_first = np.moveaxis(np.ascontiguousarray(np.moveaxis(batch, -1, 1)), 1, -1)
        transposed = np.ascontiguousarray(batch.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
        reversed_twice = np.ascontiguousarray(batch[:, ::-1, ::-1])[:, ::-1, ::-1]
        for view in (channels_first, transposed, reversed_twice):
            assert not view.flags.c_contiguous or channels == 1
            view.flags.writeable = False
            np.testing.assert_array_equal(corrupt(view, name, **key), expected)


@of_every_kernel
@pytest.mark.parametrize("grey", ["native", "reference"])
def test_grey_stays_grey(suite, dataset, name, grey):
    batch = images(2, channels=1)
    assert corrupt(batch, name, 3, suite=suite, dataset=dataset, seed=0, grey=grey).shape == batch.shape


@of_every_kernel
def test_the_grey_mode_does_not_touch_colour(suite, dataset, name):
    key = {"severity": 3, "suite": suite, "dataset": dataset, "seed": 0}
    native, reference = (corrupt(images(), name, grey=grey, **key) for grey in ("native", "reference"))
    np.testing.assert_array_equal(native, reference)


@of_every_kernel
def test_default_ids_are_positions_and_may_be_numpy_strings(suite, dataset, name):
    key = {"severity": np.int64(4), "suite": suite, "dataset": dataset, "seed": 0}
    expected = corrupt(images(2), name, **(key | {"severity": 4}))
    np.testing.assert_array_equal(corrupt(images(2), name, sample_ids=np.array(["0", "1"]), **key), expected)


@pytest.mark.parametrize(("suite", "dataset", "name"), RANDOM)
def test_another_seed_or_id_gives_other_bytes(suite, dataset, name):
    batch = images(1, 224, 224)
    key = {"severity": 4, "suite": suite, "dataset": dataset, "seed": 0, "sample_ids": ["a"]}
    one = corrupt(batch, name, **key)
    np.testing.assert_array_equal(corrupt(batch, name, **key), one)
    assert not np.array_equal(corrupt(batch, name, **(key | {"seed": 1})), one)
    assert not np.array_equal(corrupt(batch, name, **(key | {"sample_ids": ["b"]})), one)


@pytest.mark.parametrize("name", [name for suite, _, name in RANDOM if suite == "imagenet-c"])
def test_another_data_set_gives_other_bytes(name):
    batch = images(1, 224, 224)
    one, other = (corrupt(batch, name, 4, suite="imagenet-c", dataset=d, seed=0) for d in ("one", "other"))
    assert not np.array_equal(one, other)


def test_another_suite_name_or_severity_gives_other_noise():
    """The noise fields themselves differ, not just their strength."""
    grey = np.full((1, 64, 64, 3), 128, np.uint8)

    def noise(name: str, severity: int, suite: str) -> np.ndarray:
        return corrupt(grey, name, severity, suite=suite, seed=0).ravel().astype(float)

    fields = [
        noise("gaussian_noise", 2, "imagenet-c"),
        noise("gaussian_noise", 3, "imagenet-c"),
        noise("gaussian_noise", 3, "medimeta-c"),
        noise("speckle_noise", 3, "imagenet-c"),
    ]
    correlations = np.corrcoef(fields)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(grey.size)


def test_equal_constants_of_two_severities_or_data_sets_still_give_other_bytes():
    batch = images(1, 224, 224)
    keys = [("bloodmnist", 3), ("bloodmnist", 4), ("pathmnist", 3)]
    stained = {corrupt(batch, "stain_deposit", s, suite="medmnist-c", dataset=d, seed=0).tobytes() for d, s in keys}
    assert len(stained) == 3


@pytest.mark.parametrize(("suite", "dataset", "name"), RANDOM)
def test_equal_images_of_one_batch_are_corrupted_differently(suite, dataset, name):
    batch = np.repeat(images(1, 224, 224), 2, axis=0)
    first, second = corrupt(batch, name, 4, suite=suite, dataset=dataset, seed=0)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(("suite", "dataset", "name"), DETERMINISTIC)
def test_the_others_ignore_seed_and_id(suite, dataset, name):
    one, other = (
        corrupt(images(), name, 3, suite=suite, dataset=dataset, seed=seed, sample_ids=[sample_id])
        for seed, sample_id in ((0, "a"), (1, "b"))
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", [name for suite, _, name in DETERMINISTIC if suite == "medimeta-c"])
def test_the_others_ignore_suite_and_data_set(name):
    one = corrupt(images(), name, 3, suite="medimeta-c", dataset="one", seed=0)
    np.testing.assert_array_equal(corrupt(images(), name, 3, suite="imagenet-c", dataset="other", seed=0), one)


@pytest.mark.parametrize(
    ("suite", "dataset", "name", "digest"),
    [
        ("medimeta-c", None, "gaussian_noise", "1849fd9a0bca"),
        ("medimeta-c", None, "impulse_noise", "d5ffd065a589"),
        ("imagenet-c", None, "gaussian_noise", "5c68b0c95809"),
        ("imagenet-c", None, "shot_noise", "7f11df4cb2ef"),
        ("imagenet-c", None, "impulse_noise", "1b29924a81f0"),
        ("imagenet-c", None, "speckle_noise", "931bff0c501b"),
        ("imagenet-c", None, "fog", "34dbcf36bf42"),
        ("medmnist-c", "dermamnist", "gaussian_noise", "93faed1eac13"),
        ("medmnist-c", "dermamnist", "shot_noise", "35530700f7d4"),
        ("medmnist-c", "dermamnist", "impulse_noise", "6333c5a0ec90"),
        ("medmnist-c", "dermamnist", "speckle_noise", "acd6fcc8c075"),
        ("medmnist-c", "dermamnist", "black_corner", "58fafd2f58fc"),
    ],
)
def test_corrupted_images_are_the_same_bytes_as_ever(suite, dataset, name, digest):
    """Of the corruptions that need no arithmetic that may differ between versions of OpenCV or Pillow."""
    batch = (np.arange(2 * 40 * 48 * 3) * 7 % 256).astype(np.uint8).reshape(2, 40, 48, 3)
    corrupted = [corrupt(batch, name, s, suite=suite, dataset=dataset, seed=5).tobytes() for s in SEVERITIES]
    assert hashlib.blake2b(b"".join(corrupted), digest_size=6).hexdigest() == digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": images().astype(np.float32)}, r"must be uint8 \(N, H, W, 1 or 3\), not float32 \(1, 40, 36, 3\)"),
        ({"images": np.full((1, 40, 40, 3), np.nan)}, "must be uint8 .* not float64"),
        ({"images": images().astype(np.int64)}, "must be uint8 .* not int64"),
        ({"images": images() > 127}, "must be uint8 .* not bool"),
        ({"images": images()[0]}, r"not uint8 \(40, 36, 3\)"),
        ({"images": images()[..., 0]}, r"not uint8 \(1, 40, 36\)"),
        ({"images": images(channels=2)}, r"not uint8 \(1, 40, 36, 2\)"),
        ({"images": images(channels=4)}, r"not uint8 \(1, 40, 36, 4\)"),
        ({"images": np.moveaxis(images(), -1, 1)}, r"not uint8 \(1, 3, 40, 36\)"),
        ({"images": images().tolist()}, "must be a NumPy array, not list"),
        ({"images": images(1, 1, 1)}, "at least 28 px high and wide, not 1 x 1"),
        ({"images": images(1, 27, 224)}, "not 27 x 224"),
        ({"images": images(0, 0, 0)}, "not 0 x 0"),
        ({"severity": 0}, "severity must be 1, 2, 3, 4 or 5, not 0"),
        ({"severity": 6}, "not 6"),
        ({"severity": -1}, "not -1"),
        ({"severity": True}, "not True"),
        ({"severity": np.True_}, "severity must be 1, 2, 3, 4 or 5"),
        ({"severity": 2.5}, "not 2.5"),
        ({"severity": 3.0}, "not 3.0"),
        ({"severity": "3"}, "not '3'"),
        ({"severity": None}, "not None"),
        (
            {"name": "gausian_noise"},
            "unknown corruption 'gausian_noise' of suite 'medimeta-c'; did you mean 'gaussian_noise'?",
        ),
        ({"name": "xyz"}, "unknown corruption 'xyz' of suite 'medimeta-c'; known are gaussian_noise, .*contrast"),
        ({"name": "fog"}, "unknown corruption 'fog' of suite 'medimeta-c'"),
        (
            {"name": "gaussian_noise", "suite": "medmnist-c", "dataset": "bloodmnist"},
            "unknown corruption .* 'medmnist-c'",
        ),
        ({"suite": "imagenet"}, "unknown corruption suite 'imagenet'; did you mean 'imagenet-c'"),
        ({"suite": "medmnist-c"}, "medmnist-c has a list per data set: choose dataset among pathmnist, .*organsmnist"),
        (
            {"suite": "medmnist-c", "dataset": "blodmnist"},
            "no list for data set 'blodmnist'; did you mean 'bloodmnist'",
        ),
        ({"sample_ids": []}, "0 sample ids for 1 images"),
        ({"sample_ids": ["a", "b"]}, "2 sample ids for 1 images"),
        ({"grey": "gray"}, "grey must be 'native' or 'reference', not 'gray'"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(change, message):
    arguments = {"images": images(), "name": "contrast", "severity": 1, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        corrupt(**arguments)


@pytest.mark.parametrize("ask", [corruptions, severities])
def test_lists_that_do_not_exist(ask):
    known = "medimeta-c, imagenet-c, medmnist-c, acquisition-c"
    with pytest.raises(ValueError, match=f"unknown corruption suite 'x'; known are {known}"):
        ask("x")
    with pytest.raises(ValueError, match="medmnist-c has a list per data set"):
        ask("medmnist-c")
    with pytest.raises(ValueError, match="medmnist-c has no list for data set 'xyz'; known are pathmnist"):
        ask("medmnist-c", "xyz")
