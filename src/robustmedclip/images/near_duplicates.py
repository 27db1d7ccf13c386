"""Images that show the same picture, found by perceptual hashes.

The hash is that of C. Zauner, Implementation and benchmarking of perceptual image hash functions (thesis, Hagenberg
2010), section 3.2.2: signs of the low frequencies of a discrete cosine transform about their median. It takes the
lowest 16 x 16 frequencies where the thesis takes 8 x 8, because medical images of one kind look alike.

Collections made from the same source frame its images in other ways: MedMNIST cuts the central 200 of 360 pixels of a
blood cell, and the central square of an X-ray or OCT scan, which MedIMeta pads with black to a square. Each image
is therefore hashed as it is, in its central 5/9, and in the central square of what is not black.
"""

import hashlib
from collections.abc import Iterator

import cv2
import numpy as np

#: Images that differ in at most this many of the 256 bits count as the same picture. Among 300,000 pairs of different
#: phantoms the closest differ in 44 (chest X-rays 50); the same image after JPEG of quality 60, a change of brightness
#: or a detour over 28 px in 20 at most, after a change of framing and a detour over 28 px in 26.
LARGEST_DISTANCE = 36
FRAMINGS = ("whole", "centre", "content")
HASH_BYTES = 32
_FREQUENCIES, _SIDE = 16, 32
_CENTRE = 200 / 360
_BLACK = 5
_FLAT = 2.0
_BLOCK = 4096
_COSINES = np.cos(np.pi / _SIDE * (np.arange(_SIDE) + 0.5) * np.arange(_FREQUENCIES)[:, None]).astype(np.float32)


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Hashes of some images in each of the :data:`FRAMINGS`.

    Parameters
    ----------
    images : ndarray
        uint8 ``(N, H, W, C)``, C in {1, 3}.

    Returns
    -------
    ndarray
        uint8 ``(N, 3, 32)``, 256 bits packed; all zero where there is nothing to hash: a part without structure
        (standard deviation below 2 levels), or a framing that is no other than the whole.
    """
    thumbnails = np.zeros((len(images), len(FRAMINGS), _SIDE, _SIDE), np.float32)
    for image, row in zip(images, thumbnails, strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[-1] == 3 else image[..., 0]
        for place, part in enumerate(_framings(grey)):
            if part is not None:
                row[place] = cv2.resize(part, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    spectra = (_COSINES @ thumbnails @ _COSINES.T).reshape(len(images), len(FRAMINGS), -1)
    bits = spectra > np.median(spectra[..., 1:], axis=-1, keepdims=True)
    bits[..., 0] = False
    bits[thumbnails.std(axis=(2, 3)) < _FLAT] = False
    return np.packbits(bits, axis=-1)


def pixel_digests(images: np.ndarray) -> list[str]:
    """A digest of each image of uint8 ``(N, H, W, C)``: equal for equal pixels."""
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest() for image in images]


def nearest(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each hash of `first` the one of `second` that differs in the fewest bits.

    The distances are a product of matrices of -1 and 1, block by block, so that time and memory don't depend on how
    alike the images are.

    Parameters
    ----------
    first, second : ndarray
        uint8 ``(N, 32)`` and ``(M, 32)``, from :func:`perceptual_hashes`; those that are zero match nothing.

    Returns
    -------
    rows, distances : ndarray
        int64 ``(N,)``: row in `second`, the first of several; and number of bits that differ, 256 where nothing
        matches.
    """
    rows, distances = np.zeros(len(first), np.int64), np.full(len(first), 8 * HASH_BYTES)
    for ours, our_signs in _signs(first):
        for theirs, their_signs in _signs(second):
            products = our_signs @ their_signs.T
            best = products.argmax(axis=1)
            bits = (8 * HASH_BYTES - products[np.arange(len(ours)), best].astype(np.int64)) // 2
            closer = bits < distances[ours]
            rows[ours[closer]], distances[ours[closer]] = theirs[best[closer]], bits[closer]
    return rows, distances


def _framings(grey: np.ndarray) -> Iterator[np.ndarray | None]:
    yield grey
    yield _central(grey, round(grey.shape[0] * _CENTRE), round(grey.shape[1] * _CENTRE))
    rows, columns = (np.flatnonzero(grey.max(axis=axis) > _BLACK) for axis in (1, 0))
    if len(rows) < 2 or len(columns) < 2:
        yield None
        return
    content = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    square = _central(content, min(content.shape), min(content.shape))
    yield None if square.shape == grey.shape else square


def _central(grey: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = (grey.shape[0] - height) // 2, (grey.shape[1] - width) // 2
    return grey[top : top + height, left : left + width]


def _signs(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of hashes that are not zero, and their bits as -1 and 1, float32, block by block."""
    rows = np.flatnonzero(hashes.any(axis=1))
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        yield block, np.unpackbits(hashes[block], axis=1).astype(np.float32) * 2 - 1
