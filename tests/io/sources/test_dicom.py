"""DICOM is read as a radiologist sees it, but for the window, or refused in words."""

import io

import numpy as np
import pydicom
import pytest
from image_files import dicom, picture
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from robustmedclip.io.sources import dicom as reading
from robustmedclip.io.sources.levels import DEEP_COLOURS, NOT_SQUARE, ImageFileError, Window, WindowChoice
from robustmedclip.io.sources.pixels import PixelReader

RNG = np.random.default_rng(0)
GREY, COLOUR = RNG.integers(0, 256, (8, 12), np.uint8), RNG.integers(0, 256, (8, 12, 3), np.uint8)
DEEP = RNG.integers(0, 4096, (8, 12), np.uint16)
WINDOW = Window(0, 4095)


def read(file: io.BytesIO, window: WindowChoice | None = WINDOW) -> np.ndarray:
    """The pixels, after the header was found to agree with them."""
    reader = PixelReader(window=window)
    pixels = reader.pixels(file)
    assert reader.shape(file) == pixels.shape
    return pixels.squeeze()


def groups(**tags) -> Sequence:
    """Functional groups of one frame that rescale its levels."""
    transformation, group = Dataset(), Dataset()
    for name, value in tags.items():
        setattr(transformation, name, value)
    group.PixelValueTransformationSequence = Sequence([transformation])
    return Sequence([group])


@pytest.mark.parametrize(
    ("tags", "slope", "intercept"),
    [
        ({"RescaleSlope": "2"}, 2, 0),
        ({"RescaleIntercept": "-500"}, 1, -500),
        ({"RescaleSlope": "2", "RescaleIntercept": ""}, 2, 0),
        ({"RescaleSlope": "", "RescaleIntercept": ""}, 1, 0),
        ({"SharedFunctionalGroupsSequence": groups(RescaleSlope="0.5", RescaleIntercept="100")}, 0.5, 100),
        ({"PerFrameFunctionalGroupsSequence": groups(RescaleSlope="3", RescaleIntercept="-7")}, 3, -7),
    ],
    ids=["slope alone", "intercept alone", "empty intercept", "both empty", "shared groups", "groups of the frame"],
)
def test_levels_are_rescaled_wherever_the_file_says_how(tags, slope, intercept):
    expected = WINDOW.apply(DEEP * slope + float(intercept))
    np.testing.assert_array_equal(read(dicom(DEEP, bits=12, NumberOfFrames=1, **tags)), expected)


def test_eight_bits_that_functional_groups_rescale_need_a_window():
    file = dicom(GREY, SharedFunctionalGroupsSequence=groups(RescaleSlope="2", RescaleIntercept="0"))
    with pytest.raises(ImageFileError, match="set 'window'"):
        PixelReader().shape(file)
    np.testing.assert_array_equal(read(file), WINDOW.apply(2.0 * GREY))


def test_empty_rescale_tags_leave_eight_bits_as_they_are():
    np.testing.assert_array_equal(read(dicom(GREY, RescaleSlope="", RescaleIntercept=""), None), GREY)


def test_a_modality_table_is_applied_before_the_window():
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 16], np.arange(4095, -1, -1, dtype=np.uint16).tobytes()
    table.ModalityLUTType = "US"
    table["LUTData"].VR = "OW"
    inverted = dicom(DEEP, bits=12, ModalityLUTSequence=Sequence([table]))
    np.testing.assert_array_equal(read(inverted), WINDOW.apply(4095 - DEEP.astype(float)))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(photometric):
    levels = DEEP.astype(np.int16) - 1000
    levels[0], levels[1] = -2000, -1999
    shown = WINDOW.apply(levels)
    shown = 255 - shown if photometric == "MONOCHROME1" else shown
    one = dicom(levels, photometric, PixelPaddingValue=-2000)
    np.testing.assert_array_equal(read(one), np.where(levels == -2000, 0, shown))
    several = dicom(levels, photometric, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1999)
    np.testing.assert_array_equal(read(several), np.where(levels <= -1999, 0, shown))
    assert PixelReader(window=WINDOW).header(one).remarks == {reading.PADDED}


def test_padding_above_the_bits_that_are_stored_is_black():
    levels = DEEP.copy()
    levels[0] = 63536
    np.testing.assert_array_equal(
        read(dicom(levels, bits=12, PixelPaddingValue=63536)), np.where(levels == 63536, 0, WINDOW.apply(DEEP))
    )


