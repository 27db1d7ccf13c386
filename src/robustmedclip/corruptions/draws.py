"""Random numbers that are a function of a key, and the same in every version of NumPy.

NumPy guarantees the raw bits of a bit generator, not the algorithms of its distributions; so
everything here is made of raw bits.
"""

import hashlib
from collections.abc import Callable
from functools import cached_property, lru_cache
from math import prod
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np


class Draws:
    """A stream of random numbers.

    Parameters
    ----------
    *key : int or str
        Equal keys give equal streams.
    """

    def __init__(self, *key: int | str):
        self._key = key

    @cached_property
    def _raw(self) -> Callable[..., Any]:
        digest = hashlib.blake2b("\0".join(map(str, self._key)).encode(), digest_size=16).digest()
        return np.random.SFC64(int.from_bytes(digest, "little")).random_raw

    def bits16(self, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform uint16 of the given shape."""
        return self._bits(shape, "<u2")

    def bits32(self, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform uint32 of the given shape."""
        return self._bits(shape, "<u4")

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal float32 of the given shape, within 2^-16 of the normal distribution function."""
        return self.choices(normal_quantiles(), shape)

    def choices(self, table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Values of a table of 65536, each as likely, of the given shape and the type of the table."""
        bits = self.bits16((1, prod(shape)))
        values = np.empty(bits.shape, table.dtype)
        cv2.LUT(bits, table, dst=values)
        return values.reshape(shape)

    def field(self, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform float32 in (-1, 1) of the given shape."""
        return (self.bits16(shape).astype(np.float32) - np.float32(32767.5)) * np.float32(2**-15)

    def uniform(self, low: float, high: float) -> float:
        """One number, uniform in [low, high)."""
        return low + (high - low) * (int(self._raw()) >> 11) * 2**-53

    def integer(self, low: int, high: int) -> int:
        """One integer, uniform in low .. high, both included."""
        return low + (int(self._raw()) * (high - low + 1) >> 64)

    def _bits(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        count, size = prod(shape), np.dtype(dtype).itemsize
        words = self._raw(-(-count * size // 8)).astype("<u8", copy=False)
        return np.asarray(words.view(dtype)[:count].reshape(shape))


@lru_cache(maxsize=1)
def normal_quantiles() -> np.ndarray:
    """The standard normal at the probabilities (i + 1/2) / 65536, float32 ``(65536,)``."""
    inverse = NormalDist().inv_cdf
    lower = np.array([inverse((i + 0.5) / 65536) for i in range(32768)], np.float32)
    return np.concatenate([lower, -lower[::-1]])
