"""What is said of types of datasets that there are not."""

import pytest

from robustmedclip.errors import InputError
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.dataset_types import type_problem


@pytest.mark.parametrize(
    "name, meant",
    [
        ("robustmedclip.io.ImageSett", "robustmedclip.io.ImageSetDataset"),
        ("robustmedclp.io.LogitsDataset", "robustmedclip.io.LogitsDataset"),
        ("pandas.CSVDatset", "pandas.CSVDataset"),
        ("CSVDataset", "pandas.CSVDataset"),
        ("MemoryDatset", "MemoryDataset"),
    ],
)
def test_a_mistyped_type_is_named_with_what_was_probably_meant(name, meant):
    assert type_problem(name) == f"there is no type of dataset {name!r}; did you mean {meant!r}?"


def test_a_catalog_names_the_entry_whose_type_is_mistyped():
    catalog = FingerprintedCatalog.from_config({"scores": {"type": "pandas.CSVDatset", "filepath": "scores.csv"}})
    with pytest.raises(InputError, match="^The catalog entry 'scores' is wrong: there is no type of dataset 'pandas"):
        catalog.get("scores")


def test_a_type_that_nothing_is_like_is_named_alone():
    assert type_problem("nowhere.X") == "there is no type of dataset 'nowhere.X'"


@pytest.mark.parametrize("name", ["pandas.CSVDataset", "MemoryDataset", "robustmedclip.io.LogitsDataset"])
def test_a_type_that_is_there_is_no_problem(name):
    assert type_problem(name) is None


def test_a_type_of_kedro_whose_library_is_not_installed_is_left_to_kedro():
    assert type_problem("spark.SparkDataset") is None
