"""Names in every script are drawn, or said to be boxes."""

import logging

import matplotlib
import pytest

from robustmedclip.reporting import fonts
from robustmedclip.reporting.fonts import font_families


@pytest.fixture(autouse=True)
def only_the_fonts_of_matplotlib(monkeypatch):
    shipped = {name: path for name, path in fonts._installed().items() if "mpl-data" in path}
    monkeypatch.setattr(fonts, "_installed", lambda: shipped)


def test_latin_and_greek_names_need_no_other_font(caplog):
    assert font_families(["phantom_vit", "β-cell, größe"]) == list(matplotlib.rcParams["font.family"])
    assert not caplog.records


def test_characters_that_no_font_has_are_named(caplog):
    with caplog.at_level(logging.WARNING):
        font_families(["血 cell"])
    assert "血 (U+8840)" in caplog.text


def test_a_character_of_another_installed_font_brings_that_font(caplog):
    families = font_families(["grade \N{CIRCLED LATIN CAPITAL LETTER A}"])
    assert families[0] == matplotlib.rcParams["font.family"][0]
    assert any(name.startswith("STIX") for name in families)
    assert not caplog.records