def test_bits_that_hold_an_overlay_are_no_levels():
    with_overlay = DEEP | (RNG.integers(0, 2, DEEP.shape, np.uint16) << 12)
    np.testing.assert_array_equal(read(dicom(with_overlay, bits=12)), WINDOW.apply(DEEP))
    negative = (DEEP.astype(np.int16) - 2048).astype(np.int16)
    np.testing.assert_array_equal(read(dicom(negative & np.int16(0x0FFF), bits=12)), WINDOW.apply(negative))


def ybr(colours: np.ndarray) -> np.ndarray:
    """YBR_FULL of RGB (PS3.3 C.7.6.3.1.2)."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return np.rint(colours @ matrix.T + [0, 128, 128]).clip(0, 255).astype(np.uint8)


def test_colours_of_video_become_rgb():
    np.testing.assert_allclose(read(dicom(ybr(COLOUR), "YBR_FULL")).astype(int), COLOUR, atol=3)
    pairs = np.repeat(COLOUR[:, ::2], 2, axis=1)
    stored = ybr(pairs).reshape(-1, 2, 3)
    halved = np.stack([stored[:, 0, 0], stored[:, 1, 0], stored[:, 0, 1], stored[:, 0, 2]], axis=1)
    file = dicom(pairs, "YBR_FULL_422", PixelData=halved.astype(np.uint8).tobytes())
    np.testing.assert_allclose(read(file).astype(int), pairs, atol=3)


def test_planes_of_colours_are_put_in_their_places():
    file = dicom(COLOUR, "RGB", PlanarConfiguration=1, PixelData=COLOUR.transpose(2, 0, 1).tobytes())
    np.testing.assert_array_equal(read(file), COLOUR)


@pytest.mark.parametrize(
    ("photometric", "marked"), [("YBR_FULL_422", True), ("YBR_FULL", True), ("RGB", True), ("RGB", False)]
)
def test_jpeg_colours_are_those_that_its_markers_tell(photometric, marked):
    smooth = np.add.outer(np.arange(16) * 5, np.arange(16) * 4).astype(np.uint8)
    colours = np.dstack([smooth, 255 - smooth, smooth // 2])
    frame = picture(colours, "JPEG", quality=100, subsampling=0, **({} if marked else {"keep_rgb": True})).getvalue()
    file = dicom(colours, photometric, syntax=JPEGBaseline8Bit, PixelData=encapsulate([frame]))
    np.testing.assert_allclose(read(file).astype(int), colours, atol=6)


def palette(bits: int, shift: int) -> dict:
    """Tags of a palette that turns index i into the colour (i, 255 - i, i // 2)."""
    index = np.arange(256)
    colours = {"Red": index, "Green": 255 - index, "Blue": index // 2}
    tags = {f"{name}PaletteColorLookupTableDescriptor": [256, 0, bits] for name in colours}
    dtype = np.uint8 if bits == 8 else np.uint16
    return tags | {
        f"{name}PaletteColorLookupTableData": (entries << shift).astype(dtype).tobytes()
        for name, entries in colours.items()
    }


@pytest.mark.parametrize(("bits", "shift"), [(8, 0), (16, 8), (16, 0)])
def test_a_palette_gives_its_colours(bits, shift):
    expected = np.dstack([GREY, 255 - GREY, GREY // 2])
    np.testing.assert_array_equal(read(dicom(GREY, "PALETTE COLOR", **palette(bits, shift)), None), expected)


def test_a_palette_of_an_odd_number_of_colours_is_padded_and_gives_its_colours():
    names, index = ("Red", "Green", "Blue"), np.minimum(GREY, 9)
    tags = {f"{name}PaletteColorLookupTableDescriptor": [3, 0, 8] for name in names}
    tags |= {f"{name}PaletteColorLookupTableData": bytes([10, 20, 30, 0]) for name in names}
    colours = np.array([10, 20, 30], np.uint8)[np.minimum(index, 2)]
    np.testing.assert_array_equal(read(dicom(index, "PALETTE COLOR", **tags), None), np.dstack([colours] * 3))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, pydicom.uid.ExplicitVRLittleEndian])
def test_dicom_without_its_preamble_is_read(syntax):
    content = dicom(GREY, syntax=syntax).getvalue()
    np.testing.assert_array_equal(read(io.BytesIO(content[132:]), None), GREY)
    start = content.index(b"\x00\x08\x00\x16" if syntax == ExplicitVRBigEndian else b"\x08\x00\x16\x00", 132)
    np.testing.assert_array_equal(read(io.BytesIO(content[start:]), None), GREY)


def report(sop_class: str, **tags) -> io.BytesIO:
    file, dataset = dicom(GREY), Dataset()
    file.seek(0)
    whole = pydicom.dcmread(file)
    dataset.file_meta, dataset.SOPClassUID = whole.file_meta, sop_class
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    written = io.BytesIO()
    dataset.save_as(written)
    return written


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (report(pydicom.uid.BasicTextSRStorage), "'Basic Text SR Storage' that holds no picture"),
        (report(pydicom.uid.GrayscaleSoftcopyPresentationStateStorage), "Presentation State.* holds no picture"),
        (report(pydicom.uid.MediaStorageDirectoryStorage, DirectoryRecordSequence=Sequence()), "a DICOMDIR"),
        (
            report(pydicom.uid.SecondaryCaptureImageStorage, Rows=8),
            "not a whole DICOM image: it lacks Columns, Samples",
        ),
        (dicom(GREY, SOPClassUID=pydicom.uid.RTDoseStorage), "levels are doses"),
        (dicom(GREY, SOPClassUID=pydicom.uid.SegmentationStorage), "pixels are labels"),
        (
            dicom(GREY, SOPClassUID=pydicom.uid.EncapsulatedPDFStorage),
            "'Encapsulated PDF Storage' that holds no picture",
        ),
        (dicom(GREY, SOPClassUID=pydicom.uid.BasicTextSRStorage), "'Basic Text SR Storage' that holds no picture"),
        (dicom(GREY, RescaleSlope="1e30"), r"has the slope 1e\+30: a step of its levels is larger than the window"),
        (dicom(GREY, "PALETTE COLOR"), "brings no palette"),
        (dicom(COLOUR, "YBR_ICT"), "YBR_ICT and not JPEG 2000"),
        (dicom(GREY, PixelData=b""), "without pixels"),
        (dicom(DEEP, bits=12, HighBit=15), "the highest bit 15 of 12"),
        (dicom(GREY, RescaleSlope="0", RescaleIntercept="0"), "slope 0"),
        (dicom(GREY, PresentationLUTShape="INVERSE"), "asks to be shown inverted"),
    ],
)
def test_what_is_no_picture_is_named_for_what_it_is(file, reason):
    with pytest.raises(ImageFileError, match=reason) as caught:
        PixelReader(window=WINDOW).pixels(file)
    assert "attribute" not in str(caught.value)


