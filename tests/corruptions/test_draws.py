"""Random numbers from a key: the same everywhere, and distributed as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest, norm, uniform

from robustmedclip.corruptions.draws import Draws, normal_quantiles

MANY = 200_000
MASK = 2**64 - 1


def test_the_words_are_those_of_sfc64():
    """Small fast chaotic generator by Doty-Humphrey (PractRand): three words of state and a counter."""
    generator = np.random.SFC64(2024)
    a, b, c, counter = (int(word) for word in generator.state["state"]["state"])
    for word in generator.random_raw(1000):
        expected = (a + b + counter) & MASK
        counter += 1
        a, b = b ^ (b >> 11), (c + (c << 3)) & MASK
        c = (((c << 24) | (c >> 40)) + expected) & MASK
        assert int(word) == expected


def test_the_stream_of_a_key_never_changes():
    draws = Draws(0, "medimeta-c", "bloodmnist", "gaussian_noise", 3, "17")
    assert draws.bits16((5,)).tolist() == [22638, 64717, 19853, 18125, 48904]
    assert draws.bits32((1, 3)).tolist() == [[371042746, 3412973621, 335101447]]
    assert draws.uniform(-45, 45) == 25.752779031866112
    assert draws.integer(3, 9) == 8
    assert draws.normal((3,)).tolist() == pytest.approx([0.8483277, 1.2548066, 0.5978013])
    assert draws.field((3,)).tolist() == [-0.8683319091796875, -0.7042083740234375, 0.3925628662109375]


def test_small_integers_are_the_parts_of_the_words_lowest_first():
    words = [int(Draws("key").uniform(0, 2**53))]
    assert words == [int.from_bytes(Draws("key").bits16((4,)).astype("<u2").tobytes(), "little") >> 11]
    assert Draws("key").bits32((2,)).astype("<u4").tobytes() == Draws("key").bits16((4,)).astype("<u2").tobytes()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "a"), (1, "a")),
        ((0, "a"), (0, "b")),
        (("ab", "c"), ("a", "bc")),
        (("a", "", "b"), ("a", "b", "")),
        ((1, 12), (11, 2)),
        (("a",), ("a", "")),
    ],
)
def test_another_key_is_another_stream(one, other):
    assert not np.array_equal(Draws(*one).bits16((8,)), Draws(*other).bits16((8,)))
    np.testing.assert_array_equal(Draws(*one).bits16((8,)), Draws(*one).bits16((8,)))


def test_a_stream_goes_on():
    draws = Draws("key")
    assert not np.array_equal(draws.bits16((8,)), draws.bits16((8,)))


def test_the_first_numbers_of_neighbouring_keys_are_independent():
    first = np.array(
        [[Draws(0, "a", index).uniform(0, 1), Draws(1, "a", index).uniform(0, 1)] for index in range(4000)]
    )
    assert kstest(first[:, 0], uniform.cdf).pvalue > 0.001
    cells = np.histogram2d(*first.T, bins=8)[0].ravel()
    assert chisquare(cells).pvalue > 0.001
    pairs = np.histogram2d(first[:-1, 0], first[1:, 0], bins=8)[0].ravel()
    assert chisquare(pairs).pvalue > 0.001


def test_the_streams_of_neighbouring_keys_are_uncorrelated():
    fields = np.stack([Draws("a", index).normal((20_000,)) for index in range(20)])
    correlations = np.corrcoef(fields)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(20_000)


def test_bits_are_uniform():
    assert chisquare(np.bincount(Draws("bits16").bits16((MANY,)) >> 8, minlength=256)).pvalue > 0.001
    assert chisquare(np.bincount(Draws("bits16").bits16((MANY,)) & 255, minlength=256)).pvalue > 0.001
    assert chisquare(np.bincount(Draws("bits32").bits32((MANY,)) >> 24, minlength=256)).pvalue > 0.001


def test_normal_numbers_are_normal():
    numbers = Draws("normal").normal((MANY,))
    assert numbers.dtype == np.float32
    assert kstest(numbers, norm.cdf).pvalue > 0.001
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 4 / np.sqrt(MANY)


def test_the_quantiles_are_those_of_the_normal_distribution():
    quantiles = normal_quantiles()
    assert (quantiles.dtype, quantiles.shape) == (np.float32, (65536,))
    np.testing.assert_allclose(norm.cdf(quantiles.astype(float)), (np.arange(65536) + 0.5) / 65536, atol=1e-7)
    np.testing.assert_array_equal(quantiles, -quantiles[::-1])


def test_fields_are_uniform_between_minus_one_and_one():
    numbers = Draws("field").field((MANY,))
    assert numbers.dtype == np.float32
    assert np.abs(numbers).max() < 1
    assert kstest(numbers, uniform(-1, 2).cdf).pvalue > 0.001


def test_numbers_of_an_interval_are_uniform():
    draws = Draws("uniform")
    numbers = [draws.uniform(-45, 45) for _ in range(5000)]
    assert kstest(numbers, uniform(-45, 90).cdf).pvalue > 0.001


def test_integers_are_uniform_with_both_ends():
    draws = Draws("integer")
    values, counts = np.unique([draws.integer(-2, 4) for _ in range(7000)], return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2, 3, 4]
    assert chisquare(counts).pvalue > 0.001


@settings(max_examples=100)
@given(key=st.integers(), low=st.integers(-(2**31), 2**31), width=st.integers(0, 2**31))
def test_numbers_stay_within_their_bounds(key, low, width):
    draws = Draws(key)
    assert low <= draws.integer(low, low + width) <= low + width
    assert low <= draws.uniform(low, low + width) <= low + width
    assert draws.integer(low, low) == low


@settings(max_examples=50)
@given(shape=st.lists(st.integers(0, 9), max_size=4).map(tuple))
def test_shapes_are_those_asked_for(shape):
    draws = Draws("shape")
    for made in (draws.bits16, draws.bits32, draws.normal, draws.field):
        assert made(shape).shape == shape
