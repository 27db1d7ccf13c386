"""What all sources of images have in common."""

import pytest

from robustmedclip.io import ImageSetDataset, PhantomDataset
from robustmedclip.io.sources import SOURCES
from robustmedclip.io.sources.source import Source, is_source
from robustmedclip.io.versioned import SourceError
from robustmedclip.pipelines.ingestion.nodes import ingest_and_describe
from robustmedclip.plugins import plugged_in


@pytest.fixture
def phantoms() -> PhantomDataset:
    counts = {"train": 16, "test": 16}
    return PhantomDataset(
        name="x", modality="m", anatomy="blood", domain="hospital", counts=counts, seed=0, size=32, origin={"url": "u"}
    )


@pytest.mark.parametrize("name", SOURCES)
def test_every_shipped_source_is_named_shortly_and_meets_the_protocol(name):
    source = plugged_in(name, SOURCES, "source of images")
    wanted = [member for member in vars(Source) if not member.startswith("_")]
    assert all(hasattr(source, member) for member in wanted)


def test_phantoms_are_a_source_and_intermediates_are_none(phantoms, tmp_path):
    assert is_source(phantoms) and phantoms.missing() is None and phantoms.origin() == {"url": "u"}
    assert not is_source(ImageSetDataset(filepath=str(tmp_path / "x.npz")))


def test_what_a_source_says_of_its_images_goes_into_the_stored_sets_and_the_data_card(phantoms, tmp_path):
    pool, test, card = ingest_and_describe(phantoms.load())
    assert card["synthetic"] is True and card["release"] is None
    for images in (pool, test):
        stored = ImageSetDataset(filepath=str(tmp_path / f"{images.split}.npz"))
        stored.save(images)
        assert stored.load().synthetic and stored.load().release is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": True}, "size must lie between 28 and 1024 px, not True"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"counts": {"train": True, "test": 9}}, "counts must map splits to whole numbers"),
    ],
)
def test_settings_of_phantoms_that_can_not_be_are_refused(change, reason):
    settings = {"anatomy": "blood", "domain": "hospital", "counts": {"train": 16, "test": 16}, "seed": 0} | change
    source = PhantomDataset(name="x", modality="m", **settings)
    assert reason in source.problems()[0]
    with pytest.raises(SourceError, match=reason):
        source.load()
