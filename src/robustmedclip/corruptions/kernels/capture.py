"""What happens to any medical image on its way: compression, writing on it, photographs of a screen.

These have no form for devices: the codec is a library of the CPU, and writing and tilting are cheaper there.
"""

from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from robustmedclip.corruptions.draws import Draws
from robustmedclip.corruptions.kernels.arrays import reference_grid, resized

#: How far from the ratio that is asked a stream may be, and how often it is tried.
_TOLERANCE, _TRIALS = 0.045, 8
#: Marker after the header of a JPEG 2000 stream, and length of that and of the one at its end.
_DATA, _MARKERS = b"\xff\x93", 4
_WORDS = ("ACC 2048117", "ID 70154-B", "DOE, J.", "1957-03-02", "IM 12/48", "ZOOM 1.5", "L", "R", "2021-11-28")
_MARGIN = 6


def jpeg2000(image: np.ndarray, draws: Draws, ratio: float) -> np.ndarray:
    """Compress by JPEG 2000, the irreversible syntax of DICOM, to a fraction of the bytes, and decompress.

    The ratio is that of the pixels' bytes to those of the data of the stream, without its header of about 100 bytes,
    which counts only for small images. Within 5 %, where the data have 100 bytes or more.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(Image.open(BytesIO(compressed(picture, image.nbytes / ratio)))).reshape(image.shape)


def compressed(picture: Image.Image, size: float) -> bytes:
    """A picture as a JPEG 2000 stream whose data have about `size` bytes: that of some trials which comes closest."""
    raw, budget = len(picture.tobytes()), size
    streams = []
    for _ in range(_TRIALS):
        stream = _encoded(picture, raw / budget)
        length = data_length(stream)
        streams.append((abs(length / size - 1), stream))
        if streams[-1][0] < _TOLERANCE:
            break
        budget = min(raw, max(budget / 2, budget + size - length))  # the encoder's budget includes the header
    return min(streams, key=lambda trial: trial[0])[1]


def data_length(stream: bytes) -> int:
    """Bytes of the data of a JPEG 2000 stream of one tile."""
    return len(stream) - stream.index(_DATA) - _MARKERS


def _encoded(picture: Image.Image, rate: float) -> bytes:
    stream = BytesIO()
    picture.save(stream, "JPEG2000", no_jp2=True, irreversible=True, quality_mode="rates", quality_layers=[rate])
    return stream.getvalue()


def burnt_in_text(image: np.ndarray, draws: Draws, items: tuple[int, int]) -> np.ndarray:
    """Burn in lines of text at the edges, and calipers: pairs of crosses, joined by a dotted line.

    `items` are the numbers of both. Text is white on a black edge, as on most displays.
    """
    lines, calipers = items
    height, width = reference_grid(image)
    ink = np.zeros((height, width), np.uint8)
    for index in range(lines):
        text = _WORDS[draws.integer(0, len(_WORDS) - 1)]
        size = draws.integer(34, 46) / 100
        (length, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        left = _MARGIN if draws.integer(0, 1) else max(_MARGIN, width - _MARGIN - length)
        row = index // 2 * (tall + 6) + _MARGIN
        place = (left, row + tall if index % 2 == 0 else height - row - 2)
        cv2.putText(ink, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, 255, 1, cv2.LINE_AA)
    edge = cv2.dilate(ink, np.ones((3, 3), np.uint8))
    for _ in range(calipers):
        _draw_caliper(ink, draws)
    written = image * (1 - resized(edge.astype(np.float32), image)[..., None] / 255)
    return _blended(written, resized(ink.astype(np.float32), image) / 255)


def _draw_caliper(layer: np.ndarray, draws: Draws) -> None:
    """A measured distance of 25 to 60 px."""
    height, width = layer.shape
    start = np.array([draws.uniform(0.2, 0.8) * width, draws.uniform(0.2, 0.8) * height])
    angle, length = draws.uniform(0, 2 * np.pi), draws.uniform(25, 60)
    step = np.array([np.cos(angle), np.sin(angle)])
    for distance in np.arange(5, length - 4, 5):
        _draw_line(layer, start + step * distance, start + step * (distance + 1))
    for end in (start, start + step * length):
        for arm in (np.array([4, 0]), np.array([0, 4])):
            _draw_line(layer, end - arm, end + arm)


def _draw_line(layer: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
    cv2.line(layer, tuple(np.rint(start).astype(int).tolist()), tuple(np.rint(end).astype(int).tolist()), 255, 1)


def _blended(image: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """White over an image, of an opacity ``(H, W)`` in [0, 1]."""
    return np.asarray(np.rint(image + opacity[..., None] * (255 - image)), np.uint8)


def screen_photo(image: np.ndarray, draws: Draws, photo: tuple[float, float, float, float]) -> np.ndarray:
    """Photograph a screen: moire of two line patterns, a tilt, glare.

    `photo` is the largest displacement of a corner as a fraction of the side, the gap of the lines in pixels at 448 and
    their opacity, and the opacity of the glare, white in a Gaussian.
    """
    tilt, gap, opacity, glare = photo
    height, width = image.shape[:2]
    photographed = image.astype(np.float32)
    for angle in (draws.uniform(-0.02, 0.02), draws.uniform(-0.02, 0.02) + 0.03):
        photographed *= (1 - opacity * _lines(image.shape, gap, angle, draws.uniform(0, 1)))[..., None]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32) * (width, height)
    moved = corners + np.float32(tilt) * inwards * [[draws.uniform(0, 1) for _ in range(2)] for _ in range(4)]
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    tilted = cv2.warpPerspective(photographed, matrix, (width, height), flags=cv2.INTER_LINEAR)
    across, down = (
        (np.arange(side, dtype=np.float32) + 0.5) / side - draws.uniform(0.1, 0.9) for side in (width, height)
    )
    reflected = np.exp(-(across**2 + (down**2)[:, None]) / (2 * 0.25**2))
    return _blended(tilted.reshape(image.shape), np.float32(glare) * reflected)


def _lines(shape: tuple[int, ...], gap: float, angle: float, phase: float) -> np.ndarray:
    """A pattern of lines a pixel at 448 wide, float32 ``(H, W)`` in [0, 1]; where lines are finer than pixels, grey."""
    scale = min(shape[:2]) / 448
    period = (1 + gap) * scale
    rows, columns = (np.arange(side, dtype=np.float32) for side in shape[:2])
    position = (rows[:, None] * np.float32(np.cos(angle)) + columns * np.float32(np.sin(angle))) / period + phase
    width = min(1, max(scale, 1) / period)
    return np.asarray((position - np.floor(position) < width) * np.float32(min(1, scale / max(scale, 1))), np.float32)
