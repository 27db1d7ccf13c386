"""Pictures are read as a viewer shows them: turned, in the colours of their profile, transparent over black."""

import io
import struct
import zlib

import numpy as np
import pytest
from image_files import picture
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from robustmedclip.io.sources import pictures
from robustmedclip.io.sources.levels import DEEP_COLOURS, NOT_SQUARE, ImageFileError, Window
from robustmedclip.io.sources.pixels import PixelReader

RNG = np.random.default_rng(0)
GREY, COLOUR = RNG.integers(0, 256, (8, 12), np.uint8), RNG.integers(0, 256, (8, 12, 3), np.uint8)
#: Smooth, so that lossy formats keep it.
SLOPE = np.add.outer(np.arange(16) * 4, np.arange(24) * 7).astype(np.uint8)
#: What EXIF's orientations do to the pixels as stored, so that they are upright (CIPA DC-008, 4.6.4.A).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def read(file: io.BytesIO, **settings) -> np.ndarray:
    """The pixels, after the header was found to agree with them."""
    reader = PixelReader(**settings)
    pixels = reader.pixels(file)
    assert reader.shape(file) == pixels.shape
    return pixels


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    return tags


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(file: io.BytesIO, chunk: bytes, before: bytes) -> io.BytesIO:
    content = file.getvalue()
    place = content.index(before) - 4
    return io.BytesIO(content[:place] + chunk + content[place:])


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_pixels_are_turned_as_exif_says_in_every_format(kind, orientation):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    pixels = read(picture(SLOPE, kind, exif=exif(orientation), **options))
    upright = UPRIGHT[orientation](SLOPE)
    assert pixels.shape[:2] == upright.shape
    assert np.abs(pixels[..., 0].astype(int) - upright).max() <= (3 if kind == "JPEG" else 0)
    with Image.open(picture(SLOPE, kind, exif=exif(orientation), **options)) as image:
        np.testing.assert_array_equal(pixels[..., 0], np.asarray(ImageOps.exif_transpose(image).convert("L")))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_and_transparent_pictures_are_turned_as_well(kind):
    deep = RNG.integers(0, 4096, (8, 12), np.uint16)
    window = Window(0, 4095)
    turned = read(picture(deep, kind, exif=exif(6)), window=window)[..., 0]
    np.testing.assert_array_equal(turned, window.apply(np.rot90(deep, -1)))
    layers = np.dstack([COLOUR, np.full((8, 12), 255, np.uint8)])
    np.testing.assert_array_equal(read(picture(layers, kind, exif=exif(6))), np.rot90(COLOUR, -1))


def png_of_sixteen_bits(colours: np.ndarray, colour_type: int = 2) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    header = struct.pack(">IIBBBBB", colours.shape[1], colours.shape[0], 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def tiff_of_sixteen_bits(colours: np.ndarray) -> bytes:
    """Little-endian, in one strip: header, pixels, the bits of the three samples, and the directory."""
    height, width, _ = colours.shape
    pixels, bits = colours.astype("<u2").tobytes(), struct.pack("<3H", 16, 16, 16)
    place = 8 + len(pixels)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, place), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(pixels))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", place + len(bits)) + pixels + bits + directory


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_colours_of_sixteen_bits_are_the_highest_eight_and_remarked(kind):
    """As Pillow, libpng and viewers do; they are written here by hand, for Pillow writes none."""
    deep = RNG.integers(0, 2**16, (8, 12, 3), np.uint16)
    file = io.BytesIO(png_of_sixteen_bits(deep) if kind == "PNG" else tiff_of_sixteen_bits(deep))
    np.testing.assert_array_equal(read(file), deep >> 8)
    assert PixelReader().header(file).remarks == {DEEP_COLOURS}


@pytest.mark.parametrize("window", [None, {"low": 0, "high": 4095}])
def test_deep_grey_with_an_opacity_is_refused(window):
    """Pillow reads the upper 8 of 16 bits: of 12 that are used, 4."""
    deep = np.stack([np.arange(20 * 30).reshape(20, 30) % 4096, np.full((20, 30), 65535)], axis=-1)
    with pytest.raises(ImageFileError, match="16 bits of grey and an opacity.*without transparency"):
        read(io.BytesIO(png_of_sixteen_bits(deep, colour_type=4)), window=window)