def test_a_frame_is_chosen_by_its_number_or_as_the_middle_one():
    frames = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]])
    file = dicom(DEEP, bits=12, NumberOfFrames=3, PixelData=frames.tobytes())
    for frame, expected in ((1, frames[0]), (3, frames[2]), ("middle", frames[1])):
        reader = PixelReader(window=WINDOW, frame=frame)
        np.testing.assert_array_equal(reader.pixels(file)[..., 0], WINDOW.apply(expected))
        assert reader.shape(file) == (8, 12, 1)
    with pytest.raises(ImageFileError, match="has 3 frames: choose one by 'frame' in the source"):
        read(file)
    with pytest.raises(ImageFileError, match="has 3 frames, and 'frame' in the source asks for number 4"):
        PixelReader(window=WINDOW, frame=4).shape(file)
    np.testing.assert_array_equal(PixelReader(frame=4).pixels(dicom(GREY))[..., 0], GREY)


def test_a_frame_is_rescaled_as_its_own_group_says():
    both = Sequence(
        [groups(RescaleSlope="1", RescaleIntercept="0")[0], groups(RescaleSlope="3", RescaleIntercept="-7")[0]]
    )
    pixels = np.stack([DEEP, DEEP]).tobytes()
    file = dicom(DEEP, bits=12, NumberOfFrames=2, PixelData=pixels, PerFrameFunctionalGroupsSequence=both)
    for frame, levels in ((1, DEEP), (2, 3.0 * DEEP - 7)):
        shown = PixelReader(window=WINDOW, frame=frame).pixels(file)[..., 0]
        np.testing.assert_array_equal(shown, WINDOW.apply(levels))


