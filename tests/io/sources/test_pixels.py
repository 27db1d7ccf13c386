"""Image files as pixels: formats, levels, DICOM, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import dicom, picture
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from robustmedclip.io.sources.levels import ImageFileError, Window
from robustmedclip.io.sources.pixels import PixelReader

RNG = np.random.default_rng(0)
GREY, COLOUR = RNG.integers(0, 256, (20, 30), np.uint8), RNG.integers(0, 256, (20, 30, 3), np.uint8)
DEEP = RNG.integers(0, 4096, (20, 30), np.uint16)
WINDOW = Window.parse({"center": 2000, "width": 1500})


def big_png(width: int, height: int, depth: int = 8, colour: int = 0) -> io.BytesIO:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_lossless_pictures_give_their_pixels(kind, pixels):
    file, reader = picture(pixels, kind), PixelReader()
    assert reader.shape(file) == (20, 30, 3 if pixels.ndim == 3 else 1)
    np.testing.assert_array_equal(reader.pixels(file).squeeze(), pixels)


@given(st.integers(-500, 3000), st.integers(2, 5000))
def test_the_window_is_that_of_dicom(center, width):
    """Against pydicom's windowing, whose result is not rounded."""
    levels = np.arange(-600, 3700, 7, dtype=np.int16)
    ds = Dataset()
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = center, width, "LINEAR"
    ds.PhotometricInterpretation, ds.BitsStored, ds.PixelRepresentation = "MONOCHROME2", 8, 0
    expected = apply_windowing(levels, ds)
    ours = Window.parse({"center": center, "width": width}).apply(levels)
    assert np.abs(ours - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_pictures_through_a_window(kind):
    file = picture(DEEP, kind)
    np.testing.assert_array_equal(PixelReader(window=WINDOW).pixels(file)[..., 0], WINDOW.apply(DEEP))
    with pytest.raises(ImageFileError, match="set 'window'"):
        PixelReader().shape(file)


def test_dicom_levels_slope_intercept_and_inversion():
    reader = PixelReader(window=WINDOW)
    expected = WINDOW.apply(DEEP)
    np.testing.assert_array_equal(reader.pixels(dicom(DEEP, bits=12))[..., 0], expected)
    np.testing.assert_array_equal(reader.pixels(dicom(DEEP, "MONOCHROME1", 12))[..., 0], 255 - expected)
    scaled = dicom(DEEP.astype(np.int16) // 2 - 1000, bits=16, RescaleSlope="2", RescaleIntercept="2000")
    np.testing.assert_array_equal(reader.pixels(scaled)[..., 0], WINDOW.apply(DEEP // 2 * 2))


def test_eight_bit_dicom_needs_no_window():
    np.testing.assert_array_equal(PixelReader().pixels(dicom(GREY))[..., 0], GREY)
    np.testing.assert_array_equal(PixelReader().pixels(dicom(GREY, "MONOCHROME1"))[..., 0], 255 - GREY)
    file = dicom(COLOUR, "RGB")
    np.testing.assert_array_equal(PixelReader(window=WINDOW).pixels(file), COLOUR)
    assert PixelReader().shape(file) == COLOUR.shape


@pytest.mark.parametrize(
    "file",
    [
        picture(GREY, "PNG"),
        picture(GREY, "TIFF"),
        dicom(GREY),
        dicom(GREY, RescaleSlope="1", RescaleIntercept="0"),
        dicom(GREY, WindowCenter="60", WindowWidth="20"),
    ],
    ids=["PNG", "TIFF", "DICOM", "DICOM of slope 1", "DICOM that suggests a window"],
)
@pytest.mark.parametrize("window", [None, Window(0, 4095)], ids=["no window", "a window for others"])
def test_eight_bits_are_taken_as_they_are(file, window):
    np.testing.assert_array_equal(PixelReader(window=window).pixels(file)[..., 0], GREY)


def test_eight_bits_that_are_rescaled_signed_or_in_sixteen_go_through_the_window():
    window = Window(0, 510)
    reader = PixelReader(window=window)
    rescaled = dicom(GREY, RescaleSlope="2", RescaleIntercept="0")
    np.testing.assert_array_equal(reader.pixels(rescaled)[..., 0], window.apply(2 * GREY.astype(int)))
    wide = dicom(GREY.astype(np.uint16), bits=8)
    np.testing.assert_array_equal(reader.pixels(wide)[..., 0], window.apply(GREY))
    signed = dicom((GREY // 2).astype(np.int8))
    np.testing.assert_array_equal(reader.pixels(signed)[..., 0], window.apply(GREY // 2))
    for file in (rescaled, wide, signed):
        with pytest.raises(ImageFileError, match="set 'window'"):
            PixelReader().shape(file)


def test_a_size_takes_the_largest_centred_square():
    side = PixelReader(size=20)
    np.testing.assert_array_equal(side.pixels(picture(GREY, "PNG"))[..., 0], GREY[:, 5:25])
    assert side.shape(picture(GREY, "PNG")) == (20, 20, 1)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (io.BytesIO(b""), "is empty"),
        (io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "in no format"),
        (big_png(60000, 60000), "3600000000 pixels"),
        (big_png(9000, 9000), "9000 x 9000"),
        (big_png(100, 100), "can't be read"),
        (picture(GREY, "GIF", save_all=True, append_images=[Image.fromarray(255 - GREY)]), "2 frames"),
        (
            dicom(DEEP, bits=12),
            "set 'window' in the source, as {center, width}, {low, high} or, for .* DICOM file .*, file",
        ),
        (dicom(GREY, RescaleSlope="2", RescaleIntercept="0"), "set 'window'"),
        (dicom(GREY[:10], NumberOfFrames=2), "2 frames"),
        (dicom(COLOUR, "YBR_PARTIAL_420"), "YBR_PARTIAL_420"),
        (dicom(GREY, "PALETTE COLOR"), "PALETTE COLOR"),
        (dicom(GREY, Rows=40000, Columns=40000), "40000 x 40000"),
        (dicom(GREY, Rows=400), "is cut off"),
    ],
)
def test_what_is_refused(file, reason):
    with pytest.raises(ImageFileError, match=reason):
        PixelReader().pixels(file)
