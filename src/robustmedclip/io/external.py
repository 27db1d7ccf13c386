"""Entries of the catalog that no pipeline makes: images, corrupted images that others released, models."""

from typing import Any, Protocol, TypeGuard, runtime_checkable


@runtime_checkable
class External(Protocol):
    """What preflight, fingerprints and ``kedro check`` may ask of each such entry."""

    def problems(self) -> list[str]:
        """What would make its loading fail, each with what to do."""

    def missing(self) -> str | None:
        """What is not there, and where to get it, if anything is not."""

    def signature(self) -> Any:
        """What its content depends on beside local files, in a form that JSON can say."""

    def paths(self) -> list[str]:
        """Local files and folders that its content is in, whether they exist or not."""


def is_external(entry: object) -> TypeGuard[External]:
    """Whether an entry of the catalog is one that no pipeline makes."""
    return isinstance(entry, External)