def test_colours_of_sixteen_bits_are_the_highest_eight_and_remarked():
    deep = RNG.integers(0, 2**16, (8, 12, 3), np.uint16)
    file = dicom(deep, "RGB")
    np.testing.assert_array_equal(read(file, None), deep >> 8)
    assert PixelReader().header(file).remarks == {DEEP_COLOURS}


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (dicom(GREY, PixelData=GREY.tobytes()[:50]), "is cut off: it has 50 of 96 bytes of pixels"),
        (
            dicom(GREY, syntax=pydicom.uid.JPEG2000Lossless, PixelData=encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])),
            "is compressed as JPEG 2000 .* no decoder makes sense of it: it is damaged",
        ),
    ],
    ids=["cut off", "damaged"],
)
def test_what_is_damaged_is_said_without_the_words_of_decoders(file, reason):
    with pytest.raises(ImageFileError, match=reason) as caught:
        PixelReader().pixels(file)
    assert "plugin" not in str(caught.value)


def test_a_window_in_the_file_is_never_applied():
    file = dicom(DEEP, bits=12, WindowCenter="100", WindowWidth="50")
    np.testing.assert_array_equal(read(file), WINDOW.apply(DEEP))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_window_of_the_file_is_applied_where_that_is_asked_for(function, photometric):
    """As pydicom applies it, to the range of 12 bits."""
    tags = {"WindowCenter": ["1800", "40"], "WindowWidth": ["900", "400"], "VOILUTFunction": function}
    file = dicom(DEEP, photometric, bits=12, **tags)
    file.seek(0)
    expected = pydicom.pixels.processing.apply_voi_lut(DEEP, pydicom.dcmread(file)) * (255 / 4095)
    expected = 255 - expected if photometric == "MONOCHROME1" else expected
    assert np.abs(read(file, "file") - expected).max() <= 1


def test_a_deflated_file_is_read_unless_it_would_be_too_large(monkeypatch):
    file = dicom(GREY, syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    np.testing.assert_array_equal(read(file), GREY)
    monkeypatch.setattr(reading, "LARGEST_FILE", 500)
    many = dicom(np.zeros((100, 100), np.uint8), syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    assert len(many.getvalue()) < 1000
    with pytest.raises(ImageFileError, match="a deflated DICOM file of more than 500 bytes"):
        PixelReader().pixels(many)


def test_the_lookup_table_of_the_file_comes_before_its_window():
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 16], (np.arange(4096, dtype=np.uint16) ** 2 // 256).tobytes()
    table["LUTData"].VR = "OW"
    file = dicom(DEEP, bits=12, VOILUTSequence=Sequence([table]), WindowCenter="100", WindowWidth="50")
    expected = np.arange(4096, dtype=np.uint16) ** 2 // 256
    np.testing.assert_array_equal(read(file, "file"), np.rint(expected[DEEP] * (255 / 65535)).astype(np.uint8))


def test_a_file_without_a_window_of_its_own_is_taken_as_it_is_in_8_bits_and_else_refused():
    np.testing.assert_array_equal(read(dicom(GREY), "file"), GREY)
    with pytest.raises(ImageFileError, match="suggests no window for its display: set 'window'"):
        PixelReader(window="file").shape(dicom(DEEP, bits=12))


def test_pixels_that_are_not_square_are_remarked():
    for tags in ({"PixelAspectRatio": ["2", "1"]}, {"PixelSpacing": ["0.4", "0.8"]}):
        assert PixelReader().header(dicom(GREY, **tags)).remarks == {NOT_SQUARE}
    assert not PixelReader().header(dicom(GREY, PixelSpacing=["0.4", "0.4"])).remarks


@pytest.mark.parametrize(
    ("installed", "advice"),
    [
        (
            ("pylibjpeg", "openjpeg"),
            r"to read it, install a decoder \(pip install python-gdcm\), or save it uncompressed",
        ),
        (("pylibjpeg", "openjpeg", "gdcm"), "there is no decoder for it, save it uncompressed"),
    ],
)
def test_a_compression_that_is_not_decoded_says_which_decoder_is_missing_if_any(monkeypatch, installed, advice):
    monkeypatch.setattr(pydicom.pixels.decoders.JPEGLSLosslessDecoder, "_available", {})
    monkeypatch.setattr(
        "robustmedclip.io.sources.dicom_decoding.find_spec", lambda name: name if name in installed else None
    )
    with pytest.raises(ImageFileError, match=f"is compressed as JPEG-LS Lossless.*: {advice}"):
        read(dicom(GREY, syntax=pydicom.uid.JPEGLSLossless, PixelData=encapsulate([b"\xff\xd8"])))


def test_a_table_of_the_modality_without_entries_stands_for_none():
    table = Dataset()
    table.LUTExplanation = "none"
    file = dicom(DEEP, bits=12, ModalityLUTSequence=Sequence([table]))
    np.testing.assert_array_equal(read(file), WINDOW.apply(DEEP))
