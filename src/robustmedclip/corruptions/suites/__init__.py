"""Corruption suites: which corruptions there are, what their severities mean, and how a suite's files are laid out."""

from collections.abc import Mapping

from robustmedclip.corruptions.suites.definition import SEVERITIES, Corruption, FileLayout, Suite, Values
from robustmedclip.plugins import plugged_in

__all__ = [
    "SEVERITIES",
    "SUITES",
    "Corruption",
    "FileLayout",
    "Suite",
    "corruptions",
    "severities",
    "suite",
]

#: Short names of the suites that ship.
SUITES = {
    "medimeta-c": "robustmedclip.corruptions.suites.medimeta_c.SUITE",
    "imagenet-c": "robustmedclip.corruptions.suites.imagenet_c.SUITE",
    "medmnist-c": "robustmedclip.corruptions.suites.medmnist_c.SUITE",
    "acquisition-c": "robustmedclip.corruptions.suites.acquisition_c.SUITE",
}


def suite(name: str | Suite) -> Suite:
    """The suite of a name.

    Parameters
    ----------
    name : str or Suite
        A key of :data:`SUITES`, the dotted path of any other suite, such as ``my_package.MY_SUITE``, or the suite
        itself.

    Raises
    ------
    ValueError
        If there is no such suite.
    """
    if isinstance(name, Suite):
        return name
    plugged = plugged_in(name, SUITES, "corruption suite")
    if not isinstance(plugged, Suite):
        raise ValueError(f"{name!r} is no corruption suite but of type {type(plugged).__name__}")
    return plugged


def corruptions(name: str | Suite = "medimeta-c", dataset: str | None = None) -> tuple[str, ...]:
    """Names of the corruptions of a suite.

    Parameters
    ----------
    name : str or Suite
        As in :func:`suite`.
    dataset : str, optional
        The data set whose list is meant, where the suite has one for each, as ``medmnist-c`` has.

    Raises
    ------
    ValueError
        If there is no such suite, or it has no list for the data set.
    """
    return tuple(suite(name).corruptions(dataset))


def severities(name: str | Suite, dataset: str | None = None) -> Mapping[str, Values]:
    """The values of the severities 1 to 5 of each corruption of a suite; raises as :func:`corruptions`."""
    return {name: corruption.values for name, corruption in suite(name).corruptions(dataset).items()}