def test_a_page_of_a_tiff_is_chosen():
    file = picture(GREY, "TIFF", save_all=True, append_images=[Image.fromarray(255 - GREY), Image.fromarray(GREY // 2)])
    for frame, expected in ((1, GREY), ("middle", 255 - GREY), (3, GREY // 2)):
        np.testing.assert_array_equal(read(file, frame=frame)[..., 0], expected)


def test_the_orientation_of_xmp_and_of_a_chunk_after_the_pixels_counts():
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    np.testing.assert_array_equal(read(picture(GREY, "PNG", pnginfo=info))[..., 0], np.rot90(GREY, -1))
    late = with_chunk(picture(GREY, "PNG"), png_chunk(b"eXIf", exif(8).tobytes()[6:]), before=b"IEND")
    np.testing.assert_array_equal(read(late)[..., 0], np.rot90(GREY, 1))


def test_an_orientation_that_does_not_exist_turns_nothing():
    np.testing.assert_array_equal(read(picture(GREY, "PNG", exif=exif(9)))[..., 0], GREY)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_lies_over_black(kind):
    alpha = np.linspace(0, 255, 96).astype(np.uint8).reshape(8, 12)
    file = picture(np.dstack([COLOUR, alpha]), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(read(file), np.rint(COLOUR * (alpha[..., None] / 255)).astype(np.uint8))
    assert pictures.TRANSPARENT in PixelReader().header(file).remarks


def test_transparency_of_grey_and_of_palettes_lies_over_black():
    alpha = np.where(np.arange(96).reshape(8, 12) % 3, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(read(picture(np.dstack([GREY, alpha]), "PNG"))[..., 0], np.where(alpha, GREY, 0))
    one_level = picture(GREY, "PNG", transparency=int(GREY[2, 3]))
    np.testing.assert_array_equal(read(one_level)[..., 0], np.where(GREY == GREY[2, 3], 0, GREY))
    palette = Image.fromarray(COLOUR).quantize(8)
    colours = np.asarray(palette.convert("RGB"))
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=2)
    np.testing.assert_array_equal(read(file), np.where((np.asarray(palette) == 2)[..., None], 0, colours))


@pytest.mark.parametrize(
    ("colour", "alpha", "reason"),
    [
        (np.zeros_like(COLOUR), GREY, "in its transparency alone"),
        (np.full_like(COLOUR, 255), GREY, "in its transparency alone"),
        (COLOUR, np.zeros_like(GREY), "transparent throughout"),
    ],
)
def test_a_picture_that_lives_in_its_transparency_is_refused(colour, alpha, reason):
    with pytest.raises(ImageFileError, match=reason):
        PixelReader().pixels(picture(np.dstack([colour, alpha]), "PNG"))


def test_opaque_layers_and_interlacing_change_nothing():
    layers = np.dstack([COLOUR, np.full((8, 12), 255, np.uint8)])
    np.testing.assert_array_equal(read(picture(layers, "PNG")), COLOUR)
    gif = io.BytesIO()
    Image.fromarray(GREY).save(gif, "GIF", interlace=1)
    np.testing.assert_array_equal(read(gif)[..., 0], GREY)


def gamma_profile(exponent: float) -> bytes:
    """An ICC profile of sRGB's colours with another gamma: its three curves are replaced by a power."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        at = content.index(name)
        start = struct.unpack(">I", content[at + 4 : at + 8])[0]
        content[start : start + 14] = b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256))
        content[at + 8 : at + 12] = struct.pack(">I", 14)
    return bytes(content)


def test_colours_of_a_profile_are_converted_to_srgb():
    linear = picture(COLOUR, "PNG", icc_profile=gamma_profile(1.0))
    light = COLOUR / 255
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(read(linear).astype(int) - 255 * srgb).max() <= 2
    assert pictures.PROFILED in PixelReader().header(linear).remarks


@pytest.mark.parametrize("profile", [gamma_profile(2.2), b"not a profile"], ids=["almost sRGB", "broken"])
def test_a_profile_that_changes_nothing_visible_leaves_the_levels(profile):
    if profile[:3] != b"not":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("PNG", "JPEG", "TIFF"):
        file, bare = picture(COLOUR, kind, icc_profile=profile), picture(COLOUR, kind)
        np.testing.assert_array_equal(read(file), read(bare))
        assert not PixelReader().header(file).remarks


def test_the_gamma_of_a_png_is_obeyed_where_it_differs_from_that_of_screens():
    linear = with_chunk(picture(GREY, "PNG"), png_chunk(b"gAMA", struct.pack(">I", 100000)), before=b"IDAT")
    np.testing.assert_array_equal(read(linear)[..., 0], np.rint(255 * (GREY / 255) ** (1 / 2.2)))
    usual = with_chunk(picture(GREY, "PNG"), png_chunk(b"gAMA", struct.pack(">I", 45455)), before=b"IDAT")
    np.testing.assert_array_equal(read(usual)[..., 0], GREY)


def test_colours_of_print_are_read_where_the_file_says_how_they_are_stored():
    ink = Image.fromarray(np.dstack([SLOPE, SLOPE // 2, SLOPE // 3])).convert("CMYK")
    file = io.BytesIO()
    ink.save(file, "JPEG", quality=100)
    expected = np.asarray(ink.convert("RGB")).astype(int)
    with Image.open(file) as stored:
        assert stored.mode == "CMYK"
    content = file.getvalue()
    if b"Adobe" in content:
        assert np.abs(read(file).astype(int) - expected).max() <= 6
        place = content.index(b"Adobe") - 4
        file = io.BytesIO(content[:place] + content[place + 16 :])
    with pytest.raises(ImageFileError, match="four colours"):
        PixelReader().pixels(file)


def test_one_bit_and_white_as_low_are_levels_of_black_and_white():
    bits = GREY > 100
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        file = io.BytesIO()
        Image.fromarray(bits).save(file, kind)
        np.testing.assert_array_equal(read(file)[..., 0], np.where(bits, 255, 0))
    white_is_low = picture(GREY, "TIFF", tiffinfo={262: 0})
    assert (255 - GREY).tobytes() in white_is_low.getvalue()
    np.testing.assert_array_equal(read(white_is_low)[..., 0], GREY)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (picture(GREY, "TIFF", tiffinfo={339: 2}), "signed levels"),
        (io.BytesIO(b"\x1f\x8b" + bytes(200)), "packed with gzip"),
        (io.BytesIO(b"PK\x03\x04" + bytes(200)), "zip archive"),
        (io.BytesIO(b"\0\0\0\x18ftypheic" + bytes(200)), "phones.*convert it"),
        (io.BytesIO(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), "git lfs pull"),
        (io.BytesIO(b"\x93NUMPY" + bytes(200)), "array of NumPy: save it as a picture"),
        (io.BytesIO(b"\x89PNG\r\n\x1a\n" + bytes(200)), "PNG whose beginning is damaged"),
        (io.BytesIO(b"\xff\xd8\xff" + bytes(200)), "JPEG whose beginning is damaged"),
        (io.BytesIO(), "is empty"),
        (picture(RNG.integers(0, 4096, (8, 12), np.uint16), "PNG", transparency=3), "transparent: save it without"),
    ],
)
def test_what_is_refused_says_what_to_do(file, reason):
    with pytest.raises(ImageFileError, match=reason):
        PixelReader(window=Window(0, 4095)).pixels(file)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_pixels_that_are_not_square_are_said(kind):
    pixels = np.zeros((8, 8), np.uint8)
    assert PixelReader().header(picture(pixels, kind, dpi=(204, 98))).remarks == {NOT_SQUARE}
    assert PixelReader().header(picture(pixels, kind, dpi=(300, 300))).remarks == frozenset()
